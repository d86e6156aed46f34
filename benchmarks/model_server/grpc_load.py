"""Lock-step gRPC clients: HTTP/2 in as few lines as obey the protocol, with the same bytes for every request."""

import asyncio
import dataclasses
import statistics
import struct
import time
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import hpack
import numpy as np
import uvloop
from benchmarks.model_server.grpc_aio_peer import declared
from benchmarks.model_server.load import LOAD_CORE, on_core
from benchmarks.model_server.measured import Measured, by_h2load, cpu_seconds
from benchmarks.model_server.servers import Server

METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
FIELDS: Final = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", METHOD),
    (":authority", "localhost"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
    ("user-agent", "skerry-benchmark"),
]
GREETING: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD: Final = struct.Struct(">HBBBL")
_WORD: Final = struct.Struct(">L")
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_WINDOW: Final = 1 << 30


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2."""
    return _HEAD.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


@dataclass
class GrpcLoad:
    """What every client sends, and how long the answers took."""

    message: bytes
    answer_bytes: int
    running: bool = True
    answered: int = 0
    times: list[float] = field(default_factory=list)

    @property
    def body(self) -> bytes:
        return b"\0" + _WORD.pack(len(self.message)) + self.message


class Client(asyncio.Protocol):
    """One connection with some streams at a time; each asks again when it has its whole answer."""

    def __init__(self, load: GrpcLoad, streams: int) -> None:
        self._load = load
        self._streams = streams
        self._body = load.body
        encoder = hpack.Encoder()
        self._first = encoder.encode(FIELDS)
        self._block = encoder.encode(FIELDS)
        self._stream = -1
        self._window = self._stream_window = 65535
        self._frame_bytes = 16384
        self._began: dict[int, float] = {}
        self._received: dict[int, int] = {}
        self._unsent: dict[int, tuple[int, int]] = {}  # where a body goes on, and its stream's window
        self._rest = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        windows = struct.pack(">HL", 4, _WINDOW)
        self._transport.write(
            GREETING + frame(_SETTINGS, 0, 0, windows) + frame(_WINDOW_UPDATE, 0, 0, _WORD.pack(_WINDOW))
        )

    def _begin(self) -> None:
        self._stream += 2
        stream = self._stream
        self._began[stream] = time.perf_counter()
        self._received[stream] = 0
        block = self._block if stream > 1 else self._first
        size = len(self._body)
        if size <= min(self._window, self._stream_window, self._frame_bytes) and not self._unsent:
            self._window -= size
            self._transport.write(frame(_HEADERS, 4, stream, block) + frame(_DATA, 1, stream, self._body))
        else:
            self._transport.write(frame(_HEADERS, 4, stream, block))
            self._unsent[stream] = (0, self._stream_window)
            self._send()

    def _send(self) -> None:
        for stream in tuple(self._unsent):
            sent, window = self._unsent[stream]
            while size := min(len(self._body) - sent, self._frame_bytes, self._window, window):
                part = self._body[sent : sent + size]
                sent += size
                window -= size
                self._window -= size
                self._transport.write(frame(_DATA, int(sent == len(self._body)), stream, part))
            self._unsent[stream] = (sent, window)
            if sent == len(self._body):
                del self._unsent[stream]

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        position = 0
        while len(data) - position >= 9:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, position)
            end = position + 9 + (high << 8 | low)
            if end > len(data):
                break
            if kind == _DATA:
                self._received[stream] += end - position - 9
            if kind <= _HEADERS:
                if flags & 1:
                    self._ended(stream)
            else:
                self._control(kind, flags, stream, data[position + 9 : end])
            position = end
        self._rest = data[position:]

    def _ended(self, stream: int) -> None:
        now = time.perf_counter()
        received = self._received.pop(stream)
        assert received == self._load.answer_bytes, f"an answer of {received} bytes"
        self._load.times.append(now - self._began.pop(stream))
        self._load.answered += 1
        if self._load.running:
            self._begin()

    def _control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        assert kind not in {_GOAWAY, _RST_STREAM}, payload
        if kind == _SETTINGS and not flags & 1:
            settings = dict(struct.iter_unpack(">HL", payload))
            self._stream_window = settings.get(4, self._stream_window)
            self._frame_bytes = settings.get(5, self._frame_bytes)
            self._transport.write(frame(_SETTINGS, 1, 0))
            for _ in range(self._streams):
                self._begin()
            self._streams = 0
        elif kind == _PING and not flags & 1:
            self._transport.write(frame(_PING, 1, 0, payload))
        elif kind == _WINDOW_UPDATE:
            more = _WORD.unpack(payload)[0]
            if not stream:
                self._window += more
            elif stream in self._unsent:
                sent, window = self._unsent[stream]
                self._unsent[stream] = (sent, window + more)
            self._send()


async def drive(address: tuple[str, int], load: GrpcLoad, connections: int, streams: int, seconds: float) -> float:
    """Return requests a second, after a moment to warm up."""
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Client(load, streams), *address) for _ in range(connections)]
    await asyncio.sleep(min(0.5, seconds / 4))
    load.times.clear()
    start = time.perf_counter()
    await asyncio.sleep(seconds)
    rate = len(load.times) / (time.perf_counter() - start)
    load.running = False
    for transport, _ in made:
        transport.abort()
    return rate


def ask(address: tuple[str, int], message: bytes) -> bytes:
    """One answer, by grpcio: it must be a good one."""
    with grpc.insecure_channel(f"{address[0]}:{address[1]}") as channel:
        answer: bytes = channel.unary_unary(METHOD)(message, timeout=30, wait_for_ready=True)
    return answer


def run_case(
    server: Server, message: bytes, connections: int, seconds: float, tool: str, *, streams: int = 1
) -> Measured:
    """Ask the same again and again, from the load's core."""
    assert server.grpc
    load = GrpcLoad(message, len(ask(server.grpc, message)) + 5)
    with on_core(LOAD_CORE):
        if tool == "h2load":
            by_python(server.grpc, load, connections, streams, 0.2)
            before = cpu_seconds(server.process.pid)
            found = by_h2load(server.grpc, METHOD, load.body, load.answer_bytes, connections, streams, seconds)
            used = cpu_seconds(server.process.pid) - before
            return dataclasses.replace(found, cpu_us=used / (found.rate * max(round(seconds), 1)) * 1e6)
        before, share, start = cpu_seconds(server.process.pid), time.process_time(), time.perf_counter()
        found = by_python(server.grpc, load, connections, streams, seconds)
        used = cpu_seconds(server.process.pid) - before
        client = (time.process_time() - share) / (time.perf_counter() - start)
        return dataclasses.replace(found, cpu_us=used / load.answered * 1e6, client=client)


def by_python(address: tuple[str, int], load: GrpcLoad, connections: int, streams: int, seconds: float) -> Measured:
    """What `h2load` does."""
    load.running = True
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        rate = runner.run(drive(address, load, connections, streams, seconds))
    times = sorted(load.times)
    return Measured(rate, statistics.median(times) * 1000, times[int(len(times) * 0.99)] * 1000, 0.0, 0.0, "python")


# Messages, by protobuf's own library.


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
