"""The store: versions, conflicts, watches without gaps, many writers, damage.

The crash test runs a real process that acknowledges writes on its standard output, kills it with SIGKILL in the
middle, and looks whether everything that was acknowledged is there.
"""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from skerry.cluster.store import AlreadyExists, Conflict, Expired, Keep, Key, Missing, Store, StoreFailed


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "store.db")
    yield opened
    opened.close()


def pod(name: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "a"}, **more}


def key(name: str, namespace: str = "a") -> Key:
    return Key("/pods", namespace, name)


def decode(data: bytes | None) -> dict[str, Any]:
    assert data is not None
    decoded: dict[str, Any] = msgspec.json.decode(data)
    return decoded


def version(data: bytes) -> int:
    return int(decode(data)["metadata"]["resourceVersion"])


async def test_versions_grow_with_every_write(store: Store) -> None:
    first = await store.create(key("x"), pod("x"))
    second = await store.update(key("x"), pod("x", spec=1), expected=version(first))
    other = await store.create(key("y"), pod("y"))
    gone = await store.delete(key("x"), expected=None)
    assert version(first) < version(second) < version(other) < version(gone)
    assert store.get(key("x")) is None
    assert decode(store.get(key("y")))["metadata"]["name"] == "y"


async def test_an_old_version_conflicts_and_changes_nothing(store: Store) -> None:
    first = await store.create(key("x"), pod("x"))
    second = await store.update(key("x"), pod("x", spec=1), expected=version(first))
    with pytest.raises(Conflict):
        await store.update(key("x"), pod("x", spec=2), expected=version(first))
    with pytest.raises(Conflict):
        await store.delete(key("x"), expected=version(first))
    assert store.get(key("x")) == second


async def test_taken_and_missing_keys(store: Store) -> None:
    await store.create(key("x"), pod("x"))
    with pytest.raises(AlreadyExists):
        await store.create(key("x"), pod("x"))
    with pytest.raises(Missing):
        await store.update(key("nope"), pod("nope"), expected=None)
    with pytest.raises(Missing):
        await store.delete(key("nope"), expected=None)


async def test_pages_meet_without_overlap(store: Store) -> None:
    for number in range(7):
        await store.create(key(f"p{number}"), pod(f"p{number}"))
    seen: list[str] = []
    after = None
    sizes = []
    while True:
        page = store.list_objects("/pods", limit=3, after=after)
        seen += [decode(item)["metadata"]["name"] for item in page.items]
        sizes.append((len(page.items), page.remaining))
        after = page.after
        if after is None:
            break
    assert seen == [f"p{number}" for number in range(7)]
    assert sizes == [(3, 4), (3, 1), (1, 0)]


async def test_a_watch_gets_each_event_once_in_order(store: Store) -> None:
    start = version(await store.create(key("x"), pod("x")))
    await store.create(key("y"), pod("y"))
    watcher = store.watch("/pods", None, start)
    await store.create(Key("/services", "a", "s"), pod("s"))
    await store.update(key("y"), pod("y", spec=1), expected=None)
    await store.delete(key("x"), expected=None)
    got = [await watcher.next() for _ in range(3)]
    assert [(event.type, event.key.name) for event in got if event] == [
        ("ADDED", "y"),
        ("MODIFIED", "y"),
        ("DELETED", "x"),
    ]
    modified = got[1]
    assert modified is not None
    assert modified.object["spec"] == 1
    assert modified.previous_object is not None
    assert "spec" not in modified.previous_object


async def test_list_then_watch_under_write_load_has_no_gap_and_no_double(store: Store) -> None:
    async def write(worker: int) -> None:
        for number in range(40):
            await store.create(key(f"w{worker}-{number}"), pod(f"w{worker}-{number}"))

    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(write(worker)) for worker in range(8)]
        while store.version < 100:
            await asyncio.sleep(0)
        listing = store.list_objects("/pods")
        watcher = store.watch("/pods", None, listing.version)
        names = [decode(item)["metadata"]["name"] for item in listing.items]
        for _ in range(8 * 40 - len(names)):
            event = await watcher.next()
            assert event is not None
            assert event.version > listing.version
            names.append(event.key.name)
        await asyncio.gather(*writers)
    assert sorted(names) == sorted(f"w{worker}-{number}" for worker in range(8) for number in range(40))


async def test_a_watch_resumes_after_a_restart(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store.db")
    start = version(await store.create(key("x"), pod("x")))
    await store.update(key("x"), pod("x", spec=1), expected=None)
    store.close()
    again = Store.open(tmp_path / "store.db")
    watcher = again.watch("/pods", None, start)
    event = await watcher.next()
    assert event is not None
    assert (event.type, event.object["spec"]) == ("MODIFIED", 1)
    again.close()


async def test_compacted_history_is_said_and_not_skipped(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store.db", keep=Keep(writes=100))
    first = version(await store.create(key("x"), pod("x")))
    for number in range(1100):
        await store.update(key("x"), pod("x", spec=number), expected=None)
    with pytest.raises(Expired):
        store.watch("/pods", None, first)
    store.unwatch(store.watch("/pods", None, store.version))
    store.close()


async def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"this is not a database, and it is long enough to be read as a header" * 100)
    with pytest.raises(StoreFailed, match=r"store\.db"):
        Store.open(path)


_CHILD = """
import asyncio, sys
from pathlib import Path
from skerry.cluster.store import Store, Key

async def main():
    store = Store.open(Path(sys.argv[1]))
    async def work(worker):
        for number in range(10_000):
            name = f"{worker}-{number}"
            await store.create(Key("/pods", "a", name), {"metadata": {"name": name}})
            print(name, flush=True)
    await asyncio.gather(*(work(worker) for worker in range(4)))

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    for round_ in range(3):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD.replace('f"{worker}', f'f"{round_}-{{worker}}'), str(path)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert child.stdout is not None
        acknowledged = [child.stdout.readline().strip() for _ in range(60)]
        child.send_signal(signal.SIGKILL)
        acknowledged += child.stdout.read().split("\n")[:-1]
        child.wait()
        child.stdout.close()
        store = Store.open(path)
        missing = [name for name in acknowledged if store.get(key(name)) is None]
        store.close()
        assert not missing
        assert len(acknowledged) >= 60
