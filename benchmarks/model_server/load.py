"""REST: the requests that are sent, and lock-step clients in Python for where `wrk` is not installed."""

import asyncio
import dataclasses
import json
import os
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import uvloop
from benchmarks.model_server.measured import Measured, by_wrk, cpu_seconds

if TYPE_CHECKING:
    from benchmarks.model_server.servers import Server

CORES: Final = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
ESPRESSO: Final = 967


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
class Load:
    """Lock-step clients: each sends its next request when it has the whole answer."""

    request: bytes
    answer_bytes: int
    running: bool = True
    answered: int = 0
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
            self._load.answered += 1
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


def run_case(server: "Server", case: Case, seconds: float, tool: str) -> Measured:
    """Check one answer, warm up, and ask the same again and again from the load's core."""
    size, body = answer_size(server.address, case.request)
    case.check(body)
    with on_core(LOAD_CORE):
        if tool == "wrk":
            by_python(server.address, case.request, size, case.connections, 0.2)
            before = cpu_seconds(server.process.pid)
            found = by_wrk(server.address, case.request, size, case.connections, seconds)
            used = cpu_seconds(server.process.pid) - before
            return dataclasses.replace(found, cpu_us=used / (found.rate * max(round(seconds), 1)) * 1e6)
        before, share = cpu_seconds(server.process.pid), time.process_time()
        found, asked, took = by_python(server.address, case.request, size, case.connections, seconds)
        used = cpu_seconds(server.process.pid) - before
        return dataclasses.replace(found, cpu_us=used / asked * 1e6, client=(time.process_time() - share) / took)


def by_python(
    address: tuple[str, int], request: bytes, answer_bytes: int, connections: int, seconds: float
) -> tuple[Measured, int, float]:
    """What `wrk` does. Also returns how often it asked in all, and for how long."""
    load = Load(request, answer_bytes)
    start = time.perf_counter()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rate = runner.run(drive(address, load, connections, seconds))
    took = time.perf_counter() - start
    times = sorted(load.times)
    p50, p99 = statistics.median(times) * 1000, times[int(len(times) * 0.99)] * 1000
    return Measured(rate, p50, p99, 0.0, 0.0, "python"), load.answered, took


def tensor_requests(name: str, values: Any) -> tuple[bytes, bytes]:
    """The same tensor as a JSON request, and as a binary one that wants a binary answer."""
    tensor: dict[str, Any] = {"name": name, "shape": list(values.shape), "datatype": "FP32"}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    # Four decimals, as a client that looks after its bandwidth sends; all digits would make the JSON twice as long.
    data = np.round(values.reshape(-1).astype(np.float64), 4).tolist()
    as_json = json.dumps({"inputs": [tensor | {"data": data}]}).encode()
    return request_of(as_json, content_type="application/json"), request_of(
        header + values.astype("<f4").tobytes(), len(header)
    )


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
