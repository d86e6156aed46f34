"""The numbers and the bytes of frames (RFC 9113, sections 4, 6 and 7)."""

import struct
from typing import Final

from skerry.server.grpc.h2.errors import ErrorCode

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES: Final = 9
FRAME_BYTES: Final = 16384  # the largest frame before anything else is agreed on, and the least that may be agreed on
DEFAULT_WINDOW: Final = 65535
MOST_WINDOW: Final = 2**31 - 1
MOST_FRAME: Final = 2**24 - 1
MOST_STREAM: Final = 2**31 - 1

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6

_HEAD: Final = struct.Struct(">HBBBL")
_SETTING: Final = struct.Struct(">HL")
_WORD: Final = struct.Struct(">L")
_WORDS: Final = struct.Struct(">LL")

unpack_head: Final = _HEAD.unpack_from  # length // 256, length % 256, kind, flags, stream


def head(kind: int, flags: int, stream_id: int, length: int) -> bytes:
    """The nine bytes before a payload."""
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return head(kind, flags, stream_id, len(payload)) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*pair) for pair in values.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """The pairs of a SETTINGS frame, in their order."""
    return list(_SETTING.iter_unpack(payload))


def window_update(stream_id: int, size: int) -> bytes:
    """Allow the client `size` more bytes."""
    return frame(WINDOW_UPDATE, 0, stream_id, _WORD.pack(size))


def rst_stream(stream_id: int, code: ErrorCode) -> bytes:
    """End a stream at once."""
    return frame(RST_STREAM, 0, stream_id, _WORD.pack(code))


def goaway(last_stream: int, code: ErrorCode, text: str = "") -> bytes:
    """Say that streams above `last_stream` will not be answered."""
    return frame(GOAWAY, 0, 0, _WORDS.pack(last_stream, code) + text.encode())


def word(payload: bytes, start: int = 0) -> int:
    """A 32-bit number."""
    number: int = _WORD.unpack_from(payload, start)[0]
    return number
