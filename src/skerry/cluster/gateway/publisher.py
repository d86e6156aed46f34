"""Keeps the table file true: any change of a Route, Service or EndpointSlice leads to a new table.

The whole table is computed each time (it is small and `plan` is pure), written only when it differs, and the gateway
process told. The first time it is told in any case: an earlier daemon may have died between the two.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from skerry.api.route_types import Route
from skerry.cluster.gateway import table
from skerry.cluster.gateway.plan import plan
from skerry.kit import files
from skerry.kit.clock import Clock
from skerry.kit.log import logger
from skerry.reconcile import Again, Cache, Controller, Key, Manager

log = logger(__name__)

_WHOLE_TABLE: Final = Key("", "routing-table")


class Publisher:
    """A controller with one key: the table."""

    def __init__(self, manager: Manager, table_file: Path, notify: Callable[[], None], clock: Clock) -> None:
        self._table_file = table_file
        self._notify = notify
        self._clock = clock
        self._told = False
        self._routes: Cache[Route] = manager.caches.of(Route)
        self._services: Cache[Service] = manager.caches.of(Service)
        self._slices: Cache[EndpointSlice] = manager.caches.of(EndpointSlice)
        controller = Controller("gateway", self.reconcile, workers=1)
        for cache in (self._routes, self._services, self._slices):
            controller.watch(cache, _whole_table)
        controller.wake(_WHOLE_TABLE)  # also where the cluster is empty: the file must say so
        manager.add(controller)

    async def reconcile(self, _key: Key) -> Again | None:
        """Write the table of the present state, if it is news."""
        began = self._clock.monotonic()
        wanted = plan(self._routes, self._services, self._slices)
        data = table.encode(wanted)
        # In a thread: a disk may take its time over fsync, and everything else in the daemon would wait.
        written = await asyncio.to_thread(_save, self._table_file, data)
        if written:
            took = round(self._clock.monotonic() - began, 4)
            log.info("routing table written", table=table.digest(data), routes=len(wanted.routes), took=took)
        if written or not self._told:
            self._notify()
            self._told = True
        return None


def _whole_table(_item: Any) -> list[Key]:
    return [_WHOLE_TABLE]


def _save(path: Path, data: bytes) -> bool:
    """Replace the file unless it holds these bytes already; tell whether it was written."""
    try:
        if path.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    files.replace(path, data)
    return True
