"""The store in the daemon: opened whatever state it is in, looked after, and what was found told in three places.

The log and `health.json` (for `skerry status`) hear at once; the Event on the Node is written when there is a node and
the store takes writes.
"""

import asyncio
import sqlite3
from typing import Final

import httpx2
from lightkube import AsyncClient
from lightkube.resources.core_v1 import Node

from skerry.cluster.store import Finding, Keeper, Store, StoreFailed, recover
from skerry.daemon.health import note
from skerry.daemon.paths import Paths
from skerry.kit.clock import Clock
from skerry.kit.log import logger
from skerry.reconcile import Recorder

log = logger(__name__)

_RETRY_SECONDS: Final = 2.0
_QUIET: Final = frozenset({"StoreMigrated", "StoreRestored"})  # nothing is lost: no warning


class StoreRoom:
    """Opens the store and keeps it."""

    def __init__(self, paths: Paths, node: str, clock: Clock) -> None:
        self._paths = paths
        self._node = node
        self._clock = clock
        self._findings: asyncio.Queue[Finding] = asyncio.Queue()

    async def open(self) -> Store:
        """Open the database after what has to be done for that.

        Raises `StoreFailed` only when a newer Skerry wrote it.
        """
        try:
            for finding in await asyncio.to_thread(recover, self._paths.store):
                self._tell(finding)
            return Store.open(self._paths.store, checked=True)
        except StoreFailed as error:
            if not isinstance(error.__cause__, OSError | sqlite3.OperationalError):
                raise
            why = str(error)
        except (sqlite3.Error, OSError) as error:
            why = f"cannot open the database {self._paths.store}: {error}"
        self._tell(Finding("StoreReadOnly", f"{why}; reads are answered from what is there, writes are refused"))
        return Store.open_for_reading(self._paths.store, why)

    async def run(self, store: Store, client: AsyncClient) -> None:
        """Look after the store and tell what is found, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(Keeper(store, self._paths.store, self._clock, self._tell).run())
            group.create_task(self._record(store, client))

    def _tell(self, finding: Finding) -> None:
        log.warning("store", reason=finding.reason, message=finding.message)
        note(self._paths.health, finding.reason, finding.message, self._clock.now())
        self._findings.put_nowait(finding)

    async def _record(self, store: Store, client: AsyncClient) -> None:
        recorder = Recorder(client, self._clock, "skerry", self._node)
        while True:
            finding = await self._findings.get()
            node = await self._registered(store, client)
            write = recorder.normal if finding.reason in _QUIET else recorder.warning
            await write(node, finding.reason, finding.message)

    async def _registered(self, store: Store, client: AsyncClient) -> Node:
        while True:
            if not store.trouble:
                try:
                    return await client.get(Node, self._node)
                except (httpx2.HTTPError, OSError):
                    pass  # the node room has not written it yet
            await self._clock.sleep(_RETRY_SECONDS)
