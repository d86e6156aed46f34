"""How much of a core the model server leaves to the model.

The server has one core to itself and the load another. Every figure is a ratio to the same OpenVINO call in a bare loop
on the server's core, measured in the same round, because a machine's speed changes from minute to minute. The server
runs as it is shipped: checks, limits, time-outs, metrics and logs are on. Every answer's status and length are checked,
and one answer of each kind is compared with what the model must say.

    python benchmarks/server.py [--quick] [--json]

The last line of `--json` is one object:

| key | what it is |
|---|---|
| `efficientnet_rest_vs_limit` | EfficientNet-Lite0, binary tensors, 8 connections / OpenVINO alone |
| `efficientnet_json_vs_limit` | the same with JSON tensors of 1.5 MB |
| `jpeg_vs_loop` | JPEG in, class out, 8 connections / a loop that decodes, resizes and infers |
| `tiny_rest_vs_limit` | a model of 4 x 3 numbers, JSON, one row a request, 8 connections / OpenVINO alone |
| `tiny_rest_binary_vs_limit` | the same with binary tensors |
| `tiny_rest_per_s`, `tiny_rest_c32_per_s` | requests a second, JSON, 8 and 32 connections |
| `tiny_added_p50_ms` | median time of a request at one connection, less the engine's call |
| `ready_s` | from the start of the process to the first 200 of /v2/health/ready, compiled model in the cache |
| `rss_mib` | resident memory with EfficientNet-Lite0 after 8 clients with binary tensors |
| `rss_pictures_mib` | the same after pictures, with OpenCV loaded |
"""

import argparse
import asyncio
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import uvloop

sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # it reports imports to its vendor

import openvino as ov  # noqa: E402
from openvino import opset13 as ops  # noqa: E402
from openvino.preprocess import PrePostProcessor  # noqa: E402

ROOT: Final = Path(__file__).parents[1]
CORES: Final = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
ESPRESSO: Final = 967


# The models.


def classifier() -> Path:
    """Build the example's classifier; its downloads are kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "skerry", "efficientnet")
    out = cache / "benchmark"
    build = [sys.executable, str(ROOT / "examples/efficientnet/build.py"), "--out", str(out), "--cache", str(cache)]
    subprocess.run(build, check=True, timeout=600, stdout=subprocess.DEVNULL)
    return out


def tiny_model(directory: Path) -> Path:
    """Four numbers to three: only overhead."""
    x = ops.parameter([1, 4], np.float32, name="x")
    x.output(0).set_names({"x"})
    weights = ops.constant(np.arange(12, dtype=np.float32).reshape(4, 3) / 10)
    y = ops.softmax(ops.matmul(x, weights, transpose_a=False, transpose_b=False), axis=1)
    y.output(0).set_names({"y"})
    (directory / "1").mkdir(parents=True)
    ov.save_model(ov.Model([ops.result(y)], [x], "tiny"), directory / "1" / "model.xml")
    return directory


def picture_tensor(picture: bytes) -> Any:
    """What the server makes of a picture."""
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return cv2.resize(pixels.astype(np.float32), (224, 224))[None]


# The limit: the same engine call, with nothing around it.


class Engine:
    """A compiled model with preset tensors, called in the cheapest way there is."""

    def __init__(self, xml: Path, *, pictures: bool = False) -> None:
        core = ov.Core()
        model = core.read_model(xml)
        if pictures:
            processor = PrePostProcessor(model)
            processor.input(0).tensor().set_layout(ov.Layout("NHWC"))
            processor.input(0).model().set_layout(ov.Layout("NCHW"))
            model = processor.build()
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
        self._request = core.compile_model(model, "CPU", options).create_infer_request()
        port = self._request.model_inputs[0]
        self._tensor = ov.Tensor(port.element_type, port.shape)
        self._request.set_input_tensor(0, self._tensor)
        self._call = super(ov.InferRequest, self._request).infer  # type: ignore[misc]
        self.input: Any = self._tensor.data

    def infer(self) -> None:
        self._call({}, share_outputs=True, decode_strings=False)


def limit_of(kind: str, files: Sequence[str], seconds: float) -> dict[str, float]:
    """Run in a process of its own, on the server's core."""
    engine = Engine(Path(files[0]), pictures=kind == "jpeg")
    work: Callable[[], None] = engine.infer
    if kind == "jpeg":
        cv2.setNumThreads(1)
        picture = Path(files[1]).read_bytes()

        def work() -> None:
            engine.input[:] = picture_tensor(picture)
            engine.infer()

    for _ in range(5):
        work()
    times = []
    deadline = time.perf_counter() + seconds
    start = before = time.perf_counter()
    while before < deadline:
        work()
        now = time.perf_counter()
        times.append(now - before)
        before = now
    return {"rate": len(times) / (before - start), "p50_ms": statistics.median(times) * 1000}


def measure_limit(kind: str, seconds: float, *files: Path) -> dict[str, float]:
    words = [sys.executable, __file__, "--limit", kind, "--seconds", str(seconds), *map(str, files)]
    with on_core(SERVER_CORE):
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate(timeout=seconds + 60)
    measured: dict[str, float] = json.loads(out)
    return measured


