"""Connections that are held open for nothing: real sockets and TLS, clients that do not read or do not say what."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.apiserver.conftest import no_logs
from tests.apiserver.kubectl import make_certificates, serving

from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens, token_hash
from skerry.cluster.store import Key, Store
from skerry.daemon import certificates, http_protocol
from skerry.kit.clock import SystemClock

MAPS = "/api/v1/namespaces/a/configmaps"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> certificates.Pki:
    return make_certificates(tmp_path_factory.mktemp("pki"))


class Server:
    """A served store, and raw connections to it."""

    def __init__(self, store: Store, port: int, pki: certificates.Pki) -> None:
        self.store = store
        self._port = port
        self._tls = ssl.create_default_context(cafile=str(pki.ca_certificate))
        self._token = pki.admin_token.read_text()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect; the reader stops reading from the socket when it holds a few kilobytes, and so does the kernel."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)  # else it grows to megabytes
        sock.connect(("127.0.0.1", self._port))
        sock.setblocking(False)
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=self._tls, server_hostname="127.0.0.1", limit=4096
        )
        try:
            async with asyncio.timeout(20):
                yield reader, writer
        finally:
            writer.transport.abort()

    def request(self, path: str) -> bytes:
        return f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {self._token}\r\n\r\n".encode()


@pytest.fixture
async def server(tmp_path: Path, pki: certificates.Pki) -> AsyncIterator[Server]:
    store = Store.open(tmp_path / "store.db")
    tokens = Tokens({token_hash(pki.admin_token.read_text()): "admin"})
    app = ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), tokens, no_logs))
    async with serving(app, pki, tmp_path / "kubeconfig") as port:
        yield Server(store, port, pki)
    store.close()


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not what():
            await asyncio.sleep(0.01)


async def write_much(store: Store, megabytes: int) -> None:
    def item(name: str) -> dict[str, object]:
        return {"metadata": {"name": name}, "data": {"k": "v" * 250_000}}

    names = [f"m{number}" for number in range(4 * megabytes)]
    await asyncio.gather(*(store.create(Key("/configmaps", "a", name), item(name)) for name in names))


async def test_a_watcher_that_never_reads_is_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "STALLED_SECONDS", 0.2)
    async with server.connection() as (reader, writer):
        writer.write(server.request(f"{MAPS}?watch=1"))
        assert await reader.readuntil(b"\r\n\r\n")
        await until(lambda: len(server.store._watchers) == 1)
        (watcher,) = server.store._watchers
        await write_much(server.store, 8)
        assert watcher.queued <= 256
        await until(lambda: not server.store._watchers)
        received = 0
        with pytest.raises(ConnectionError):  # noqa: PT012 - it breaks while it is read
            while chunk := await reader.read(1 << 16):
                received += len(chunk)
            raise ConnectionResetError
        assert received < 8_000_000


async def test_a_client_that_reads_slowly_reads_all(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "STALLED_SECONDS", 0.5)
    await write_much(server.store, 8)
    async with server.connection() as (reader, writer):
        writer.write(server.request(MAPS))
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        body = bytearray()
        began = asyncio.get_running_loop().time()
        while len(body) < length:
            body += await reader.read(1 << 15)
            await asyncio.sleep(0.01)
        assert len(json.loads(body)["items"]) == 32
        assert asyncio.get_running_loop().time() - began > 1  # longer than a stall would have been borne


@pytest.mark.parametrize("begin", [b"", b"GET /livez HTT", b"GET /livez HTTP/1.1\r\nhost: x\r\nx: "])
async def test_a_head_that_does_not_come_is_not_waited_for(
    server: Server, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.2)
    async with server.connection() as (reader, writer):
        writer.write(begin)
        assert await reader.read() == b""


async def test_a_connection_is_kept_between_requests(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.05)
    async with server.connection() as (reader, writer):
        for _ in range(3):
            writer.write(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(2) == b"ok"
            await asyncio.sleep(0.12)


async def test_a_head_that_is_too_large_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_BYTES", 10_000)
    for head in (b"GET /livez HTTP/1.1\r\nx: ", b"GET /"):
        async with server.connection() as (reader, writer):
            writer.write(head + b"y" * 11_000)
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 431")
    async with server.connection() as (reader, writer):
        writer.write(b"GET /livez HTTP/1.1\r\nx: " + b"y" * 5000 + b"\r\n\r\n")
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 200")
