"""A local copy of all objects of one kind, kept true by list and watch.

The copy lags behind the API by the time that an event takes to arrive. A controller that must not act twice (create a
pod with a random name, say) asks the API itself; everybody else reads here.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import httpx2
import msgspec
from lightkube import ApiError, AsyncClient
from lightkube.core.resource import GlobalResource

from skerry.kit.clock import Clock
from skerry.kit.log import logger

log = logger(__name__)

# Any resource class of lightkube or of ours: a msgspec.Struct with `metadata`.
R = TypeVar("R", bound=Any)

_RETRY_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_STEADY_SECONDS: Final = 30.0  # a watch that lived so long was no failure in a row
_ABSENT_SECONDS: Final = 30.0
_QUIET_SECONDS: Final = 300.0


@dataclass(frozen=True)
class Change(Generic[R]):
    """One event: `new` is None after a deletion, `old` is None for an object not seen before."""

    old: R | None
    new: R | None

    @property
    def object(self) -> R:
        latest = self.new if self.new is not None else self.old
        assert latest is not None
        return latest


class Cache(Generic[R]):
    """The objects of one kind in all namespaces."""

    def __init__(
        self,
        client: AsyncClient,
        clock: Clock,
        kind: type[R],
        *,
        fields: Mapping[str, str] | None = None,
        optional: bool = False,
    ) -> None:
        """`optional`: a cluster without this kind (404) counts as one that has no objects of it; asked again later."""
        self._client: Any = client  # lightkube's overloads cannot follow a type variable
        self._clock = clock
        self._kind = kind
        self._fields = dict(fields) if fields else None
        self._optional = optional
        self._scope = {} if issubclass(kind, GlobalResource) else {"namespace": "*"}
        self._objects: dict[tuple[str, str], R] = {}
        self._listeners: list[Callable[[Change[R]], None]] = []
        self._synced = asyncio.Event()

    def get(self, namespace: str, name: str) -> R | None:
        """Return the object; `namespace` is "" for a cluster-scoped kind."""
        return self._objects.get((namespace, name))

    def __iter__(self) -> Iterator[R]:
        return iter(list(self._objects.values()))

    def __len__(self) -> int:
        return len(self._objects)

    def in_namespace(self, namespace: str) -> list[R]:
        return [item for (where, _), item in self._objects.items() if where == namespace]

    def listen(self, listener: Callable[[Change[R]], None]) -> None:
        """Call `listener` for every change from now on; it must not block."""
        self._listeners.append(listener)

    @property
    def is_synced(self) -> bool:
        return self._synced.is_set()

    async def synced(self) -> None:
        """Return once the first list has arrived."""
        await self._synced.wait()

    async def run(self) -> None:
        """Follow the API until cancelled; nothing that the API or the network does ends it."""
        failures = 0
        while True:
            begun = self._clock.monotonic()
            try:
                version = await self._relist()
                begun = self._clock.monotonic()
                await self._watch(version)
            except (httpx2.HTTPError, OSError, msgspec.MsgspecError) as error:
                if self._optional and _code(error) == 404:
                    await self._absent()
                    continue
                expired = _code(error) == 410
                if not expired:
                    log.warning("watch broke", kind=self._kind.__name__, error=f"{type(error).__name__}: {error}")
            except Exception:  # lightkube trips over answers that are no Kubernetes API's, a proxy's for one
                expired = False
                log.exception("watch broke", kind=self._kind.__name__)
            if self._clock.monotonic() - begun >= _STEADY_SECONDS:
                failures = 0
            waits = (0.0, *_RETRY_SECONDS) if expired else _RETRY_SECONDS
            if wait := waits[min(failures, len(waits) - 1)]:
                await self._clock.sleep(wait)
            failures += 1

    async def _absent(self) -> None:
        for key in list(self._objects):
            self._change(key, None)
        self._synced.set()
        await self._clock.sleep(_ABSENT_SECONDS)

    async def _relist(self) -> str:
        listing = self._client.list(self._kind, fields=self._fields, **self._scope)
        fresh = {_key(item): item async for item in listing}
        version: str = listing.resourceVersion
        for key in [key for key in self._objects if key not in fresh]:
            self._change(key, None)
        for key, item in fresh.items():
            self._change(key, item)
        self._synced.set()
        return version

    async def _watch(self, version: str) -> None:
        """Follow the changes after `version` until something breaks."""
        while True:
            events = self._client.watch(self._kind, fields=self._fields, resource_version=version, **self._scope)
            async with aclosing(events):
                version = await self._until_quiet(events, version)

    async def _until_quiet(self, events: AsyncIterator[tuple[str, R]], version: str) -> str:
        """Take in events until none comes for a while; return the version reached.

        A connection whose other end is gone without a word looks just like a kind without changes.
        """
        while True:
            try:
                async with asyncio.timeout(_QUIET_SECONDS) as quiet:
                    event, item = await anext(events)
            except TimeoutError:
                if quiet.expired():
                    return version
                raise
            version = item.metadata.resourceVersion
            self._change(_key(item), None if event == "DELETED" else item)

    def _change(self, key: tuple[str, str], new: R | None) -> None:
        old = self._objects.get(key)
        if new is None:
            self._objects.pop(key, None)
        elif old is not None and old.metadata.resourceVersion == new.metadata.resourceVersion:
            return
        else:
            self._objects[key] = new
        if old is None and new is None:
            return
        change: Change[R] = Change(old, new)
        for listener in self._listeners:
            try:
                listener(change)
            except Exception:  # a bug met with one object must not stop the others
                log.exception("listener failed", kind=self._kind.__name__, namespace=key[0], name=key[1])


class Caches:
    """One cache a kind, shared by all controllers of a process."""

    def __init__(self, client: AsyncClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._caches: dict[Any, Cache[Any]] = {}

    def of(self, kind: type[R], *, optional: bool = False) -> Cache[R]:
        """Return the shared cache of a kind; ask for all of them before `run`."""
        if kind not in self._caches:
            self._caches[kind] = Cache(self._client, self._clock, kind, optional=optional)
        cache: Cache[R] = self._caches[kind]
        return cache

    def drop(self, kind: type[Any]) -> None:
        """Forget the cache of a kind that is served no more."""
        self._caches.pop(kind, None)

    def all(self) -> list[Cache[Any]]:
        return list(self._caches.values())

    def unsynced(self) -> str | None:
        """Name the caches that are not filled yet; None when all are."""
        kinds = sorted(kind.__name__ for kind, cache in self._caches.items() if not cache.is_synced)
        return f"not synced yet: {', '.join(kinds)}" if kinds else None


def _key(item: Any) -> tuple[str, str]:
    return (item.metadata.namespace or "", item.metadata.name)


def _code(error: Exception) -> int | None:
    if isinstance(error, ApiError):
        return error.status.code
    if isinstance(error, httpx2.HTTPStatusError):
        return error.response.status_code
    return None
