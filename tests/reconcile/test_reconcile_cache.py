"""Caches against a real API server behind a network that fails: relisting, broken watches, optional kinds, no loss."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace
from lightkube.types import PatchType
from tests.reconcile.faulty import Api, api_server, error_event, is_watch, status_response

from skerry.reconcile import Cache, Caches, Change, Controller, Key, Manager


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_server(tmp_path / "store.db") as made:
        await made.client.create(Namespace(metadata=ObjectMeta(name="a")))
        yield made


async def until(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0.001)


@asynccontextmanager
async def following(cache: Cache[Any]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(cache.run())
    try:
        async with asyncio.timeout(10):
            await cache.synced()
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def create(api: Api, name: str, **data: str) -> None:
    await api.client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace="a"), data=data))


async def change(api: Api, name: str, **data: str) -> None:
    await api.client.patch(ConfigMap, name, {"data": data}, namespace="a", patch_type=PatchType.MERGE)


async def delete(api: Api, name: str) -> None:
    await api.client.delete(ConfigMap, name, namespace="a")


def names(cache: Cache[Any]) -> list[str]:
    return sorted(item.metadata.name for item in cache)


def data(cache: Cache[Any]) -> dict[str, str]:
    """Return what the only object holds."""
    (item,) = cache
    return dict(item.data)


class Seen:
    """What a listener was told, checked for being a chain: each change begins where the last one ended."""

    def __init__(self, cache: Cache[Any]) -> None:
        self.changes: list[Change[Any]] = []
        self.state: dict[str, Any] = {item.metadata.name: item for item in cache}
        cache.listen(self._listen)

    def _listen(self, change: Change[Any]) -> None:
        name = change.object.metadata.name
        assert self.state.get(name) is change.old
        if change.new is None:
            del self.state[name]
        else:
            self.state[name] = change.new
        self.changes.append(change)

    @property
    def shape(self) -> list[tuple[str, str]]:
        return [
            ("+" if one.old is None else "-" if one.new is None else "~", one.object.metadata.name)
            for one in self.changes
        ]


async def test_a_cache_follows_the_api(api: Api) -> None:
    await create(api, "x", k="1")
    cache = Cache(api.client, api.clock, ConfigMap)
    seen = Seen(cache)
    async with following(cache):
        await create(api, "y")
        await change(api, "x", k="2")
        await delete(api, "y")
        await until(lambda: len(seen.changes) == 4)
        assert seen.shape == [("+", "x"), ("+", "y"), ("~", "x"), ("-", "y")]
        found = cache.get("a", "x")
        assert found is not None
        assert found.data == {"k": "2"}
        assert cache.get("a", "y") is None
        assert cache.in_namespace("a") == [found]
        assert (len(cache), cache.in_namespace("b")) == (1, [])
    assert api.clock.sleeps == []


async def test_a_field_selector_bounds_the_cache(api: Api) -> None:
    cache = Cache(api.client, api.clock, ConfigMap, fields={"metadata.name": "x"})
    seen = Seen(cache)
    async with following(cache):
        await create(api, "x")
        await create(api, "y")
        await create(api, "z")
        await change(api, "x", k="2")
        await until(lambda: seen.shape == [("+", "x"), ("~", "x")])
        assert names(cache) == ["x"]


async def test_410_in_the_stream_relists_at_once(api: Api) -> None:
    await create(api, "x")
    cache = Cache(api.client, api.clock, ConfigMap)
    seen = Seen(cache)
    async with following(cache):
        await until(lambda: api.network.streams)
        api.network.cut(None, error_event(410, "Expired"))
        await until(lambda: api.network.count("list") == 2)
        await create(api, "y")
        await until(lambda: len(cache) == 2)
    assert seen.shape == [("+", "x"), ("+", "y")]
    assert api.clock.sleeps == []


async def test_410_as_an_answer_relists_at_once(api: Api) -> None:
    api.network.once(status_response(410, "Expired"), watch=True)
    cache = Cache(api.client, api.clock, ConfigMap)
    async with following(cache):
        await create(api, "y")
        await until(lambda: len(cache) == 1)
    assert api.clock.sleeps == []


async def test_410_for_ever_is_no_endless_loop(api: Api) -> None:
    api.network.fault(lambda request: status_response(410, "Expired") if is_watch(request) else None)
    cache = Cache(api.client, api.clock, ConfigMap)
    async with following(cache):
        await until(lambda: len(api.clock.sleeps) >= 8)
    assert api.clock.sleeps[:3] == [0.1, 0.2, 0.5]


async def test_what_a_relist_finds_is_told_as_changes(api: Api) -> None:
    """The watch is deaf while three things happen; the list that follows it brings them all."""
    for name in ("gone", "changed", "same", "again"):
        await create(api, name, k="1")
    cache = Cache(api.client, api.clock, ConfigMap)
    seen = Seen(cache)
    async with following(cache):
        await until(lambda: api.network.streams)
        api.network.fault(lambda request: httpx2.ConnectError("refused") if request.method == "GET" else None)
        api.network.cut(httpx2.ReadError("reset"))
        await until(lambda: api.clock.sleeps)
        del seen.changes[:]
        await delete(api, "gone")
        await change(api, "changed", k="2")
        await create(api, "new")
        await delete(api, "again")
        await create(api, "again", k="2")
        api.network.faults.clear()
        await until(lambda: len(seen.changes) == 4)
    assert sorted(seen.shape) == [("+", "new"), ("-", "gone"), ("~", "again"), ("~", "changed")]
    assert seen.shape[0] == ("-", "gone")


@pytest.mark.parametrize(
    "error",
    [
        httpx2.ReadError("reset"),
        httpx2.RemoteProtocolError("peer closed connection"),
        ConnectionResetError("reset"),
        KeyError("Content-Type"),
    ],
)
async def test_a_broken_stream_is_taken_up_again(api: Api, error: Exception) -> None:
    await create(api, "x", k="1")
    cache = Cache(api.client, api.clock, ConfigMap)
    async with following(cache):
        for round_ in range(3):
            await until(lambda: api.network.streams)
            api.network.cut(error)
            await change(api, "x", k=f"after {round_}")
            await until(lambda: data(cache) == {"k": f"after {round_}"})  # noqa: B023
    assert len(api.clock.sleeps) == 3


async def test_a_line_that_is_cut_in_the_middle(api: Api) -> None:
    await create(api, "x", k="1")
    cache = Cache(api.client, api.clock, ConfigMap)
    async with following(cache):
        await until(lambda: api.network.streams)
        api.network.cut(None, b'{"type":"MODIFIED","object":{"metad')
        await change(api, "x", k="2")
        await until(lambda: data(cache) == {"k": "2"})


async def test_a_stream_that_ends_goes_on_where_it_was(api: Api) -> None:
    """The real server ends each watch after some minutes; that costs no list."""
    await create(api, "x", k="1")
    cache = Cache(api.client, api.clock, ConfigMap)
    seen = Seen(cache)
    async with following(cache):
        for number in range(5):
            await until(lambda: api.network.streams)
            api.network.cut(None)
            await change(api, "x", k=f"{number}")
        await until(lambda: data(cache) == {"k": "4"})
    assert api.network.count("list") == 1
    assert len(seen.changes) == 6


async def test_failures_wait_longer_and_longer_until_a_watch_lives(api: Api) -> None:
    api.network.fault(lambda request: httpx2.ConnectError("refused") if is_watch(request) else None)
    cache = Cache(api.client, api.clock, ConfigMap)
    async with following(cache):
        await until(lambda: len(api.clock.sleeps) >= 9)
        assert api.clock.sleeps[:9] == [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 30.0]
        api.network.faults.clear()
        await until(lambda: api.network.streams)
        del api.clock.sleeps[:]
        api.clock.passed += 60
        api.network.cut(httpx2.ReadError("reset"))
        await until(lambda: api.clock.sleeps)
        assert api.clock.sleeps == [0.1]


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.Response(502, text="bad gateway"),
        httpx2.Response(502, content=b""),
        httpx2.Response(503, headers={"content-type": "application/json"}, content=b"<html>"),
        httpx2.Response(200, json={"kind": "ConfigMapList", "items": []}),
        httpx2.Response(200, content=b"not json", headers={"content-type": "application/json"}),
        status_response(429, "TooManyRequests"),
        ConnectionRefusedError("refused"),
    ],
    ids=["text", "empty", "html", "no version", "no json", "429", "refused"],
)
async def test_answers_that_are_no_list_are_survived(api: Api, answer: httpx2.Response | Exception) -> None:
    await create(api, "x")
    api.network.once(answer, watch=False)
    cache = Cache(api.client, api.clock, ConfigMap)
    async with following(cache):
        assert names(cache) == ["x"]


async def test_a_quiet_or_dead_watch_is_asked_for_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose other end vanished says nothing for ever; after a while the cache opens another one."""
    monkeypatch.setattr("skerry.reconcile.cache._QUIET_SECONDS", 0.05)
    await create(api, "x", k="1")
    cache = Cache(api.client, api.clock, ConfigMap)
    async with following(cache):
        await until(lambda: api.network.count("watch") > 2)
        assert api.network.streams <= 1
        await change(api, "x", k="2")
        await until(lambda: data(cache) == {"k": "2"})
    assert api.network.count("list") == 1
    assert api.clock.sleeps == []


