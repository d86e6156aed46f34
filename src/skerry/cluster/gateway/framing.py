"""Where a message body ends. Bodies are forwarded byte for byte; a framing only counts.

    Framing
      Empty        no body
      Length       Content-Length
      UntilClose   a response that ends when the pod closes
      Chunked      chunk by chunk, strictly: what two parsers could read differently is refused

`MalformedBody` is the only error. Whatever was taken before it has been forwarded, and the connection must be closed
then, so that the other side never sees the rest.
"""

import re
from collections.abc import Callable
from typing import Final, Protocol

_SIZE_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_TRAILER_LINE: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[\t\x20-\x7e\x80-\xff]*")
# A server that merges trailers into the headers must not learn its framing or its host from them.
_FORBIDDEN_TRAILERS: Final = frozenset({b"content-length", b"transfer-encoding", b"host", b"connection", b"upgrade"})
_LONGEST_LINE: Final = 4 * 1024
_LONGEST_TRAILER: Final = 32 * 1024


class MalformedBody(ValueError):
    """The body's framing cannot be read in exactly one way."""


class Framing(Protocol):
    """Counts a body; `done` once its last byte was taken."""

    done: bool

    def take(self, data: bytes) -> int:
        """Return how many bytes at the start of `data` belong to the body."""


class Empty:
    """No body at all."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = True

    def take(self, data: bytes) -> int:
        return 0


class Length:
    """A body of a known number of bytes."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def take(self, data: bytes) -> int:
        size = len(data)
        if size < self._left:
            self._left -= size
            return size
        taken = self._left
        self._left = 0
        self.done = True
        return taken


class UntilClose:
    """A body that ends with the connection."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False

    def take(self, data: bytes) -> int:
        return len(data)


class Chunked:
    """Chunks and trailers. With `payload` a list, the content without its chunk headers is appended there too."""

    __slots__ = ("_left", "_line", "_read_line", "_trailer", "done", "payload")

    def __init__(self, payload: list[bytes] | None = None) -> None:
        self.done = False
        self.payload = payload
        self._left = 0
        self._line = b""
        self._trailer = 0
        self._read_line: Callable[[Chunked, bytes], None] = Chunked._size

    def take(self, data: bytes) -> int:
        position, end = 0, len(data)
        while position < end and not self.done:
            if self._left:
                size = min(self._left, end - position)
                if self.payload is not None:
                    self.payload.append(data[position : position + size])
                self._left -= size
                position += size
            else:
                position = self._take_line(data, position)
        return position

    def _take_line(self, data: bytes, position: int) -> int:
        newline = data.find(b"\n", position)
        stop = len(data) if newline < 0 else newline + 1
        self._line += data[position:stop]
        if len(self._line) > _LONGEST_LINE:
            raise MalformedBody("a chunk header or trailer is too long")
        if newline >= 0:
            line = self._line
            self._line = b""
            if not line.endswith(b"\r\n"):
                raise MalformedBody("a line of the chunked body ends without a carriage return")
            self._read_line(self, line[:-2])
        return stop

    def _size(self, line: bytes) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None:
            raise MalformedBody("a chunk has no readable size")
        self._left = int(match[1], 16)
        self._read_line = Chunked._after_chunk if self._left else Chunked._trailer_line

    def _after_chunk(self, line: bytes) -> None:
        if line:
            raise MalformedBody("a chunk is longer than its size")
        self._read_line = Chunked._size

    def _trailer_line(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self._trailer += len(line) + 2
        match = _TRAILER_LINE.fullmatch(line)
        if match is None or match[1].lower() in _FORBIDDEN_TRAILERS or self._trailer > _LONGEST_TRAILER:
            raise MalformedBody("the trailers are malformed, forbidden or too long")
