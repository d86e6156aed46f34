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

from skerry.api.coordination import Heartbeat, lease_kind, no_heartbeat
from skerry.api.registry import Registry
from skerry.cluster.apiserver.access.accounts import Accounts
from skerry.cluster.apiserver.access.authentication import Authenticator
from skerry.cluster.apiserver.access.authorizer import Authorizer
from skerry.cluster.apiserver.access.credentials import Tokens, is_inside
from skerry.cluster.apiserver.access.gate import Gate
from skerry.cluster.apiserver.access.guard import Guard
from skerry.cluster.apiserver.access.keys import SigningKeys
from skerry.cluster.apiserver.access.pod_accounts import PodAccounts
from skerry.cluster.apiserver.access.review_api import ReviewApi
from skerry.cluster.apiserver.access.roles import Roles
from skerry.cluster.apiserver.access.secrets import AccountSecrets
from skerry.cluster.apiserver.access.token_api import TokenApi
from skerry.cluster.apiserver.admission import Admission, Hook
from skerry.cluster.apiserver.custom.definitions import Definitions
from skerry.cluster.apiserver.deleting import Deleter
from skerry.cluster.apiserver.documents import Documents
from skerry.cluster.apiserver.eviction import EvictionApi
from skerry.cluster.apiserver.health import Health
from skerry.cluster.apiserver.metrics import ApiMetrics
from skerry.cluster.apiserver.metricsapi import MetricsApi, NoUsage, Usage
from skerry.cluster.apiserver.podapi import PodApi, ReadLogs
from skerry.cluster.apiserver.podstreams import LateNode, NodeStreams, PodStreams, not_upgraded
from skerry.cluster.apiserver.reading import Reader
from skerry.cluster.apiserver.replies import Answer, Reply, Stream, Upgrade, error_reply, with_warnings
from skerry.cluster.apiserver.requests import BODY_LIMIT, Request, Target, target_of
from skerry.cluster.apiserver.scale import ScaleApi
from skerry.cluster.apiserver.traffic import Limits, Traffic
from skerry.cluster.apiserver.turns import Turns
from skerry.cluster.apiserver.verbs import Handlers, resource_of, verb_of, verbs_needed, verbs_of
from skerry.cluster.apiserver.volumesapi import VolumesApi
from skerry.cluster.apiserver.watching import WatchHandler
from skerry.cluster.apiserver.writing import Writer
from skerry.cluster.store import Store, StoreFailed, StoreFull
from skerry.kit.clock import Clock
from skerry.kit.log import logger
from skerry.machinery import status
from skerry.machinery.status import StatusError

log = logger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class ApiServerParts:
    """What the server is made of; the composition root fills it."""

    store: Store
    registry: Registry
    clock: Clock
    tokens: Tokens
    read_logs: ReadLogs
    hooks: Sequence[Hook] = ()
    node: NodeStreams = field(default_factory=LateNode)
    keys: SigningKeys = field(default_factory=SigningKeys.temporary)
    usage: Usage = field(default_factory=NoUsage)
    heartbeat: Heartbeat = no_heartbeat
    limits: Limits = field(default_factory=Limits)