class TestOptional:
    """A kind that the cluster may lack."""

    async def test_a_missing_kind_has_no_objects_and_is_asked_for_again(self, api: Api) -> None:
        missing = status_response(404, "NotFound")
        api.network.fault(lambda request: status_response(404, "NotFound"))
        api.network.once(missing, watch=False)
        cache = Cache(api.client, api.clock, ConfigMap, optional=True)
        async with following(cache):
            assert names(cache) == []
            await until(lambda: len(api.clock.sleeps) >= 2)
            assert set(api.clock.sleeps) == {30.0}
            api.network.faults.clear()
            await create(api, "x")
            await until(lambda: names(cache) == ["x"])

    async def test_plain_text_404_counts_too(self, api: Api) -> None:
        """A real server's answer for a group that it does not know."""
        page = httpx2.Response(404, text="404 page not found\n")
        api.network.once(page, watch=False)
        cache = Cache(api.client, api.clock, ConfigMap, optional=True)
        async with following(cache):
            await until(lambda: api.clock.sleeps == [30.0])

    async def test_a_kind_that_goes_takes_its_objects_with_it(self, api: Api) -> None:
        await create(api, "x")
        cache = Cache(api.client, api.clock, ConfigMap, optional=True)
        seen = Seen(cache)
        async with following(cache):
            await until(lambda: api.network.streams)
            api.network.fault(lambda request: status_response(404, "NotFound") if request.method == "GET" else None)
            api.network.cut(httpx2.ReadError("reset"))
            await until(lambda: len(cache) == 0)
        assert seen.shape == [("+", "x"), ("-", "x")]

    async def test_other_errors_do_not_count_as_missing(self, api: Api) -> None:
        api.network.fault(lambda request: status_response(403, "Forbidden"))
        cache = Cache(api.client, api.clock, ConfigMap, optional=True)
        task = asyncio.ensure_future(cache.run())
        await until(lambda: len(api.clock.sleeps) >= 3)
        assert not cache._synced.is_set()
        task.cancel()

    async def test_a_kind_that_must_be_there_is_waited_for(self, api: Api) -> None:
        api.network.fault(lambda request: status_response(404, "NotFound"))
        cache = Cache(api.client, api.clock, ConfigMap)
        task = asyncio.ensure_future(cache.run())
        await until(lambda: len(api.clock.sleeps) >= 3)
        assert not cache._synced.is_set()
        task.cancel()


