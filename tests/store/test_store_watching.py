"""Watches of the store: slow readers, bursts, odd versions, restarts; what the writing thread survives."""

import asyncio
import os
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skerry.cluster.store import Event, Expired, Keep, Key, Missing, NotEmpty, Store, StoreFailed, Watcher


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "store.db")
    yield opened
    opened.close()


def key(name: str, namespace: str = "a", resource: str = "/pods") -> Key:
    return Key(resource, namespace, name)


def pod(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, **more}


async def following(watcher: Watcher) -> Event:
    async with asyncio.timeout(5):
        event = await watcher.next()
    assert event is not None
    return event


async def test_a_reader_that_is_slow_for_a_while_misses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads a little, falls behind by more than is queued for it, reads on: no gap, no double, no error."""
    monkeypatch.setattr("skerry.cluster.store.watcher.QUEUE", 5)
    watcher = store.watch("/pods", None, store.version)
    got: list[str] = []
    for number in range(60):
        await store.create(key(f"p{number:02}"), pod("x"))
        if number in {3, 4, 20, 21, 22, 40}:
            got.append((await following(watcher)).key.name)
    got += [(await following(watcher)).key.name for _ in range(60 - len(got))]
    assert got == [f"p{number:02}" for number in range(60)]
    await store.create(key("last"), pod("x"))
    assert (await following(watcher)).key.name == "last"


async def test_the_queue_of_a_reader_that_never_reads_stays_small(store: Store) -> None:
    watcher = store.watch("/pods", None, store.version)
    await asyncio.gather(*(store.create(key(f"p{number}"), pod("x")) for number in range(2000)))
    assert watcher.queued <= 256


async def test_a_reader_that_falls_behind_the_history_is_told(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store.db", keep=Keep(writes=50))
    watcher = store.watch("/pods", None, store.version)
    await store.create(key("p0"), pod("x"))
    assert (await following(watcher)).key.name == "p0"
    seen = 1
    await asyncio.gather(*(store.create(key(f"p{number}"), pod("x")) for number in range(1, 2500)))
    with pytest.raises(Expired):  # noqa: PT012 - what was queued for it comes first
        while True:
            assert (await following(watcher)).key.name == f"p{seen}"
            seen += 1
    assert 1 < seen < 2500
    with pytest.raises(Expired):
        await watcher.next()
    store.close()


async def test_a_version_from_the_future_is_refused(store: Store) -> None:
    """A client of a database that was put back to an older state would else wait in silence."""
    await store.create(key("x"), pod("x"))
    with pytest.raises(Expired, match="too large resource version"):
        store.watch("/pods", None, store.version + 1)


async def test_one_namespace_only(store: Store) -> None:
    start = store.version
    for namespace in ("a", "b"):
        await store.create(key("x", namespace), pod("x"))
    live = store.watch("/pods", "b", start)
    await store.create(key("y", "a"), pod("y"))
    await store.create(key("y", "b"), pod("y"))
    assert [(await following(live)).key for _ in range(2)] == [key("x", "b"), key("y", "b")]


async def test_one_name_only(store: Store) -> None:
    start = store.version
    for name in ("x", "y"):
        await store.create(key(name), pod(name))
    late, live = store.watch("/pods", None, start, name="x"), store.watch("/pods", "a", store.version, name="x")
    for name in ("y", "x"):
        await store.update(key(name), pod(name), None)
    assert [(await following(late)).type for _ in range(2)] == ["ADDED", "MODIFIED"]
    assert (await following(live)).type == "MODIFIED"
    assert late.caught_up
    assert live.caught_up


async def test_a_write_is_offered_to_those_whom_it_concerns(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand watchers of other things cost a write nothing."""
    offered: list[Watcher] = []
    offer = Watcher.offer

    def counted(watcher: Watcher, event: Event) -> None:
        offered.append(watcher)
        offer(watcher, event)

    monkeypatch.setattr(Watcher, "offer", counted)
    others = [store.watch("/pods", "a", 1, name=f"p{number}") for number in range(300)]
    others += [store.watch(f"/r{number}", None, 1) for number in range(300)]
    others += [store.watch("/pods", f"n{number}", 1) for number in range(300)]
    meant = [
        store.watch("/pods", None, 1),
        store.watch("/pods", "a", 1),
        store.watch("/pods", None, 1, name="x"),
        store.watch("/pods", "a", 1, name="x"),
    ]
    await store.create(key("x"), pod("x"))
    assert (len(offered), set(offered)) == (4, set(meant))
    for watcher in [*meant, *others]:
        store.unwatch(watcher)
    assert not store._watchers
    assert not store._watchers._by_topic


