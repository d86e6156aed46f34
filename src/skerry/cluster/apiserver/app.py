"""The ASGI application: routes a request to its verb and writes the answer.

Plain ASGI without a web framework: the paths are not a fixed table but Kubernetes' grammar, and a watch needs its
chunks on the wire at once. Every error leaves as a `metav1.Status`.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from skerry.api.registry import Registry
from skerry.cluster.apiserver.admission import Admission, Hook
from skerry.cluster.apiserver.auth import Tokens, is_inside, user_of
from skerry.cluster.apiserver.deleting import Deleter
from skerry.cluster.apiserver.documents import Documents
from skerry.cluster.apiserver.health import Health
from skerry.cluster.apiserver.metrics import ApiMetrics
from skerry.cluster.apiserver.podapi import PodApi, ReadLogs
from skerry.cluster.apiserver.reading import Reader
from skerry.cluster.apiserver.replies import Reply, Stream, error_reply
from skerry.cluster.apiserver.requests import BODY_LIMIT, Request, Target, target_of
from skerry.cluster.apiserver.traffic import Limits, Traffic
from skerry.cluster.apiserver.turns import Turns
from skerry.cluster.apiserver.verbs import Handlers, resource_of, verb_of, verbs_of
from skerry.cluster.apiserver.watching import WatchHandler
from skerry.cluster.apiserver.writing import Writer
from skerry.cluster.store import Store, StoreFailed
from skerry.kit.clock import Clock
from skerry.kit.log import logger
from skerry.machinery import status
from skerry.machinery.status import StatusError

log = logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_OPEN_PATHS = {"/healthz", "/livez", "/readyz", "/version"}


@dataclass(frozen=True)
class ApiServerParts:
    """What the server is made of; the composition root fills it."""

    store: Store
    registry: Registry
    clock: Clock
    tokens: Tokens
    read_logs: ReadLogs
    hooks: Sequence[Hook] = ()
    limits: Limits = field(default_factory=Limits)


class ApiServer:
    """An ASGI application."""

    def __init__(self, parts: ApiServerParts) -> None:
        now, turns = parts.clock.now, Turns()
        self._registry = parts.registry
        self._tokens = parts.tokens
        self.health = Health()
        self.health.add("etcd", parts.store.problem, live=True)
        metrics = ApiMetrics(parts.store, parts.registry)
        self._traffic = Traffic(self._serve, parts.registry, metrics, parts.limits)
        self._documents = Documents(parts.registry, self.health, metrics.reply)
        self._reader = Reader(parts.store, now)
        self._watches = WatchHandler(parts.store, now, metrics.watch_events)
        self._writer = Writer(parts.store, self._reader, Admission(now, parts.hooks), turns)
        self._deleter = Deleter(parts.store, self._reader, now, turns)
        pods = PodApi(parts.store, self._reader, now, turns, parts.read_logs)
        self._handlers = Handlers(pods.handlers())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._traffic(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = await self._answer(scope, receive)
        if isinstance(reply, Stream):
            await _send_stream(reply, receive, send, head=scope["method"] == "HEAD")
        else:
            await _send_reply(reply, send, head=scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> Reply | Stream:
        try:
            headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
            user = user_of(scope, headers, self._tokens)
            if user is None and scope["path"] not in _OPEN_PATHS:
                return error_reply(status.unauthorized())
            parameters = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            query = dict(reversed(parameters))
            body = b"" if scope["method"] in {"GET", "HEAD"} else await _read_body(receive)
            user = user or "system:anonymous"
            inside = is_inside(scope)
            request = Request(scope["method"], scope["path"], query, headers, body, user, inside, parameters)
            return await self._dispatch(request)
        except StatusError as error:
            return error_reply(error)
        except StoreFailed as error:
            log.error("store failed", error=str(error))
            return error_reply(status.internal(str(error)))
        except Exception as error:  # the client still gets a Status, the log gets the trace
            log.exception("request failed", method=scope["method"], path=scope["path"])
            return error_reply(status.internal(f"{type(error).__name__}: {error}"))

    async def _dispatch(self, request: Request) -> Reply | Stream:
        if (document := self._documents.find(request)) is not None:
            return document
        target = target_of(request.path, self._registry)
        if target is None:
            raise status.no_such_path()
        return await self._resource(request, target)

    async def _resource(self, request: Request, target: Target) -> Reply | Stream:
        verb = verb_of(request, target)
        if (handler := self._handlers.find(target, verb)) is not None:
            return await handler(request, target)
        if verb not in verbs_of(target):
            raise status.method_not_supported(resource_of(target), verb)
        return await self._stored(request, target, verb)

    async def _stored(self, request: Request, target: Target, verb: str) -> Reply | Stream:
        """Answer the verbs that every stored kind has."""
        match verb:
            case "get":
                return self._reader.get(request, target)
            case "list":
                return await self._reader.list_objects(request, target)
            case "watch":
                return self._watches.watch(request, target)
            case "create":
                return await self._writer.create(request, target)
            case "update":
                return await self._writer.update(request, target)
            case "patch":
                return await self._writer.patch(request, target)
            case "delete":
                return await self._deleter.delete(request, target)
            case _:
                return await self._deleter.delete_collection(request, target)


async def _read_body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise status.bad_request("the client went away before the body was complete")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > BODY_LIMIT:
            raise status.too_large(BODY_LIMIT)
        if not message.get("more_body"):
            return b"".join(chunks)


async def _send_reply(reply: Reply, send: Send, *, head: bool) -> None:
    fields = {"cache-control": "no-cache, private", **reply.headers}
    headers = [
        (b"content-type", reply.media_type.encode()),
        (b"content-length", str(len(reply.body)).encode()),
        *((key.encode(), value.encode("latin-1")) for key, value in fields.items()),
    ]
    await send({"type": "http.response.start", "status": reply.code, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else reply.body})


async def _send_stream(stream: Stream, receive: Receive, send: Send, *, head: bool) -> None:
    """Send chunks as they come; stop when the client leaves. A failure breaks the stream off, so that it shows."""
    headers = [(b"content-type", stream.media_type.encode()), (b"cache-control", b"no-cache, private")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    # An empty chunk makes the server write the head now: a watch may wait long for its first event.
    await send({"type": "http.response.body", "body": b"", "more_body": not head})
    if head:
        return
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(_send_chunks(stream, send))
        leaving = group.create_task(_wait_for_disconnect(receive))
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        sending.cancel()
        leaving.cancel()
    if not sending.cancelled():
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_chunks(stream: Stream, send: Send) -> None:
    closing = contextlib.aclosing(stream.chunks)  # type: ignore[type-var]
    async with closing as chunks:
        async for chunk in chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
