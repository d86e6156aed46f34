"""The gateway's centre: the present route map, the open connections, and connecting to pods."""

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from skerry.cluster.gateway.endpoint import Endpoint, Registry
from skerry.cluster.gateway.limits import Limits, Timeouts
from skerry.cluster.gateway.metrics import Tally, exposition
from skerry.cluster.gateway.routing import Compiler, RouteMap
from skerry.cluster.gateway.table import Table
from skerry.cluster.gateway.upstream import Upstream
from skerry.kit.log import logger

if TYPE_CHECKING:
    from skerry.cluster.gateway.client import Client
    from skerry.cluster.gateway.exchange import Exchange
    from skerry.cluster.gateway.head import RequestHead
    from skerry.cluster.gateway.routing import LiveRoute

log = logger(__name__)


class Connection(Protocol):
    """An accepted connection, whatever it speaks."""

    @property
    def idle(self) -> bool: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class Spawn(Protocol):
    """Starts a task in a group that outlives it (`TaskGroup.create_task`)."""

    def __call__(self, coro: Coroutine[Any, Any, None], /) -> object: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What the command line decides."""

    limits: Limits
    timeouts: Timeouts
    access_log: bool


class Gateway:
    """Everything that connections share. It runs on one loop and is touched by that loop only."""

    def __init__(self, loop: asyncio.AbstractEventLoop, spawn: Spawn, settings: Settings, rng: random.Random) -> None:
        self.loop = loop
        self.time = loop.time
        self.limits = settings.limits
        self.timeouts = settings.timeouts
        self.clients: set[Connection] = set()
        self.draining = False
        self.routes = RouteMap()
        self._spawn = spawn
        self.access_log = settings.access_log
        self._registry = Registry()
        self._compiler = Compiler(self._registry, rng)
        self._unmatched = Tally()
        self._empty = asyncio.Event()

    def swap(self, table: Table) -> None:
        """Route by this table from now on. Requests under way keep what they have."""
        self.routes = self._compiler.compile(table)

    def left(self, client: Connection) -> None:
        """Forget a connection that is closed."""
        self.clients.discard(client)
        if self.draining and not self.clients:
            self._empty.set()

    async def drain(self) -> None:
        """Let every connection go as soon as it has nothing to do; return when none is left."""
        self.draining = True
        for client in [client for client in self.clients if client.idle]:
            client.close()
        if self.clients:
            await self._empty.wait()

    def close(self) -> None:
        """Cut what is still open."""
        for client in list(self.clients):
            client.abort()
        self._registry.close()

    def connect(self, endpoint: Endpoint, exchange: "Exchange") -> None:
        """Connect to a pod for this exchange, and tell it how that went."""
        self._spawn(self._connect(endpoint, exchange))

    async def _connect(self, endpoint: Endpoint, exchange: "Exchange") -> None:
        try:
            async with asyncio.timeout(self.timeouts.connect):
                _, upstream = await self.loop.create_connection(
                    lambda: Upstream(endpoint, self.loop), endpoint.address, endpoint.port
                )
        except OSError as error:  # TimeoutError is one
            log.debug("pod refused the connection", endpoint=str(endpoint), error=str(error))
            self._tell(exchange.connect_failed, endpoint)
        else:
            self._tell(exchange.connected, upstream)

    def _tell(self, call: Any, argument: object) -> None:
        try:
            call(argument)
        except Exception:  # a bug met with one request must not end the task group, and with it the others
            log.exception("exchange crashed")

    def rest(self, upstream: Upstream) -> None:
        """Keep a connection for later requests, if there may be any."""
        if not self.draining and upstream.endpoint.keep(upstream, self.limits.idle_per_pod):
            upstream.rest(self.timeouts.idle_pod)
        else:
            upstream.close()

    def count_unmatched(self, code: int) -> None:
        """Count a request that belongs to no route."""
        self._unmatched.count(code, 0.0)

    def log_access(
        self, client: "Client", request: "RequestHead", route: "LiveRoute", code: int, seconds: float
    ) -> None:
        """Write the request's line."""
        log.info(
            "request",
            client=client.address,
            host=request.host.decode(),
            request=client.request_line(request),
            route=route.rule.name,
            code=code,
            took=round(seconds, 6),
        )

    def metrics(self) -> str:
        """Write the counts in Prometheus' text format."""
        tallies = {"": self._unmatched, **self._compiler.tallies}
        return exposition(tallies, {"connections": len(self.clients)})
