"""A watch of one resource: every event after a version, in order, each once.

A watcher has two states. While its reader keeps up, events are queued for it as they are published. When the queue is
full (or at the start, when the past is asked for) it is *behind*: nothing is queued, and `next` reads the history in
pieces until it has caught up. So a slow reader costs a bounded queue and misses nothing; only a reader that is slower
than the history is kept gets `Expired`.

Watchers are found by what they watch: a write costs nothing for those of another resource, namespace or name.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from skerry.cluster.store.objects import Event, Key

QUEUE: Final = 256


class Topic(NamedTuple):
    """What is watched: a resource, in one namespace or in all (None), one name or all."""

    resource: str
    namespace: str | None = None
    name: str | None = None


# (version) → the next events after it, and whether they reach up to what is published.
ReadHistory = Callable[[int], tuple[list[Event], bool]]


class Watcher:
    """Made by `Store.watch`; read by one task."""

    def __init__(self, topic: Topic, since: int, read_history: ReadHistory) -> None:
        self.topic = topic
        self._position = since  # every event of ours up to here was queued
        self._read_history = read_history
        self._queue: deque[Event] = deque()
        self._behind = True
        self._closed = False
        self._news = asyncio.Event()

    @property
    def caught_up(self) -> bool:
        """Whether everything that is published was read."""
        return not self._queue and not self._behind

    @property
    def queued(self) -> int:
        """How many events wait in memory."""
        return len(self._queue)

    def offer(self, event: Event) -> None:
        """Take a published event that concerns this watcher."""
        if event.version <= self._position:
            return  # the caller listed after the commit and before the delivery of this event
        if len(self._queue) >= QUEUE:
            self._behind = True
        if not self._behind:
            self._queue.append(event)
            self._position = event.version
        self._news.set()

    def close(self) -> None:
        """End `next` with None after what is queued."""
        self._closed = True
        self._news.set()

    async def next(self) -> Event | None:
        """Return the next event, None when the store closes; a cancelled call takes nothing.

        Raises `Expired` when the history that this watcher needs is gone.
        """
        while not self._queue:
            if self._closed:
                return None
            if self._behind:
                events, complete = self._read_history(self._position)
                self._queue.extend(events)
                self._position = events[-1].version if events else self._position
                self._behind = not complete
            else:
                self._news.clear()
                await self._news.wait()
        return self._queue.popleft()

    def ready(self) -> Event | None:
        """Return the next event if it waits in memory."""
        return self._queue.popleft() if self._queue else None


class Watchers:
    """All watchers, by their topic."""

    def __init__(self) -> None:
        self._by_topic: dict[Topic, set[Watcher]] = {}

    def __iter__(self) -> Iterator[Watcher]:
        for watchers in self._by_topic.values():
            yield from watchers

    def __len__(self) -> int:
        return sum(map(len, self._by_topic.values()))

    def add(self, watcher: Watcher) -> None:
        self._by_topic.setdefault(watcher.topic, set()).add(watcher)

    def discard(self, watcher: Watcher) -> None:
        watchers = self._by_topic.get(watcher.topic, set())
        watchers.discard(watcher)
        if not watchers:
            self._by_topic.pop(watcher.topic, None)

    def offer(self, event: Event) -> None:
        """Give an event to those that it concerns."""
        for topic in _topics(event.key):
            for watcher in self._by_topic.get(topic, ()):
                watcher.offer(event)


def _topics(key: Key) -> tuple[Topic, ...]:
    resource, namespace, name = key
    return (
        Topic(resource),
        Topic(resource, namespace),
        Topic(resource, None, name),
        Topic(resource, namespace, name),
    )
