"""One connection: from frames to streams.

Everything that a client may send is either dealt with at once or has a limit, and every state in which the client has
the next move has a deadline. The listener's sweeper calls `on_second` once a second; a coarse clock is enough for all
of it, so an idle connection costs no timer.

    greeting (10 s) → open, idle for up to 300 s → draining (1 s) → leaving, while it still answers → ended (2 s)

Going down is in two steps, as RFC 9113 asks: a GOAWAY that refuses nothing, with a PING to learn that it has arrived;
then the GOAWAY that says which streams will still be answered. A client that is quiet for a minute while it waits for
an answer is asked with a PING whether it is still there.

A turn of the event loop opens a limited number of streams of one connection; the rest of what was read waits for the
next turn, so that a client who sends thousands of requests at once does not stop the others.
"""

import asyncio
import enum
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from skerry.server import log
from skerry.server.grpc.h2 import controls, frames
from skerry.server.grpc.h2.blocks import MOST_LIST, HeaderBlocks
from skerry.server.grpc.h2.errors import ConnectionFault, ErrorCode, StreamFault
from skerry.server.grpc.h2.frames import CONTINUATION, END_STREAM, HEADERS, MOST_STREAM, PREFACE, SETTINGS
from skerry.server.grpc.h2.guard import SMALL, Guard
from skerry.server.grpc.h2.inbound import MOST_DATA, FrameReader
from skerry.server.grpc.h2.outbound import Buffer, Outbound
from skerry.server.grpc.h2.stream import STREAM_WINDOW, WRITE_SECONDS, Stream

if TYPE_CHECKING:
    from skerry.server.grpc.h2.listener import Listener

GREETING_SECONDS: Final = 10.0
FRAME_SECONDS: Final = 10.0  # for the rest of a frame or of a header block
IDLE_SECONDS: Final = 300.0
KEEPALIVE_SECONDS: Final = 60.0
ANSWER_SECONDS: Final = 20.0  # for the answer to a PING
DRAIN_SECONDS: Final = 1.0
LINGER_SECONDS: Final = 2.0
CONNECTION_WINDOW: Final = 1 << 24
MOST_STREAMS: Final = 256
_STREAMS_A_TURN: Final = 64
_REMEMBERED: Final = 128
_NEVER: Final = float("inf")
_PLAIN: Final = frames.END_HEADERS | frames.PADDED | frames.WITH_PRIORITY
_SETTINGS: Final = frames.settings(
    {
        frames.MAX_CONCURRENT_STREAMS: MOST_STREAMS,
        frames.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
        frames.MAX_FRAME_SIZE: MOST_DATA,
        frames.MAX_HEADER_LIST_SIZE: MOST_LIST,
    }
) + frames.window_update(0, CONNECTION_WINDOW - frames.DEFAULT_WINDOW)
_HTTP_1: Final = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
    b"this port speaks gRPC over HTTP/2; REST has a port of its own (--rest_port)\n"
)


class Phase(enum.Enum):
    """The life of a connection."""

    GREETING = enum.auto()
    OPEN = enum.auto()
    DRAINING = enum.auto()
    LEAVING = enum.auto()
    ENDED = enum.auto()


