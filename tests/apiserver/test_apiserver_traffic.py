"""Limits: requests in flight, bodies, watches, time; compression. Asked as a network client asks."""

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.apiserver.conftest import no_logs
from tests.apiserver.kubectl import Kubectl, kubectls, make_certificates, serving

from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver import reading, traffic
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens, token_hash
from skerry.cluster.apiserver.podstreams import LateNode
from skerry.cluster.apiserver.traffic import Limits
from skerry.cluster.store import Key, Store
from skerry.kit.clock import SystemClock

MAPS = "/api/v1/namespaces/a/configmaps"
Message = MutableMapping[str, Any]


@pytest.fixture
def limited(store: Store) -> ApiServer:
    limits = Limits(reads=2, writes=2, body_bytes=1000, watches=3, watches_of_one=2)
    users = {token_hash("secret"): "admin", token_hash("other"): "other"}
    return ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), Tokens(users), no_logs, limits=limits))


class Exchange:
    """One request whose body arrives, and whose answer is taken, when the test says so."""

    def __init__(
        self, app: ApiServer, method: str, path: str, query: str = "", token: str = "secret", **more: Any
    ) -> None:
        self.scope: Message = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(b"authorization", f"Bearer {token}".encode()), (b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            **more,
        }
        self.code = 0
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.begun = asyncio.Event()
        self.takes = asyncio.Event()
        self.takes.set()
        self._incoming: asyncio.Queue[Message] = asyncio.Queue()
        self.task = asyncio.ensure_future(app(self.scope, self._incoming.get, self._send))

    def give(self, body: bytes, *, more: bool = False) -> None:
        self._incoming.put_nowait({"type": "http.request", "body": body, "more_body": more})

    def leave(self) -> None:
        self._incoming.put_nowait({"type": "http.disconnect"})

    async def status(self) -> dict[str, Any]:
        async with asyncio.timeout(5):
            await self.task
        body: dict[str, Any] = json.loads(self.body)
        return body

    async def _send(self, message: Message) -> None:
        await self.takes.wait()
        if message["type"] == "websocket.accept":
            self.code = 101
            self.begun.set()
        if message["type"].endswith("http.response.start"):
            self.code, self.headers = message["status"], dict(message["headers"])
            self.begun.set()
        self.body += message.get("body", b"")


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_requests_in_flight_are_bounded(limited: ApiServer, http: httpx2.AsyncClient, method: str) -> None:
    waiting = [Exchange(limited, method, MAPS) for _ in range(2)]
    for one in waiting:
        one.takes.clear()
    await settle()
    refused = Exchange(limited, method, MAPS)
    status = await refused.status()
    assert (refused.code, status["reason"], refused.headers[b"retry-after"]) == (429, "TooManyRequests", b"1")
    assert status["message"] == "Too many requests, please try again later."
    assert status["details"]["retryAfterSeconds"] == 1
    other = Exchange(limited, "GET" if method == "POST" else "POST", MAPS)
    other.give(b'{"metadata":{"name":"x"}}')
    await other.status()
    assert other.code in {200, 201}
    health = Exchange(limited, "GET", "/readyz")
    health.give(b"")
    async with asyncio.timeout(5):
        await health.task
    assert health.body == b"ok"
    for number, one in enumerate(waiting):
        one.give(b'{"metadata":{"name":"m%d"}}' % number)
        one.takes.set()
        await one.status()
        assert one.code in {200, 201}
    again = Exchange(limited, method, MAPS)
    again.give(b'{"metadata":{"name":"again"}}')
    await again.status()
    assert again.code in {200, 201}


async def test_bodies_in_memory_are_bounded(limited: ApiServer, http: httpx2.AsyncClient) -> None:
    first = Exchange(limited, "POST", MAPS)
    first.give(b'{"metadata":{"name":"x"},"data":{"k":"' + b"v" * 800, more=True)
    await settle()
    second = Exchange(limited, "POST", MAPS)
    second.give(b" " * 300)
    assert (await second.status())["reason"] == "TooManyRequests"
    first.give(b'"}}')
    await first.status()
    assert first.code == 201
    third = Exchange(limited, "POST", MAPS)
    third.give(b'{"metadata":{"name":"y"},"data":{"k":"' + b"v" * 800 + b'"}}')
    await third.status()
    assert third.code == 201


