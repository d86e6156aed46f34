"""Events go an hour after they were last written, as they do where they live in etcd under a lease.

There is no periodic sweep: the loop has one key, and asks to be called again when the next event runs out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from lightkube import AsyncClient
from lightkube.resources.core_v1 import Event

from skerry.cluster.controllers.ownership import meta
from skerry.cluster.controllers.writes import delete
from skerry.kit.clock import Clock
from skerry.reconcile import Again, Cache, Controller, Key, Manager

_SWEEP = Key("", "events")


@dataclass(frozen=True)
class Plan:
    """Events that have run out, and the seconds until the next one does."""

    expired: tuple[Event, ...]
    again: float | None


def plan(events: Iterable[Event], ttl: timedelta, now: datetime) -> Plan:
    """Sort out which events are too old."""
    ends = [(last_written(event) + ttl, event) for event in events]
    # Seconds only are stored, so an event is given the rest of its last second too.
    waits = [(end - now).total_seconds() + 1.0 for end, _ in ends]
    expired = tuple(event for wait, (_, event) in zip(waits, ends, strict=True) if wait <= 0)
    return Plan(expired, min((wait for wait in waits if wait > 0), default=None))


def last_written(event: Event) -> datetime:
    """Return the latest of the times that an event carries; clients of the two event APIs fill in different ones."""
    series = event.series.lastObservedTime if event.series else None
    times = (event.lastTimestamp, event.eventTime, series, meta(event).creationTimestamp)
    return max(moment for moment in times if moment is not None)


class EventTtlController:
    """Deletes old events."""

    def __init__(self, manager: Manager, client: AsyncClient, clock: Clock, ttl_seconds: float) -> None:
        self._client = client
        self._clock = clock
        self._ttl = timedelta(seconds=ttl_seconds)
        self._events: Cache[Event] = manager.caches.of(Event)
        controller = Controller("event-ttl", self.reconcile, workers=1)
        controller.watch(self._events, lambda _: [_SWEEP])
        manager.add(controller)

    async def reconcile(self, _key: Key) -> Again | None:
        """Delete what has run out and sleep until the next event does."""
        planned = plan(self._events, self._ttl, self._clock.now())
        for event in planned.expired:
            await delete(self._client, event)
        return Again(planned.again) if planned.again is not None else None
