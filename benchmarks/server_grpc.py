"""What gRPC costs: our server against the engine alone, and against the least that grpc.aio can do with it.

The server has one core to itself and the load another (`h2load` where it is installed, else clients in Python). What is
compared is measured in the same round, one after the other, because a machine's speed changes from minute to minute.
Our server runs as it is shipped (checks, limits, metrics and logs are on), only without batching where its peers have
none; the peers make the same OpenVINO call. One answer of each kind is checked, and the length of the others.

    python benchmarks/server_grpc.py [--quick] [--peers] [--json] [--load python]

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
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # `make bench` starts this without the script's own directory

from benchmarks.model_server.engine import classifier, picture_tensor, tiny_model
from benchmarks.model_server.grpc_load import ask, request_of, run_case, values_of
from benchmarks.model_server.load import ESPRESSO
from benchmarks.model_server.report import Report, tools
from benchmarks.model_server.servers import Server, serving, serving_grpc_aio, serving_kserve

CONNECTIONS: Final = (1, 8, 32)


def run_tiny(report: Report, name: str, server: Server, message: bytes, seconds: float, tool: str) -> None:
    assert server.grpc
    assert abs(float(values_of(ask(server.grpc, message)).sum()) - 1) < 1e-5
    for count in CONNECTIONS:
        report.note(f"{name} c{count}", run_case(server, message, count, seconds, tool))
    report.note(f"{name} streams", run_case(server, message, 1, seconds, tool, streams=32))


def round_of(report: Report, tiny: Path, model: Path, seconds: float, tool: str, *, peers: bool) -> None:
    message = request_of("x", np.array([[1, 2, 3, 4]]))
    with serving(tiny, "--max_batch_size=1", grpc=True) as server:
        run_tiny(report, "tiny", server, message, seconds, tool)
    with serving_grpc_aio(tiny) as server:
        run_tiny(report, "grpc.aio", server, message, seconds, tool)
    if peers:
        with serving_kserve(tiny, grpc=True) as server:
            run_tiny(report, "kserve", server, message, seconds, tool)
    with serving(tiny, grpc=True) as server:
        report.note("tiny batched c32", run_case(server, message, 32, seconds, tool))
    picture = np.ascontiguousarray(picture_tensor((model / "coffee.jpg").read_bytes()).transpose(0, 3, 1, 2))
    large = request_of("0", picture)
    with serving(model / "model", grpc=True) as server:
        assert server.grpc
        with_grpc = server.memory_mib()
        report.limit("efficientnet", "efficientnet", seconds, model / "model" / "1" / "model.xml")
        assert int(values_of(ask(server.grpc, large)).argmax()) == ESPRESSO
        report.note("efficientnet c8", run_case(server, large, 8, seconds, tool))
    with serving(model / "model") as without:
        report.add("rss", with_grpc - without.memory_mib())


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
    parser.add_argument("--load", choices=["auto", "python"], default="auto", help="h2load if there is, or not")
    options = parser.parse_args(arguments)
    seconds, rounds = (1.0, 1) if options.quick else (3.0, 3)
    report, generators = Report(quiet=options.json), tools(options.load)
    report.circumstances(generators, seconds)
    with tempfile.TemporaryDirectory() as directory:
        model, tiny = classifier(), tiny_model(Path(directory) / "tiny")
        for number in range(rounds):
            report.say(f"round {number + 1}")
            round_of(report, tiny, model, seconds, generators.grpc, peers=options.peers)
    figures = summary(report)
    report.end(figures)
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