async def test_watches_are_bounded_for_one_client_and_for_all(limited: ApiServer, http: httpx2.AsyncClient) -> None:
    watches = [Exchange(limited, "GET", MAPS, "watch=1") for _ in range(2)]
    for one in watches:
        one.give(b"")
        await one.begun.wait()
    refused = Exchange(limited, "GET", MAPS, "watch=1")
    assert (await refused.status())["code"] == 429
    other = Exchange(limited, "GET", MAPS, "watch=1", token="other")
    other.give(b"")
    await other.begun.wait()
    assert other.code == 200
    refused = Exchange(limited, "GET", MAPS, "watch=1", token="other")
    assert (await refused.status())["code"] == 429
    for one in (*watches, other):
        one.leave()
        async with asyncio.timeout(5):
            await one.task
    again = Exchange(limited, "GET", MAPS, "watch=1&timeoutSeconds=1")
    again.give(b"")
    async with asyncio.timeout(5):
        await again.begun.wait()
    assert again.code == 200
    again.leave()
    await again.task


class Node:
    """Takes connections to every port of every pod, and says nothing."""

    def __init__(self) -> None:
        self.ends: list[socket.socket] = []

    async def dial(self, _pod: Any, _port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        near, far = socket.socketpair()
        self.ends.append(far)
        return await asyncio.open_connection(sock=near)


async def conversation(app: ApiServer, token: str = "secret") -> Exchange:
    """Ask for a WebSocket to a port of a pod; returns when it is open or refused."""
    where = "/api/v1/namespaces/a/pods/p/portforward"
    kind = {"type": "websocket", "subprotocols": ["v4.channel.k8s.io"]}
    made = Exchange(app, "GET", where, "ports=80", token, **kind)
    made.scope.pop("method")
    made._incoming.put_nowait({"type": "websocket.connect"})
    async with asyncio.timeout(5):
        await made.begun.wait()
    return made


async def leave(*conversations: Exchange) -> None:
    for one in conversations:
        one._incoming.put_nowait({"type": "websocket.disconnect"})
    async with asyncio.timeout(5):
        await asyncio.gather(*(one.task for one in conversations))


async def open_conversations(app: ApiServer) -> str:
    async with remote(app, "identity", "127.0.0.1") as client:
        text = (await client.get("/metrics")).text
    name = "apiserver_longrunning_requests{"
    lines = [line for line in text.splitlines() if line.startswith(name) and 'subresource="portforward"' in line]
    return lines[0].rpartition(" ")[2]


async def test_conversations_are_bounded_together_with_watches(store: Store, http: httpx2.AsyncClient) -> None:
    limits, node, end = Limits(watches=3, watches_of_one=2), LateNode(), Node()
    node.node = end  # type: ignore[assignment]
    users = {token_hash("secret"): "admin", token_hash("other"): "admin"}
    app = ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), Tokens(users), no_logs, node=node, limits=limits))
    running = {"phase": "Running", "podIP": "127.0.0.1"}
    pod = {"metadata": {"name": "p", "namespace": "a"}, "spec": {"nodeName": "n"}, "status": running}
    await store.create(Key("/pods", "a", "p"), pod)
    watch = Exchange(app, "GET", MAPS, "watch=1")
    watch.give(b"")
    await watch.begun.wait()
    first = await conversation(app)
    assert first.code == 101
    refused = await conversation(app)
    assert (refused.code, (await refused.status())["reason"]) == (429, "TooManyRequests")
    second = await conversation(app, "other")
    assert (second.code, (await conversation(app, "other")).code) == (101, 429)
    assert await open_conversations(app) == "2"
    await leave(first)
    third = await conversation(app)
    assert third.code == 101, "the place is free again"
    await leave(second, third)
    assert await open_conversations(app) == "0"
    watch.leave()
    await watch.task
    for each in end.ends:
        each.close()


async def test_a_body_that_drips_is_not_waited_for(app: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "_SECONDS", 0.1)
    slow = Exchange(app, "POST", MAPS)
    slow.give(b"{", more=True)
    status = await slow.status()
    assert (slow.code, status["reason"]) == (504, "Timeout")
    assert status["message"] == "Timeout: request did not complete within the allotted timeout"
    assert slow.headers[b"connection"] == b"close"
    watch = Exchange(app, "GET", MAPS, "watch=1&timeoutSeconds=1&allowWatchBookmarks=1")
    watch.give(b"")
    async with asyncio.timeout(5):
        await watch.task
    assert b"BOOKMARK" in watch.body  # watches have their own time


