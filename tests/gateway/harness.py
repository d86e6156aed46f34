"""Real sockets on both sides of a gateway in this process: clients that write raw bytes, pods with faults."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from skerry.cluster.gateway.core import Gateway, Settings
from skerry.cluster.gateway.door import Door
from skerry.cluster.gateway.limits import Limits, Timeouts
from skerry.cluster.gateway.table import Endpoint, Route, Service, ServicePort, Share, Table

HOST = "demo.apps.localhost"
PATIENCE = 10.0

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Message:
    """A request or a response as it came over the wire."""

    first: str
    fields: tuple[tuple[str, str], ...]
    body: bytes = b""

    @property
    def status(self) -> int:
        return int(self.first.split(" ")[1])

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name]

    def get(self, name: str) -> str | None:
        return next(iter(self.all(name)), None)


async def read_head(reader: asyncio.StreamReader) -> Message:
    raw = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
    first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
    fields = (line.partition(":") for line in lines)
    return Message(first, tuple((name, value.strip()) for name, _, value in fields))


async def read_chunked(reader: asyncio.StreamReader) -> bytes:
    """Return a chunked body exactly as it came, framing and trailers included."""
    raw = b""
    while True:
        line = await asyncio.wait_for(reader.readuntil(b"\r\n"), PATIENCE)
        raw += line
        size = int(line.split(b";")[0], 16)
        if size == 0:
            break
        raw += await asyncio.wait_for(reader.readexactly(size + 2), PATIENCE)
    while True:
        line = await asyncio.wait_for(reader.readuntil(b"\r\n"), PATIENCE)
        raw += line
        if line == b"\r\n":
            return raw


async def read_message(reader: asyncio.StreamReader, *, body: bool = True) -> Message:
    """Read a whole message; `body=False` for an answer to HEAD."""
    head = await read_head(reader)
    content = b""
    if body and head.get("transfer-encoding"):
        content = await read_chunked(reader)
    elif body and head.get("content-length"):
        content = await asyncio.wait_for(reader.readexactly(int(head.get("content-length") or 0)), PATIENCE)
    return Message(head.first, head.fields, content)


def answer(body: bytes = b"ok", status: str = "200 OK", *fields: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


@dataclass
class Pod:
    """A server on a port of its own that keeps what it was asked."""

    handler: Handler | None = None
    name: str = "pod"
    requests: list[Message] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.port, f"cookie-of-{self.name}")

    async def start(self, port: int = 0) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop as a killed process does: the listener goes, and every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            await (self.handler or self._echo)(reader, writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError, OSError, RuntimeError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            request = await read_message(reader)
            self.requests.append(request)
            body = b"" if request.first.startswith("HEAD") else f"{self.name}:".encode() + request.body
            writer.write(answer(body, "200 OK", "Content-Type: text/plain"))
            await writer.drain()


class Client:
    """A client that says exactly what it is told to say."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, *pieces: bytes | str) -> None:
        for piece in pieces:
            self.writer.write(piece if isinstance(piece, bytes) else piece.encode())

    async def answer(self, *, body: bool = True) -> Message:
        return await read_message(self.reader, body=body)

    async def get(self, path: str = "/", *fields: str, host: str = HOST) -> Message:
        self.send(request("GET", path, *fields, host=host))
        return await self.answer()

    async def rest(self) -> bytes:
        """Read until the gateway closes."""
        return await asyncio.wait_for(self.reader.read(-1), PATIENCE)

    async def closed(self) -> bool:
        return await self.rest() == b""


def request(method: str = "GET", path: str = "/", *fields: str, host: str = HOST, body: bytes = b"") -> bytes:
    length = [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *fields, *length]).encode() + b"\r\n\r\n" + body


@dataclass(frozen=True)
class FrontDoor:
    """A gateway that listens."""

    gateway: Gateway
    port: int
    stack: AsyncExitStack

    def swap(self, *routes: Route, services: Iterable[Service] = ()) -> None:
        self.gateway.swap(Table(routes=routes, services=tuple(services)))

    def serve(self, *pods: Pod) -> None:
        """Route the usual host to these pods, without cookies."""
        self.swap(route(*pods))

    async def connect(self, address: str = "127.0.0.1") -> Client:
        reader, writer = await asyncio.open_connection(address, self.port, limit=2**20)
        self.stack.callback(writer.close)
        return Client(reader, writer)

    async def pod(self, handler: Handler | None = None, name: str = "pod") -> Pod:
        pod = Pod(handler, name)
        await pod.start()
        self.stack.push_async_callback(pod.stop)
        return pod


def route(*pods: Pod, name: str = "ai-demo/demo", host: str = HOST, path: str = "", **more: object) -> Route:
    shares = (Share(tuple(pod.endpoint for pod in pods)),)
    return Route(name=name, host=host, path=path, services=shares, **more)  # type: ignore[arg-type]


def service(name: str, namespace: str, ports: Sequence[tuple[int, Pod]]) -> Service:
    return Service(namespace, name, tuple(ServicePort(port, (pod.endpoint,)) for port, pod in ports))


@asynccontextmanager
async def front_door(timeouts: Timeouts | None = None, limits: Limits | None = None) -> AsyncIterator[FrontDoor]:
    loop = asyncio.get_running_loop()
    settings = Settings(limits or Limits(), timeouts or Timeouts(), access_log=False)
    async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
        gateway = Gateway(loop, group.create_task, settings, random.Random(7))
        server = await loop.create_server(lambda: Door(gateway), "127.0.0.1", 0)
        stack.callback(gateway.close)
        stack.callback(server.close)
        yield FrontDoor(gateway, server.sockets[0].getsockname()[1], stack)


async def until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait for a condition that nothing announces."""
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.005)
