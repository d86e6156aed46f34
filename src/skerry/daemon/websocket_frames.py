"""Frames of RFC 6455 as a server reads and writes them; bytes in, events out, no socket.

A message is not collected: its pieces are handed on as they arrive, so that no length that a client announces costs
memory. Texts are carried as the bytes that they are, and no extension is ever agreed on. Every rule that a client can
break is a `ProtocolError` with the close code that the RFC has for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
NO_CODE: Final = 1005
LOST: Final = 1006
INTERNAL_ERROR: Final = 1011

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_CONTROL: Final = 0x8
_CONTROL_LIMIT: Final = 125
_LONGEST: Final = 1 << 63
# Codes that may stand in a close frame: the RFC's own, and what libraries and applications have for themselves.
_CODES: Final = frozenset({1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014})


class ProtocolError(Exception):
    """The client does not speak WebSocket; the text is the reason in the close frame."""


@dataclass(frozen=True)
class Piece:
    """A part of a message; `last` when the message ends with it."""

    data: bytes
    last: bool


@dataclass(frozen=True)
class Ping:
    """To be answered with a pong that carries the same bytes."""

    data: bytes


@dataclass(frozen=True)
class Pong:
    """A sign of life."""


@dataclass(frozen=True)
class Close:
    """The client wants to leave."""

    code: int


Event = Piece | Ping | Pong | Close


class FrameReader:
    """Takes bytes as they come from the socket."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._in_message = False
        self._opcode = -1  # of the frame whose payload is awaited; -1: a head is awaited
        self._final = False
        self._left = 0
        self._key = b""

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield what the bytes complete; raises `ProtocolError`."""
        self._buffer += data
        while True:
            if self._opcode < 0 and not self._read_head():
                return
            if self._opcode & _CONTROL:
                if len(self._buffer) < self._left:
                    return
                yield self._control()
            else:
                if self._left and not self._buffer:
                    return
                yield self._piece()

    def _read_head(self) -> bool:
        """Read the head of a frame; False while it is incomplete."""
        if len(self._buffer) < 2:
            return False
        first, second = self._buffer[0], self._buffer[1]
        opcode, short = first & 0xF, second & 0x7F
        self._check(first, second, opcode, short)
        extra = {126: 2, 127: 8}.get(short, 0)
        if len(self._buffer) < 6 + extra:
            return False
        length = int.from_bytes(self._buffer[2 : 2 + extra], "big") if extra else short
        if length >= _LONGEST:
            raise ProtocolError("a frame is too long")
        self._key = bytes(self._buffer[2 + extra : 6 + extra])
        self._opcode, self._final, self._left = opcode, bool(first & _FIN), length
        del self._buffer[: 6 + extra]
        return True

    def _check(self, first: int, second: int, opcode: int, short: int) -> None:
        if first & _RESERVED:
            raise ProtocolError("reserved bits are set")
        if not second & _MASKED:
            raise ProtocolError("a frame of a client must be masked")
        if opcode not in {CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}:
            raise ProtocolError(f"unknown opcode {opcode}")
        if opcode & _CONTROL:
            if not first & _FIN or short > _CONTROL_LIMIT:
                raise ProtocolError("a control frame must be short and whole")
        elif self._in_message is not (opcode == CONTINUATION):
            raise ProtocolError("a message inside a message" if self._in_message else "a continuation of nothing")

    def _take(self, size: int) -> bytes:
        data = unmasked(bytes(self._buffer[:size]), self._key)
        del self._buffer[:size]
        self._left -= size
        turn = size % 4
        self._key = self._key[turn:] + self._key[:turn]
        return data

    def _piece(self) -> Piece:
        data = self._take(min(self._left, len(self._buffer)))
        complete = not self._left
        piece = Piece(data, last=complete and self._final)
        self._in_message = not piece.last
        if complete:
            self._opcode = -1
        return piece

    def _control(self) -> Event:
        opcode, data = self._opcode, self._take(self._left)
        self._opcode = -1
        if opcode == PING:
            return Ping(data)
        if opcode == PONG:
            return Pong()
        return Close(_close_code(data))


def unmasked(data: bytes, key: bytes) -> bytes:
    """Take the client's mask off (or put it on: it is the same)."""
    size = len(data)
    mask = (key * (size // 4 + 1))[:size]
    # As one long number: a thousand times as fast as byte by byte.
    return (int.from_bytes(data, "little") ^ int.from_bytes(mask, "little")).to_bytes(size, "little")


def frame(opcode: int, data: bytes) -> bytes:
    """Return a whole frame of the server."""
    size = len(data)
    if size < 126:
        head = bytes((_FIN | opcode, size))
    elif size < 1 << 16:
        head = bytes((_FIN | opcode, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big")
    return head + data


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame; a reason that is too long is cut."""
    text = reason.encode()[: _CONTROL_LIMIT - 2].decode("utf-8", "ignore")
    return frame(CLOSE, code.to_bytes(2, "big") + text.encode())


def _close_code(data: bytes) -> int:
    if not data:
        return NO_CODE
    code = int.from_bytes(data[:2], "big")
    if len(data) == 1 or not (code in _CODES or 3000 <= code < 5000):
        raise ProtocolError("a close frame without a proper code")
    try:
        data[2:].decode()
    except UnicodeDecodeError:
        raise ProtocolError("the reason of a close frame is not UTF-8") from None
    return code