async def test_a_bookmark_is_safe_only_when_all_is_read(store: Store) -> None:
    watcher = store.watch("/pods", None, store.version)
    caught_up = [watcher.caught_up]
    for name in ("x", "y"):
        await store.create(key(name), pod(name))
        caught_up.append(watcher.caught_up)
    for _ in range(2):
        await following(watcher)
        caught_up.append(watcher.caught_up)
    assert caught_up == [False, False, False, False, True]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await watcher.next()
    assert watcher.caught_up


async def test_cancelling_a_reader_loses_nothing(store: Store) -> None:
    watcher = store.watch("/pods", None, store.version)
    got: list[str] = []
    writing = asyncio.ensure_future(
        asyncio.gather(*(store.create(key(f"p{number:03}"), pod("x")) for number in range(200)))
    )
    while len(got) < 200:
        reading = asyncio.ensure_future(watcher.next())
        await asyncio.sleep(0)
        reading.cancel()
        try:
            event = await reading
        except asyncio.CancelledError:
            if writing.done():
                got.append((await following(watcher)).key.name)
        else:
            assert event is not None
            got.append(event.key.name)
    assert got == sorted(got)
    assert len(set(got)) == 200


async def test_closing_ends_readers_that_wait_and_readers_that_are_behind(store: Store) -> None:
    await store.create(key("x"), pod("x"))
    waiting = store.watch("/pods", None, store.version)
    reading = asyncio.ensure_future(waiting.next())
    behind = store.watch("/pods", None, 1)
    await asyncio.sleep(0)
    store.close()
    assert await reading is None
    assert await behind.next() is None
    with pytest.raises(StoreFailed):
        await store.create(key("y"), pod("y"))
    with pytest.raises(StoreFailed):
        store.watch("/pods", None, 1)
    with pytest.raises(StoreFailed):
        store.get(key("x"))


@pytest.mark.parametrize(
    "bad", [{"metadata": {"name": "\ud800"}}, {"metadata": {"x": object()}}, {"spec": {}}, {"metadata": 3}]
)
async def test_an_object_that_cannot_be_stored_fails_alone(store: Store, bad: dict[str, Any]) -> None:
    """The thread that writes must outlive any object; else every later write would wait for ever."""
    good = [store.create(key(f"p{number}"), pod("x")) for number in range(3)]
    async with asyncio.timeout(5):
        outcome = await asyncio.gather(good[0], store.create(key("bad"), bad), *good[1:], return_exceptions=True)
        await store.create(key("later"), pod("later"))
    assert isinstance(outcome[1], StoreFailed)
    assert all(isinstance(one, bytes) for place, one in enumerate(outcome) if place != 1)
    assert store.get(key("bad")) is None