class ApiServer:
    """An ASGI application."""

    def __init__(self, parts: ApiServerParts) -> None:
        now, turns = parts.clock.now, Turns()
        self.registry = parts.registry.copy(lease_kind(parts.heartbeat))
        self._definitions = Definitions(parts.store, self.registry, now)
        accounts = Accounts(parts.store, parts.keys, now)
        authenticator = Authenticator(parts.tokens, accounts, now)
        authorizer = Authorizer(Roles(parts.store))
        self._gate = Gate(authenticator, authorizer)
        self.health = Health()
        self.health.add("etcd", parts.store.problem, live=True)
        metrics = ApiMetrics(parts.store, self.registry)
        self._traffic = Traffic(self._serve, self._converse, self.registry, metrics, parts.limits)
        self._documents = Documents(self.registry, self.health, metrics.reply)
        self._reader = Reader(parts.store, now)
        self._watches = WatchHandler(parts.store, self.registry, now, metrics.watch_events)
        hooks: Sequence[Hook] = (
            *parts.hooks,
            self._definitions.hook,
            AccountSecrets(parts.store, accounts),
            PodAccounts(parts.store),
        )
        self._writer = Writer(parts.store, self._reader, Admission(now, hooks), turns, Guard(authorizer))
        self._deleter = Deleter(parts.store, self._reader, now, turns)
        tokens = TokenApi(self._reader, accounts, authenticator)
        own = (
            PodApi(parts.store, self._reader, now, turns, parts.read_logs),
            PodStreams(self._reader, parts.node),
            ScaleApi(self._reader, self._writer, now),
            EvictionApi(self._reader, self._writer, self._deleter, now),
            MetricsApi(self._reader, parts.usage, now),
            VolumesApi(self._reader, now),
            tokens,
            ReviewApi(authorizer),
        )
        definitions = self._definitions.handlers(self._writer, self._deleter)
        self._handlers = Handlers(definitions, *(each.handlers() for each in own))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._traffic.websocket(scope, receive, send)
        elif scope["type"] == "http":
            await self._traffic(scope, receive, send)

    async def _converse(self, scope: Scope, receive: Receive, send: Send, refusal: Reply | None = None) -> None:
        # Loaded when the first client streams.
        from skerry.cluster.apiserver.streams.handshake import conclude

        await conclude(refusal or await self._answer(scope, _no_body), scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        reply = await self._answer(scope, receive)
        if isinstance(reply, Upgrade):
            reply = not_upgraded(scope)
        if isinstance(reply, Stream):
            await _send_stream(reply, receive, send, head=scope["method"] == "HEAD")
        else:
            await _send_reply(reply, send, head=scope["method"] == "HEAD")

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        """Answer a request, or the one that asks for a WebSocket: who may do what is decided alike for both."""
        method = scope.get("method", "GET")
        try:
            headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
            user = self._gate.authenticate(scope)
            parameters = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
            query = dict(reversed(parameters))
            body = b"" if method in {"GET", "HEAD"} else await _read_body(receive)
            inside = is_inside(scope)
            request = Request(method, scope["path"], query, headers, body, user, inside, parameters)
            return await self._dispatch(request)
        except StatusError as error:
            return error_reply(error)
        except StoreFull as error:
            return error_reply(status.insufficient_storage(str(error)))
        except StoreFailed as error:
            log.error("store failed", error=str(error))
            return error_reply(status.internal(str(error)))
        except Exception as error:  # the client still gets a Status, the log gets the trace
            log.exception("request failed", method=method, path=scope["path"])
            return error_reply(status.internal(f"{type(error).__name__}: {error}"))

    async def _dispatch(self, request: Request) -> Answer:
        target = target_of(request.path, self.registry)
        if target is None:
            self._gate.authorize_path(request.user, request.method, request.path)
            if (document := self._documents.find(request)) is not None:
                return document
            raise status.no_such_path()
        return await self._resource(request, target)

    async def _resource(self, request: Request, target: Target) -> Answer:
        verb = verb_of(request, target)
        for needed in verbs_needed(target, verb):
            self._gate.authorize(request.user, needed, target, request.query)
        reply = await self._done(request, target, verb)
        if target.kind.deprecated and isinstance(reply, Reply | Stream):
            return with_warnings(reply, [target.kind.deprecated])
        return reply

    async def _done(self, request: Request, target: Target, verb: str) -> Answer:
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


async def _no_body() -> MutableMapping[str, Any]:
    return {"type": "http.request"}


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
    fields = {"content-type": stream.media_type, "cache-control": "no-cache, private", **stream.headers}
    headers = [(key.encode(), value.encode("latin-1")) for key, value in fields.items()]
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
