"""How much of a core the model server leaves to the model.

The server has one core to itself and the load another. Every figure is a ratio to the same OpenVINO call in a bare loop
on the server's core, or to a peer with that call, measured in the same round, because a machine's speed changes from
minute to minute. The server runs as it is shipped: checks, limits, time-outs, metrics and logs are on. One answer of
each kind is compared with what the model must say, and the others must have its length.

    python benchmarks/server.py [--quick] [--peers] [--json] [--load python]

The load comes from `wrk` and `h2load` where they are installed, else from clients in Python, and the report says what
part of its core it used. `--peers` also runs KServe's Python SDK server and MLServer, installed into environments of
their own below `~/.cache/skerry`, in every round right after ours, with the same model, requests and OpenVINO call.

The last line of `--json` is one object:

| key | what it is |
|---|---|
| `efficientnet_rest_vs_limit` | EfficientNet-Lite0, binary tensors, 8 connections / OpenVINO alone |
| `efficientnet_grpc_vs_limit` | the same over gRPC with raw contents |
| `efficientnet_json_vs_limit` | the same with JSON tensors of 1.5 MB |
| `jpeg_vs_loop` | JPEG in, class out, 8 connections / a loop that decodes, resizes and infers |
| `json_parse_vs_json` | reading a 224 x 224 x 3 FP32 request / Python's `json` making lists of it |
| `json_parse_full_vs_json` | the same with all digits of every number, as `tolist()` writes them |
| `tiny_rest_vs_limit` | a model of 4 x 3 numbers, JSON, one row a request, 8 connections / OpenVINO alone |
| `tiny_rest_binary_vs_limit` | the same with binary tensors |
| `tiny_rest_vs_kserve` | JSON, 8 connections, `--max_batch_size=1` / KServe's server (with `--peers`) |
| `tiny_rest_batched_vs_kserve` | JSON, 32 connections, as shipped / KServe's server (with `--peers`) |
| `tiny_grpc_vs_kserve` | gRPC, 8 connections, `--max_batch_size=1` / KServe's server (with `--peers`) |
| `tiny_rest_vs_mlserver`, `tiny_grpc_vs_mlserver` | the same / MLServer (with `--peers`) |
| `tiny_rest_vs_least`, `tiny_rest_batched_vs_least` | the same / a Python server that checks and counts nothing |
| `least_vs_kserve` | that server / KServe's: what a Python server can gain here at all (with `--peers`) |
| `tiny_cpu_us`, `least_cpu_us`, `echo_cpu_us` | CPU time a request, 8 connections: one by one, least, an echo |
| `tiny_rest_per_s`, `tiny_rest_c32_per_s`, `tiny_grpc_per_s` | requests a second: JSON 8, 32, gRPC 8 connections |
| `tiny_added_p50_ms` | median time of a request at one connection, less the engine's call |
| `ready_s` | from the start of the process to the first 200 of /v2/health/ready, compiled model in the cache |
| `rss_mib` | resident memory with EfficientNet-Lite0 after 8 clients with binary tensors, REST only |
| `rss_pictures_mib` | the same after pictures, with OpenCV loaded |
| `load_agreement_rest`, `load_agreement_grpc` | what the Python clients measure / what `wrk`, `h2load` measure |
| `load_average`, `load_generators` | of the machine at the end; which were used |
| `client_limited` | measurements in which the load generator's core was full |

`server_grpc.py` looks at gRPC more closely.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # `make bench` starts this without the script's own directory

from benchmarks.model_server import grpc_load
from benchmarks.model_server.engine import classifier, picture_tensor, tiny_model
from benchmarks.model_server.json_parsing import measure_json
from benchmarks.model_server.load import (
    ESPRESSO,
    SERVER_CORE,
    Case,
    is_espresso,
    is_softmax,
    on_core,
    request_of,
    run_case,
    tensor_requests,
)
from benchmarks.model_server.report import Report, Tools, tools
from benchmarks.model_server.servers import Server, serving, serving_kserve, serving_least, serving_mlserver

_TURNS = 3  # a model of 10 ms and its limit take turns, or a machine's mood would be the greater difference


class Files:
    """Models and requests."""

    def __init__(self, directory: Path) -> None:
        self.model = classifier()
        self.xml = self.model / "model" / "1" / "model.xml"
        self.picture = self.model / "coffee.jpg"
        self.tiny = tiny_model(directory / "tiny")
        row = np.array([[1, 2, 3, 4]], np.float32)
        self.tiny_json, self.tiny_binary = tensor_requests("x", row)
        self.tiny_message = grpc_load.request_of("x", row)
        pixels = np.ascontiguousarray(picture_tensor(self.picture.read_bytes()).transpose(0, 3, 1, 2))
        self.large_json, self.large_binary = tensor_requests("0", pixels)
        self.large_message = grpc_load.request_of("0", pixels)
        self.jpeg = request_of(self.picture.read_bytes(), content_type="image/jpeg")


class Round:
    """One measurement of everything, each limit and each peer beside what is compared with it."""

    def __init__(self, report: Report, files: Files, seconds: float, tools: Tools) -> None:
        self._report = report
        self._files = files
        self._seconds = seconds
        self._tools = tools

    def run(self, *, peers: bool) -> None:
        self._small(peers=peers)
        self._tiny_as_shipped()
        self._efficientnet()
        self._jpeg()
        with on_core(SERVER_CORE):
            found = measure_json(self._seconds)
        for name, figure in found.items():
            self._report.add(f"json parsing {name}", figure)

    def _small(self, *, peers: bool) -> None:
        """One row at a time, as the peers do it."""
        files = self._files
        with serving(files.tiny, "--max_batch_size=1", grpc=True) as server:
            self._rest("tiny unbatched c8", server, files.tiny_json, 8)
            self._grpc("tiny grpc c8", server, files.tiny_message)
        with serving_least(files.tiny / "1" / "model.xml") as server:
            self._rest("least c8", server, files.tiny_json, 8)
        with serving_least("echo") as server:
            self._rest("echo c8", server, files.tiny_json, 8)
        if not peers:
            return
        with serving_kserve(files.tiny) as server:
            self._rest("kserve c8", server, files.tiny_json, 8)
            self._rest("kserve c32", server, files.tiny_json, 32)
        with serving_kserve(files.tiny, grpc=True) as server:
            self._grpc("kserve grpc c8", server, files.tiny_message)
        with serving_mlserver(files.tiny) as server:
            self._rest("mlserver c8", server, files.tiny_json, 8)
            self._grpc("mlserver grpc c8", server, files.tiny_message)

    def _tiny_as_shipped(self) -> None:
        files, report = self._files, self._report
        with serving(files.tiny, grpc=True) as server:
            report.limit("tiny", "tiny", self._seconds, files.tiny / "1" / "model.xml")
            self._rest("tiny json c1", server, files.tiny_json, 1)
            self._rest("tiny json c8", server, files.tiny_json, 8)
            if self._tools.rest != "python":
                self._rest("tiny json c8 by python", server, files.tiny_json, 8, "python")
            self._rest("tiny json c32", server, files.tiny_json, 32)
            self._rest("tiny binary c8", server, files.tiny_binary, 8)
            if self._tools.grpc != "python":
                self._grpc("tiny grpc shipped c8", server, files.tiny_message)
                self._grpc("tiny grpc c8 by python", server, files.tiny_message, "python")

    def _efficientnet(self) -> None:
        files, report = self._files, self._report
        with serving(files.model / "model") as server:
            for turn in range(_TURNS):
                report.limit("efficientnet", "efficientnet", self._seconds, files.xml)
                self._rest("efficientnet binary c8", server, files.large_binary, 8)
                if not turn:
                    report.add("rss", server.memory_mib())
                self._rest("efficientnet json c8", server, files.large_json, 8)
        with serving(files.model / "model", grpc=True) as server:
            for _ in range(_TURNS):
                report.limit("efficientnet grpc", "efficientnet", self._seconds, files.xml)
                self._grpc("efficientnet grpc c8", server, files.large_message)

    def _jpeg(self) -> None:
        files = self._files
        with serving(files.model / "model", "--layout=NHWC:NCHW") as server:
            for _ in range(_TURNS):
                self._report.limit("jpeg", "jpeg", self._seconds, files.xml, files.picture)
                self._rest("jpeg c8", server, files.jpeg, 8)
            self._report.add("rss pictures", server.memory_mib())

    def _rest(self, name: str, server: Server, request: bytes, connections: int, tool: str | None = None) -> None:
        check = is_softmax if request in {self._files.tiny_json, self._files.tiny_binary} else is_espresso
        case = Case(name, request, connections, check)
        self._report.note(name, run_case(server, case, self._seconds, tool or self._tools.rest))

    def _grpc(self, name: str, server: Server, message: bytes, tool: str | None = None) -> None:
        assert server.grpc
        values = grpc_load.values_of(grpc_load.ask(server.grpc, message))
        if message == self._files.large_message:
            assert int(values.argmax()) == ESPRESSO
        else:
            assert abs(float(values.sum()) - 1) < 1e-5
        self._report.note(name, grpc_load.run_case(server, message, 8, self._seconds, tool or self._tools.grpc))


def measure_ready(report: Report, files: Files, cache: Path, times: int) -> None:
    """Start with a warm cache; the first start fills it."""
    for number in range(times + 1):
        with serving(files.model / "model", f"--cache_dir={cache}") as server:
            if number:
                report.add("ready", server.ready_seconds)
    report.say(f"  ready after {report.median('ready'):.3f} s")


_RATIOS = {
    "efficientnet_rest_vs_limit": ("efficientnet binary c8", "efficientnet limit"),
    "efficientnet_grpc_vs_limit": ("efficientnet grpc c8", "efficientnet grpc limit"),
    "efficientnet_json_vs_limit": ("efficientnet json c8", "efficientnet limit"),
    "jpeg_vs_loop": ("jpeg c8", "jpeg limit"),
    "json_parse_vs_json": ("json parsing ours", "json parsing json"),
    "json_parse_full_vs_json": ("json parsing ours full", "json parsing json full"),
    "tiny_rest_vs_limit": ("tiny json c8", "tiny limit"),
    "tiny_rest_binary_vs_limit": ("tiny binary c8", "tiny limit"),
    "tiny_rest_vs_kserve": ("tiny unbatched c8", "kserve c8"),
    "tiny_rest_batched_vs_kserve": ("tiny json c32", "kserve c32"),
    "tiny_grpc_vs_kserve": ("tiny grpc c8", "kserve grpc c8"),
    "tiny_rest_vs_least": ("tiny unbatched c8", "least c8"),
    "tiny_rest_batched_vs_least": ("tiny json c32", "least c8"),
    "least_vs_kserve": ("least c8", "kserve c8"),
    "tiny_rest_vs_mlserver": ("tiny unbatched c8", "mlserver c8"),
    "tiny_grpc_vs_mlserver": ("tiny grpc c8", "mlserver grpc c8"),
    "load_agreement_rest": ("tiny json c8 by python", "tiny json c8"),
    "load_agreement_grpc": ("tiny grpc c8 by python", "tiny grpc shipped c8"),
}


def summary(report: Report) -> dict[str, float]:
    exact = {name: report.ratio(*pair) for name, pair in _RATIOS.items() if set(pair) <= set(report.figures)}
    exact |= {
        "tiny_rest_per_s": report.median("tiny json c8"),
        "tiny_rest_c32_per_s": report.median("tiny json c32"),
        "tiny_grpc_per_s": report.median("tiny grpc c8"),
        "tiny_cpu_us": report.median("tiny unbatched c8 cpu"),
        "least_cpu_us": report.median("least c8 cpu"),
        "echo_cpu_us": report.median("echo c8 cpu"),
        "tiny_added_p50_ms": report.median("tiny json c1 p50") - report.median("tiny limit p50"),
        "ready_s": report.median("ready"),
        "rss_mib": max(report.figures["rss"]),
        "rss_pictures_mib": max(report.figures["rss pictures"]),
    }
    return {name: round(value, 3) for name, value in exact.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the model server against the engine alone, and its peers.")
    parser.add_argument("--quick", action="store_true", help="one short round, about a minute")
    parser.add_argument("--peers", action="store_true", help="also measure KServe's server and MLServer; installs them")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end, and nothing else")
    parser.add_argument("--load", choices=["auto", "python"], default="auto", help="wrk and h2load if there, or not")
    parser.add_argument("--seconds", type=float, default=0.0, help="length of one measurement")
    options = parser.parse_args()
    seconds = options.seconds or (1.0 if options.quick else 3.0)
    report, generators = Report(quiet=options.json), tools(options.load)
    report.circumstances(generators, seconds)
    with tempfile.TemporaryDirectory() as directory:
        files = Files(Path(directory))
        for number in range(1 if options.quick else 3):
            report.say(f"round {number + 1}")
            Round(report, files, seconds, generators).run(peers=options.peers)
        measure_ready(report, files, Path(directory) / "cache", 3 if options.quick else 7)
    figures: dict[str, Any] = summary(report)
    report.end(figures)
    if options.json:
        about = {"load_average": round(os.getloadavg()[0], 2), "load_generators": [generators.rest, generators.grpc]}
        print(json.dumps(figures | about | {"client_limited": sorted(report.limited)}))


if __name__ == "__main__":
    main()
