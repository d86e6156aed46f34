"""One exchange: a request and what is answered to it.

The layer above makes a subclass of each stream; the connection calls its `on_…` methods. None of them may raise.
A stream answers with one block of fields, any number of messages, and one block of trailers that ends it.
"""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from skerry.server.grpc.h2.errors import ErrorCode
from skerry.server.grpc.h2.heads import RequestHead
from skerry.server.grpc.h2.outbound import Buffer

if TYPE_CHECKING:
    from skerry.server.grpc.h2.connection import Connection

STREAM_WINDOW: Final = 1 << 20
WRITE_SECONDS: Final = 30.0


class Stream:
    """A stream from its HEADERS to its end."""

    __slots__ = (
        "_last",
        "closed",
        "connection",
        "ended",
        "expected",
        "head",
        "id",
        "moved_at",
        "receive_window",
        "send_window",
        "unsent",
        "unsent_size",
    )

    def __init__(self, connection: "Connection", stream_id: int, head: RequestHead) -> None:
        self.connection = connection
        self.id = stream_id
        self.head = head
        self.ended = False  # the client has sent everything
        self.closed = False
        self.expected = head.content_length  # bytes of the body that are still to come, if the client said how many
        self.moved_at = connection.listener.clock  # when something last went in or out
        self.receive_window = STREAM_WINDOW
        self.send_window = connection.outbound.initial_window
        self.unsent: deque[Buffer] | None = None
        self.unsent_size = 0
        self._last: bytes | None = None  # the trailers, while DATA waits before them

    # What the connection calls.

    def on_open(self) -> None:
        """The request has begun."""

    def on_data(self, chunk: Buffer, *, ended: bool) -> None:
        """More of the body, or its end."""

    def on_sent(self) -> None:
        """What was waiting to be sent is sent."""

    def on_close(self) -> None:
        """Nothing more will be sent: the answer is complete, or the client has gone."""

    def on_second(self, clock: float) -> None:
        """A second has passed."""

    def on_drain(self) -> None:
        """The server is about to stop: whoever would stay for long should end."""

    # What the layer above calls.

    def start(self, block: bytes) -> None:
        """Send the fields before the messages."""
        self.connection.outbound.headers(self, block)

    def send(self, parts: Sequence[Buffer], size: int) -> None:
        """Send a piece of the body."""
        self.connection.outbound.message(self, parts, size)

    def finish(self, block: bytes) -> None:
        """Send the last fields, when everything before them is sent; alone they are the whole answer."""
        if self.unsent_size:
            self._last = block
        else:
            self.connection.outbound.headers(self, block, last=True)
            self.connection.finished(self)

    def reset(self, code: ErrorCode) -> None:
        """End the stream at once."""
        self.connection.reset(self.id, code)

    def let_in(self) -> None:
        """Let the client send more: what it has sent is dealt with, or room for it was found."""
        if not self.ended and self.receive_window < STREAM_WINDOW >> 1:
            self.connection.let_in(self, STREAM_WINDOW - self.receive_window)
            self.receive_window = STREAM_WINDOW

    # What the outbound half calls.

    def keep(self, parts: Sequence[Buffer], size: int) -> None:
        """Hold back what there is no room for."""
        if not self.unsent_size:
            self.moved_at = self.connection.listener.clock
        if self.unsent is None:
            self.unsent = deque()
        self.unsent.extend(parts)
        self.unsent_size += size

    def sent_all(self) -> None:
        """Everything held back is sent."""
        self.unsent = None
        if self._last is not None:
            self.finish(self._last)
        else:
            self.on_sent()

    def stuck(self, clock: float) -> bool:
        """Whether the client leaves what was written for it where it is."""
        return bool(self.unsent_size) and clock - self.moved_at > WRITE_SECONDS
