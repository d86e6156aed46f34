"""One call: what gRPC adds to a stream of HTTP/2.

A unary call that arrives in one piece and is answered at once passes straight through; only one that waits gets a
timer for its deadline. When the client resets the stream, hangs up or runs out of time, whatever still waits for the
call is cancelled: the future that the handler returned is, and the queue behind it drops the work.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import msgspec

from skerry.server import log
from skerry.server.errors import ServingError
from skerry.server.grpc import framing, status
from skerry.server.grpc.framing import PREFIX_BYTES, MessageReader, Unpacking, packed
from skerry.server.grpc.h2.errors import ErrorCode
from skerry.server.grpc.h2.outbound import Buffer, Parts, WholeAnswer
from skerry.server.grpc.h2.stream import Stream
from skerry.server.grpc.status import CallError, Status

if TYPE_CHECKING:
    from skerry.server.grpc.h2.connection import Connection
    from skerry.server.grpc.h2.heads import RequestHead

T = TypeVar("T")

READ_SECONDS: Final = 30.0
_TIMEOUT: Final = re.compile(rb"(\d{1,8})([HMSmun])\Z")
_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_NEVER: Final = float("inf")
_SMALL: Final = 1 << 16
_ANSWER: Final = WholeAnswer(status.RESPONSE, status.DONE)


class Later:
    """An answer that is still being worked on. The call cancels `future` when nobody waits for it any more."""

    __slots__ = ("future", "render")

    def __init__(self, future: "asyncio.Future[T]", render: "Callable[[asyncio.Future[T]], Parts]") -> None:
        self.future: asyncio.Future[Any] = future
        self.render: Callable[[asyncio.Future[Any]], Parts] = render


class CallHead(msgspec.Struct, frozen=True, gc=False):
    """What the fields of a request mean to gRPC."""

    timeout: float | None
    encoding: bytes
    wants_gzip: bool


class Answer(Protocol):
    """A unary method: takes the message, returns the answer at once or later; raises `ServingError`, `CallError`."""

    def __call__(self, message: Buffer, /) -> Parts | Later: ...


def read_call_head(head: "RequestHead") -> CallHead:
    """Understand a request's fields; raises `CallError`."""
    fields = head.fields
    timeout = None
    if (text := fields.get(b"grpc-timeout")) is not None:
        found = _TIMEOUT.match(text)
        if found is None:
            raise CallError(Status.INVALID_ARGUMENT, "grpc-timeout is not a number and a unit")
        timeout = int(found[1]) * _UNITS[found[2]]
    encoding = fields.get(b"grpc-encoding", b"identity")
    if encoding not in framing.ENCODINGS:
        shown = encoding[:40].decode("ascii", "replace")
        raise CallError(Status.UNIMPLEMENTED, f"grpc-encoding {shown} is not known here; use gzip, deflate or identity")
    accepted = [word.strip() for word in fields.get(b"grpc-accept-encoding", b"").split(b",")]
    return CallHead(timeout, encoding, encoding == b"gzip" and b"gzip" in accepted)


