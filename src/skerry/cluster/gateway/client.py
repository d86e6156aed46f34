"""A client's HTTP/1 connection: heads of requests, one exchange at a time, keep-alive, and the end of it all.

Pipelined requests wait in `_waiting` until the answer before theirs is complete; when that is much, reading stops.
A refused request is answered and the connection lingers: its own side is closed, and what still comes is thrown away
for a moment, because a close with unread bytes would make the kernel take the answer back.
"""

import asyncio
from typing import TYPE_CHECKING, Final, cast

from skerry.cluster.gateway import pages
from skerry.cluster.gateway.deadline import Deadline
from skerry.cluster.gateway.exchange import Exchange
from skerry.cluster.gateway.half_close import half_close
from skerry.cluster.gateway.head import BadHead, RequestHead, parse_request
from skerry.cluster.gateway.prepared import Prepared, prepare

if TYPE_CHECKING:
    from skerry.cluster.gateway.core import Gateway

_LINE_ENDS: Final = b"\r\n"


class Client(asyncio.Protocol):
    """One accepted connection that speaks HTTP/1."""

    __slots__ = (
        "_ended",
        "_exchange",
        "_gateway",
        "_lingers",
        "_patient",
        "_paused",
        "_prepared",
        "_transport",
        "_waiting",
        "address",
        "deadline",
        "full",
        "local",
        "own_port",
        "peer",
    )

    _transport: asyncio.Transport

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._exchange: Exchange | None = None
        self._prepared: Prepared | None = None
        self._waiting = b""
        self._lingers = False
        self._patient = False
        self._paused = False
        self._ended = False
        self.full = False  # the client reads more slowly than we write
        self.deadline = Deadline(gateway.loop, self._expired)

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._gateway.clients.add(self)
        self.address: str = transport.get_extra_info("peername")[0]
        self.peer = self.address.removeprefix("::ffff:").encode()
        self.own_port: int = transport.get_extra_info("sockname")[1]
        self.local = self.peer.startswith(b"127.") or self.peer == b"::1"
        self.deadline.set(self._gateway.timeouts.head)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            if not self._lingers:
                began = not self._waiting
                self._waiting = data if began else self._waiting + data
                self._advance(began=began)
            return
        taken = exchange.request_data(data)
        if taken < len(data) and self._exchange is exchange:
            self._waiting += data[taken:]
            if len(self._waiting) > self._gateway.limits.waiting:
                self.pause()

    def eof_received(self) -> bool:
        exchange = self._exchange
        self._ended = True
        if exchange is None or not exchange.wants_half_open:
            return False
        exchange.client_ended()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.deadline.close()
        self._gateway.left(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_lost()

    def pause_writing(self) -> None:
        self.full = True
        if self._exchange is not None:
            self._exchange.client_full()

    def resume_writing(self) -> None:
        self.full = False
        if self._exchange is not None:
            self._exchange.client_drained()
        elif self._waiting and not self._lingers:
            self._advance(began=True)

    # What the exchange calls.

    def write(self, data: bytes) -> None:
        # A reset that has been read but not yet told: writing then would raise.
        if not self._transport.is_closing():
            self._transport.write(data)

    def end_writing(self) -> None:
        """Close our side; what was written goes out first."""
        half_close(self._transport)

    def pause(self) -> None:
        """Read no more for now; that the client leaves is not seen then either."""
        self._paused = True
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._paused:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def tunnel(self) -> None:
        """Give what came behind the upgrade request to the exchange."""
        waiting, self._waiting = self._waiting, b""
        self.resume()
        if waiting and self._exchange is not None:
            self._exchange.request_data(waiting)

    def route(self, data: bytes, request: RequestHead) -> Prepared | None:
        """Work a request head out by the present table, None where it has no route."""
        routes = self._gateway.routes
        route = routes.find(request.host, request.path, local=self.local, own_port=self.own_port)
        return None if route is None else prepare(data, request, routes, route, (self.peer, self.own_port))

    def finished(self, *, keep: bool, unread: bool) -> None:
        """The answer is complete: go on with the next request, or close; `unread`: the client may still be sending."""
        self._exchange = None
        if unread:
            self._linger()
        elif not keep or self._ended or self._gateway.draining:
            self.close()
        else:
            self.deadline.set(self._gateway.timeouts.keep_alive)
            self.resume()
            if self._waiting:
                self._advance(began=True)

    def unavailable(self, *, body: bool) -> None:
        """Answer with the page that says that nothing is there."""
        self._last(pages.unavailable(body=body))

    def refuse(self, status: int, why: str, *, body: bool = True) -> None:
        """Answer with an error and close."""
        self._last(pages.refusal(status, why, body=body))

    def close(self) -> None:
        """Close when what was written has gone out."""
        self._exchange = None
        self._waiting = b""
        self._lingers = True
        self.deadline.set(self._gateway.timeouts.client)
        self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._transport.abort()

    # Heads of requests.

    @property
    def idle(self) -> bool:
        return self._exchange is None and not self._waiting

    def _advance(self, *, began: bool) -> None:
        """Take the next requests out of what waits; `began`: a new head begins there."""
        while self._exchange is None and self._waiting and not self._lingers and not self.full:
            data = self._waiting
            if data[0] in _LINE_ENDS:
                # RFC 9112, 2.2: empty lines before a request are skipped.
                data = self._waiting = data.lstrip(_LINE_ENDS)
            end = data.find(b"\r\n\r\n") + 4
            if 4 <= end <= self._gateway.limits.head:
                self._waiting = data[end:]
                self._begin(data[:end])
                began = True
                continue
            if data:
                self._incomplete(data, began=began)
            return

    def _incomplete(self, data: bytes, *, began: bool) -> None:
        limit = self._gateway.limits.head
        if len(data) > limit:
            self._refuse_head(431, f"the request's head is longer than {limit} bytes")
        elif data.count(b"\n") != data.count(b"\r\n"):
            self._refuse_head(400, "a line of the head ends without a carriage return")
        elif began:
            self.deadline.set(self._gateway.timeouts.head)

    def _begin(self, data: bytes) -> None:
        gateway = self._gateway
        prepared = self._prepared
        if prepared is None or prepared.data != data or prepared.routes is not gateway.routes:
            prepared = self._prepared = self._prepare(data)
            if prepared is None:
                return
        self._exchange = exchange = Exchange(self, prepared, gateway)
        waiting, self._waiting = self._waiting, b""
        taken = exchange.start(waiting)
        if taken < len(waiting) and self._exchange is exchange:
            self._waiting = waiting[taken:]

    def _prepare(self, data: bytes) -> Prepared | None:
        gateway = self._gateway
        try:
            request = parse_request(data, gateway.limits.headers)
        except BadHead as error:
            self._refuse_head(error.status, error.why)
            return None
        prepared = self.route(data, request)
        if prepared is None:
            gateway.count_unmatched(503)
            self.unavailable(body=request.method != b"HEAD")
        elif prepared.route.redirect:
            prepared.route.tally.count(302, 0.0)
            self._last(pages.to_https(request.host, request.target))
            return None
        return prepared

    def _refuse_head(self, status: int, why: str) -> None:
        self._gateway.count_unmatched(status)
        self.refuse(status, why)

    # The end.

    def _last(self, answer: bytes) -> None:
        self.write(answer)
        self._linger()

    def _linger(self) -> None:
        self._exchange = None
        self._waiting = b""
        self._lingers = True
        if self._ended:
            self.close()
            return
        self.resume()
        self.end_writing()
        self.deadline.set(self._gateway.timeouts.linger)

    def _expired(self) -> None:
        if self._exchange is not None:
            self._exchange.expired()
        elif self._waiting and not self._lingers and not self.full:
            self._refuse_head(408, "the request's head did not come in time")
        elif self._lingers and not self._patient and self._transport.get_write_buffer_size():
            self._patient = True  # the client still reads the last answer
            self.deadline.set(self._gateway.timeouts.client)
        else:
            self.abort()

    def request_line(self, request: RequestHead) -> str:
        """Name the request in a log line, without its query: that may hold secrets."""
        return f"{request.method.decode()} {request.path.decode(errors='replace')}"
