"""What happens beside the writes: copies, checks in the background, repairs while it runs, full disks, old schemas."""

import asyncio
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest

from skerry.cluster.store import Expired, Finding, Keep, Keeper, Key, Store, StoreFailed, StoreFull, recover
from skerry.cluster.store.ceiling import Ceiling
from skerry.cluster.store.copies import Copies, verify
from skerry.cluster.store.place import Place
from skerry.cluster.store.schema import SCHEMA_VERSION, connect


class TurnedClock:
    """Sleeping lets others run, and turns the hands."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def store(database: Path) -> AsyncIterator[Store]:
    opened = Store.open(database)
    yield opened
    opened.close()


def key(name: str) -> Key:
    return Key("/pods", "a", name)


def pod(name: str, size: int = 10) -> dict[str, Any]:
    return {"metadata": {"name": name}, "text": "x" * size}


def version(data: bytes) -> int:
    return int(msgspec.json.decode(data)["metadata"]["resourceVersion"])


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


class Kept:
    """A keeper at work over a clock that runs."""

    def __init__(self, store: Store, database: Path) -> None:
        self.clock = TurnedClock()
        self.findings: list[Finding] = []
        self.keeper = Keeper(store, database, self.clock, self.findings.append)
        self.copies = Copies(database.parent / "copies")

    async def __aenter__(self) -> Self:
        self._task = asyncio.ensure_future(self.keeper.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_copies_are_taken_verified_and_bounded(store: Store, database: Path) -> None:
    async with Kept(store, database) as kept:
        for number in range(5):
            made = await store.create(key(f"p{number}"), pod("x"))
            await until(lambda: kept.copies.newest >= version(made))  # noqa: B023
        await until(lambda: len(kept.copies.paths()) == 3)
    newest = verify(kept.copies.paths()[-1])
    assert (newest.version, newest.objects) == (store.version, 5)
    assert [path.stat().st_mode & 0o777 for path in kept.copies.paths()] == [0o600] * 3
    assert not (database.parent / "copies" / "building").exists()
    assert not kept.findings


async def test_nothing_new_means_no_copy(store: Store, database: Path) -> None:
    async with Kept(store, database) as kept:
        await store.create(key("x"), pod("x"))
        await until(lambda: kept.copies.newest)
        before = kept.copies.paths()[0].stat()
        then = kept.clock.seconds
        await until(lambda: kept.clock.seconds > then + 7200)
    assert kept.copies.paths()[0].stat().st_ino == before.st_ino


async def test_writes_go_on_while_a_copy_is_taken(store: Store, database: Path) -> None:
    await asyncio.gather(*(store.create(key(f"p{number}"), pod("x", 20_000)) for number in range(500)))
    copying = asyncio.ensure_future(asyncio.to_thread(Copies(database.parent / "copies").take, database))
    written = 0
    async with asyncio.timeout(20):
        while not copying.done():
            await store.update(key("p0"), pod("x"), None)
            written += 1
    copy = await copying
    assert (copy.objects, written > 0) == (500, True)
    assert copy.version <= store.version


async def test_damage_is_found_and_repaired_while_it_runs(store: Store, database: Path) -> None:
    """Watches end and have to list again; reads and writes go on with what was written."""
    for name in ("x", "y"):
        await store.create(key(name), pod(name))
    seen = store.version
    watcher = store.watch("/pods", None, seen)
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("UPDATE objects SET data=replace(data, 'xxx', 'xyx') WHERE name='x'")
    async with Kept(store, database) as kept:
        await until(lambda: kept.findings)
        assert await watcher.next() is None
    assert [finding.reason for finding in kept.findings] == ["StoreRestored"]
    present = store.get(key("x"))
    assert present is not None
    assert msgspec.json.decode(present)["text"] == "x" * 10
    with pytest.raises(Expired):
        store.watch("/pods", None, seen)
    assert version(await store.create(key("z"), pod("z"))) > seen
    assert list((database.parent / "aside").glob("*/report.json"))


async def test_damage_that_a_read_meets_is_repaired(store: Store, database: Path) -> None:
    for number in range(300):
        await store.create(key(f"p{number:03}"), pod("x", 3000))
    await asyncio.to_thread(Copies(database.parent / "copies").take, database)
    with contextlib.closing(sqlite3.connect(database)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(database.read_bytes())
    content[40 * 4096 : 80 * 4096] = bytes(40 * 4096)
    with database.open("r+b") as file:
        file.write(content)
    refused = 0
    async with asyncio.timeout(20):
        while True:
            try:
                items = store.list_objects("/pods").items
            except StoreFailed:
                refused += 1
                await asyncio.sleep(0.01)
            else:
                break
    assert (refused > 0, len(items)) == (True, 300)
    assert [finding.reason for finding in store.findings()] == ["StoreRestored"]


async def test_without_a_disk_to_write_on_reads_go_on(database: Path) -> None:
    store = Store.open(database)
    await store.create(key("x"), pod("x"))
    # Not closed: what is in the log only has to be there too.
    degraded = Store.open_for_reading(database, "the disk is full")
    assert degraded.trouble == "the disk is full"
    assert degraded.get(key("x")) is not None
    made = await degraded.create(key("y"), pod("y"))  # the first write that works ends it
    assert degraded.trouble == ""
    assert degraded.get(key("y")) == made
    degraded.close()
    store.close()


async def test_a_damaged_database_that_cannot_be_written_is_read_as_far_as_it_goes(database: Path) -> None:
    store = Store.open(database)
    await asyncio.gather(*(store.create(key(f"p{number}"), pod("x", 2000)) for number in range(50)))
    await asyncio.to_thread(Copies(database.parent / "copies").take, database)
    store.close()
    database.write_bytes(database.read_bytes()[:30_000])
    degraded = Store.open_for_reading(database, "read-only")
    assert len(degraded.list_objects("/pods").items) == 50
    degraded.close()
    for path in database.parent.glob("copies/*"):
        path.unlink()
    database.write_bytes(bytes(100_000))
    with pytest.raises(StoreFailed, match="cannot read anything"):  # an empty cluster would end every pod
        Store.open_for_reading(database, "read-only")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system: root")
async def test_a_real_full_disk(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        store = Store.open(place / "store.db")
        acknowledged: list[bytes] = []
        with pytest.raises(StoreFull, match="make room"):  # noqa: PT012
            while True:
                acknowledged.append(await store.create(key(f"p{len(acknowledged)}"), pod("x", 20_000)))
        assert len(acknowledged) > 5
        assert store.trouble
        assert all(store.get(key(f"p{number}")) == data for number, data in enumerate(acknowledged))
        store.close()
        (place / "rest").write_bytes(b"")
        with contextlib.suppress(OSError), (place / "rest").open("wb", buffering=0) as file:
            while file.write(bytes(512)):
                pass
        again = Store.open_for_reading(place / "store.db", "full")
        assert all(again.get(key(f"p{number}")) == data for number, data in enumerate(acknowledged))
        with pytest.raises(StoreFull):
            await again.create(key("no"), pod("no", 200_000))
        (place / "rest").unlink()
        subprocess.run(["mount", "-o", "remount,size=8m", str(place)], check=True)
        made = None
        async with asyncio.timeout(10):
            while made is None:
                with contextlib.suppress(StoreFailed):  # it is tried once a second
                    made = await again.create(key("yes"), pod("yes"))
                await asyncio.sleep(0.02)
        assert version(made) > len(acknowledged)
        again.close()
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


async def test_the_file_is_bounded_however_often_objects_are_updated(database: Path) -> None:
    store = Store.open(database, keep=Keep(writes=100, bytes=1_000_000))
    assert store._writer._connection is not None
    store._writer._connection.execute("PRAGMA synchronous=OFF")
    sizes = []
    for _ in range(4):
        for _ in range(10):
            await asyncio.gather(*(store.create(key(f"p{number}"), pod("x", 10_000)) for number in range(20)))
            await asyncio.gather(*(store.update(key(f"p{number}"), pod("x", 10_000), None) for number in range(20)))
            await asyncio.gather(*(store.delete(key(f"p{number}"), None) for number in range(20)))
        sizes.append(database.stat().st_size)
    assert sizes[-1] <= sizes[0] * 1.2
    assert sizes[-1] < 6_000_000
    store.close()


async def test_another_process_does_not_take_itself_for_the_last(store: Store, database: Path) -> None:
    """It would remove the log on closing. The locks that keep it from that go with any plain open and close of ours."""
    await store.create(key("x"), pod("x"))
    connect(database).close()
    reads = (
        "import sqlite3, sys; print(sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM objects').fetchone())"
    )
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "ignore", "-c", reads, str(database), stdout=subprocess.PIPE
    )
    output, _ = await other.communicate()
    assert output.strip() == b"(1,)"
    assert database.with_name("store.db-wal").stat().st_size > 0
    await store.create(key("y"), pod("y"))
    with contextlib.closing(sqlite3.connect(database)) as stranger:
        assert stranger.execute("SELECT count(*) FROM objects").fetchone() == (2,)


async def test_a_reader_that_takes_long_costs_room_only_while_it_reads(database: Path) -> None:
    store = Store.open(database)
    assert store._writer._connection is not None
    store._writer._connection.execute("PRAGMA synchronous=OFF")
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as reader:
        await store.create(key("x"), pod("x"))
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM objects").fetchone()
        for _ in range(20):
            await asyncio.gather(*(store.update(key("x"), pod("x", 20_000), None) for _ in range(50)))
        log = database.with_name("store.db-wal")
        assert log.stat().st_size > 8 << 20
        reader.execute("COMMIT")
    for _ in range(2):
        await store.update(key("x"), pod("x"), None)
    assert log.stat().st_size <= 4 << 20
    store.close()


async def test_the_state_before_a_write_is_known_after_compaction(database: Path) -> None:
    store = Store.open(database, keep=Keep(writes=10))
    await store.create(key("old"), pod("old"))
    for number in range(40):
        await store.create(key(f"p{number}"), pod("x"))
    since = store.version
    await store.update(key("old"), pod("old", 50), None)
    await store.delete(key("old"), None)
    watcher = store.watch("/pods", None, since)
    events = [await watcher.next(), await watcher.next()]
    lengths = [len(event.previous_object["text"]) for event in events if event and event.previous_object]
    assert lengths == [10, 50]
    store.close()


async def test_versions_go_on_when_the_database_is_gone(database: Path) -> None:
    store = Store.open(database)
    last = version(await store.create(key("x"), pod("x")))
    store.close()
    for part in database.parent.glob("store.db*"):
        part.unlink()
    assert [finding.reason for finding in recover(database)] == ["StoreLost"]
    again = Store.open(database)
    assert again.version >= last
    with pytest.raises(Expired):
        again.watch("/pods", None, last)
    again.close()
    assert Ceiling(database).value >= last


async def test_a_file_that_is_not_ours_to_read_is_taken_over_or_put_aside(database: Path) -> None:
    store = Store.open(database)
    await store.create(key("x"), pod("x"))
    store.close()
    database.chmod(0o000)
    assert recover(database) == []
    again = Store.open(database)
    assert again.get(key("x")) is not None
    again.close()
    database.unlink()
    database.mkdir()
    assert [finding.reason for finding in recover(database)] == ["StoreLost"]
    assert database.is_file()


_VERSION_1 = """
CREATE TABLE objects (
    resource TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE history (
    version INTEGER PRIMARY KEY, type TEXT NOT NULL, resource TEXT NOT NULL, namespace TEXT NOT NULL,
    name TEXT NOT NULL, data BLOB NOT NULL, previous BLOB
);
CREATE TABLE marks (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO marks VALUES ('version', 4), ('compacted', 1);
PRAGMA user_version=1;
"""


async def test_a_database_of_the_first_schema_is_brought_forward(database: Path) -> None:
    """As the Skerry before this one wrote it; in WAL mode, and with a log that was not checkpointed."""
    states = [msgspec.json.encode({"metadata": {"name": "x", "resourceVersion": str(n)}, "n": n}) for n in (2, 3, 4)]
    old = sqlite3.connect(database, isolation_level=None)
    old.execute("PRAGMA journal_mode=WAL")
    old.executescript(_VERSION_1)
    old.execute("INSERT INTO objects VALUES ('/pods', 'a', 'x', 4, ?)", (states[2],))
    old.execute("INSERT INTO history VALUES (2, 'ADDED', '/pods', 'a', 'x', ?, NULL)", (states[0],))
    old.execute("INSERT INTO history VALUES (3, 'MODIFIED', '/pods', 'a', 'x', ?, ?)", (states[1], states[0]))
    old.execute("INSERT INTO history VALUES (4, 'MODIFIED', '/pods', 'a', 'x', ?, ?)", (states[2], states[1]))
    shutil.copytree(database.parent, database.parent / "killed")
    old.close()
    moved = database.parent / "killed" / "store.db"
    assert [finding.reason for finding in recover(moved)] == ["StoreMigrated"]
    kept = list(Place(moved).aside.glob("*/store.db"))
    with contextlib.closing(sqlite3.connect(kept[0])) as aside:
        assert aside.execute("SELECT count(*), (SELECT max(version) FROM history) FROM objects").fetchone() == (1, 4)
    store = Store.open(moved)
    assert store.get(key("x")) == states[2]
    watcher = store.watch("/pods", None, 2)
    events = [await watcher.next(), await watcher.next()]
    assert [(event.version, event.previous) for event in events if event] == [(3, states[0]), (4, states[1])]
    assert version(await store.update(key("x"), pod("x"), expected=4)) == 5
    assert await Keeper(store, moved, TurnedClock(), lambda _: None).check()
    store.close()
    with contextlib.closing(sqlite3.connect(moved)) as now:
        assert now.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert now.execute("PRAGMA auto_vacuum").fetchone() == (2,)
