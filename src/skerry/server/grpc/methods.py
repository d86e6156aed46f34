"""From paths to calls."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from skerry.server.grpc import status
from skerry.server.grpc.calls import Answer, Call, CallHead, StreamingCall, UnaryCall, read_call_head
from skerry.server.grpc.h2.hpack import literal
from skerry.server.grpc.h2.stream import Stream
from skerry.server.grpc.status import CallError, Status

if TYPE_CHECKING:
    from skerry.server.grpc.h2.connection import Connection
    from skerry.server.grpc.h2.heads import RequestHead

Streaming: TypeAlias = "Callable[[Connection, int, RequestHead, CallHead], StreamingCall]"
Missing: TypeAlias = Callable[[str], CallError]
_NO_DEADLINE: Final = CallHead(None, b"identity", False)
_NOT_POST: Final = literal(b":status", b"405") + literal(b"allow", b"POST")
_NOT_GRPC: Final = literal(b":status", b"415")


def unimplemented(path: str) -> CallError:
    """What is said of a method that does not exist."""
    return CallError(Status.UNIMPLEMENTED, f"there is no method {path}; ask the reflection service what there is")


class Methods:
    """The methods of all services, by path. It makes the streams of a listener."""

    def __init__(
        self, unary: Mapping[bytes, Answer], streaming: Mapping[bytes, Streaming], missing: Missing = unimplemented
    ) -> None:
        self._unary = unary
        self._streaming = streaming
        self._missing = missing

    def __call__(self, connection: "Connection", stream_id: int, head: "RequestHead") -> Stream:
        """Begin a call."""
        meaning = head.meaning
        if meaning is None:
            meaning = head.meaning = _understand(head)
        if not isinstance(meaning, CallHead):
            assert isinstance(meaning, bytes)
            return _Refusal(connection, stream_id, head, meaning)
        answer = self._unary.get(head.path)
        if answer is not None:
            return UnaryCall(connection, stream_id, head, meaning, answer)
        make = self._streaming.get(head.path)
        if make is not None:
            return make(connection, stream_id, head, meaning)
        block = status.trailers(self._missing(head.path.decode("ascii", "replace")))
        return _Refusal(connection, stream_id, head, status.RESPONSE + block)


def _understand(head: "RequestHead") -> CallHead | bytes:
    """What a head asks for, or the answer to a head that is no call."""
    if head.method != b"POST":
        return _NOT_POST
    kind = head.fields.get(b"content-type", b"")
    if not kind.startswith(b"application/grpc") or kind[16:17] not in {b"", b"+", b";"}:
        return _NOT_GRPC
    try:
        return read_call_head(head)
    except CallError as why:
        return status.RESPONSE + status.trailers(why)


class _Refusal(Call):
    """A call that is over when it begins."""

    __slots__ = ("_block",)

    def __init__(self, connection: "Connection", stream_id: int, head: "RequestHead", block: bytes) -> None:
        super().__init__(connection, stream_id, head, _NO_DEADLINE)
        self._block = block

    def on_open(self) -> None:
        self.finish(self._block)
