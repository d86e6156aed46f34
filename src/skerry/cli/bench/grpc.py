"""gRPC as far as measuring needs it: HTTP/2 for one unary call at a time.

grpcio's own asynchronous client needs most of a core for 3 000 calls a second, which is less than what is measured, so
frames are written here. The header table of answers is switched off (SETTINGS_HEADER_TABLE_SIZE 0): then the same
block always means the same, and what it means is remembered.
"""

import struct
from typing import Any, Final
from urllib.parse import quote, unquote

import click

from skerry.cli.bench.client import Client, Sink, one_answer
from skerry.cli.bench.target import Target

CODES: Final = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
_END_STREAM = _ACK = 0x1
_END_HEADERS, _PADDED, _PRIORITY = 0x4, 0x8, 0x20
_HEAD: Final = struct.Struct(">HBBBL")
_WORD: Final = struct.Struct(">L")
_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_WINDOW: Final = (1 << 31) - 1
_LAST_STREAM: Final = (1 << 31) - 3
_REMEMBERED: Final = 256
_KEPT_BYTES: Final = 64 << 20


class Refused(Exception):
    """The server answered, and the answer is no."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}" if text else code)
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2."""
    return _HEAD.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def with_length(message: bytes) -> bytes:
    """A message as gRPC sends it."""
    return b"\0" + _WORD.pack(len(message)) + message


class Head:
    """What the heads of an answer have said."""

    def __init__(self, decode: Any) -> None:
        self._decode = decode
        self._known: dict[bytes, dict[str, str]] = {}

    def read(self, block: bytes) -> dict[str, str]:
        found = self._known.get(block)
        if found is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            found = self._known[block] = dict(self._decode(block))
        return found


def hpack_library() -> Any:
    """Heads of answers are read by `hpack`, a small library that only this needs."""
    try:
        import hpack
    except ImportError:
        raise click.ClickException("gRPC needs the package hpack: pip install 'skerry[bench]'") from None
    return hpack


