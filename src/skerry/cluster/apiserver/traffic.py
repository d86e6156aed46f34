"""What one client may take from the others: requests in flight, bodies in memory, watches, time.

Wraps the application. What is too much is refused at once with 429 and Retry-After, which clients of Kubernetes obey.
A request that is not done in time (60 seconds, or less with `?timeout=`) is answered with 504; when its answer has
begun, the connection breaks, so that a half is not taken for a whole. Watches, logs and WebSockets last as long as
they want, and are counted apart. Health checks are always answered; parts of this process limit themselves.

Facts: k8s.io/apiserver `pkg/server/filters` (max in flight, timeout), `pkg/endpoints/filters` (request deadline).
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

from skerry.api.registry import Registry
from skerry.cluster.apiserver.auth import is_inside
from skerry.cluster.apiserver.compression import Compressed, wants_gzip
from skerry.cluster.apiserver.metrics import ApiMetrics
from skerry.cluster.apiserver.replies import Reply, error_reply
from skerry.cluster.apiserver.request_info import RequestInfo, info_of, is_mutating
from skerry.machinery import status

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Serve = Callable[[Message, Receive, Send], Awaitable[None]]


class Converse(Protocol):
    """Serves a WebSocket, or refuses it with an answer."""

    async def __call__(self, scope: Message, receive: Receive, send: Send, refusal: Reply | None = None, /) -> None: ...


_SECONDS: Final = 60.0
_COMPRESSED: Final = frozenset({"GET", "LIST"})
_HEALTH: Final = ("/healthz", "/livez", "/readyz")
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "\u00b5s": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|\u00b5s|ms|s|m|h)")


@dataclass(frozen=True)
class Limits:
    """How much at once; kube-apiserver's own figures where it has some."""

    reads: int = 400
    writes: int = 200
    body_bytes: int = 64 * 1024 * 1024
    watches: int = 5000  # and logs, and WebSockets
    watches_of_one: int = 4000  # with the same credentials


