"""A request on its way to a pod: its head as the pod gets it, and its body, with the beginning kept for a retry."""

from skerry.cluster.gateway.framing import Framing


class Outgoing:
    """Before the first connection everything taken is kept; after it only as much as a second attempt may need."""

    __slots__ = ("_kept", "_limit", "_size", "_started", "body", "head")

    def __init__(self, head: bytes, body: Framing, limit: int) -> None:
        self.body = body
        self.head = head
        self._limit = limit
        self._kept: list[bytes] | None = []
        self._size = 0
        self._started = False

    @property
    def complete(self) -> bool:
        return self.body.done

    @property
    def replayable(self) -> bool:
        """All that was sent can be sent once more."""
        return self._kept is not None

    def take(self, data: bytes) -> bytes:
        """Return the part of `data` that belongs to the body; raises `MalformedBody`."""
        taken = self.body.take(data)
        piece = data if taken == len(data) else data[:taken]
        if self._kept is not None and taken:
            self._kept.append(piece)
            self._size += taken
            if self._started:
                self._forget_much()
        return piece

    def start(self) -> bytes:
        """Return all that there is so far, for a connection that has sent nothing yet."""
        assert self._kept is not None
        self._started = True
        everything = b"".join((self.head, *self._kept)) if self._kept else self.head
        self._forget_much()
        return everything

    def forget(self) -> None:
        """Give the kept bytes up: there will be no further attempt."""
        self._kept = None

    def _forget_much(self) -> None:
        if self._size > self._limit:
            self._kept = None