class GrpcClient(Client):
    """One connection."""

    def __init__(self, sink: Sink, target: Target, path: str, message: bytes, *, keep: bool = False) -> None:
        super().__init__(sink)
        hpack = hpack_library()
        encoder = hpack.Encoder()
        heads = _heads(target, path)
        # The first block fills the server's table; those after it are the same few bytes.
        self._first, self._block = encoder.encode(heads), encoder.encode(heads)
        self._head = Head(hpack.Decoder().decode)
        self._body = with_length(message)
        self._keep = keep
        self._stream = -1
        self._window, self._initial, self._room = 65535, 65535, 65535
        self._largest = 16384
        self._sent = 0
        self._unacknowledged = 0
        self._rest = b""
        self._blocks = b""
        self._ends = False
        self._leaving = False
        self.said: dict[str, str] = {}
        self.body = b""

    def greet(self) -> None:
        assert self.transport is not None
        settings = struct.pack(">HLHLHL", 1, 0, 2, 0, 4, _WINDOW)
        wider = _WORD.pack(_WINDOW - 65535)
        self.transport.write(_PREFACE + frame(_SETTINGS, 0, 0, settings) + frame(_WINDOW_UPDATE, 0, 0, wider))

    def send(self) -> None:
        assert self.transport is not None
        self._stream += 2
        self._leaving = self._leaving or self._stream >= _LAST_STREAM
        stream, size = self._stream, len(self._body)
        head = frame(_HEADERS, _END_HEADERS, stream, self._block if stream > 1 else self._first)
        self.said, self.body = {}, b""
        self._room = self._initial
        if size <= min(self._window, self._room, self._largest):
            self._window -= size
            self._sent = size
            self.transport.write(head + frame(_DATA, _END_STREAM, stream, self._body))
            return
        self._sent = 0
        self.transport.write(head)
        self._go_on()

    def _go_on(self) -> None:
        """Send as much of the body as the server has room for."""
        while self.began and self.transport and self._sent < len(self._body):
            size = min(len(self._body) - self._sent, self._window, self._room, self._largest)
            if size <= 0:
                return
            part = self._body[self._sent : self._sent + size]
            self._sent += size
            self._window -= size
            self._room -= size
            self.transport.write(frame(_DATA, int(self._sent == len(self._body)), self._stream, part))

    def data_received(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        position, size = 0, len(data)
        while size - position >= 9:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, position)
            end = position + 9 + (high << 8 | low)
            if end > size:
                break
            try:
                self._on_frame(kind, flags, stream & 0x7FFFFFFF, data[position + 9 : end])
            except Exception as error:  # noqa: BLE001 - whatever a stranger sends is its failure, not ours
                self.give_up(f"no HTTP/2 answer ({type(error).__name__})")
                return
            position = end
        self._rest = data[position:]

    def _on_frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _DATA:
            self._on_data(flags, stream, payload)
        elif kind == _HEADERS:
            self._ends = bool(flags & _END_STREAM)
            self._blocks = b""
            self._on_block(flags, stream, _without_padding(flags, payload))
        elif kind == _CONTINUATION:
            self._on_block(flags, stream, payload)
        elif kind == _RST_STREAM:
            if stream == self._stream:
                self._over("stream reset")
        elif kind == _GOAWAY:
            self._leaving = True  # the call under way may still get its answer
            if not self.began or _WORD.unpack_from(payload)[0] < self._stream:
                self.abort()
        else:
            self._on_control(kind, flags, stream, payload)

    def _on_control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        assert self.transport is not None
        if kind == _SETTINGS and not flags & _ACK:
            settings = dict(struct.iter_unpack(">HL", payload))
            initial = settings.get(4, self._initial)
            self._room += initial - self._initial
            self._initial = initial
            self._largest = settings.get(5, self._largest)
            self.transport.write(frame(_SETTINGS, _ACK, 0))
            self._go_on()
        elif kind == _PING and not flags & _ACK:
            self.transport.write(frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW_UPDATE:
            more = _WORD.unpack(payload)[0]
            if not stream:
                self._window += more
            elif stream == self._stream:
                self._room += more
            self._go_on()

    def _on_data(self, flags: int, stream: int, payload: bytes) -> None:
        assert self.transport is not None
        self._unacknowledged += len(payload)
        if self._unacknowledged > _WINDOW >> 1:
            self.transport.write(frame(_WINDOW_UPDATE, 0, 0, _WORD.pack(self._unacknowledged)))
            self._unacknowledged = 0
        if stream != self._stream:
            return
        if self._keep and len(self.body) < _KEPT_BYTES:
            self.body += _without_padding(flags & _PADDED, payload)
        if flags & _END_STREAM:
            self._over("")

    def _on_block(self, flags: int, stream: int, part: bytes) -> None:
        self._blocks += part
        if not flags & _END_HEADERS:
            return
        said = self._head.read(self._blocks)
        if stream != self._stream:
            return
        self.said = self.said | said
        if self._ends:
            self._over("")

    def _over(self, failure: str) -> None:
        """The stream has ended; the next may begin if the server stays."""
        leave = self._leaving or self._sent < len(self._body)
        if leave and self.transport is not None:
            self.transport.close()
            self.transport = None
        self.finish(failure or self.failure())

    def failure(self) -> str:
        """The kind of failure that the heads tell."""
        code = self.said.get("grpc-status")
        if code == "0":
            return ""
        if code is None:
            status = self.said.get(":status", "200")
            return f"HTTP {status}" if status != "200" else "no grpc-status"
        return f"gRPC {_name(code)}"


def _without_padding(flags: int, payload: bytes) -> bytes:
    if flags & _PADDED:
        payload = payload[1 : len(payload) - payload[0]]
    return payload[5:] if flags & _PRIORITY else payload


def _name(code: str) -> str:
    return CODES[int(code)] if code.isascii() and code.isdigit() and int(code) < len(CODES) else code


def _heads(target: Target, path: str) -> list[tuple[str, str]]:
    heads = [
        (":method", "POST"),
        (":scheme", "https" if target.tls else "http"),
        (":path", quote(target.prefix + path)),
        (":authority", target.authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "skerry-bench"),
    ]
    return [*heads, ("authorization", f"Bearer {target.token}")] if target.token else heads


async def ask(target: Target, path: str, message: bytes) -> bytes:
    """The answer of one call; raises `Refused`."""
    client, failure = await one_answer(target, lambda sink: GrpcClient(sink, target, path, message, keep=True))
    assert isinstance(client, GrpcClient)
    if failure:
        raise Refused(failure, unquote(client.said.get("grpc-message", "")))
    if len(client.body) < 5 or client.body[0] or len(client.body) != 5 + _WORD.unpack_from(client.body, 1)[0]:
        raise Refused("no answer", "not one message without compression")
    return client.body[5:]