class Traffic:
    """Serves requests through an application, within limits."""

    def __init__(
        self, serve: Serve, converse: Converse, registry: Registry, metrics: ApiMetrics, limits: Limits
    ) -> None:
        self._serve = serve
        self._converse = converse
        self._registry = registry
        self._metrics = metrics
        self._limits = limits
        self._body_bytes = 0
        self._watches: dict[int, int] = {}  # by a hash of the credentials

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        began = perf_counter()
        info = info_of(scope, self._registry)
        code = 500

        async def noted(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            if is_inside(scope) and info.long_running:
                await self._counted(info, self._serve(scope, receive, noted))
            elif is_inside(scope) or scope["path"].startswith(_HEALTH):
                await self._serve(scope, receive, noted)
            elif info.long_running:
                await self._last(info, scope, receive, noted)
            else:
                await self._within(info, scope, receive, noted)
        finally:
            self._metrics.count(info, code, perf_counter() - began)

    async def _within(self, info: RequestInfo, scope: Message, receive: Receive, send: Send) -> None:
        """Serve what is soon done."""
        writes = is_mutating(scope["method"])
        kind, most = ("mutating", self._limits.writes) if writes else ("readOnly", self._limits.reads)
        flying = self._metrics.in_flight
        if flying[kind] >= most:
            await self._refuse(kind, send)
            return
        flying[kind] += 1
        try:
            if info.verb in _COMPRESSED and wants_gzip(scope):
                send = Compressed(send).send
            if writes or b"timeout=" in scope["query_string"]:
                await self._timed(scope, receive, send)
            else:  # nothing is waited for: no body is read, and a client that does not read is cut off
                await self._serve(scope, receive, send)
        finally:
            flying[kind] -= 1

    async def _timed(self, scope: Message, receive: Receive, send: Send) -> None:
        call = _Call(self, receive, send)
        try:
            async with asyncio.timeout(_seconds(scope["query_string"])) as limit:
                await self._serve(scope, call.receive, call.send)
        except TimeoutError:
            if not limit.expired():
                raise
            self._metrics.terminated += 1
            if call.begun:
                raise
            # The body may still be on its way, so nothing else can follow on this connection.
            late = error_reply(status.timeout("Timeout: request did not complete within the allotted timeout"))
            await _send(late, send, {"connection": "close"})
        finally:
            self._body_bytes -= call.body_bytes

    async def websocket(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a conversation: it lasts as long as a watch, and takes the place of one."""
        began = perf_counter()
        info = info_of({**scope, "method": "GET"}, self._registry)
        code = 500

        async def noted(message: Message) -> None:
            nonlocal code
            if message["type"] == "websocket.accept":
                code = 101
            elif message["type"] == "websocket.http.response.start":
                code = message["status"]
            await send(message)

        try:
            with self._place(scope) as free:
                if free:
                    await self._counted(info, self._converse(scope, receive, noted))
                else:
                    await self._converse(scope, receive, noted, self._refusal("watch"))
        finally:
            self._metrics.count(info, code, perf_counter() - began)

    async def _last(self, info: RequestInfo, scope: Message, receive: Receive, send: Send) -> None:
        """Serve what may last for ever."""
        with self._place(scope) as free:
            if free:
                await self._counted(info, self._serve(scope, receive, send))
            else:
                await self._refuse("watch", send)

    @contextmanager
    def _place(self, scope: Message) -> Iterator[bool]:
        """Take a place among what lasts; False when there is none left."""
        who = hash(next((value for name, value in scope["headers"] if name == b"authorization"), b""))
        watches = self._watches
        if sum(watches.values()) >= self._limits.watches or watches.get(who, 0) >= self._limits.watches_of_one:
            yield False
            return
        watches[who] = watches.get(who, 0) + 1
        try:
            yield True
        finally:
            watches[who] -= 1
            if not watches[who]:
                del watches[who]

    async def _counted(self, info: RequestInfo, serving: Awaitable[None]) -> None:
        long_running = self._metrics.long_running
        long_running[info] = long_running.get(info, 0) + 1
        try:
            await serving
        finally:
            long_running[info] -= 1

    async def _refuse(self, kind: str, send: Send) -> None:
        await _send(self._refusal(kind), send, {})

    def _refusal(self, kind: str) -> Reply:
        self._metrics.rejected[kind] += 1
        return error_reply(status.too_many_requests("Too many requests, please try again later."))

    def take(self, size: int) -> None:
        """Account for a piece of a body; raises a 429 when there is too much in memory."""
        self._body_bytes += size
        if self._body_bytes > self._limits.body_bytes:
            self._metrics.rejected["mutating"] += 1
            raise status.too_many_requests("Too many requests, please try again later.")


class _Call:
    """The two directions of one request."""

    __slots__ = ("_receive", "_send", "_traffic", "begun", "body_bytes")

    def __init__(self, traffic: Traffic, receive: Receive, send: Send) -> None:
        self._traffic = traffic
        self._receive = receive
        self._send = send
        self.begun = False
        self.body_bytes = 0

    async def receive(self) -> Message:
        message = await self._receive()
        size = len(message.get("body", b""))
        self.body_bytes += size
        self._traffic.take(size)
        return message

    async def send(self, message: Message) -> None:
        self.begun = True
        await self._send(message)


def _seconds(query: bytes) -> float:
    """Read `?timeout=`, a duration as Go writes it; longer than the limit, or nothing that is one, means the limit."""
    if b"timeout=" not in query:
        return _SECONDS
    text = parse_qs(query.decode("latin-1")).get("timeout", [""])[0]
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return _SECONDS
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return min(seconds, _SECONDS) if seconds > 0 else _SECONDS


async def _send(reply: Reply, send: Send, headers: Mapping[str, str]) -> None:
    fields = {
        "content-type": reply.media_type,
        "content-length": str(len(reply.body)),
        "cache-control": "no-cache, private",
        **reply.headers,
        **headers,
    }
    encoded = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": reply.code, "headers": encoded})
    await send({"type": "http.response.body", "body": reply.body})
