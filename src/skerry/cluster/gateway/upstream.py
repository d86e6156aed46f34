"""A connection to a pod: a thin ear that tells the exchange under way what it hears."""

import asyncio
import select
from typing import TYPE_CHECKING, cast

from skerry.cluster.gateway.deadline import Deadline
from skerry.cluster.gateway.endpoint import Endpoint
from skerry.cluster.gateway.half_close import half_close

if TYPE_CHECKING:
    from skerry.cluster.gateway.exchange import Exchange


class Upstream(asyncio.Protocol):
    """Serves one exchange at a time; between two it waits in its endpoint's list."""

    __slots__ = ("_deadline", "_poll", "closed", "endpoint", "exchange", "paused", "transport")

    transport: asyncio.Transport

    def __init__(self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop) -> None:
        self.endpoint = endpoint
        self.exchange: Exchange | None = None
        self.closed = False
        self.paused = False  # the pod reads more slowly than the client sends
        self._deadline = Deadline(loop, self.close)
        self._poll = select.poll()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def stale(self) -> bool:
        """Tell whether the pod has closed the connection, also where the loop has not seen it yet.

        Without asking the kernel, a request would be sent to a pod that has just gone, and whether it was acted on
        could not be known.
        """
        return self.closed or self.transport.is_closing() or bool(self._poll.poll(0))

    def serve(self, exchange: "Exchange") -> None:
        """Be heard by this exchange from now on."""
        self.exchange = exchange
        self._deadline.clear()

    def rest(self, seconds: float) -> None:
        """Wait for the next exchange, but not longer."""
        self.exchange = None
        self.resume()
        self._deadline.set(seconds)

    def write(self, data: bytes) -> None:
        # A reset that has been read but not yet told: writing then would raise.
        if not self.transport.is_closing():
            self.transport.write(data)

    def end_writing(self) -> None:
        """Close our side; what was written goes out first."""
        half_close(self.transport)

    def pause(self) -> None:
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        if not self.transport.is_closing():
            self.transport.resume_reading()

    def close(self) -> None:
        """Close at once; nobody is told."""
        self.exchange = None
        self._forget()
        self.transport.abort()

    def finish(self) -> None:
        """Close when what was written has gone out."""
        self.exchange = None
        self._forget()
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.exchange is None:
            self.close()  # an answer that nobody asked for: what follows could not be trusted
        else:
            self.exchange.response_data(data)

    def eof_received(self) -> bool:
        if self.exchange is None:
            return False
        return self.exchange.upstream_ended()

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self.exchange = self.exchange, None
        self._forget()
        if exchange is not None:
            exchange.upstream_lost()

    def _forget(self) -> None:
        self.closed = True
        self._deadline.close()
        if self in self.endpoint.idle:
            self.endpoint.idle.remove(self)

    def pause_writing(self) -> None:
        self.paused = True
        if self.exchange is not None:
            self.exchange.upstream_full()

    def resume_writing(self) -> None:
        self.paused = False
        if self.exchange is not None:
            self.exchange.upstream_drained()
