"""The head of a pod's final answer worked out: what the client gets, how the body ends, what stays open."""

import enum
from typing import Final

from skerry.cluster.gateway import forward
from skerry.cluster.gateway.balance import Target
from skerry.cluster.gateway.framing import Chunked, Empty, Framing, Length, UntilClose
from skerry.cluster.gateway.head import RequestHead, ResponseHead
from skerry.cluster.gateway.table import Route

_WITHOUT_BODY: Final = frozenset({204, 304})


class Ending(enum.Enum):
    """What ends the body."""

    NOTHING = enum.auto()
    LENGTH = enum.auto()
    CHUNKS = enum.auto()
    CLOSE = enum.auto()


# As in exchange.py: reading a member of an Enum class is slow in Python 3.11.
_NOTHING: Final = Ending.NOTHING
_LENGTH: Final = Ending.LENGTH
_CHUNKS: Final = Ending.CHUNKS
_CLOSE: Final = Ending.CLOSE


class Answer:
    """Never changes. `data` is the head as the pod sent it, `start` as the client gets it."""

    __slots__ = ("_ending", "_length", "data", "keep_client", "keep_pod", "start", "status", "target", "unchunked")

    def __init__(
        self,
        data: bytes,
        head: ResponseHead,
        request: RequestHead,
        rule: Route,
        pin: bytes,
        target: Target,
        *,
        last: bool,
    ) -> None:
        """`pin`: the cookie's value that the client lacks; `last`: its connection closes after this in any case."""
        self.data = data
        self.target = target
        self.status = head.status
        self._length = head.length or 0
        self._ending = _ending(head, request)
        self.unchunked = self._ending is _CHUNKS and not request.modern
        self.keep_pod = head.keep_alive and self._ending is not _CLOSE
        # For a client that does not know chunks, and for a body without a length, only the close can be the end.
        self.keep_client = request.keep_alive and not last and not self.unchunked and self._ending is not _CLOSE
        self.start = self._write(head, request, rule, pin)

    @property
    def ends_with_connection(self) -> bool:
        return self._ending is _CLOSE

    def framing(self) -> Framing:
        """Return a new count of the body."""
        if self._ending is _LENGTH:
            return Length(self._length)
        if self._ending is _CHUNKS:
            return Chunked([] if self.unchunked else None)
        return Empty() if self._ending is _NOTHING else UntilClose()

    def _write(self, head: ResponseHead, request: RequestHead, rule: Route, pin: bytes) -> bytes:
        added = b""
        if pin:
            added = forward.set_cookie(rule, pin)
            if forward.may_be_cached(request.method, head):
                added += b"\r\ncache-control: private"
        if not self.keep_client:
            added += b"\r\nconnection: close"
        elif not request.modern:
            added += b"\r\nconnection: keep-alive"
        return forward.response_bytes(head, added, chunked=not self.unchunked)


def _ending(head: ResponseHead, request: RequestHead) -> Ending:
    if request.method == b"HEAD" or head.status in _WITHOUT_BODY:
        return _NOTHING
    if head.chunked:
        return _CHUNKS
    return _CLOSE if head.length is None else _LENGTH