class Connection(asyncio.Protocol):
    """A client and its streams."""

    __slots__ = (
        "_blocks",
        "_closed",
        "_deadline",
        "_expecting",
        "_greeting",
        "_heard_at",
        "_in_socket",
        "_opened",
        "_partial_since",
        "_phase",
        "_reader",
        "_resets",
        "_since",
        "_transport",
        "_window",
        "_yielding",
        "guard",
        "last_stream",
        "listener",
        "outbound",
        "settings_deadline",
        "streams",
    )

    def __init__(self, listener: "Listener") -> None:
        self.listener = listener
        self.streams: dict[int, Stream] = {}
        self.guard = Guard()
        self.last_stream = 0
        self.settings_deadline = _NEVER
        self._phase = Phase.GREETING
        self._deadline = _NEVER
        self._greeting = b""
        self._reader = FrameReader(self)
        self._blocks = HeaderBlocks()
        self._expecting: int | None = SETTINGS  # the only kind of frame that may come now
        self._window = CONNECTION_WINDOW
        self._closed: deque[int] | None = None  # streams that ended a moment ago
        self._resets: deque[int] | None = None  # and those that this side has reset
        self._heard_at = 0.0
        self._partial_since = _NEVER
        self._opened = 0
        self._yielding = False
        self._in_socket = 0
        self._since = _NEVER  # when the socket last took something, while it is full

    @property
    def busy(self) -> bool:
        """Whether a request is being read or answered."""
        return bool(self.streams)

    @property
    def draining(self) -> bool:
        """Whether the client was asked to go and has not confirmed it yet."""
        return self._phase is Phase.DRAINING

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.outbound = Outbound(self._transport, asyncio.get_running_loop())
        self.listener.opened(self)
        self._heard_at = self.listener.clock
        self._deadline = self.listener.clock + GREETING_SECONDS

    def connection_lost(self, exc: Exception | None) -> None:
        self._phase = Phase.ENDED
        self._reader.stopped = True
        self.listener.closed(self)
        self._lose_all()

    def data_received(self, data: bytes) -> None:
        if self._phase is Phase.ENDED:
            return
        self._heard_at = self.listener.clock
        self.outbound.flushing = True
        self._opened = 0
        try:
            if self._phase is Phase.GREETING:
                data = self._greet(data)
            self._reader.feed(data)
        except ConnectionFault as why:
            self.end(why.code, str(why))
        except Exception as why:  # noqa: BLE001 - a defect is one connection, not the end of the server
            log.exception("connection broke", error=type(why).__name__)
            self.end(ErrorCode.INTERNAL_ERROR, "a defect of the server")
        if self._reader.partial or self._expecting is not None:
            self._after_part()
        else:
            self._partial_since = _NEVER
        self.outbound.flush()

    def pause_writing(self) -> None:
        self.outbound.blocked = True
        self._in_socket = self._transport.get_write_buffer_size()
        self._since = self.listener.clock
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self.outbound.blocked = False
        self._since = _NEVER
        self.outbound.go_on()
        self._read_again()

    def _greet(self, data: bytes) -> bytes:
        """Take the preface; return what follows it."""
        data = self._greeting + data
        if not PREFACE.startswith(data[: len(PREFACE)]):
            if b" HTTP/1." in data[:4096]:
                self._transport.write(_HTTP_1)
                self._end()
                return b""
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
        if len(data) < len(PREFACE):
            self._greeting = data
            return b""
        self._greeting = b""
        self._phase = Phase.OPEN
        self._deadline = _NEVER
        self.settings_deadline = self.listener.clock + GREETING_SECONDS
        self.outbound.put(_SETTINGS)
        return data[len(PREFACE) :]

    def _after_part(self) -> None:
        """Something is unfinished: part of a frame or of a header block, or more requests than fit in a turn."""
        if self._partial_since == _NEVER:
            self._partial_since = self.listener.clock
        if self._opened >= _STREAMS_A_TURN and self._phase is not Phase.ENDED and not self._yielding:
            self._yielding = True
            self._transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._yielding = False
        if self._phase is not Phase.ENDED:
            self._reader.stopped = False
            self._read_again()
            self.data_received(b"")

    def _read_again(self) -> None:
        if not (self._yielding or self.outbound.blocked or self._transport.is_closing()):
            self._transport.resume_reading()

    # What the reader calls.

    def on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if self._expecting is not None and kind != self._expecting:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "another frame was due here")
        try:
            if kind == HEADERS:
                if flags & _PLAIN == frames.END_HEADERS:
                    self._on_block(stream_id, payload, flags & END_STREAM)
                else:
                    self._on_headers(flags, stream_id, payload)
            elif kind == CONTINUATION:
                self._on_continuation(flags, stream_id, payload)
            else:
                if kind == SETTINGS and self._expecting == SETTINGS:
                    self._expecting = None
                controls.on_control(self, kind, flags, stream_id, payload)
        except StreamFault as why:
            self.reset(stream_id, why.code)
            self.guard.reset()

    def on_data(self, stream_id: int, length: int | None, chunk: Buffer, ended: bool) -> None:
        if length is not None:
            if self._expecting is not None:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "another frame was due here")
            self._count_data(length)
        stream = self.streams.get(stream_id)
        if stream is None or stream.ended:
            if length is not None:
                self._on_stray_data(stream_id)
            return
        if length is not None:
            stream.receive_window -= length
            if stream.receive_window < 0:
                self.reset(stream_id, ErrorCode.FLOW_CONTROL_ERROR)
                self.guard.reset()
                return
            if length < SMALL and not ended:
                self.guard.cheap_frame()
            else:
                stream.moved_at = self.listener.clock  # a body that comes byte by byte is not given more time
        if stream.expected is not None:
            stream.expected -= len(chunk)
            if stream.expected < 0 or (ended and stream.expected):
                self._wrong_length(stream)
                return
        stream.ended = ended
        stream.on_data(chunk, ended=ended)

    def _count_data(self, length: int) -> None:
        self._window -= length
        if self._window < CONNECTION_WINDOW >> 1:
            if self._window < 0:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more DATA than the connection's window allows")
            self.outbound.put(frames.window_update(0, CONNECTION_WINDOW - self._window))
            self._window = CONNECTION_WINDOW

    def _on_stray_data(self, stream_id: int) -> None:
        """DATA for a stream that does not take any."""
        if stream_id == 0 or self.is_idle(stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"DATA on stream {stream_id}, which was not opened")
        self.guard.cheap_frame()
        if not self.was_reset(stream_id):
            self.reset(stream_id, ErrorCode.STREAM_CLOSED)
            self.guard.reset()

    def _wrong_length(self, stream: Stream) -> None:
        self.reset(stream.id, ErrorCode.PROTOCOL_ERROR)
        self.guard.reset()

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        block = self._blocks.begin(flags, payload)
        if block is not None:
            self._on_block(stream_id, block, flags & END_STREAM)
            return
        self._blocks.stream_id = stream_id
        self._blocks.ended = flags & END_STREAM
        self._expecting = CONTINUATION

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if self._expecting != CONTINUATION or stream_id != self._blocks.stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a CONTINUATION that continues nothing")
        block = self._blocks.go_on(flags, payload)
        if block is not None:
            self._expecting = None
            self._on_block(stream_id, block, self._blocks.ended)

    def _on_block(self, stream_id: int, block: bytes, ended: int) -> None:
        if stream_id <= self.last_stream or not stream_id & 1:
            self._on_later_block(stream_id, block, ended)
            return
        self.last_stream = stream_id
        head = self._blocks.request(block)
        if self._phase is Phase.LEAVING or len(self.streams) >= MOST_STREAMS:
            raise StreamFault(ErrorCode.REFUSED_STREAM, "no more streams at once")
        self.guard.request()
        self._opened += 1
        if self._opened >= _STREAMS_A_TURN:
            self._reader.stopped = True
        stream = self.listener.service(self, stream_id, head)
        self.streams[stream_id] = stream
        stream.ended = bool(ended)
        stream.on_open()
        if ended and not stream.closed:
            if stream.expected:
                self._wrong_length(stream)
            else:
                stream.on_data(b"", ended=True)

    def _on_later_block(self, stream_id: int, block: bytes, ended: int) -> None:
        """A header block that opens no stream: trailers, or a mistake."""
        stream = self.streams.get(stream_id)
        if stream is None:
            if self.was_reset(stream_id):
                self._blocks.skip(block)
                return
            known = self._closed is not None and stream_id in self._closed
            code = ErrorCode.STREAM_CLOSED if known else ErrorCode.PROTOCOL_ERROR
            raise ConnectionFault(code, f"HEADERS on stream {stream_id}, which cannot be opened")
        self._blocks.trailers(block)
        if stream.ended:
            raise StreamFault(ErrorCode.STREAM_CLOSED, "HEADERS behind the end of a stream")
        if not ended or stream.expected:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "trailers that do not end a stream, or end it too early")
        stream.ended = True
        stream.on_data(b"", ended=True)

    # Streams and their ends.

    def is_idle(self, stream_id: int) -> bool:
        """Whether a stream has not been opened yet; clients open the odd ones."""
        return stream_id > self.last_stream or not stream_id & 1

    def was_reset(self, stream_id: int) -> bool:
        """Whether this side has reset the stream a moment ago."""
        return self._resets is not None and stream_id in self._resets

    def let_in(self, stream: Stream, size: int) -> None:
        """Allow the client more bytes on a stream."""
        self.outbound.put(frames.window_update(stream.id, size))

    def finished(self, stream: Stream) -> None:
        """The answer is written to its end."""
        if not stream.ended:
            self._put_reset(stream.id, ErrorCode.NO_ERROR)
        if self._closed is None:
            self._closed = deque(maxlen=_REMEMBERED)
        self._closed.append(stream.id)
        self._remove(stream)

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        """End a stream at once, if there is one, and tell the client."""
        self._put_reset(stream_id, code)
        self.lose(stream_id)

    def lose(self, stream_id: int) -> None:
        """A stream has ended before its answer has."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            stream.unsent = None
            stream.unsent_size = 0
            self.outbound.waiting.pop(stream_id, None)
            self._remove(stream)

    def _put_reset(self, stream_id: int, code: ErrorCode) -> None:
        if self._resets is None:
            self._resets = deque(maxlen=_REMEMBERED)
        self._resets.append(stream_id)
        self.outbound.put(frames.rst_stream(stream_id, code))

    def _remove(self, stream: Stream) -> None:
        stream.closed = True
        del self.streams[stream.id]
        stream.on_close()
        if self._phase is Phase.LEAVING:
            self._left()

    def _left(self) -> None:
        """End, if nothing is left to answer."""
        if not self.streams:
            self.outbound.flush()
            self._end()

    def _lose_all(self) -> None:
        for stream_id in tuple(self.streams):
            self.lose(stream_id)

    # The end of the connection.

    def drain(self) -> None:
        """Answer what is asked already, and what is on its way; then end."""
        match self._phase:
            case Phase.GREETING:
                self._transport.close()
            case Phase.OPEN:
                self._phase = Phase.DRAINING
                self._deadline = self.listener.clock + DRAIN_SECONDS
                self.outbound.put(frames.goaway(MOST_STREAM, ErrorCode.NO_ERROR), controls.DRAIN_PING)
                for stream in tuple(self.streams.values()):
                    stream.on_drain()

    def leave(self, *, announced: bool = True) -> None:
        """Take no more requests; end when those that run are answered."""
        if self._phase in {Phase.OPEN, Phase.DRAINING}:
            self._phase = Phase.LEAVING
            self._deadline = _NEVER
            if announced:
                self.outbound.put(frames.goaway(self.last_stream, ErrorCode.NO_ERROR))
            self._left()

    def end(self, code: ErrorCode, text: str) -> None:
        """Say why, and end now."""
        if self._phase is Phase.ENDED:
            return
        log.debug("gRPC connection ends", code=code.name, reason=text)
        self.outbound.put(frames.goaway(self.last_stream, code, text))
        self.outbound.flush()
        self._end()
        self._lose_all()

    def _end(self) -> None:
        """Half a close, so that what was written arrives even if something unread is in the socket."""
        self._phase = Phase.ENDED
        self._reader.stopped = True
        self._deadline = self.listener.clock + LINGER_SECONDS
        if self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    # Time.

    def on_second(self, clock: float) -> None:
        """Look for what is overdue."""
        self.guard.second()
        for stream in tuple(self.streams.values()):
            stream.on_second(clock)
        if clock >= min(self._deadline, self._partial_since + FRAME_SECONDS, self.settings_deadline):
            self._expire(clock)
        elif self.outbound.blocked:
            self._check_socket(clock)
        elif clock - self._heard_at > KEEPALIVE_SECONDS:
            self._on_silence(clock)

    def _expire(self, clock: float) -> None:
        if self._phase in {Phase.GREETING, Phase.ENDED}:
            self._transport.abort()
        elif self._phase is Phase.DRAINING:
            self.leave()
        elif clock >= self.settings_deadline:
            self.end(ErrorCode.SETTINGS_TIMEOUT, "the settings were not acknowledged")
        elif not self.outbound.blocked:
            self.end(ErrorCode.PROTOCOL_ERROR, "the rest of a frame did not come")

    def _check_socket(self, clock: float) -> None:
        size = self._transport.get_write_buffer_size()
        if size < self._in_socket:
            self._in_socket = size
            self._since = clock
        elif clock - self._since > WRITE_SECONDS:
            self._transport.abort()

    def _on_silence(self, clock: float) -> None:
        quiet = clock - self._heard_at
        if not self.streams:
            if quiet > IDLE_SECONDS:
                self.drain()
        elif quiet > KEEPALIVE_SECONDS + ANSWER_SECONDS:
            self._transport.abort()
        else:
            self.outbound.put(controls.KEEPALIVE_PING)
