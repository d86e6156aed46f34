"""From bytes to frames.

Of a DATA frame every byte is passed on as it arrives, so a large frame needs no room and no copy. Every other frame is
collected until it is whole; their size is bounded.
"""

from typing import Final, Protocol

from skerry.server.grpc.h2.errors import ConnectionFault, ErrorCode
from skerry.server.grpc.h2.frames import DATA, END_STREAM, HEAD_BYTES, MOST_STREAM, PADDED, unpack_head

MOST_DATA: Final = 1 << 18  # what this server offers as the largest frame
MOST_CONTROL: Final = 1 << 16  # and what it collects of one that is no DATA
_WORTH_COPYING: Final = 1 << 12


class Sink(Protocol):
    """Where frames go."""

    def on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """A whole frame of any kind but DATA."""

    def on_data(self, stream_id: int, length: int | None, chunk: bytes | memoryview, ended: bool) -> None:
        """The beginning of a DATA frame with its length, or more of it (length is None)."""


class FrameReader:
    """The reading half of one connection."""

    __slots__ = ("_ends", "_left", "_need", "_padding", "_parts", "_sink", "_size", "_stream", "stopped")

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.stopped = False  # set by the sink: read no further, keep the rest
        self._parts: list[bytes] = []
        self._size = 0
        self._need = 0
        self._left = 0  # of the content of the present DATA frame
        self._padding = 0  # behind that
        self._stream = 0
        self._ends = False

    @property
    def partial(self) -> bool:
        """Whether something is kept that is not yet a frame."""
        return bool(self._parts)

    def feed(self, data: bytes) -> None:
        """Read all frames that are complete by now; raises `ConnectionFault`."""
        if self._parts:
            self._parts.append(data)
            self._size += len(data)
            if self._size < self._need:
                return
            data = b"".join(self._parts)
            self._parts.clear()
        read = self._read(data)
        if read < len(data):
            self._parts.append(data[read:])
            self._size = len(data) - read

    def _read(self, data: bytes) -> int:
        """Return how far the frames went; what is needed to go on is in `_need`."""
        position = 0
        end = len(data)
        self._need = 0
        while not self.stopped:
            if self._left or self._padding:
                position = self._more(data, position)
            if end - position < HEAD_BYTES:
                self._need = HEAD_BYTES
                break
            high, low, kind, flags, stream_id = unpack_head(data, position)
            length = high << 8 | low
            start = position + HEAD_BYTES
            if length > (MOST_CONTROL if kind else MOST_DATA):
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"a frame of {length} bytes is too large")
            if kind == DATA and not (flags & PADDED and length and start == end):
                position = self._begin(data, start, length, flags, stream_id & MOST_STREAM)
                continue
            stop = start + (length if kind else 1)
            if stop > end:
                self._need = stop - position
                break
            self._sink.on_frame(kind, flags, stream_id & MOST_STREAM, data[start:stop])
            position = stop
        return position

    def _begin(self, data: bytes, start: int, length: int, flags: int, stream_id: int) -> int:
        content = length
        if flags & PADDED:
            if not length or data[start] >= length:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a DATA frame has more padding than payload")
            self._padding = data[start]
            content -= 1 + self._padding
            start += 1
        stop = min(start + content, len(data))
        self._left = content - (stop - start)
        self._stream = stream_id
        self._ends = bool(flags & END_STREAM)
        chunk = data[start:stop] if stop - start < _WORTH_COPYING else memoryview(data)[start:stop]
        self._sink.on_data(stream_id, length, chunk, self._ends and not self._left)
        return stop

    def _more(self, data: bytes, position: int) -> int:
        """The rest of a DATA frame, as far as it has come."""
        if self._left and position < len(data):
            stop = min(position + self._left, len(data))
            self._left -= stop - position
            chunk = memoryview(data)[position:stop]
            self._sink.on_data(self._stream, None, chunk, self._ends and not self._left)
            position = stop
        if not self._left:
            skipped = min(self._padding, len(data) - position)
            self._padding -= skipped
            position += skipped
        return position