async def test_an_answer_that_is_late_breaks_off(app: ApiServer, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PIECE", 1)
    for name in "xy":
        await store.create(Key("/configmaps", "a", name), {"metadata": {"name": name}})
    ask = Exchange(app, "GET", MAPS, "timeout=100ms")

    async def stuck(message: Message) -> None:
        if message.get("body"):
            await asyncio.Event().wait()

    ask.task.cancel()
    ask.give(b"")
    with pytest.raises(TimeoutError):
        await app(ask.scope, ask._incoming.get, stuck)


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("timeout=5s", 5),
        ("timeout=1.5s", 1.5),
        ("timeout=0m30s", 30),
        ("timeout=250ms", 0.25),
        ("timeout=1h", 60),
        ("timeout=0s", 60),
        ("timeout=", 60),
        ("timeout=5", 60),
        ("timeout=-5s", 60),
        ("timeout=s5", 60),
        ("timeoutSeconds=5", 60),
        ("", 60),
    ],
)
def test_durations_are_gos(query: str, seconds: float) -> None:
    assert traffic._seconds(query.encode()) == pytest.approx(seconds)


@asynccontextmanager
async def remote(app: Any, encoding: str, address: str) -> AsyncIterator[httpx2.AsyncClient]:
    headers = {"authorization": "Bearer secret", "accept-encoding": encoding}
    transport = httpx2.ASGITransport(app, client=(address, 1))
    async with httpx2.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
        yield client


async def fill(store: Store, count: int) -> None:
    def item(name: str) -> dict[str, Any]:
        return {"metadata": {"name": name}, "data": {"k": "v" * 1000}}

    names = [f"m{number}" for number in range(count)]
    await asyncio.gather(*(store.create(Key("/configmaps", "a", name), item(name)) for name in names))


@pytest.mark.parametrize("query", ["", "limit=200"])
async def test_long_lists_are_compressed_for_other_machines(
    app: ApiServer, store: Store, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    monkeypatch.setattr(reading, "_PIECE", 50)
    await fill(store, 200)
    async with remote(app, "gzip", "192.0.2.7") as client, client.stream("GET", f"{MAPS}?{query}") as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert "content-length" not in answer.headers
    assert len(raw) < 20_000
    assert len(json.loads(gzip.decompress(raw))["items"]) == 200


@pytest.mark.parametrize(
    ("path", "encoding", "address"),
    [
        (MAPS, "gzip", "127.0.0.1"),
        (MAPS, "gzip;q=0, identity", "192.0.2.7"),
        (MAPS, "br", "192.0.2.7"),
        (f"{MAPS}/m1", "gzip", "192.0.2.7"),
    ],
)
async def test_what_is_not_compressed(app: ApiServer, store: Store, path: str, encoding: str, address: str) -> None:
    await fill(store, 200)
    async with remote(app, encoding, address) as client:
        answer = await client.get(path)
    assert "content-encoding" not in answer.headers
    assert answer.json()["kind"] == "ConfigMapList" if path == MAPS else answer.json()["metadata"]["name"] == "m1"


@pytest.mark.parametrize("program", kubectls().values(), ids=kubectls().keys())
async def test_kubectl_reads_what_is_compressed(
    app: ApiServer, store: Store, tmp_path: Path, program: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The server is told that the client is elsewhere; the client is the real one."""
    pki = make_certificates(tmp_path_factory.mktemp("pki"))
    app = ApiServer(
        ApiServerParts(
            store, REGISTRY, SystemClock(), Tokens({token_hash(pki.admin_token.read_text()): "admin"}), no_logs
        )
    )
    encodings: list[bytes] = []

    async def elsewhere(scope: Message, receive: Callable[[], Awaitable[Message]], send: Any) -> None:
        async def noted(message: Message) -> None:
            encodings.extend(value for name, value in message.get("headers", ()) if name == b"content-encoding")
            await send(message)

        await app({**scope, "client": ("192.0.2.7", 1)}, receive, noted)

    await fill(store, 300)
    kubeconfig = tmp_path / "kubeconfig"
    async with serving(elsewhere, pki, kubeconfig):  # type: ignore[arg-type]
        kubectl = Kubectl(program, tmp_path, kubeconfig)
        names = (await kubectl("get", "configmaps", "-n", "a", "-o", "name")).split()
    assert len(names) == 300
    assert encodings == [b"gzip"]
