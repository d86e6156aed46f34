"""`skerry bench`: options, the runs one after the other, the exit code."""

import asyncio
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import click
import uvloop

from skerry.cli.bench.inputs import Inputs, inputs_of
from skerry.cli.bench.load import Load, Measured
from skerry.cli.bench.metadata import Model, model_of
from skerry.cli.bench.payload import Payload, payload_of
from skerry.cli.bench.report import HEADER, Progress, as_json, remarks, row
from skerry.cli.bench.target import Target, target_of
from skerry.cli.objects import output_option
from skerry.cli.text import dump, print_rows

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


class Duration(click.ParamType[float]):
    """Seconds as `5`, `500ms`, `2m`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        number = value.rstrip("hms")
        try:
            seconds = float(number) * _UNITS[value[len(number) :] or "s"]
        except (ValueError, KeyError):
            seconds = -1.0
        if not 0 <= seconds < float("inf"):
            self.fail(f"{value} is no time; want for example 10s or 2m", param, ctx)
        return seconds


class Counts(click.ParamType[tuple[int, ...]]):
    """`1,8,32`."""

    name = "n,n,…"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        try:
            counts = tuple(int(word) for word in value.split(","))
        except ValueError:
            counts = ()
        if not counts or min(counts) < 1:
            self.fail(f"{value} are no numbers of clients; want for example 1,8,32", param, ctx)
        return counts


@click.command()
@click.argument("url")
@click.option("--model", metavar="NAME", help="Model to ask; else the only one that the server has.")
@click.option("--model-version", default="", metavar="N", help="Version to ask; else the server's choice.")
@click.option("-c", "--concurrency", type=Counts(), help="Clients, one run each; else 1,8,32, or 64 with --rate.")
@click.option("-d", "--duration", type=Duration(), default="10s", show_default=True, help="Length of each run.")
@click.option(
    "--warm-up", type=Duration(), default="1s", show_default=True, help="What is not counted before each run."
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Requests a second, sent when they are due.")
@click.option("--input", "files", multiple=True, metavar="[NAME=]FILE", help="Picture, .npy array or JSON request.")
@click.option("--shape", "shapes", multiple=True, metavar="[NAME=]N,N,…", help="Shape of a random input.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Rows of random inputs.")
@click.option(
    "--encoding", type=click.Choice(["auto", "binary", "json"]), default="auto", show_default=True, help="REST only."
)
@click.option("--timeout", type=Duration(), default="30s", show_default=True, help="For a connection, for an answer.")
@click.option("--host", metavar="NAME", help="Host header, as the gateway routes by it.")
@click.option("--token", envvar="SKERRY_TOKEN", show_envvar=True, metavar="TOKEN", help="Bearer token.")
@click.option("--cacert", type=click.Path(exists=True, dir_okay=False), help="Certificate authority to trust.")
@click.option("--insecure", is_flag=True, help="Trust any certificate.")
@output_option("json", "yaml")
def bench(
    url: str,
    model: str | None,
    model_version: str,
    concurrency: tuple[int, ...] | None,
    duration: float,
    warm_up: float,
    rate: float | None,
    files: tuple[str, ...],
    shapes: tuple[str, ...],
    batch: int,
    encoding: str,
    output: str | None,
    **access: Any,
) -> int:
    """Measure how fast a model answers at URL, on any server of the Open Inference Protocol.

    URL is http://HOST:PORT, https://…, grpc://HOST:PORT or grpcs://…. The model says what it takes; random values of
    that shape are sent, or what --input names:

    \b
        skerry bench http://127.0.0.1:8000
        skerry bench grpc://127.0.0.1:9000 --model resnet -c 1,8 -d 30s
        skerry bench http://127.0.0.1:8000 --input bee.jpeg --rate 50
        skerry bench http://127.0.0.1:8080 --host resnet-demo.apps.localhost

    Without --rate each client sends again when it has its answer. With it requests are sent when they are due, and
    latencies count from then, so that a server that stalls cannot hide it. Exits with 1 when a request failed.
    """  # noqa: D301 - click's mark
    target = target_of(url, **access)
    found = model_of(target, model, model_version)
    inputs = inputs_of(found, files, shapes, batch)
    payload = payload_of(target, found, inputs, encoding)
    click.echo(
        f"{found.name} at {target.url}: {payload.encoding}, {_size(payload.size)} a request ({inputs.describe()})",
        err=True,
    )
    counts = concurrency or ((64,) if rate else (1, 8, 32))
    runs = _run(target, payload, counts, rate, warm_up, duration)
    if output:
        click.echo(dump(_document(target, found, inputs, payload, runs), output))
    else:
        print_rows(HEADER, [row(one) for one in runs])
    for remark in remarks(runs):
        click.echo(remark, err=True)
    if any(one.interrupted for one in runs):
        return 130
    return 1 if any(one.failures or not one.answers for one in runs) else 0


def _run(
    target: Target, payload: Payload, counts: Sequence[int], rate: float | None, warm_up: float, duration: float
) -> list[Measured]:
    """One run after the other, until the last or an interrupt."""
    runs: list[Measured] = []
    progress = Progress(duration)

    async def all_runs() -> None:
        with _interrupt() as stop:
            for count in counts:
                load = Load(target, payload.make, count, rate)
                runs.append(await load.run(warm_up, duration, stop, progress))
                progress.clear()
                if stop.is_set():
                    break

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(all_runs())
    return runs


@contextmanager
def _interrupt() -> Iterator[asyncio.Event]:
    """Ctrl-C ends the measurement, not the program: what was measured is printed."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stop.set)
    try:
        yield stop
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _document(
    target: Target, model: Model, inputs: Inputs, payload: Payload, runs: Sequence[Measured]
) -> dict[str, Any]:
    return {
        "url": target.url,
        "model": model.name,
        "platform": model.platform,
        "encoding": payload.encoding,
        "request_bytes": payload.size,
        "inputs": [{"name": one.name, "datatype": one.datatype, "shape": list(one.shape)} for one in inputs.tensors],
        "runs": [as_json(one) for one in runs],
    }


def _size(count: int) -> str:
    if count < 2000:
        return f"{count} bytes"
    return f"{count / 1000:.0f} kB" if count < 2_000_000 else f"{count / 1e6:.1f} MB"