# The server.


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Processes that are started inside stay on this core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass
class Server:
    """A running server."""

    process: "subprocess.Popen[bytes]"
    address: tuple[str, int]
    ready_seconds: float

    def ask(self, body: bytes, headers: dict[str, str]) -> bytes:
        connection = http.client.HTTPConnection(*self.address, timeout=30)
        connection.request("POST", "/v2/models/m/infer", body, headers)
        reply = connection.getresponse()
        data = reply.read()
        connection.close()
        assert reply.status == 200, data
        return data

    def memory_mib(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def serving(model: Path, *options: str) -> Iterator[Server]:
    """A server on its core, ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address: tuple[str, int] = probe.getsockname()
    words = [sys.executable, "-m", "skerry.server", "--model_name=m", f"--model_path={model}", "--metrics_enable"]
    words += [f"--rest_bind_address={address[0]}", f"--rest_port={address[1]}", "--drain_seconds=0", *options]
    with on_core(SERVER_CORE):
        start = time.perf_counter()
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    try:
        wait_until_ready(process, address)
        yield Server(process, address, time.perf_counter() - start)
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_until_ready(process: "subprocess.Popen[bytes]", address: tuple[str, int]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            connection = http.client.HTTPConnection(*address, timeout=5)
            connection.request("GET", "/v2/health/ready")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.005)
    raise TimeoutError("the server is not ready after 60 s")


# The load.


@dataclass
class Load:
    """Lock-step clients: each sends its next request when it has the whole answer."""

    request: bytes
    answer_bytes: int
    running: bool = True
    times: list[float] = field(default_factory=list)


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._missing = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        self._missing = self._load.answer_bytes
        self._sent_at = time.perf_counter()
        self._transport.write(self._load.request)

    def data_received(self, data: bytes) -> None:
        if self._missing == self._load.answer_bytes and not data.startswith(b"HTTP/1.1 200"):
            raise AssertionError(data[:300])
        self._missing -= len(data)
        assert self._missing >= 0, "an answer is longer than the first one was"
        if not self._missing:
            self._load.times.append(time.perf_counter() - self._sent_at)
            if self._load.running:
                self._send()


async def drive(address: tuple[str, int], load: Load, connections: int, seconds: float) -> float:
    """Return requests a second, after a moment to warm up."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Client(load), *address) for _ in range(connections)]
    await asyncio.sleep(min(0.5, seconds / 4))
    load.times.clear()
    start = time.perf_counter()
    await asyncio.sleep(seconds)
    rate = len(load.times) / (time.perf_counter() - start)
    load.running = False
    for transport, _ in made:
        transport.abort()
    return rate


def request_of(body: bytes, header_length: int | None = None, content_type: str = "") -> bytes:
    lines = ["POST /v2/models/m/infer HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"inference-header-content-length: {header_length}"] if header_length is not None else []
    lines += [f"content-type: {content_type}"] if content_type else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def answer_size(address: tuple[str, int], request: bytes) -> tuple[int, bytes]:
    """The length of the whole answer and its body; the same request always gets the same answer."""
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(request)
        data = b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(65536)
        head, _, body = data.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), data
        length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
        while len(body) < length:
            body += connection.recv(65536)
    return len(head) + 4 + length, body


@dataclass(frozen=True)
class Case:
    """A kind of request, at some number of connections."""

    name: str
    request: bytes
    connections: int
    check: Callable[[bytes], None]


def run_case(server: Server, case: Case, seconds: float) -> tuple[float, float]:
    """Requests a second, and the median time of one in milliseconds."""
    size, body = answer_size(server.address, case.request)
    case.check(body)
    load = Load(case.request, size)
    with on_core(LOAD_CORE), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rate = runner.run(drive(server.address, load, case.connections, seconds))
    return rate, statistics.median(load.times) * 1000


def tensor_requests(name: str, values: Any) -> tuple[bytes, bytes]:
    """The same tensor as a JSON request, and as a binary one that wants a binary answer."""
    tensor: dict[str, Any] = {"name": name, "shape": list(values.shape), "datatype": "FP32"}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    # Four decimals, as a client that looks after its bandwidth sends; all digits would make the JSON twice as long.
    data = np.round(values.reshape(-1).astype(np.float64), 4).tolist()
    as_json = json.dumps({"inputs": [tensor | {"data": data}]}).encode()
    return request_of(as_json), request_of(header + values.astype("<f4").tobytes(), len(header))


def values_of(body: bytes, count: int) -> Any:
    """The first output, however it is encoded."""
    if b"binary_data_size" in body:
        return np.frombuffer(body[-4 * count :], "<f4")
    return np.array(json.loads(body)["outputs"][0]["data"])


def is_espresso(body: bytes) -> None:
    values = values_of(body, 1000)
    assert int(values.argmax()) == ESPRESSO
    assert values.max() > 0.85


def is_softmax(body: bytes) -> None:
    assert abs(float(values_of(body, 3).sum()) - 1) < 1e-5


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


def round_of(report: Report, files: "Files", seconds: float) -> None:
    """One measurement of everything, each limit beside what is compared with it."""
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


def run_cases(report: Report, server: Server, cases: Sequence[Case], seconds: float) -> None:
    for case in cases:
        note(report, case.name, *run_case(server, case, seconds))


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
    return {name: round(value, 3) for name, value in exact.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the model server against the engine alone.")
    parser.add_argument("--quick", action="store_true", help="one short round, under a minute")
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
            round_of(report, files, seconds)
        measure_ready(report, files, Path(directory) / "cache", 3 if options.quick else 7)
    figures = summary(report)
    for name, value in figures.items():
        report.say(f"{name:<28}{value:>12}")
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
