"""One connection.

`httptools` calls back while bytes arrive; a complete request goes to the handler, which answers at once or later.
Requests of a pipeline are answered in their order: while one is being worked on, those that follow wait in a list and
the socket is not read. Nothing is trusted to end by itself: every state in which the client has the next move has a
deadline, which one sweeper for all connections enforces, so an idle connection costs no timer.

    idle (120 s) → head (10 s) → body (30 s without a byte) → working → writing (30 s without progress) → idle

A client that hangs up cancels what is being worked on for it, and half a close counts as hanging up. A response is
only written to a connection that is still open; the handler's work gives back what it holds in any case. After an
error that leaves a part of the request unread, the response is followed by half a close and the rest is read and
dropped for a moment: closing at once would reset the connection and take the response with it.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, cast

import httptools

from skerry.server import log
from skerry.server.http import bodies
from skerry.server.http.heads import Head
from skerry.server.http.messages import JSON, STATUS_LINES, Buffer, Later, Request, Response, error

if TYPE_CHECKING:
    from skerry.server.http.listener import Listener

IDLE_SECONDS: Final = 120.0
HEAD_SECONDS: Final = 10.0
READ_SECONDS: Final = 30.0
WRITE_SECONDS: Final = 30.0
LINGER_SECONDS: Final = 2.0
MOST_HEAD_BYTES: Final = 64 << 10
_NEVER: Final = float("inf")
_KEPT_HEADERS: Final = frozenset(
    {
        b"inference-header-content-length",
        b"content-type",
        b"content-length",
        b"content-encoding",
        b"transfer-encoding",
        b"expect",
        b"origin",
        b"traceparent",
        b"tracestate",
    }
)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_RETRY: Final = b"retry-after: 1\r\n"
_WORTH_JOINING: Final = 1 << 16
_SMALL: Final = 1 << 14  # a body that needs no thought
_STRIDE: Final = 1 << 14  # what has to come before there is more time for a body: not a byte for each 30 seconds
_IDLE, _HEAD, _BODY = range(3)


class Connection(asyncio.Protocol):
    """Bytes to requests, responses to bytes."""

    __slots__ = (
        "_blocked",
        "_body",
        "_body_due",
        "_body_size",
        "_current",
        "_data",
        "_deaf",
        "_ended",
        "_head_bytes",
        "_headers",
        "_held",
        "_in_place",
        "_known_head",
        "_listener",
        "_missing",
        "_parser",
        "_paused",
        "_phase",
        "_target",
        "_transport",
        "_unsent",
        "_waiting",
        "_work",
        "deadline",
    )

    def __init__(self, listener: "Listener") -> None:
        self._listener = listener
        self._parser: Any = httptools.HttpRequestParser(self)
        self._phase = _IDLE
        self._ended = False  # a request ended in the data that were read last
        self._deaf = False  # nothing more is read from this client
        self._paused = False  # it is not read at present, or there is something in `_waiting`
        self._blocked = False  # the client does not take what is written
        self._unsent = 0
        self._held = 0  # bytes of bodies, until their response is written
        self._work: Later | None = None
        self._current: tuple[Request, bool] | None = None
        self._waiting: deque[tuple[Request | Response, bool]] = deque()
        self._target = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_size = 0
        self._body_due = 0
        self._head_bytes = 0
        self._data = b""  # what is being parsed, while its first request may still be remembered
        self._known_head: Head
        self._missing = 0  # bytes of the body that follows the known head
        self._in_place: bodies.BodyReader | None = None  # who reads that body, if it is large
        self.deadline = _NEVER

    @property
    def busy(self) -> bool:
        """Whether a request is being read or answered."""
        return self._phase != _IDLE or self._current is not None or bool(self._waiting)

    def close_when_idle(self) -> None:
        """Close now if nothing is going on; else the next response says that it is the last."""
        if not self.busy:
            self._transport.close()

    def expire(self) -> None:
        """The deadline is over: say so to a client that was sending, drop any other."""
        if self._blocked and (size := self._transport.get_write_buffer_size()) < self._unsent:
            self._unsent = size
            self.deadline = self._listener.clock + WRITE_SECONDS
        elif self._phase != _IDLE and not self._deaf:
            self._refuse(error(408, "the request took too long to arrive"))
        else:
            self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._listener.opened(self)
        self.deadline = self._listener.clock + IDLE_SECONDS

    def connection_lost(self, exc: Exception | None) -> None:
        self._listener.closed(self)
        self._listener.buffered -= self._held
        self._held = 0
        self._deaf = True
        self._waiting.clear()
        if self._work is not None:
            self._work.future.cancel()
        # The parser and this object refer to each other: apart, both go now and not with the next garbage collection.
        self._parser = None
        self._in_place = None
        self._body = []
        self._current = None

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if self._missing:
            data = self._read_known_body(data)
        start = 0
        while self._phase == _IDLE and self._current is None and not (self._waiting or self._blocked or self._deaf):
            known = self._listener.heads.find(data, start)
            if known is None:
                break
            head, begin = known
            start = begin + head.length
            if start > len(data):
                self._begin_known_body(head, data[begin:])
                return
            self._held += head.length
            self._listener.buffered += head.length
            self._start(Request(head.method, head.target, head.headers, data[begin:start]), keep=True)
        if start < len(data) and not self._deaf:
            self._parse(data[start:] if start else data)

    def _begin_known_body(self, head: Head, part: bytes) -> None:
        """The head was known; the body is collected without the parser."""
        self._phase = _BODY
        self._body_size = 0
        self._body_due = 0
        if head.length > _SMALL and not self._fits(head.length):
            return
        self._known_head = head
        self._missing = head.length - len(part)
        self._hold(len(part))
        self._body_moved()
        if head.length < bodies.WORTHWHILE:
            self._body = [part]
            return
        try:
            self._in_place = bodies.BodyReader(self, part, head.length, self._read_in_place)
        except MemoryError:
            self._refuse(error(503, "there is no memory for a request of this size; try again", _RETRY))
        else:
            self._listen_with(self._in_place)

    def _read_known_body(self, data: bytes) -> bytes:
        """Collect more of it; return what is left of the data."""
        part = data[: self._missing]
        self._body.append(part)
        self._missing -= len(part)
        self._hold(len(part))
        self._body_moved()
        if not self._missing:
            body, self._body = b"".join(self._body), []
            self._have_known_body(body)
        return data[len(part) :]

    def _read_in_place(self, size: int) -> None:
        """So much more of it is where it should be."""
        self._missing -= size
        self._hold(size)
        self._body_moved()
        if not self._missing and self._in_place is not None:
            body, self._in_place = self._in_place.body, None
            self._listen_with(self)
            self._have_known_body(body)

    def _have_known_body(self, body: Buffer) -> None:
        self._phase = _IDLE
        head = self._known_head
        self._start(Request(head.method, head.target, head.headers, body), keep=True)

    def _listen_with(self, protocol: asyncio.BaseProtocol) -> None:
        """Have somebody else told of what arrives. A transport looks at who it is when it begins to read."""
        self._transport.pause_reading()
        self._transport.set_protocol(protocol)
        self._transport.resume_reading()

    def _hold(self, size: int) -> None:
        self._held += size
        self._body_size += size
        self._listener.buffered += size

    def _body_moved(self) -> None:
        """Give a body more time, when enough of it has come since it was given some."""
        if self._body_size >= self._body_due:
            self._body_due = self._body_size + _STRIDE
            self.deadline = self._listener.clock + READ_SECONDS

    def _parse(self, data: bytes) -> None:
        self._ended = False
        self._data = data if self._phase == _IDLE else b""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return  # the request was answered as it stood, and its response was the last
        except httptools.HttpParserCallbackError as why:
            log.exception("connection broke", error=type(why.__context__).__name__)
            self._transport.abort()
            return
        except httptools.HttpParserError as why:
            if not self._deaf:
                self._refuse(error(400, f"the request is not valid HTTP: {why}"))
            return
        if self._phase == _BODY:
            self._body_moved()
        elif self._phase == _HEAD and not self._ended:
            # Where a request ended in the same read, an unknown part of it belongs to the head; the next read counts.
            self._count_head(len(data))

    def pause_writing(self) -> None:
        self._blocked = self._paused = True
        self._unsent = self._transport.get_write_buffer_size()
        self.deadline = self._listener.clock + WRITE_SECONDS
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._blocked = False
        self.deadline = self._listener.clock + IDLE_SECONDS
        self._advance()

    # What the parser calls. An exception must not leave these: the parser would wrap and hide it.

    def on_message_begin(self) -> None:
        self._phase = _HEAD
        self._target = b""
        self._headers = {}
        self._body = []
        self._body_size = 0
        self._body_due = 0
        self._head_bytes = 0
        if self._current is None:
            self.deadline = self._listener.clock + HEAD_SECONDS

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        name = name.lower()
        if name in _KEPT_HEADERS:
            self._headers[name] = value

    def on_headers_complete(self) -> None:
        self._phase = _BODY
        headers = self._headers
        if self._head_bytes + len(self._target) > MOST_HEAD_BYTES:
            self._count_head(len(self._target))
        if self._deaf:
            return
        length = headers.get(b"content-length")
        if length is not None and not self._fits(int(length)):
            return
        if b"expect" in headers and headers[b"expect"].lower() == b"100-continue" and not self._current:
            self._transport.write(_CONTINUE)
        if self._data and self._parser.should_keep_alive() and not self._parser.should_upgrade():
            self._listener.heads.remember(self._data, self._parser.get_method(), self._target, headers)
            self._data = b""

    def on_body(self, body: bytes) -> None:
        if self._deaf:
            return
        self._hold(len(body))
        self._body.append(body)
        if b"content-length" not in self._headers:
            self._fits(self._body_size)

    def on_message_complete(self) -> None:
        if self._deaf:
            return
        self._phase = _IDLE
        self._ended = True
        self._data = b""
        body, self._body = self._body, []
        request = Request(
            self._parser.get_method(), self._target, self._headers, body[0] if len(body) == 1 else b"".join(body)
        )
        keep = self._parser.should_keep_alive() and not self._parser.should_upgrade() and not self._listener.draining
        if not keep:
            self._deaf = True
        if self._current is None and not self._waiting and not self._blocked:
            self._start(request, keep)
        else:
            self._waiting.append((request, keep))
            self._paused = True
            self._transport.pause_reading()

    def _count_head(self, more: int) -> None:
        self._head_bytes += more
        if self._head_bytes > MOST_HEAD_BYTES and not self._deaf:
            self._refuse(error(431, f"the request's headers are larger than {MOST_HEAD_BYTES} bytes"))

    def _fits(self, size: int) -> bool:
        """Refuse a body that is too large for the server, or for the server at this moment."""
        listener = self._listener
        if size > listener.max_body:
            self._refuse(error(413, f"the request's body is larger than {listener.max_body} bytes (--max_body_mib)"))
        elif listener.buffered + size - self._body_size > listener.max_buffered:
            self._refuse(error(503, "too many large requests at once; try again", _RETRY))
        else:
            return True
        return False

    # From a request to its response.

    def _start(self, request: Request, keep: bool) -> None:
        lane = self._listener.lanes(request)
        try:
            result = self._listener.handler(request) if lane is None else lane.handle(request, self)
        except Exception as why:  # noqa: BLE001 - a defect in a handler is one answer, not the end of the server
            result = _broken(why)
        self._take(result, request, keep)

    def _take(self, result: Response | Later | None, request: Request, keep: bool) -> None:
        """Write the answer, or remember for whom one is worked on."""
        if isinstance(result, Response):
            self._respond(request, result, keep)
            return
        self._current = (request, keep)
        self.deadline = _NEVER
        if result is not None:
            self._work = result
            result.future.add_done_callback(self._worked)

    def _worked(self, future: "asyncio.Future[Any]") -> None:
        """The answer is there, or nobody wants it."""
        work, self._work = self._work, None
        if work is None or future.cancelled():
            self._current = None
            return
        try:
            response = work.render(future)
        except Exception as why:  # noqa: BLE001 - as above
            response = _broken(why)
        self.answer(response)

    # What a lane calls, which has taken a request: this is its `Reply`.

    @property
    def open(self) -> bool:
        return self._current is not None

    def answer(self, response: Response) -> None:
        current, self._current = self._current, None
        if current is None or self._transport.is_closing():
            return
        self._respond(current[0], response, keep=current[1])
        if self._paused:
            self._advance()

    def hand_back(self) -> None:
        current, self._current = self._current, None
        if current is None or self._transport.is_closing():
            return
        try:
            result = self._listener.handler(current[0])
        except Exception as why:  # noqa: BLE001 - as above
            result = _broken(why)
        self._take(result, *current)
        if self._paused and self._current is None:
            self._advance()

    def _advance(self) -> None:
        """Go on with what waited, and read again when nothing does."""
        while self._waiting and self._current is None and not self._blocked:
            entry, keep = self._waiting.popleft()
            if isinstance(entry, Response):
                self._write(entry, head_only=False, keep=False)
                self._linger()
            else:
                self._start(entry, keep)
        if not self._waiting and not self._blocked and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def _respond(self, request: Request, response: Response, keep: bool) -> None:
        size = len(request.body)
        self._held -= size
        self._listener.buffered -= size
        keep = keep and not self._listener.draining
        self._write(response, head_only=request.method == b"HEAD", keep=keep)
        if not keep:
            self._deaf = True
            self._waiting.clear()
            self._transport.close()
        elif not self._blocked:
            self.deadline = self._listener.clock + (IDLE_SECONDS if self._phase == _IDLE else READ_SECONDS)

    def _refuse(self, response: Response) -> None:
        """Answer a request that is not read to its end, after those before it; the connection ends with it."""
        self._deaf = True
        self._missing = 0
        if self._in_place is not None:
            self._in_place = None
            self._listen_with(self)
        if self._current is not None or self._waiting:
            self._paused = True  # what waits is looked at when the present answer is written
            self._waiting.append((response, False))
        else:
            self._write(response, head_only=False, keep=False)
            self._linger()

    def _linger(self) -> None:
        self.deadline = self._listener.clock + LINGER_SECONDS
        self._phase = _IDLE
        self._transport.write_eof()

    def _write(self, response: Response, *, head_only: bool, keep: bool) -> None:
        body = response.body
        if keep and response.status == 200 and response.content_type is JSON and not response.headers:
            head = b"%b%d\r\n\r\n" % (self._listener.usual_head, len(body))
        else:
            head = b"%bcontent-type: %b\r\ndate: %b\r\ncontent-length: %d\r\n%b%b\r\n" % (
                STATUS_LINES[response.status],
                response.content_type,
                self._listener.date,
                len(body),
                response.headers,
                b"" if keep else b"connection: close\r\n",
            )
        if head_only:
            self._transport.write(head)
        elif len(body) < _WORTH_JOINING:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))


def _broken(why: Exception) -> Response:
    log.exception("request broke", error=type(why).__name__)
    return error(500, f"Internal server error: {type(why).__name__}")
