"""The sockets, and what all connections share: the clock, the budget of memory, the sweeper."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from skerry.server.errors import StartError
from skerry.server.grpc.h2.connection import Connection
from skerry.server.grpc.h2.errors import ErrorCode
from skerry.server.grpc.h2.heads import RequestHead
from skerry.server.grpc.h2.stream import Stream

Service: TypeAlias = Callable[[Connection, int, RequestHead], Stream]

_SWEEP_SECONDS: Final = 1.0
_BACKLOG: Final = 1024
_FAREWELL_SECONDS: Final = 0.5  # for clients to take the last bytes


class Listener:
    """Accepts connections on all addresses; `service` makes their streams and may be exchanged at any time."""

    def __init__(
        self, service: Service, *, most_body: int, most_buffered: int, tls: ssl.SSLContext | None = None
    ) -> None:
        self.service = service
        self.most_body = most_body
        self.most_buffered = most_buffered
        self.buffered = 0  # bytes of requests that are being received or answered
        self.connections: set[Connection] = set()
        self.clock = 0.0
        self.ports: list[int] = []
        self._tls = tls
        self._servers: list[asyncio.Server] = []
        self._sweeper: asyncio.TimerHandle | None = None

    async def listen(self, addresses: Sequence[str], port: int) -> None:
        """Open the port on every address; raises `StartError` that says which one is taken."""
        loop = asyncio.get_running_loop()
        for address in addresses:
            try:
                # Resolved here: the loop would start four threads for it, which stay.
                found = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
                for family, kind, protocol, _, place in found:
                    opened = _bound(socket.socket(family, kind, protocol), place)
                    self.ports.append(opened.getsockname()[1])
                    server = await loop.create_server(
                        lambda: Connection(self), sock=opened, backlog=_BACKLOG, ssl=self._tls
                    )
                    self._servers.append(server)
            except OSError as why:
                raise StartError(f"Failed to start gRPC server - at {address}:{port} - {_reason(why)}") from None

    async def close(self, seconds: float) -> None:
        """Stop accepting, let requests finish for at most `seconds`, then close what is left."""
        for server in self._servers:
            server.close()
        for connection in tuple(self.connections):
            connection.drain()
        await _until(lambda: not any(each.busy or each.draining for each in self.connections), seconds)
        for connection in tuple(self.connections):
            connection.end(ErrorCode.NO_ERROR, "the server is stopping")
        await _until(lambda: not self.connections, _FAREWELL_SECONDS)

    def opened(self, connection: Connection) -> None:
        self.connections.add(connection)
        if self._sweeper is None:
            loop = asyncio.get_running_loop()
            self.clock = loop.time()
            self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep)

    def closed(self, connection: Connection) -> None:
        self.connections.discard(connection)

    def reserve(self, size: int) -> bool:
        """Take so much of the memory for requests, if there is that much left."""
        if self.buffered + size > self.most_buffered:
            return False
        self.buffered += size
        return True

    def release(self, size: int) -> None:
        self.buffered -= size

    def _sweep(self) -> None:
        """Renew the clock and let every connection look at it."""
        loop = asyncio.get_running_loop()
        self.clock = loop.time()
        for connection in tuple(self.connections):
            connection.on_second(self.clock)
        self._sweeper = loop.call_later(_SWEEP_SECONDS, self._sweep) if self.connections else None


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Once in a process's life, so nobody has to tell."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    while not condition() and loop.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


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