async def test_a_listener_that_fails_stops_neither_the_cache_nor_the_others(api: Api) -> None:
    cache = Cache(api.client, api.clock, ConfigMap)

    def broken(_: Change[ConfigMap]) -> None:
        raise AttributeError("a bug in a map")

    cache.listen(broken)
    seen = Seen(cache)
    async with following(cache):
        await create(api, "x")
        await create(api, "y")
        await until(lambda: seen.shape == [("+", "x"), ("+", "y")])
    assert api.clock.sleeps == []


@pytest.mark.parametrize("text", ["a\u2028b\u2029c", "next\u0085line", "\x1c\x1d\x1e\x0b\x0c", "\U0001f40c"])
async def test_line_separators_inside_values_do_not_cut_events(api: Api, text: str) -> None:
    """httpx ends a line at each of these; Kubernetes' JSON lines end at a newline only."""
    cache = Cache(api.client, api.clock, ConfigMap)
    async with following(cache):
        await until(lambda: api.network.streams)
        await create(api, "x", k=text)
        await until(lambda: len(cache))
        assert data(cache) == {"k": text}
    assert api.clock.sleeps == []


async def test_nothing_is_lost_while_everything_breaks(api: Api) -> None:
    """Writers write, the network fails at random; in the end the cache is what the store is, and the chain held."""
    chance = random.Random(7)
    cache = Cache(api.client, api.clock, ConfigMap)
    seen = Seen(cache)
    done = asyncio.Event()

    async def write(worker: int) -> None:
        for number in range(60):
            name = f"w{worker}-{number % 7}"
            with suppress(ApiError):
                match chance.randrange(4):
                    case 0:
                        await create(api, name, k=f"{number}")
                    case 1:
                        await delete(api, name)
                    case _:
                        await change(api, name, k=f"{number}")

    async def break_it() -> None:
        faults: list[Exception | None] = [httpx2.ReadError("reset"), httpx2.RemoteProtocolError("closed"), None]
        while not done.is_set():
            await asyncio.sleep(0.005)
            if chance.random() < 0.3:
                api.network.once(httpx2.ConnectError("refused"), watch=chance.random() < 0.5)
            api.network.cut(chance.choice(faults), chance.choice([b"", b"", error_event(410, "Expired")]))

    def versions(items: Iterable[Any]) -> dict[str, str]:
        return {item.metadata.name: item.metadata.resourceVersion for item in items}

    async with following(cache):
        breaking = asyncio.ensure_future(break_it())
        await asyncio.gather(*(write(worker) for worker in range(4)))
        done.set()
        await breaking
        api.network.faults.clear()
        truth = versions([item async for item in api.client.list(ConfigMap, namespace="a")])
        await until(lambda: versions(cache) == truth)
    assert versions(seen.state.values()) == truth


async def test_controllers_start_when_all_caches_are_full(api: Api) -> None:
    await create(api, "x")
    caches = Caches(api.client, api.clock)
    maps, namespaces = caches.of(ConfigMap), caches.of(Namespace)
    assert caches.of(ConfigMap) is maps
    assert caches.all() == [maps, namespaces]
    found: dict[Key, tuple[int, int]] = {}

    async def reconcile(key: Key) -> None:
        found[key] = (len(maps), len(namespaces))

    manager = Manager(caches, api.clock)
    manager.add(Controller("maps", reconcile).watch(maps))
    api.network.once(httpx2.ConnectError("refused"), watch=False)
    task = asyncio.ensure_future(manager.run())
    await until(lambda: found)
    assert found == {Key("a", "x"): (1, 1)}
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
