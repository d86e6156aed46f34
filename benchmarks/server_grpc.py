"""What gRPC costs: our server against the engine alone, and against the least that grpc.aio can do with it.

The server has one core to itself and the load another. What is compared is measured in the same round, one after the
other, because a machine's speed changes from minute to minute. Our server runs as it is shipped (checks, limits,
metrics and logs are on), only without batching where its peers have none; the peers make the same OpenVINO call. One
answer of each kind is checked, and the length of every other.

    python benchmarks/server_grpc.py [--quick] [--peers] [--json]

`--peers` also runs KServe's Python SDK server, in an environment of its own.

| key | what it is |
|---|---|
| `efficientnet_grpc_vs_limit` | EfficientNet-Lite0, raw contents of 602 KB, 8 connections / OpenVINO alone |
| `tiny_grpc_vs_grpc_aio` | a model of 4 x 3 numbers, 8 connections / a bare grpc.aio server |
| `tiny_grpc_c1_vs_grpc_aio`, `tiny_grpc_c32_vs_grpc_aio` | the same with 1 and 32 connections |
| `tiny_grpc_streams_vs_grpc_aio` | the same with 32 streams of one connection |
| `tiny_grpc_cpu_vs_grpc_aio` | processor time of a request: grpc.aio / ours; a busy machine disturbs it less |
| `tiny_grpc_vs_kserve`, `tiny_grpc_cpu_vs_kserve` | 8 connections / KServe's server (with `--peers`), and likewise |
| `tiny_grpc_c1_per_s`, `tiny_grpc_c8_per_s`, `tiny_grpc_c32_per_s` | requests a second |
| `tiny_grpc_c1_p50_ms`, `…_p99_ms`, and with c8 and c32 | time of a request |
| `tiny_grpc_batched_c32_per_s` | as shipped: requests that arrive together run together |
| `grpc_rss_mib` | resident memory that the gRPC port costs |
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # `make bench` starts this without the script's own directory

from benchmarks.model_server.engine import classifier, picture_tensor, tiny_model
from benchmarks.model_server.grpc_aio_peer import declared
from benchmarks.model_server.grpc_load import GrpcServer, Measured, ask, run_case
from benchmarks.model_server.load import ESPRESSO, LOAD_CORE, SERVER_CORE, on_core
from benchmarks.model_server.servers import free_address, kserve_python, running, serving

HERE: Final = Path(__file__).parent / "model_server"
CONNECTIONS: Final = (1, 8, 32)


def request_of(name: str, values: Any) -> bytes:
    """A ModelInferRequest with raw contents."""
    request = declared("inference.ModelInferRequest")(
        model_name="m",
        inputs=[{"name": name, "datatype": "FP32", "shape": values.shape}],
        raw_input_contents=[values.astype("<f4").tobytes()],
    )
    encoded: bytes = request.SerializeToString()
    return encoded


def values_of(answer: bytes) -> Any:
    """The first output of an answer, raw or typed."""
    response = declared("inference.ModelInferResponse").FromString(answer)
    raw = response.raw_output_contents
    return np.frombuffer(raw[0], "<f4") if raw else np.array(response.outputs[0].contents.fp32_contents)


# Servers.


@contextmanager
def ours(model: Path, *options: str) -> Iterator[tuple[GrpcServer, float]]:
    """Our server with a gRPC port, and its memory once it is ready."""
    port = free_address()[1]
    with serving(model, f"--port={port}", "--grpc_bind_address=127.0.0.1", *options) as server:
        yield GrpcServer(("127.0.0.1", port), server.process.pid), server.memory_mib()


@contextmanager
def grpc_aio(model: Path) -> Iterator[GrpcServer]:
    address = free_address()
    words = [sys.executable, "-m", "benchmarks.model_server.grpc_aio_peer"]
    with on_core(SERVER_CORE):
        process = subprocess.Popen([*words, str(model / "1" / "model.xml"), str(address[1])], cwd=HERE.parents[1])
    try:
        yield GrpcServer(address, process.pid)
    finally:
        process.kill()
        process.wait(timeout=30)


@contextmanager
def kserve(model: Path) -> Iterator[GrpcServer]:
    address, rest = free_address(), free_address()
    words = [str(kserve_python()), str(HERE / "kserve_grpc_peer.py"), str(model / "1" / "model.xml")]
    with running([*words, f"--http_port={rest[1]}", f"--grpc_port={address[1]}"], rest) as server:
        yield GrpcServer(address, server.process.pid)


# The table.


@dataclass
class Report:
    """Figures by name, one value a round."""

    quiet: bool
    figures: dict[str, list[float]] = field(default_factory=dict)

    def note(self, name: str, measured: Measured) -> None:
        self.add(name, measured.rate)
        self.add(f"{name} p50", measured.p50_ms)
        self.add(f"{name} p99", measured.p99_ms)
        self.add(f"{name} cpu", measured.cpu_us)
        times = f"{measured.p50_ms:>10.3f} ms{measured.p99_ms:>10.3f} ms p99"
        self.say(f"  {name:<28}{measured.rate:>10.1f} /s{times}{measured.cpu_us:>10.1f} us cpu")

    def add(self, name: str, value: float) -> None:
        self.figures.setdefault(name, []).append(value)

    def say(self, text: str) -> None:
        if not self.quiet:
            print(text, flush=True)

    def median(self, name: str) -> float:
        return statistics.median(self.figures[name])

    def ratio(self, name: str, of: str) -> float:
        """The median of the ratios, each within its round."""
        pairs = zip(self.figures[name], self.figures[of], strict=True)
        return statistics.median(value / base for value, base in pairs)


def run_tiny(report: Report, name: str, server: GrpcServer, message: bytes, seconds: float) -> None:
    assert abs(float(values_of(ask(server.address, message)).sum()) - 1) < 1e-5
    for count in CONNECTIONS:
        report.note(f"{name} c{count}", run_case(server, message, count, seconds))
    report.note(f"{name} streams", run_case(server, message, 1, seconds, streams=32))


def round_of(report: Report, tiny: Path, model: Path, seconds: float, *, peers: bool) -> None:
    message = request_of("x", np.array([[1, 2, 3, 4]]))
    with ours(tiny, "--max_batch_size=1") as (server, _):
        run_tiny(report, "tiny", server, message, seconds)
    with grpc_aio(tiny) as server:
        run_tiny(report, "grpc.aio", server, message, seconds)
    if peers:
        with kserve(tiny) as server:
            run_tiny(report, "kserve", server, message, seconds)
    with ours(tiny) as (server, _):
        report.note("tiny batched c32", run_case(server, message, 32, seconds))
    picture = np.ascontiguousarray(picture_tensor((model / "coffee.jpg").read_bytes()).transpose(0, 3, 1, 2))
    large = request_of("0", picture)
    with ours(model / "model") as (server, with_grpc):
        report.add("efficientnet limit", measure_limit(model / "model" / "1" / "model.xml", seconds))
        assert int(values_of(ask(server.address, large)).argmax()) == ESPRESSO
        report.note("efficientnet c8", run_case(server, large, 8, seconds))
    with serving(model / "model") as without:
        report.add("rss", with_grpc - without.memory_mib())


def measure_limit(xml: Path, seconds: float) -> float:
    """The bare loop of `server.py`."""
    words = [sys.executable, "-P", str(Path(__file__).with_name("server.py")), "--limit=efficientnet"]
    with on_core(SERVER_CORE):
        process = subprocess.Popen([*words, f"--seconds={seconds}", str(xml)], stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate(timeout=seconds + 60)
    return float(json.loads(out)["rate"])


def summary(report: Report) -> dict[str, float]:
    exact = {
        "efficientnet_grpc_vs_limit": report.ratio("efficientnet c8", "efficientnet limit"),
        "tiny_grpc_vs_grpc_aio": report.ratio("tiny c8", "grpc.aio c8"),
        "tiny_grpc_c1_vs_grpc_aio": report.ratio("tiny c1", "grpc.aio c1"),
        "tiny_grpc_c32_vs_grpc_aio": report.ratio("tiny c32", "grpc.aio c32"),
        "tiny_grpc_streams_vs_grpc_aio": report.ratio("tiny streams", "grpc.aio streams"),
        "tiny_grpc_cpu_vs_grpc_aio": report.ratio("grpc.aio c8 cpu", "tiny c8 cpu"),
    }
    if "kserve c8" in report.figures:
        exact["tiny_grpc_vs_kserve"] = report.ratio("tiny c8", "kserve c8")
        exact["tiny_grpc_cpu_vs_kserve"] = report.ratio("kserve c8 cpu", "tiny c8 cpu")
    for count in CONNECTIONS:
        exact[f"tiny_grpc_c{count}_per_s"] = report.median(f"tiny c{count}")
        exact[f"tiny_grpc_c{count}_p50_ms"] = report.median(f"tiny c{count} p50")
        exact[f"tiny_grpc_c{count}_p99_ms"] = report.median(f"tiny c{count} p99")
    exact["tiny_grpc_batched_c32_per_s"] = report.median("tiny batched c32")
    exact["grpc_rss_mib"] = report.median("rss")
    return {name: round(value, 3) for name, value in exact.items()}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description="Measure gRPC against the engine alone and against grpc.aio.")
    parser.add_argument("--quick", action="store_true", help="one short round, under a minute")
    parser.add_argument("--peers", action="store_true", help="also measure KServe's server; installs it once")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end, and nothing else")
    options = parser.parse_args(arguments)
    seconds, rounds = (1.5, 1) if options.quick else (3.0, 3)
    report = Report(quiet=options.json)
    with tempfile.TemporaryDirectory() as directory:
        model, tiny = classifier(), tiny_model(Path(directory) / "tiny")
        for number in range(rounds):
            report.say(
                f"round {number + 1}, {seconds:g} s each, server on core {SERVER_CORE}, load on core {LOAD_CORE}"
            )
            round_of(report, tiny, model, seconds, peers=options.peers)
    figures = summary(report)
    for name, value in figures.items():
        report.say(f"{name:<34}{value:>12}")
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
