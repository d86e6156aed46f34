"""The sockets of the server, and what all of its connections share.

One sweeper looks after the deadlines of all connections and renews the coarse clock and the `date` line that they
use; it runs once a second, and only while there are connections.
"""

import asyncio
import errno
import socket
import time
from collections.abc import Sequence
from typing import Any, Final

from skerry.server.errors import StartError
from skerry.server.http.heads import Heads
from skerry.server.http.messages import JSON, STATUS_LINES, Handler, Lanes, Request
from skerry.server.http.protocol import Connection

_SWEEP_SECONDS: Final = 1.0
_BACKLOG: Final = 1024
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Listener:
    """Accepts connections on all addresses; their requests go to one handler, which may be exchanged at any time.

    `lanes` finds who takes a request before the handler does, if anybody.
    """

    def __init__(self, handler: Handler, *, max_body: int, max_buffered: int) -> None:
        self.handler = handler
        self.lanes: Lanes = no_lane
        self.max_body = max_body
        self.max_buffered = max_buffered
        self.buffered = 0
        self.draining = False
        self.connections: set[Connection] = set()
        self.clock = 0.0
        self.date = b""
        self.usual_head = b""
        self.heads = Heads()
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, addresses: Sequence[str], port: int) -> None:
        """Open the port on every address; raises `StartError` that says which one is taken."""
        self._loop = asyncio.get_running_loop()
        for address in addresses:
            try:
                # Resolved here: the loop would start four threads for it, which stay.
                found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
                for family, kind, protocol, _, place in found:
                    opened = _bound(socket.socket(family, kind, protocol), place)
                    server = await self._loop.create_server(lambda: Connection(self), sock=opened, backlog=_BACKLOG)
                    self._servers.append(server)
            except OSError as why:
                raise StartError(f"cannot listen on {address}:{port}: {_reason(why)}") from None

    async def close(self, seconds: float) -> None:
        """Stop accepting, let requests finish for at most `seconds`, then close what is left."""
        self.draining = True
        for server in self._servers:
            server.close()
        for connection in tuple(self.connections):
            connection.close_when_idle()
        deadline = self._loop.time() + seconds
        # Once in a process's life, so the connections need not tell.
        while self.busy() and self._loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def busy(self) -> bool:
        """Whether any request is being read or answered."""
        return any(connection.busy for connection in self.connections)

    def opened(self, connection: Connection) -> None:
        self.connections.add(connection)
        if self._sweeper is None:
            self._sweep()

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)

    def _sweep(self) -> None:
        """Renew the clock and the date, and end what is overdue."""
        self.clock = self._loop.time()
        self.date = _http_date(time.time())
        self.usual_head = b"%bcontent-type: %b\r\ndate: %b\r\ncontent-length: " % (STATUS_LINES[200], JSON, self.date)
        for connection in tuple(self.connections):
            if connection.deadline < self.clock:
                connection.expire()
        self._sweeper = self._loop.call_later(_SWEEP_SECONDS, self._sweep) if self.connections else None


def no_lane(_request: Request) -> None:
    """For handlers that answer each request by itself."""


def _bound(opened: socket.socket, place: Any) -> socket.socket:
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if opened.family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(place)
    except OSError:
        opened.close()
        raise
    return opened


def _http_date(seconds: float) -> bytes:
    """The date as HTTP writes it; `email.utils` would cost more memory than this needs lines."""
    moment = time.gmtime(seconds)
    day, month = _DAYS[moment.tm_wday], _MONTHS[moment.tm_mon - 1]
    return f"{day}, {moment.tm_mday:02} {month} {moment.tm_year} {time.strftime('%H:%M:%S', moment)} GMT".encode()


def _reason(why: OSError) -> str:
    match why.errno:
        case errno.EADDRINUSE:
            return "port is busy; another process listens there"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case errno.EACCES:
            return "ports below 1024 need root, or net.ipv4.ip_unprivileged_port_start"
        case _:
            return why.strerror or str(why)
