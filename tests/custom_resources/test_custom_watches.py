"""Watches of kinds that come and go: they end with what they watch, and warn as other requests do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import msgspec
from tests.custom_resources.builders import DEFINITIONS, GROUP, crontab, definition, path, version

NAME = f"{DEFINITIONS}/crontabs.{GROUP}"
MERGE = {"content-type": "application/merge-patch+json"}


class Watch:
    """An open watch; `lines` are the types of the events, up to the end of the stream."""

    def __init__(self, answer: httpx2.Response) -> None:
        self.answer = answer
        self.types: list[str] = []
        self._first = asyncio.Event()
        self.task = asyncio.ensure_future(self._read())

    async def _read(self) -> None:
        async for line in self.answer.aiter_lines():
            self.types.append(msgspec.json.decode(line)["type"])
            self._first.set()

    async def begun(self) -> None:
        async with asyncio.timeout(5):
            await self._first.wait()

    async def ended(self) -> list[str]:
        async with asyncio.timeout(5):
            await self.task
        return self.types


@asynccontextmanager
async def watching(http: httpx2.AsyncClient, where: str) -> AsyncIterator[Watch]:
    async with http.stream("GET", where, params={"watch": "1"}) as answer:
        assert answer.status_code == 200
        watch = Watch(answer)
        try:
            yield watch
        finally:
            watch.task.cancel()


async def make(http: httpx2.AsyncClient, *versions: dict[str, object]) -> None:
    assert (await http.post(DEFINITIONS, json=definition(*versions))).status_code == 201
    assert (await http.post(path(), json=crontab())).status_code == 201


async def remove(http: httpx2.AsyncClient) -> None:
    """Delete the objects and the definition, as the controllers do."""
    assert (await http.delete(NAME)).status_code == 200
    assert (await http.delete(path("my"))).status_code == 200
    assert (await http.patch(NAME, json={"metadata": {"finalizers": None}}, headers=MERGE)).status_code == 200


async def test_a_watch_ends_when_its_definition_is_removed(http: httpx2.AsyncClient) -> None:
    await make(http)
    async with watching(http, path()) as watch, watching(http, path(namespace="b")) as elsewhere:
        await watch.begun()
        await remove(http)
        assert await watch.ended() == ["ADDED", "DELETED"], "what happened before the end is told"
        assert await elsewhere.ended() == []
    assert (await http.get(path(), params={"watch": "1"})).status_code == 404


async def test_a_watch_ends_when_its_version_is_served_no_more(http: httpx2.AsyncClient) -> None:
    await make(http, version(), version("v1beta1", storage=False))
    gone = definition(version(), version("v1beta1", storage=False, served=False))
    async with watching(http, path(version="v1beta1")) as old, watching(http, path()) as new:
        await asyncio.gather(old.begun(), new.begun())
        changed = await http.patch(NAME, json={"spec": {"versions": gone["spec"]["versions"]}}, headers=MERGE)
        assert changed.status_code == 200, changed.text
        assert await old.ended() == ["ADDED"]
        await http.delete(path("my"))
        await remove_rest(http)
        assert await new.ended() == ["ADDED", "DELETED"], "the other version was watched on"


async def remove_rest(http: httpx2.AsyncClient) -> None:
    await http.delete(NAME)
    await http.patch(NAME, json={"metadata": {"finalizers": None}}, headers=MERGE)


async def test_a_change_of_the_definition_leaves_watches_alone(http: httpx2.AsyncClient) -> None:
    await make(http)
    async with watching(http, path()) as watch:
        await watch.begun()
        names = {"spec": {"names": {"shortNames": ["ct", "cron"]}}}
        assert (await http.patch(NAME, json=names, headers=MERGE)).status_code == 200
        assert (await http.delete(NAME)).status_code == 200  # its objects are still there
        assert not watch.task.done()
        await http.delete(path("my"))
        await remove_rest(http)
        assert await watch.ended() == ["ADDED", "DELETED"]


async def test_a_deprecated_version_warns_watchers_too(http: httpx2.AsyncClient) -> None:
    await make(http, version(), version("v1beta1", storage=False, deprecated=True))
    asked = await http.get(path(version="v1beta1"))
    async with watching(http, path(version="v1beta1")) as watch:
        assert watch.answer.headers["warning"] == asked.headers["warning"]
    async with watching(http, path()) as watch:
        assert "warning" not in watch.answer.headers
