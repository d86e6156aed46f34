"""An answer on its way from a pod: heads are collected, the body is cut at its end."""

from skerry.cluster.gateway.answer import Answer
from skerry.cluster.gateway.framing import Framing
from skerry.cluster.gateway.head import BadHead


class Incoming:
    """Reads one answer."""

    __slots__ = ("_body", "_payload", "partial", "started", "surplus")

    def __init__(self) -> None:
        self.partial = b""  # what has come and is not yet used
        self.started = False  # a first byte has come
        self.surplus = False  # more than the answer has come
        self._payload: list[bytes] | None = None
        self._body: Framing | None = None

    @property
    def complete(self) -> bool:
        return self._body is not None and self._body.done

    def next_head(self, data: bytes, limit: int) -> bytes | None:
        """Return the next head, interim or final, once it is complete; raises `BadHead`."""
        self.started = True
        data = self.partial + data if self.partial else data
        end = data.find(b"\r\n\r\n") + 4
        if end < 4 or end > limit:
            if len(data) > limit:
                raise BadHead(502, f"its head is longer than {limit} bytes")
            self.partial = data
            return None
        self.partial = data[end:]
        return data[:end]

    def begin_body(self, answer: Answer) -> None:
        """Expect the body that this head announced."""
        self.started = True
        body = self._body = answer.framing()
        if answer.unchunked:
            self._payload = body.payload  # type: ignore[attr-defined]

    def take(self, data: bytes) -> bytes:
        """Return what the client gets of `data`; raises `MalformedBody`."""
        body = self._body
        assert body is not None
        taken = body.take(data)
        if taken < len(data):
            self.surplus = True
            data = data[:taken]
        if self._payload is None:
            return data
        payload = b"".join(self._payload)
        self._payload.clear()
        return payload
