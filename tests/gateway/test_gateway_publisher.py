"""From changes in the API to the file and the signal."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from lightkube import AsyncClient
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice
from tests.gateway.harness import until
from tests.gateway.test_gateway_plan import SEED, make_route, make_service, make_slice

from skerry.api.route_types import Route
from skerry.cluster.gateway import table
from skerry.cluster.gateway.publisher import Publisher
from skerry.kit.clock import SystemClock
from skerry.reconcile import Caches, Manager

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])


class Box:
    """A manager whose caches are filled by hand, as the watch would."""

    def __init__(self, home: Path) -> None:
        clock = SystemClock()
        self.caches = Caches(cast("AsyncClient", None), clock)
        self.manager = Manager(self.caches, clock)
        self.file = home / "table.json"
        self.told = 0
        self.publisher = Publisher(self.manager, self.file, self._tell, clock)

    def _tell(self) -> None:
        self.told += 1

    def change(self, kind: type[Any], item: Any, version: int = 1) -> None:
        item.metadata.resourceVersion = str(version)
        self.caches.of(kind)._change((item.metadata.namespace, item.metadata.name), item)

    def delete(self, kind: type[Any], item: Any) -> None:
        self.caches.of(kind)._change((item.metadata.namespace, item.metadata.name), None)

    def fill(self) -> None:
        self.change(Route, make_route())
        self.change(Service, make_service())
        self.change(EndpointSlice, make_slice(SEED))

    def table(self) -> table.Table:
        return table.decode(self.file.read_bytes())

    async def running(self, check: Callable[[], Awaitable[None]]) -> None:
        """Run the controller beside a check."""
        (controller,) = self.manager._controllers
        async with asyncio.TaskGroup() as group:
            task = group.create_task(controller.run())
            await check()
            task.cancel()


async def test_an_empty_cluster_has_an_empty_table(tmp_path: Path) -> None:
    box = Box(tmp_path)

    async def check() -> None:
        await until(lambda: box.told == 1)

    await box.running(check)
    assert box.table() == table.Table()


async def test_every_kind_of_change_reaches_the_table(tmp_path: Path) -> None:
    box = Box(tmp_path)

    async def check() -> None:
        box.fill()
        await until(lambda: box.file.exists() and len(box.table().routes) == 1)
        assert len(box.table().routes[0].services[0].endpoints) == 1
        box.delete(EndpointSlice, make_slice(SEED))
        await until(lambda: box.table().routes[0].services[0].endpoints == ())
        box.delete(Service, make_service())
        await until(lambda: box.table().services == ())
        box.delete(Route, make_route())
        await until(lambda: box.table() == table.Table())

    await box.running(check)


async def test_what_changes_nothing_is_neither_written_nor_told(tmp_path: Path) -> None:
    box = Box(tmp_path)

    async def check() -> None:
        box.fill()
        await until(lambda: box.told == 1)
        written = box.file.stat()
        box.change(Service, make_service(), version=2)
        box.change(Service, make_service("other"))
        await until(lambda: box.told == 2)
        assert len(box.table().services) == 2
        assert box.file.stat().st_ino != written.st_ino

    await box.running(check)


async def test_a_new_daemon_tells_once_although_the_file_is_right(tmp_path: Path) -> None:
    """The one before may have died between writing and telling."""
    first = Box(tmp_path)
    first.fill()
    key = next(iter(first.manager._controllers[0]._waiting))
    await first.publisher.reconcile(key)
    written = first.file.stat()
    second = Box(tmp_path)
    second.fill()
    await second.publisher.reconcile(key)
    await second.publisher.reconcile(key)
    assert second.told == 1
    assert second.file.stat().st_ino == written.st_ino
