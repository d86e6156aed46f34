"""How much of a core the model server leaves to the model.

The server has one core to itself and the load another. Every figure is a ratio to the same OpenVINO call in a bare loop
on the server's core, measured in the same round, because a machine's speed changes from minute to minute. The server
runs as it is shipped: checks, limits, time-outs, metrics and logs are on. Every answer's status and length are checked,
and one answer of each kind is compared with what the model must say.

    python benchmarks/server.py [--quick] [--peers] [--json]

`--peers` also runs KServe's Python SDK server, installed into an environment of its own below `~/.cache/skerry`, in
every round right after ours, with the same model, requests and OpenVINO call.

The last line of `--json` is one object:

| key | what it is |
|---|---|
| `efficientnet_rest_vs_limit` | EfficientNet-Lite0, binary tensors, 8 connections / OpenVINO alone |
| `efficientnet_json_vs_limit` | the same with JSON tensors of 1.5 MB |
| `jpeg_vs_loop` | JPEG in, class out, 8 connections / a loop that decodes, resizes and infers |
| `tiny_rest_vs_limit` | a model of 4 x 3 numbers, JSON, one row a request, 8 connections / OpenVINO alone |
| `tiny_rest_binary_vs_limit` | the same with binary tensors |
| `tiny_rest_vs_kserve` | JSON, 8 connections, `--max_batch_size=1` / KServe's server (with `--peers`) |
| `tiny_rest_batched_vs_kserve` | JSON, 32 connections, as shipped / KServe's server (with `--peers`) |
| `tiny_rest_per_s`, `tiny_rest_c32_per_s` | requests a second, JSON, 8 and 32 connections |
| `tiny_added_p50_ms` | median time of a request at one connection, less the engine's call |
| `ready_s` | from the start of the process to the first 200 of /v2/health/ready, compiled model in the cache |
| `rss_mib` | resident memory with EfficientNet-Lite0 after 8 clients with binary tensors |
| `rss_pictures_mib` | the same after pictures, with OpenCV loaded |
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # `make bench` starts this without the script's own directory

from benchmarks.model_server.engine import classifier, limit_of, picture_tensor, tiny_model
from benchmarks.model_server.load import (
    LOAD_CORE,
    SERVER_CORE,
    Case,
    is_espresso,
    is_softmax,
    on_core,
    request_of,
    run_case,
    tensor_requests,
)
from benchmarks.model_server.servers import Server, serving, serving_kserve


def measure_limit(kind: str, seconds: float, *files: Path) -> dict[str, float]:
    words = [sys.executable, __file__, "--limit", kind, "--seconds", str(seconds), *map(str, files)]
    with on_core(SERVER_CORE):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate(timeout=seconds + 60)
    measured: dict[str, float] = json.loads(out)
    return measured


# The table.


@dataclass
class Report:
    """Figures by name, one value a round."""

    figures: dict[str, list[float]] = field(default_factory=dict)
    quiet: bool = False

    def add(self, name: str, value: float) -> None:
        self.figures.setdefault(name, []).append(value)

    def say(self, text: str) -> None:
        if not self.quiet:
            print(text, flush=True)

    def median(self, name: str) -> float:
        return statistics.median(self.figures[name])

    def ratios(self, name: str, limit: str) -> float:
        """The median of the ratios, each within its round."""
        pairs = zip(self.figures[name], self.figures[limit], strict=True)
        return statistics.median(value / of for value, of in pairs)


def round_of(report: Report, files: "Files", seconds: float, *, peers: bool) -> None:
    """One measurement of everything, each limit beside what is compared with it."""
    unbatched, batched = files.peer_cases()
    with serving(files.tiny, "--max_batch_size=1") as server:
        run_cases(report, server, [unbatched], seconds)
    if peers:
        with serving_kserve(files.tiny) as server:
            run_cases(report, server, [kserve_case(case) for case in (unbatched, batched)], seconds)
    with serving(files.tiny) as server:
        limit = measure_limit("tiny", seconds, files.tiny / "1" / "model.xml")
        note(report, "tiny limit", limit["rate"], limit["p50_ms"])
        run_cases(report, server, files.tiny_cases(), seconds)
    with serving(files.model / "model") as server:
        limit = measure_limit("efficientnet", seconds, files.xml)
        note(report, "efficientnet limit", limit["rate"], limit["p50_ms"])
        binary, as_json = files.efficientnet_cases()
        run_cases(report, server, [binary], seconds)
        report.add("rss", server.memory_mib())
        run_cases(report, server, [as_json], seconds)
    with serving(files.model / "model", "--layout=NHWC:NCHW") as server:
        limit = measure_limit("jpeg", seconds, files.xml, files.picture)
        note(report, "jpeg limit", limit["rate"], limit["p50_ms"])
        run_cases(report, server, [files.jpeg_case()], seconds)
        report.add("rss pictures", server.memory_mib())


def kserve_case(case: Case) -> Case:
    return Case(f"kserve {case.name}", case.request, case.connections, case.check)


def run_cases(report: Report, server: Server, cases: Sequence[Case], seconds: float) -> None:
    for case in cases:
        note(report, case.name, *run_case(server.address, case, seconds))


def note(report: Report, name: str, rate: float, p50_ms: float) -> None:
    report.add(name, rate)
    report.add(f"{name} p50", p50_ms)
    report.say(f"  {name:<28}{rate:>10.1f} /s{p50_ms:>10.3f} ms")


class Files:
    """Models and requests."""

    def __init__(self, directory: Path) -> None:
        self.model = classifier()
        self.xml = self.model / "model" / "1" / "model.xml"
        self.picture = self.model / "coffee.jpg"
        self.tiny = tiny_model(directory / "tiny")

    def tiny_cases(self) -> list[Case]:
        as_json, as_binary = tensor_requests("x", np.array([[1, 2, 3, 4]], np.float32))
        json_cases = [Case(f"tiny json c{count}", as_json, count, is_softmax) for count in (1, 8, 32)]
        return [*json_cases, Case("tiny binary c8", as_binary, 8, is_softmax)]

    def peer_cases(self) -> tuple[Case, Case]:
        as_json, _ = tensor_requests("x", np.array([[1, 2, 3, 4]], np.float32))
        return Case("tiny unbatched c8", as_json, 8, is_softmax), Case("tiny json c32", as_json, 32, is_softmax)

    def efficientnet_cases(self) -> list[Case]:
        tensor = np.ascontiguousarray(picture_tensor(self.picture.read_bytes()).transpose(0, 3, 1, 2))
        as_json, as_binary = tensor_requests("0", tensor)
        return [
            Case("efficientnet binary c8", as_binary, 8, is_espresso),
            Case("efficientnet json c8", as_json, 8, is_espresso),
        ]

    def jpeg_case(self) -> Case:
        request = request_of(self.picture.read_bytes(), content_type="image/jpeg")
        return Case("jpeg c8", request, 8, is_espresso)


def measure_ready(report: Report, files: Files, cache: Path, times: int) -> None:
    """Start with a warm cache; the first start fills it."""
    for number in range(times + 1):
        with serving(files.model / "model", f"--cache_dir={cache}") as server:
            if number:
                report.add("ready", server.ready_seconds)
    report.say(f"  ready after {report.median('ready'):.3f} s")


def summary(report: Report) -> dict[str, float]:
    exact = {
        "efficientnet_rest_vs_limit": report.ratios("efficientnet binary c8", "efficientnet limit"),
        "efficientnet_json_vs_limit": report.ratios("efficientnet json c8", "efficientnet limit"),
        "jpeg_vs_loop": report.ratios("jpeg c8", "jpeg limit"),
        "tiny_rest_vs_limit": report.ratios("tiny json c8", "tiny limit"),
        "tiny_rest_binary_vs_limit": report.ratios("tiny binary c8", "tiny limit"),
        "tiny_rest_per_s": report.median("tiny json c8"),
        "tiny_rest_c32_per_s": report.median("tiny json c32"),
        "tiny_added_p50_ms": report.median("tiny json c1 p50") - report.median("tiny limit p50"),
        "ready_s": report.median("ready"),
        "rss_mib": max(report.figures["rss"]),
        "rss_pictures_mib": max(report.figures["rss pictures"]),
    }
    if "kserve tiny json c32" in report.figures:
        exact["tiny_rest_vs_kserve"] = report.ratios("tiny unbatched c8", "kserve tiny unbatched c8")
        exact["tiny_rest_batched_vs_kserve"] = report.ratios("tiny json c32", "kserve tiny json c32")
    return {name: round(value, 3) for name, value in exact.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the model server against the engine alone.")
    parser.add_argument("--quick", action="store_true", help="one short round, under a minute")
    parser.add_argument("--peers", action="store_true", help="also measure KServe's server; installs it once")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end, and nothing else")
    parser.add_argument("--limit", choices=["tiny", "efficientnet", "jpeg"], help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=0.0, help="length of one measurement")
    parser.add_argument("files", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seconds = options.seconds or (1.5 if options.quick else 3.0)
    if options.limit:
        print(json.dumps(limit_of(options.limit, options.files, seconds)))
        return
    report = Report(quiet=options.json)
    with tempfile.TemporaryDirectory() as directory:
        files = Files(Path(directory))
        for number in range(1 if options.quick else 3):
            report.say(
                f"round {number + 1}, {seconds:g} s each, server on core {SERVER_CORE}, load on core {LOAD_CORE}"
            )
            round_of(report, files, seconds, peers=options.peers)
        measure_ready(report, files, Path(directory) / "cache", 3 if options.quick else 7)
    figures = summary(report)
    for name, value in figures.items():
        report.say(f"{name:<28}{value:>12}")
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
