"""Keys in, `reconcile(key)` out: a de-duplicating queue, per-key order, back-off on errors.

A key that arrives while it is being reconciled is run once more afterwards, so no change is lost and no key runs
twice at once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import httpx2
from lightkube import ApiError

from skerry.kit.clock import Clock
from skerry.kit.log import logger
from skerry.reconcile.cache import Cache, Caches, Change

log = logger(__name__)

_FIRST_DELAY: Final = 0.05
_LONGEST_DELAY: Final = 60.0
_DOUBLINGS: Final = 11  # 0.05 s, eleven times doubled, is over a minute
_CHANGED_DELAY: Final = 1.0


class Key(NamedTuple):
    """Which object; `namespace` is "" for a cluster-scoped kind."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True)
class Again:
    """Call me again in `after` seconds (earlier when something changes)."""

    after: float


Reconcile = Callable[[Key], Awaitable[Again | None]]
Map = Callable[[Any], Iterable[Key]]


def own_key(item: Any) -> list[Key]:
    """Map an object to its own key."""
    return [Key(item.metadata.namespace or "", item.metadata.name)]


def owner_key(kind: str) -> Map:
    """Make a map from an object to the key of its controlling owner of that kind."""

    def keys(item: Any) -> list[Key]:
        owners = item.metadata.ownerReferences or []
        return [
            Key(item.metadata.namespace or "", owner.name)
            for owner in owners
            if owner.kind == kind and owner.controller
        ]

    return keys


class Controller:
    """One reconcile function and what wakes it."""

    def __init__(self, name: str, reconcile: Reconcile, *, workers: int = 4) -> None:
        self.name = name
        self._reconcile = reconcile
        self._workers = workers
        self._queue: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._running: set[Key] = set()
        self._dirty: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def watch(self, cache: Cache[Any], keys: Map = own_key) -> "Controller":
        """Wake for every change in the cache; both the old and the new object are mapped to keys."""

        def listen(change: Change[Any]) -> None:
            for item in (change.old, change.new):
                if item is not None:
                    for key in keys(item):
                        self.wake(key)

        cache.listen(listen)
        return self

    def wake(self, key: Key) -> None:
        """Ask for the key to be reconciled; many calls before it runs count once."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._running:
            self._dirty.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._queue.put_nowait(key)

    async def run(self) -> None:
        """Reconcile until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._workers):
                    group.create_task(self._work(), name=f"{self.name}-{number}")
        finally:
            for timer in self._timers.values():
                timer.cancel()

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._waiting.discard(key)
            self._running.add(key)
            try:
                delay = await self._once(key)
            finally:
                self._running.discard(key)
            if key in self._dirty:
                self._dirty.discard(key)
                if key not in self._failures:
                    self.wake(key)
                    continue
                # The change may be a repair, which should not wait for a minute; but a controller that changes the
                # object itself on each failure must not spin.
                delay = min(delay or 0.0, _CHANGED_DELAY)
            if delay is not None:
                self._later(key, delay)

    async def _once(self, key: Key) -> float | None:
        try:
            again = await self._reconcile(key)
        except ApiError as error:
            code = error.status.code
            # A conflict, or an object that went away under our hands, is the ordinary life of a controller.
            level = log.debug if code in {404, 409} else log.warning
            level("reconcile failed", controller=self.name, key=str(key), error=str(error))
        except (httpx2.HTTPError, OSError) as error:
            text = f"{type(error).__name__}: {error}"
            log.warning("reconcile failed", controller=self.name, key=str(key), error=text)
        except Exception:  # a bug met with one object must not stop the others
            log.exception("reconcile crashed", controller=self.name, key=str(key))
        else:
            self._failures.pop(key, None)
            return again.after if again else None
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        return float(min(_FIRST_DELAY * 2 ** min(count, _DOUBLINGS), _LONGEST_DELAY))

    def _later(self, key: Key, delay: float) -> None:
        if key not in self._waiting:
            loop = asyncio.get_running_loop()
            self._timers[key] = loop.call_later(delay, self.wake, key)


class Manager:
    """Runs caches, then controllers, in one task group."""

    def __init__(self, caches: Caches, clock: Clock) -> None:
        self.caches = caches
        self.clock = clock
        self._controllers: list[Controller] = []
        self._group: asyncio.TaskGroup | None = None

    def add(self, controller: Controller) -> Controller:
        """Run this controller too."""
        self._controllers.append(controller)
        return controller

    def start(self, running: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a cache or a controller that came up while the others run; whoever starts it may cancel it."""
        assert self._group is not None, "the manager does not run"
        return self._group.create_task(running)

    async def run(self) -> None:
        """Run until cancelled; controllers start when every cache has its first list."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for cache in self.caches.all():
                group.create_task(cache.run())
            # A cache that has its list may have made others start.
            while waiting := [cache for cache in self.caches.all() if not cache.is_synced]:
                await waiting[0].synced()
            for controller in self._controllers:
                group.create_task(controller.run(), name=controller.name)