class Call(Stream):
    """What unary and streaming calls share."""

    __slots__ = ("_deadline", "_held", "_meaning", "_reader", "_started", "_timer")

    def __init__(self, connection: "Connection", stream_id: int, head: "RequestHead", meaning: CallHead) -> None:
        super().__init__(connection, stream_id, head)
        self._meaning = meaning
        self._reader: MessageReader | None = None
        self._started = False
        self._held = 0
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = _NEVER
        if meaning.timeout is not None:
            self._deadline = asyncio.get_running_loop().time() + meaning.timeout

    def on_close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._held:
            self.let_go(self._held)

    def on_second(self, clock: float) -> None:
        if self.stuck(clock):
            self.reset(ErrorCode.CANCEL)
        elif clock > self._deadline:
            self.time_out()

    def time_out(self) -> None:
        """The client's deadline is over."""
        self.fail(CallError(Status.DEADLINE_EXCEEDED, "the deadline of the call is over"))

    def fail(self, why: Exception) -> None:
        """End the call with an error; without effect on one that has ended."""
        if self.closed or self._last is not None:
            return
        if not isinstance(why, ServingError | CallError):
            log.exception("gRPC call broke", error=type(why).__name__, path=self.head.path.decode("ascii", "replace"))
            why = CallError(Status.INTERNAL, f"Internal server error: {type(why).__name__}")
        block = status.trailers(why)
        self.finish(block if self._started else status.RESPONSE + block)

    def succeed(self) -> None:
        """End the call well."""
        if not (self.closed or self._last is not None):
            self.finish(status.DONE if self._started else status.RESPONSE + status.DONE)

    def write(self, parts: Parts) -> None:
        """Send a message."""
        if not self._started:
            self._started = True
            self.start(status.COMPRESSED if self._meaning.wants_gzip else status.RESPONSE)
        flag = b"\x00"
        if self._meaning.wants_gzip:
            flag, parts = b"\x01", [packed(b"".join(parts))]
        size = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        self.send([flag + size.to_bytes(4, "big"), *parts], size + PREFIX_BYTES)

    def watch_deadline(self) -> None:
        """From here on, the deadline is kept to the millisecond."""
        if self._deadline != _NEVER and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._deadline, self.time_out)

    def hold(self, size: int) -> None:
        """Account for memory; raises `CallError` when the server has none to spare."""
        if not self.connection.listener.reserve(size):
            raise CallError(Status.RESOURCE_EXHAUSTED, "too many large requests at once; try again")
        self._held += size

    def let_go(self, size: int) -> None:
        self._held -= size
        self.connection.listener.release(size)

    def messages(self, chunk: Buffer) -> "Sequence[tuple[bool, Buffer]]":
        """The messages that are complete with this chunk."""
        if self._reader is None:
            self._reader = MessageReader(self.connection.listener.most_body)
        reader = self._reader
        if reader.goes_on(chunk):
            self.hold(len(chunk))
            return ()
        before = reader.room
        found = list(reader.feed(chunk))
        self.hold(reader.room - before + sum(len(message) + PREFIX_BYTES for _, message in found))
        return found

    def unpacking(self, message: Buffer) -> Unpacking:
        if self._meaning.encoding == b"identity":
            raise CallError(Status.INTERNAL, "a message is compressed, and grpc-encoding says that none is")
        return Unpacking(message, self.connection.listener.most_body)


class UnaryCall(Call):
    """One message, one answer."""

    __slots__ = ("_answer", "_message", "_work")

    def __init__(
        self, connection: "Connection", stream_id: int, head: "RequestHead", meaning: CallHead, answer: Answer
    ) -> None:
        super().__init__(connection, stream_id, head, meaning)
        self._answer = answer
        self._message: tuple[bool, Buffer] | None = None
        self._work: asyncio.Future[Any] | None = None

    def answer_through(self, change: "Callable[[Answer], Answer]") -> None:
        """Put something around the method."""
        self._answer = change(self._answer)

    def on_data(self, chunk: Buffer, *, ended: bool) -> None:
        if ended and self._reader is None and len(chunk) >= PREFIX_BYTES and not chunk[0]:
            size = int.from_bytes(chunk[1:PREFIX_BYTES], "big")
            if size == len(chunk) - PREFIX_BYTES and size < _SMALL:
                self._respond(chunk[PREFIX_BYTES:])
                return
        try:
            self._collect(chunk, ended=ended)
        except CallError as why:
            self.fail(why)
        else:
            self.let_in()

    def on_close(self) -> None:
        if self._held or self._timer is not None:
            super().on_close()
        if self._work is not None:
            self._work.cancel()

    def on_second(self, clock: float) -> None:
        super().on_second(clock)
        if not self.ended and not self.closed and clock - self.moved_at > READ_SECONDS:
            self.fail(CallError(Status.DEADLINE_EXCEEDED, "the request took too long to arrive"))

    def _collect(self, chunk: Buffer, *, ended: bool) -> None:
        for message in self.messages(chunk):
            if self._message is not None:
                raise CallError(Status.UNIMPLEMENTED, "this method takes one message, and a second one came")
            self._message = message
        if not ended:
            return
        if self._message is None or (self._reader is not None and self._reader.partial):
            raise CallError(Status.INTERNAL, "the request ended before its message did")
        is_packed, body = self._message
        self._message = None
        if not is_packed:
            self._respond(body)
            return
        unpacking = self.unpacking(body)
        unpacked = unpacking.at_once()
        if unpacked is not None:
            self._respond(unpacked)
        else:
            self._wait(unpacking.in_thread(), self._unpacked)

    def _unpacked(self, future: "asyncio.Future[bytes]") -> None:
        try:
            message = future.result()
            self.hold(len(message))
        except CallError as why:
            self.fail(why)
        else:
            self._respond(message)

    def _respond(self, message: Buffer) -> None:
        try:
            answer = self._answer(message)
            if isinstance(answer, Later):
                render = answer.render
                self._wait(answer.future, lambda future: self._complete(render(future)))
            else:
                self._complete(answer)
        except Exception as why:  # noqa: BLE001 - `fail` tells a defect from a refusal
            self.fail(why)

    def _complete(self, parts: Parts) -> None:
        if not self._meaning.wants_gzip:
            size = len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
            connection = self.connection
            if connection.outbound.whole(self, _ANSWER, b"\x00" + size.to_bytes(4, "big"), parts, size + PREFIX_BYTES):
                connection.finished(self)
                return
        self.write(parts)
        self.finish(status.DONE)

    def _wait(self, future: "asyncio.Future[T]", then: "Callable[[asyncio.Future[T]], None]") -> None:
        self.watch_deadline()
        self._work = future

        def done(future: "asyncio.Future[T]") -> None:
            self._work = None
            if self.closed or self._last is not None:
                return
            try:
                then(future)
            except asyncio.CancelledError:
                self.fail(CallError(Status.UNAVAILABLE, "the request was given up; try again"))
            except Exception as why:  # noqa: BLE001 - as above
                self.fail(why)

        future.add_done_callback(done)


