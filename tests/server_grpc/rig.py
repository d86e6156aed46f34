"""A connection without a socket: frames in, frames out, and a clock that stands still until it is told to go on."""

import asyncio
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

import hpack

from skerry.server.grpc.h2 import frames
from skerry.server.grpc.h2.connection import Connection
from skerry.server.grpc.h2.errors import ErrorCode
from skerry.server.grpc.h2.heads import RequestHead
from skerry.server.grpc.h2.listener import Listener, Service
from skerry.server.grpc.h2.outbound import Buffer
from skerry.server.grpc.h2.stream import Stream

PATH = "/test.Service/Method"
REQUEST = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", PATH),
    (":authority", "localhost"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
]
BLOCK = b"\x88\x00\x01x\x01y"  # :status 200 and x: y
HANDSHAKE = frames.PREFACE + frames.settings({}) + frames.frame(frames.SETTINGS, frames.ACK, 0)


@dataclass
class Frame:
    """A frame that the server wrote."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> ErrorCode:
        """Why a stream or the connection ended."""
        return ErrorCode(frames.word(self.payload, 4 if self.kind == frames.GOAWAY else 0))


def read_frames(data: bytes) -> Iterator[Frame]:
    """Split what was written."""
    position = 0
    while position < len(data):
        high, low, kind, flags, stream = frames.unpack_head(data, position)
        end = position + frames.HEAD_BYTES + (high << 8 | low)
        assert end <= len(data), "half a frame was written"
        yield Frame(kind, flags, stream, data[position + frames.HEAD_BYTES : end])
        position = end


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.writes = 0
        self.in_buffer = 0
        self.closed = False
        self.aborted = False
        self.ended = False
        self._reading = True

    def write(self, data: Buffer | bytearray) -> None:
        assert not self.ended, "written behind the end"
        self.writes += 1
        self.written += data

    def writelines(self, parts: "list[Buffer]") -> None:  # type: ignore[override]
        self.write(b"".join(parts))

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def get_write_buffer_size(self) -> int:
        return self.in_buffer

    def is_reading(self) -> bool:
        return self._reading

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True


class Recorder(Stream):
    """A stream that notes what happens to it, and does nothing by itself."""

    def __init__(self, connection: Connection, stream_id: int, head: RequestHead) -> None:
        super().__init__(connection, stream_id, head)
        self._body = bytearray()
        self.opened = False
        self.ends = 0
        self.lost = False

    @property
    def body(self) -> bytes:
        return bytes(self._body)

    def on_open(self) -> None:
        self.opened = True

    def on_data(self, chunk: Buffer, *, ended: bool) -> None:
        assert not self.closed
        self._body += chunk
        self.ends += ended
        self.let_in()

    def on_close(self) -> None:
        assert not self.lost
        self.lost = True

    def reply(self, data: bytes = b"") -> None:
        """Answer at once."""
        self.start(BLOCK)
        if data:
            self.send([data], len(data))
        self.finish(BLOCK)


@dataclass
class Rig:
    """One connection and its far end."""

    service: Service = Recorder
    most_body: int = 1 << 20
    listener: Listener = field(init=False)
    connection: Connection = field(init=False)
    wire: Wire = field(init=False)
    encoder: hpack.Encoder = field(default_factory=hpack.Encoder)
    streams: dict[int, Stream] = field(default_factory=dict)
    lost: bool = False

    def __post_init__(self) -> None:
        def service(connection: Connection, stream_id: int, head: RequestHead) -> Stream:
            stream = self.streams[stream_id] = self.service(connection, stream_id, head)
            return stream

        self.listener = Listener(service, most_body=self.most_body, most_buffered=2 * self.most_body)
        self.connect()

    def connect(self) -> None:
        self.connection = Connection(self.listener)
        self.wire = Wire()
        self.encoder = hpack.Encoder()
        self.connection.connection_made(self.wire)
        self.listener.clock = 1000.0
        if self.listener._sweeper is not None:
            self.listener._sweeper.cancel()  # time is this object's business
        self.connection._heard_at = self.listener.clock
        self.connection._deadline = self.listener.clock + 10

    def greet(self) -> "Rig":
        """Get over the beginning."""
        assert [frame.kind for frame in self.send(HANDSHAKE)] == [
            frames.SETTINGS,
            frames.WINDOW_UPDATE,
            frames.SETTINGS,
        ]
        return self

    def send(self, *data: bytes) -> list[Frame]:
        """Let the server read, and return what it wrote."""
        for part in data:
            if not (self.wire.is_closing() or self.lost):
                self.connection.data_received(part)
        return self.out()

    def out(self) -> list[Frame]:
        """What the server has written since."""
        self.connection.outbound.flush()
        data = bytes(self.wire.written)
        self.wire.written.clear()
        return list(read_frames(data))

    def hang_up(self) -> None:
        self.lost = True
        self.connection.connection_lost(None)

    def wait(self, seconds: int) -> list[Frame]:
        """Let time pass."""
        for _ in range(seconds):
            self.listener.clock += 1
            if not (self.wire.is_closing() or self.lost):
                self.connection.on_second(self.listener.clock)
        return self.out()

    def block(self, *more: tuple[str, str], fields: "list[tuple[str, str]] | None" = None) -> bytes:
        """An encoded head."""
        return self.encoder.encode([*(REQUEST if fields is None else fields), *more])

    def headers(self, stream: int = 1, *more: tuple[str, str], flags: int = frames.END_HEADERS) -> bytes:
        """A HEADERS frame of a request."""
        return frames.frame(frames.HEADERS, flags, stream, self.block(*more))

    def request(self, stream: int = 1, body: bytes = b"", *more: tuple[str, str]) -> bytes:
        """A whole request."""
        return self.headers(stream, *more) + data(stream, body, ended=True)

    def stream(self, number: int = 1) -> Recorder:
        found = self.streams[number]
        assert isinstance(found, Recorder)
        return found


def data(stream: int, payload: bytes = b"", *, ended: bool = False, padding: int | None = None) -> bytes:
    """A DATA frame."""
    flags = frames.END_STREAM if ended else 0
    if padding is not None:
        flags |= frames.PADDED
        payload = bytes((padding,)) + payload + bytes(padding)
    return frames.frame(frames.DATA, flags, stream, payload)


def message(body: bytes, *, packed: bool = False) -> bytes:
    """A gRPC message."""
    return struct.pack(">?L", packed, len(body)) + body


def rst(stream: int, code: ErrorCode = ErrorCode.CANCEL) -> bytes:
    return frames.rst_stream(stream, code)


def goaways(written: list[Frame]) -> list[ErrorCode]:
    """The codes with which the connection ended."""
    return [frame.code for frame in written if frame.kind == frames.GOAWAY]


def resets(written: list[Frame]) -> dict[int, ErrorCode]:
    """The streams that the server reset."""
    return {frame.stream: frame.code for frame in written if frame.kind == frames.RST_STREAM}
