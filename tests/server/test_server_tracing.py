"""Traces: a real server, a collector that reads OTLP over a real socket, and what happens when it does not."""

import gzip
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server import harness
from tests.server.harness import Server, free_place, serving
from tests.server_grpc.served import infer as grpc_infer
from tests.server_grpc.served import request as grpc_request

from skerry.server.errors import StartError
from skerry.server.metrics import Counter
from skerry.server.tracing.exporter import Exporter
from skerry.server.tracing.settings import endpoint_of, read_settings
from skerry.server.tracing.span import Span, SpanKind, read_context

ASK = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Takes OTLP/HTTP with JSON and keeps the spans."""

    def __init__(self, status: int = 200) -> None:
        self.spans: list[dict[str, Any]] = []
        self.resources: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.status = status
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.take(self.path, dict(self.headers), body)
                self.send_response(outer.status)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer((free_place()[0], 0), Handler)
        self.server.daemon_threads = True
        address, port = self.server.server_address[:2]
        self.url = f"http://{address!s}:{port}"

    def take(self, path: str, headers: dict[str, str], body: bytes) -> None:
        assert path == "/v1/traces"
        assert headers["Content-Type"] == "application/json"
        self.headers.append(headers)
        document = json.loads(gzip.decompress(body) if headers.get("Content-Encoding") == "gzip" else body)
        for resource in document["resourceSpans"]:
            self.resources.append(values(resource["resource"]["attributes"]))
            for scope in resource["scopeSpans"]:
                assert scope["scope"]["name"] == "skerry.server"
                for span in scope["spans"]:
                    assert len(bytes.fromhex(span["traceId"])) == 16
                    assert len(bytes.fromhex(span["spanId"])) == 8
                    assert abs(int(span["startTimeUnixNano"]) / 1e9 - time.time()) < 60
                    assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
                    self.spans.append(span)

    def wait(self, count: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 10
        while len(self.spans) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        taken, self.spans = self.spans, []
        assert len(taken) == count, [span["name"] for span in taken]
        return taken


def values(attributes: list[dict[str, Any]]) -> dict[str, str]:
    return {each["key"]: next(iter(each["value"].values())) for each in attributes}


@contextmanager
def collecting(status: int = 200) -> Iterator[Collector]:
    collector = Collector(status)
    thread = threading.Thread(target=collector.server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        collector.server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@pytest.fixture(scope="module")
def target() -> str:
    address, port = free_place()
    return f"{address}:{port}"


@pytest.fixture(scope="module")
def traced(room: Path, collector: Collector, target: str) -> Iterator[Server]:
    """Merges rows, has both interfaces, and sends its spans soon."""
    model = harness.save(harness.iris((-1, 4)), room / "traced")
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url + "/",
        "OTEL_SERVICE_NAME": "bees",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test,a=b%20c",
        "OTEL_EXPORTER_OTLP_HEADERS": "x-team=edge",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_BSP_SCHEDULE_DELAY": "20",
    }
    patch = pytest.MonkeyPatch()
    for name, value in environment.items():
        patch.setenv(name, value)
    address, _, port = target.partition(":")
    options = ("--metrics_enable", f"--port={port}", f"--grpc_bind_address={address}")
    with serving(room, model, *options) as server:
        patch.undo()
        assert 'skerry_trace_spans_dropped{exporter="otlp_http"} 0' in server.get("/metrics").body.decode()
        yield server


def by_name(spans: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {span["name"]: span for span in spans}


def test_a_request_and_its_parts(traced: Server, collector: Collector) -> None:
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
    assert traced.infer(ASK, headers=headers).status == 200
    spans = collector.wait(3)
    assert {span["traceId"] for span in spans} == {TRACE}
    assert {span["traceState"] for span in spans} == {"vendor=1"}
    named = by_name(spans)
    request, queue, inference = (named[name] for name in ("POST /v2/models/{model_name}/infer", "queue", "inference"))
    assert (request["parentSpanId"], request["kind"]) == (PARENT, 2)
    assert queue["parentSpanId"] == inference["parentSpanId"] == request["spanId"]
    assert (queue["kind"], inference["kind"]) == (1, 1)
    assert int(request["startTimeUnixNano"]) <= int(queue["startTimeUnixNano"])
    assert queue["endTimeUnixNano"] == inference["startTimeUnixNano"]
    assert int(inference["endTimeUnixNano"]) <= int(request["endTimeUnixNano"])
    assert values(request["attributes"]) == {
        "http.request.method": "POST",
        "http.route": "/v2/models/{model_name}/infer",
        "url.path": "/v2/models/tiny/infer",
        "http.response.status_code": "200",
        "skerry.model.name": "tiny",
        "skerry.model.version": "1",
    }
    assert collector.resources[-1] == {"service.name": "bees", "deployment.environment": "test", "a": "b c"}
    assert collector.headers[-1]["x-team"] == "edge"


def test_without_a_parent_a_trace_begins(traced: Server, collector: Collector) -> None:
    for headers in ({}, {"traceparent": "00-nonsense"}):
        traced.infer(ASK, headers=headers)
        spans = collector.wait(3)
        assert len({span["traceId"] for span in spans}) == 1
        assert "parentSpanId" not in by_name(spans)["POST /v2/models/{model_name}/infer"]


def test_a_client_may_ask_for_none(traced: Server, collector: Collector) -> None:
    assert traced.infer(ASK, headers={"traceparent": f"00-{TRACE}-{PARENT}-00"}).status == 200
    traced.get("/v2/health/ready")
    traced.get("/metrics")
    traced.get("/v2/models/tiny")
    assert [span["name"] for span in collector.wait(1)] == ["GET /v2/models/{model_name}"]


def test_requests_that_are_merged(traced: Server, collector: Collector) -> None:
    body = json.dumps(ASK).encode()
    one = b"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    connections = [traced.connect() for _ in range(8)]
    for connection in connections:
        connection.sendall(one)
    for connection in connections:
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200")
        connection.close()
    spans = collector.wait(24)
    assert len({span["traceId"] for span in spans}) == 8
    for span in spans:
        assert int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"]) < 5e9


def test_mistakes_and_compressed_bodies(traced: Server, collector: Collector) -> None:
    traced.infer(b"{")
    [span] = collector.wait(1)
    assert values(span["attributes"])["http.response.status_code"] == "400"
    assert "status" not in span  # the client's mistake is not the server's error
    big = json.dumps(ASK | {"id": "i" * (1 << 19)}).encode()
    assert traced.infer(gzip.compress(big), headers={"Content-Encoding": "gzip"}).status == 200
    assert len({span["traceId"] for span in collector.wait(3)}) == 1


def test_grpc(traced: Server, collector: Collector, target: str) -> None:
    with grpc.insecure_channel(target) as channel:
        given = {"timeout": 10, "metadata": [("traceparent", f"00-{TRACE}-{PARENT}-01")]}
        grpc_infer(channel)(grpc_request(np.ones((2, 4))), **given)
        named = by_name(collector.wait(3))
        call = named["inference.GRPCInferenceService/ModelInfer"]
        assert (call["traceId"], call["parentSpanId"]) == (TRACE, PARENT)
        assert named["inference"]["parentSpanId"] == call["spanId"]
        with pytest.raises(grpc.RpcError):
            grpc_infer(channel)(grpc_request(np.ones((2, 4)), name="nobody"), **given)
        [failed] = collector.wait(1)
        assert failed["status"]["code"] == 2
        assert "nobody" in failed["status"]["message"]


def test_the_last_spans_are_sent_at_the_end(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting() as made:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{made.url}/v1/traces")
        with serving(room, room / "traced") as server:
            server.infer(ASK)
            assert server.stop() == 0
        assert made.resources[-1] == {"service.name": "skerry"}
        made.wait(3)


def test_off_means_not_even_imported(tiny: Server) -> None:
    assert "skerry_trace" not in tiny.get("/metrics").body.decode()
    words = ["-c", "import skerry.server.serving, sys; print([n for n in sys.modules if 'tracing' in n])"]
    assert harness.run_to_end(sys.executable, *words).stdout == "[]\n"


def test_a_wrong_endpoint_ends_the_start(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317")
    done = harness.run_to_end(*harness.command(room / "traced"))
    assert done.returncode == 1
    assert done.stderr.startswith("cannot send traces to collector:4317/v1/traces: OTEL_EXPORTER_OTLP_ENDPOINT")


# The exporter, whose collector is slow, broken or gone.


def span(name: str = "s") -> Span:
    return Span("1" * 32, "2" * 16, "", "", name, SpanKind.INTERNAL, time.perf_counter(), time.perf_counter())


def settings(endpoint: str, **more: str) -> Any:
    return read_settings({"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "10", **more})


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    with collecting() as made:
        dropped = Counter()
        more = {
            "OTEL_BSP_MAX_QUEUE_SIZE": "10",
            "OTEL_BSP_SCHEDULE_DELAY": "60000",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4",
        }
        exporter = Exporter(settings(made.url, **more | {"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "100"}), dropped)
        began = time.perf_counter()
        for _ in range(1000):
            exporter.add(span())
        assert time.perf_counter() - began < 1
        assert dropped.value == 990
        exporter.close(5)
        made.wait(10)


def test_a_collector_that_refuses_or_is_gone() -> None:
    dropped = Counter()
    with collecting(400) as made:
        exporter = Exporter(settings(made.url), dropped)
        exporter.add(span(), span())
        made.wait(2)
        exporter.close(5)
        assert dropped.value == 2
    exporter = Exporter(settings(made.url), dropped)  # nobody listens there any more
    exporter.add(span())
    exporter.close(5)
    assert dropped.value == 3


def test_a_collector_that_is_busy_is_asked_again() -> None:
    dropped = Counter()
    with collecting(503) as made:
        exporter = Exporter(settings(made.url), dropped)
        exporter.add(span())
        made.wait(1)
        made.status = 200
        made.wait(1)
        exporter.close(5)
    assert dropped.value == 0


# What the environment and clients say.


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t/x"}, "http://t/x"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_TRACES_EXPORTER": "none"}, ""),
    ],
)
def test_endpoints(environment: dict[str, str], endpoint: str) -> None:
    assert endpoint_of(environment) == endpoint


@pytest.mark.parametrize(
    ("sampler", "argument", "ratio", "follows"),
    [
        (None, None, 1.0, True),
        ("always_off", None, 0.0, False),
        ("parentbased_traceidratio", "0.25", 0.25, True),
        ("traceidratio", None, 1.0, False),
    ],
)
def test_samplers(sampler: str | None, argument: str | None, ratio: float, follows: bool) -> None:
    given = {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument}
    found = settings("http://c", **{name: value for name, value in given.items() if value})
    assert (found.ratio, found.follow_parent) == (ratio, follows)


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_TRACES_SAMPLER": "jaeger_remote"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
        {"OTEL_BSP_SCHEDULE_DELAY": "soon"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "-1"},
    ],
)
def test_what_makes_no_sense(environment: dict[str, str]) -> None:
    with pytest.raises(StartError, match="OTEL_"):
        settings("http://c", **environment)


@pytest.mark.parametrize(
    ("header", "sampled"),
    [
        (f"00-{TRACE}-{PARENT}-01", True),
        (f"00-{TRACE}-{PARENT}-00", False),
        (f"cc-{TRACE}-{PARENT}-03-what-comes-later", True),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}", None),
    ],
)
def test_traceparent(header: str, sampled: bool | None) -> None:
    found = read_context(header.encode(), b"a=b")
    assert (found and found.sampled) is sampled


@given(st.binary(max_size=80), st.binary())
def test_any_bytes_as_traceparent(header: bytes, state: bytes) -> None:
    read_context(header, state)
