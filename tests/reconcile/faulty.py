"""An API server in this process behind a network that fails on demand, and the clock that its callers wait on."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import msgspec
from lightkube import AsyncClient
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster, Context, User

from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens
from skerry.cluster.apiserver.transport import InProcessTransport
from skerry.cluster.store import Store
from skerry.kit.clock import SystemClock
from skerry.machinery import status

Fault = Callable[[httpx2.Request], httpx2.Response | Exception | None]


class FakeClock:
    """Time that passes only by sleeping, and then at once; `sleeps` tells how long each wait would have been."""

    def __init__(self) -> None:
        self.passed = 0.0
        self.sleeps: list[float] = []

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return self.passed

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.passed += seconds
        await asyncio.sleep(0)


class FaultyNetwork(httpx2.AsyncBaseTransport):
    """Passes requests on. A fault may answer in the server's place; `cut` breaks the streams that are open."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self._open: set[_Wire] = set()

    def fault(self, fault: Fault) -> None:
        """Add a fault; it is asked for each request until it answers None."""
        self.faults.append(fault)

    def once(self, answer: httpx2.Response | Exception, *, watch: bool) -> None:
        """Answer the next list or watch in the server's place."""

        def fault(request: httpx2.Request) -> httpx2.Response | Exception | None:
            if is_watch(request) is not watch or request.method != "GET":
                return None
            self.faults.remove(fault)
            return answer

        self.fault(fault)

    def count(self, verb: str) -> int:
        return sum(1 for found, _ in self.requests if found == verb)

    def cut(self, error: Exception | None, last: bytes = b"") -> None:
        """End all open streams after `last`, with an error or as if the server had ended them."""
        for wire in list(self._open):
            wire.cut(error, last)

    @property
    def streams(self) -> int:
        return len(self._open)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        verb = "watch" if is_watch(request) else "list" if request.method == "GET" else request.method
        self.requests.append((verb, request.url.path))
        for fault in list(self.faults):
            answer = fault(request)
            if isinstance(answer, Exception):
                raise answer
            if answer is not None:
                answer.request = request
                return answer
        response = await self._inner.handle_async_request(request)
        if verb != "watch":
            return response
        wire = _Wire(response, self._open)
        self._open.add(wire)
        return httpx2.Response(response.status_code, headers=response.headers, stream=wire, request=request)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _Wire(httpx2.AsyncByteStream):
    def __init__(self, response: httpx2.Response, open_: "set[_Wire]") -> None:
        self._response = response
        self._open = open_
        self._cut: asyncio.Future[tuple[Exception | None, bytes]] = asyncio.get_running_loop().create_future()

    def cut(self, error: Exception | None, last: bytes) -> None:
        if not self._cut.done():
            self._cut.set_result((error, last))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._response.aiter_raw().__aiter__()
        reading = asyncio.ensure_future(anext(chunks))
        try:
            while True:
                waits: set[asyncio.Future[Any]] = {reading, self._cut}
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                if self._cut.done():
                    error, last = self._cut.result()
                    if last:
                        yield last
                    if error is not None:
                        raise error
                    return
                try:
                    yield reading.result()
                except StopAsyncIteration:
                    return
                reading = asyncio.ensure_future(anext(chunks))
        finally:
            reading.cancel()
            await asyncio.wait({reading})

    async def aclose(self) -> None:
        self._open.discard(self)
        await self._response.aclose()


def is_watch(request: httpx2.Request) -> bool:
    return "watch" in request.url.params


def status_response(code: int, reason: str) -> httpx2.Response:
    body = status.StatusError(code, reason, reason).body()
    return httpx2.Response(code, json=body)


def error_event(code: int, reason: str) -> bytes:
    event = {"type": "ERROR", "object": status.StatusError(code, reason, reason).body()}
    return msgspec.json.encode(event) + b"\n"


class Api:
    """A store, its server, the network and a client."""

    def __init__(self, store: Store, network: FaultyNetwork, client: AsyncClient) -> None:
        self.store = store
        self.network = network
        self.client = client
        self.clock = FakeClock()


async def _no_logs(_namespace: str, name: str, _query: dict[str, str]) -> AsyncIterator[bytes]:
    raise status.not_found("pods", name)


@contextlib.asynccontextmanager
async def api_server(path: Path, **options: Any) -> AsyncIterator[Api]:
    """Run an API server over a new store."""
    store = Store.open(path, **options)
    app = ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), Tokens({}), _no_logs))
    network = FaultyNetwork(InProcessTransport(app, "admin"))
    config = SingleConfig("test", Context(cluster="test", user="test"), Cluster(server="http://api"), User())
    try:
        yield Api(store, network, AsyncClient(config, transport=network, trust_env=False))
    finally:
        await network.aclose()
        store.close()