async def test_a_locked_file_fails_the_write_and_then_recovers(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store.db")
    before = store.version
    blocker = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    assert store._writer._connection is not None
    store._writer._connection.execute("PRAGMA busy_timeout=20")
    blocker.execute("BEGIN IMMEDIATE")
    async with asyncio.timeout(5):
        with pytest.raises(StoreFailed, match="locked"):
            await store.create(key("x"), pod("x"))
        blocker.execute("ROLLBACK")
        assert store.version == before
        await store.create(key("x"), pod("x"))
    blocker.close()
    store.close()


async def test_a_full_disk_fails_the_write_and_then_recovers(store: Store) -> None:
    await store.create(key("x"), pod("x"))
    before = store.version
    connection = store._writer._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count={pages}")
    async with asyncio.timeout(5):
        with pytest.raises(StoreFailed, match="full"):
            await store.create(key("y"), pod("y", text="y" * 100_000))
        assert store.get(key("y")) is None
        connection.execute("PRAGMA max_page_count=1000000")
        made = await store.create(key("y"), pod("y", text="y" * 100_000))
    assert msgspec.json.decode(made)["metadata"]["resourceVersion"] == str(before + 1)


async def test_a_write_whose_caller_left_stands_and_is_published(store: Store) -> None:
    watcher = store.watch("/pods", None, store.version)
    task = asyncio.ensure_future(store.create(key("x"), pod("x")))
    await asyncio.sleep(0)
    task.cancel()
    assert (await following(watcher)).key.name == "x"
    assert store.get(key("x")) is not None


async def test_a_namespace_is_removed_only_when_it_is_empty(store: Store) -> None:
    """Checked where writes are in order: what was created before the removal is seen by it."""
    space = Key("/namespaces", "", "a")
    await store.create(space, pod("a"))
    late = asyncio.ensure_future(store.create(key("x"), pod("x")))
    await asyncio.sleep(0)
    with pytest.raises(NotEmpty, match="not empty"):
        await store.delete(space, None, empty="a")
    await late
    await store.delete(key("x"), None)
    await store.delete(space, None, empty="a")
    with pytest.raises(Missing):
        await store.delete(space, None, empty="a")


async def test_nobody_else_may_read_the_file(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        store = Store.open(tmp_path / "store.db")
        await store.create(key("x"), pod("x"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        store.close()
    finally:
        os.umask(old)
    assert set(modes.values()) == {0o600}, modes


async def test_closing_ends_the_thread(tmp_path: Path) -> None:
    before = threading.active_count()
    store = Store.open(tmp_path / "store.db")
    assert threading.active_count() == before + 1
    store.close()
    store.close()
    assert threading.active_count() == before


operations = st.lists(
    st.tuples(
        st.sampled_from(["create", "update", "delete", "read", "restart"]),
        st.sampled_from("pq"),
        st.sampled_from(["a", "b"]),
    ),
    max_size=40,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations)
def test_a_watch_is_the_list_of_writes(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, str]]
) -> None:
    """Whatever is written and however it is read in between: the events are the writes, in order."""
    asyncio.run(_play(tmp_path_factory.mktemp("store") / "store.db", steps))


async def _play(path: Path, steps: list[tuple[str, str, str]]) -> None:
    store = Store.open(path)
    seen: list[tuple[str, str, str]] = []
    written: list[tuple[str, str, str]] = []
    objects: set[tuple[str, str]] = set()
    position = store.version
    watcher = store.watch("/pods", "a", position)

    async def read() -> None:
        nonlocal position
        while len(seen) < len(written):
            event = await following(watcher)
            assert event.version > position
            position = event.version
            assert msgspec.json.decode(event.data)["metadata"]["resourceVersion"] == str(position)
            assert (event.previous is None) == (event.type == "ADDED")
            seen.append((event.type, event.key.namespace, event.key.name))

    for action, name, namespace in steps:
        where = (namespace, name)
        if action == "create" and where not in objects:
            await store.create(key(name, namespace), pod(name))
            objects.add(where)
            written += [("ADDED", "a", name)] if namespace == "a" else []
        elif action == "update" and where in objects:
            await store.update(key(name, namespace), pod(name), None)
            written += [("MODIFIED", "a", name)] if namespace == "a" else []
        elif action == "delete" and where in objects:
            await store.delete(key(name, namespace), None)
            objects.discard(where)
            written += [("DELETED", "a", name)] if namespace == "a" else []
        elif action == "read":
            await read()
        elif action == "restart":
            await read()
            store.close()
            store = Store.open(path)
            watcher = store.watch("/pods", "a", position)
    await read()
    store.close()
    assert seen == written
