"""The frames of SPDY/3.1, as far as a server of port-forwards needs them; bytes in, events out, no socket.

kubectl's library (moby/spdystream) opens streams, sends data and pings; it knows no flow control, so WINDOW_UPDATE and
SETTINGS are read over. Data is handed on in pieces as it arrives. All header blocks of one direction share one zlib
stream that was given a dictionary, so each must be unpacked, also those that nobody wants.

    SpdyError    the client breaks the rules; the session is over
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SYN_STREAM: Final = 1
SYN_REPLY: Final = 2
RST_STREAM: Final = 3
PING: Final = 6
GOAWAY: Final = 7
HEADERS: Final = 8

FIN: Final = 0x01
PROTOCOL_ERROR: Final = 1
REFUSED_STREAM: Final = 3

_VERSION: Final = 3
_HEAD: Final = 8
_CONTROL_LIMIT: Final = 64 << 10
_BLOCK_LIMIT: Final = 64 << 10
_MOST_HEADERS: Final = 128
_STREAM_ID: Final = 0x7FFFFFFF

# The dictionary of the draft: words with their lengths before them, then plain text.
_WORDS: Final = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_TEXT: Final = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden"
    "404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,text/javascript,"
    "publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
_SAYINGS: Final = ("200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin")
DICTIONARY: Final = (
    b"".join(len(word).to_bytes(4, "big") + word.encode() for word in (*_WORDS.split(), *_SAYINGS)) + _TEXT.encode()
)


class SpdyError(Exception):
    """The client does not speak SPDY/3.1."""


@dataclass(frozen=True)
class Opened:
    """A stream of the client; header names are lower-case."""

    stream: int
    headers: Mapping[str, str]
    fin: bool


@dataclass(frozen=True)
class Data:
    """Bytes of a stream; `fin`: the client will send no more."""

    stream: int
    data: bytes
    fin: bool


@dataclass(frozen=True)
class Reset:
    """The client has given up a stream."""

    stream: int


@dataclass(frozen=True)
class Pinged:
    """To be sent back."""

    number: int


@dataclass(frozen=True)
class Leaving:
    """The client opens no more streams."""


Event = Opened | Data | Reset | Pinged | Leaving


class SpdyReader:
    """Takes the client's bytes as they come."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._unpack = zlib.decompressobj(zdict=DICTIONARY)
        self._data: tuple[int, bool] | None = None  # the stream whose data is awaited, and whether it ends there
        self._left = 0

    def feed(self, data: bytes) -> Iterator[Event]:
        """Yield what the bytes complete; raises `SpdyError`."""
        self._buffer += data
        while True:
            if self._data is not None:
                if self._left and not self._buffer:
                    return
                yield self._piece(*self._data)
                continue
            if len(self._buffer) < _HEAD:
                return
            first = int.from_bytes(self._buffer[:4], "big")
            flags, length = self._buffer[4], int.from_bytes(self._buffer[5:8], "big")
            if not first >> 31:
                del self._buffer[:_HEAD]
                self._data, self._left = (first, bool(flags & FIN)), length
                continue
            if first >> 16 & 0x7FFF != _VERSION:
                raise SpdyError("another version of SPDY")
            if length > _CONTROL_LIMIT:
                raise SpdyError("a control frame is too long")
            if len(self._buffer) < _HEAD + length:
                return
            body = bytes(self._buffer[_HEAD : _HEAD + length])
            del self._buffer[: _HEAD + length]
            event = self._control(first & 0xFFFF, flags, body)
            if event is not None:
                yield event

    def _piece(self, stream: int, fin: bool) -> Data:
        size = min(self._left, len(self._buffer))
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._left -= size
        if not self._left:
            self._data = None
        return Data(stream, data, fin and not self._left)

    def _control(self, kind: int, flags: int, body: bytes) -> Event | None:
        match kind:
            case 1:  # SYN_STREAM: stream, associated stream, priority, slot, headers
                return Opened(_number(body, 10), self._headers(body[10:]), bool(flags & FIN))
            case 2 | 8:  # SYN_REPLY, HEADERS: nothing to us, but their blocks belong to the zlib stream
                _number(body, 4)
                self._headers(body[4:])
            case 3:
                return Reset(_number(body, 8))
            case 6:
                _number(body, 4)
                return Pinged(int.from_bytes(body[:4], "big"))
            case 7:
                return Leaving()
        return None  # SETTINGS, WINDOW_UPDATE, and what is not known

    def _headers(self, packed: bytes) -> Mapping[str, str]:
        try:
            block = self._unpack.decompress(packed, _BLOCK_LIMIT)
        except zlib.error:
            raise SpdyError("a header block cannot be unpacked") from None
        if self._unpack.unconsumed_tail or self._unpack.eof:
            raise SpdyError("a header block is too long")
        return _read_block(block)


def _number(body: bytes, least: int) -> int:
    if len(body) < least:
        raise SpdyError("a control frame is too short")
    return int.from_bytes(body[:4], "big") & _STREAM_ID


def _read_block(block: bytes) -> Mapping[str, str]:
    texts: list[str] = []
    count, at = int.from_bytes(block[:4], "big"), 4
    if count > _MOST_HEADERS:
        raise SpdyError("too many headers")
    for _ in range(2 * count):
        size = int.from_bytes(block[at : at + 4], "big")
        if at + 4 + size > len(block):
            raise SpdyError("a header block is cut off")
        texts.append(block[at + 4 : at + 4 + size].decode("latin-1"))
        at += 4 + size
    return dict(zip((name.lower() for name in texts[::2]), texts[1::2], strict=True))


class SpdyWriter:
    """Makes the frames of one direction."""

    def __init__(self) -> None:
        self._pack = zlib.compressobj(zdict=DICTIONARY)

    def block(self, headers: Sequence[tuple[str, str]]) -> bytes:
        """Pack headers."""
        texts = [text.encode("latin-1") for pair in headers for text in pair]
        plain = len(headers).to_bytes(4, "big") + b"".join(len(text).to_bytes(4, "big") + text for text in texts)
        return self._pack.compress(plain) + self._pack.flush(zlib.Z_SYNC_FLUSH)

    def reply(self, stream: int) -> bytes:
        """Accept a stream."""
        return control(SYN_REPLY, stream.to_bytes(4, "big") + self.block(()))


def control(kind: int, body: bytes, flags: int = 0) -> bytes:
    """Return a control frame."""
    return (
        (0x80000000 | _VERSION << 16 | kind).to_bytes(4, "big") + bytes((flags,)) + len(body).to_bytes(3, "big") + body
    )


def data(stream: int, payload: bytes, *, fin: bool = False) -> bytes:
    """Return a data frame."""
    return stream.to_bytes(4, "big") + bytes((FIN if fin else 0,)) + len(payload).to_bytes(3, "big") + payload


def reset(stream: int, why: int) -> bytes:
    """Give up a stream."""
    return control(RST_STREAM, stream.to_bytes(4, "big") + why.to_bytes(4, "big"))


def pong(number: int) -> bytes:
    """Send a ping back."""
    return control(PING, number.to_bytes(4, "big"))