class StreamingCall(Call):
    """Any number of messages each way. Subclasses say what a message does.

    While there is no room for more, messages wait here and the client's window stays closed.
    """

    __slots__ = ("_half_closed", "_unpacking", "_waiting")

    def __init__(self, connection: "Connection", stream_id: int, head: "RequestHead", meaning: CallHead) -> None:
        super().__init__(connection, stream_id, head, meaning)
        self._waiting: deque[tuple[bool, Buffer]] = deque()
        self._half_closed = False
        self._unpacking: asyncio.Future[bytes] | None = None

    @property
    def room(self) -> bool:
        """Whether another message can be taken."""
        return not self.unsent_size

    def on_message(self, message: Buffer) -> None:
        """Deal with a message; may raise `ServingError` or `CallError`, which ends the call."""

    def on_half_close(self) -> None:
        """The client sends no more."""

    def on_open(self) -> None:
        self.watch_deadline()

    def on_data(self, chunk: Buffer, *, ended: bool) -> None:
        try:
            self._waiting.extend(self.messages(chunk))
        except CallError as why:
            self.fail(why)
            return
        if ended and self._reader is not None and self._reader.partial:
            self.fail(CallError(Status.INTERNAL, "the request ended before its message did"))
        else:
            self.go_on()

    def on_sent(self) -> None:
        self.go_on()

    def on_drain(self) -> None:
        self.fail(CallError(Status.UNAVAILABLE, "the server is stopping"))

    def on_close(self) -> None:
        super().on_close()
        if self._unpacking is not None:
            self._unpacking.cancel()

    def go_on(self) -> None:
        """Take the messages that there is room for now."""
        try:
            while self._waiting and self._unpacking is None and self.room and not self.closed:
                self._take(*self._waiting.popleft())
            if self.closed or self._waiting or self._unpacking is not None:
                return
            self.let_in()
            if self.ended and not self._half_closed:
                self._half_closed = True
                self.on_half_close()
        except Exception as why:  # noqa: BLE001 - `fail` tells a defect from a refusal
            self.fail(why)

    def _take(self, is_packed: bool, message: Buffer) -> None:
        self.connection.guard.request()
        size = len(message) + PREFIX_BYTES
        if is_packed:
            unpacking = self.unpacking(message)
            unpacked = unpacking.at_once()
            if unpacked is None:
                self._unpacking = unpacking.in_thread()
                self._unpacking.add_done_callback(self._unpacked)
                return
            message = unpacked
        self.on_message(message)
        if not self.closed:
            self.let_go(size)

    def _unpacked(self, future: "asyncio.Future[bytes]") -> None:
        self._unpacking = None
        if self.closed:
            return
        try:
            self.on_message(future.result())
        except Exception as why:  # noqa: BLE001 - as above
            self.fail(why)
        else:
            self.go_on()
