"""From frames to bytes, within what the client allows.

Frames are gathered and written once per turn of the event loop. DATA waits with its stream while the stream's window,
the connection's window or the socket is full; waiting streams take turns, a frame each.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from skerry.server.grpc.h2 import frames
from skerry.server.grpc.h2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, head
from skerry.server.grpc.h2.hpack import TABLE_UNUSED

if TYPE_CHECKING:
    from skerry.server.grpc.h2.stream import Stream

Buffer: TypeAlias = bytes | memoryview
Parts: TypeAlias = list[Buffer]
_WORTH_JOINING: Final = 1 << 16
_LAST: Final = END_HEADERS | END_STREAM


class WholeAnswer:
    """The frames around a body that fits into one, when the fields before and behind it are always the same."""

    def __init__(self, first: bytes, last: bytes) -> None:
        self._first = struct.Struct(f">HBBBL{len(first)}sHBBBL")
        self._head = (len(first) >> 8, len(first) & 0xFF, HEADERS, END_HEADERS)
        self._block = first
        self._before_last = head(HEADERS, _LAST, 0, len(last))[:5]
        self._last = last

    def before(self, stream_id: int, size: int) -> bytes:
        return self._first.pack(*self._head, stream_id, self._block, size >> 8, size & 0xFF, DATA, 0, stream_id)

    def after(self, stream_id: int) -> bytes:
        return self._before_last + stream_id.to_bytes(4, "big") + self._last


class Outbound:
    """The writing half of one connection."""

    __slots__ = (
        "_gathered",
        "_loop",
        "_prefix",
        "_size",
        "_transport",
        "blocked",
        "flushing",
        "initial_window",
        "max_frame",
        "waiting",
        "window",
    )

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._gathered: list[Buffer] = []
        self._size = 0
        self._prefix = TABLE_UNUSED
        self.flushing = False  # a flush will follow by itself
        self.blocked = False  # the socket is full
        self.window = frames.DEFAULT_WINDOW
        self.initial_window = frames.DEFAULT_WINDOW
        self.max_frame = frames.FRAME_BYTES
        self.waiting: dict[int, Stream] = {}

    def put(self, *parts: Buffer) -> None:
        """Write this with everything else of this turn."""
        self._gathered += parts
        if not self.flushing:
            self.flushing = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what is gathered."""
        self.flushing = False
        gathered = self._gathered
        if not gathered or self._transport.is_closing():
            return
        self._gathered = []
        if self._size < _WORTH_JOINING:
            self._transport.write(b"".join(gathered))
        else:
            self._transport.writelines(gathered)
        self._size = 0

    # HEADERS. They are not under flow control.

    def whole(self, stream: "Stream", frame: "WholeAnswer", lead: bytes, parts: Parts, size: int) -> bool:
        """Send an answer from its first to its last field, if there is room for all of it now."""
        if size > self.max_frame or size > self.window or size > stream.send_window or self.blocked or self._prefix:
            return False
        self.window -= size
        self._size += size
        self.put(frame.before(stream.id, size), lead, *parts, frame.after(stream.id))
        return True

    def headers(self, stream: "Stream", block: bytes, *, last: bool = False) -> None:
        """Send a block of fields."""
        if self._prefix:
            block, self._prefix = self._prefix + block, b""
        self.put(head(HEADERS, _LAST if last else END_HEADERS, stream.id, len(block)), block)

    # DATA.

    def message(self, stream: "Stream", parts: Sequence[Buffer], size: int) -> None:
        """Send bytes, now or when there is room for them."""
        if (
            size > self.max_frame
            or size > self.window
            or size > stream.send_window
            or stream.unsent_size
            or self.blocked
        ):
            stream.keep(parts, size)
            self._send_waiting(stream)
            return
        self.window -= size
        stream.send_window -= size
        self._size += size
        self.put(head(DATA, 0, stream.id, size), *parts)

    def _send_waiting(self, stream: "Stream") -> None:
        """Send as much as there is room for; note the stream if there is more."""
        while stream.unsent_size and self._send_frame(stream):
            pass
        if stream.unsent_size:
            self.waiting[stream.id] = stream

    def _send_frame(self, stream: "Stream") -> bool:
        size = min(stream.unsent_size, self.window, stream.send_window, self.max_frame)
        if size <= 0 or self.blocked:
            return False
        assert stream.unsent is not None
        self.put(head(DATA, 0, stream.id, size), *_taken(stream.unsent, size))
        self._size += size
        self.window -= size
        stream.send_window -= size
        stream.unsent_size -= size
        return True

    def go_on(self) -> None:
        """There may be room again: send what waits, in turns."""
        moving = True
        while moving and self.waiting:
            moving = False
            for stream in tuple(self.waiting.values()):
                if self._send_frame(stream):
                    moving = True
                    stream.moved_at = stream.connection.listener.clock
                if not stream.unsent_size:
                    self.waiting.pop(stream.id, None)
                    stream.sent_all()


def _taken(parts: deque[Buffer], size: int) -> list[Buffer]:
    """Take exactly so many bytes off the front."""
    taken: list[Buffer] = []
    while size:
        part = parts.popleft()
        if len(part) > size:
            parts.appendleft(memoryview(part)[size:])
            part = memoryview(part)[:size]
        taken.append(part)
        size -= len(part)
    return taken
