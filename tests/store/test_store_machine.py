"""The store against a dictionary: any sequence of operations, copies, restarts, crashes and repairs.

A crash is what SIGKILL leaves: the files as the kernel has them, under another name, while the old store is forgotten.
"""

import asyncio
import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from skerry.cluster.store import AlreadyExists, Conflict, Expired, Keep, Key, Missing, Store, recover
from skerry.cluster.store.copies import Copies

KEYS = [Key("/pods", namespace, name) for namespace in "ab" for name in ("x", "y", "z")] + [Key("/nodes", "", "x")]
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # nobody waits for a disk here
KEEP = Keep(writes=12, bytes=60_000)


class StoreMachine(RuleBasedStateMachine):
    """`objects` is what must be there, `log` every write since the last repair, `forgotten` up to where watches end."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.root = Path(tempfile.mkdtemp(prefix="skerry-machine-", dir=MEMORY))
        self.turn = 0
        self.objects: dict[Key, bytes] = {}
        self.log: list[tuple[int, str, Key, bytes | None]] = []
        self.highest = 0
        self.open()

    @property
    def database(self) -> Path:
        return self.root / str(self.turn) / "store.db"

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def open(self) -> None:
        async def opening() -> Store:
            return Store.open(self.database, keep=KEEP)

        self.database.parent.mkdir(exist_ok=True)
        self.findings = recover(self.database)
        self.store: Store = self.run(opening())
        assert self.store._writer._connection is not None
        self.store._writer._connection.execute("PRAGMA synchronous=OFF")

    def wrote(self, type_: str, key: Key, data: bytes) -> None:
        version = int(msgspec.json.decode(data)["metadata"]["resourceVersion"])
        assert version > self.highest
        self.highest = version
        self.log.append((version, type_, key, self.objects.get(key)))
        if type_ == "DELETED":
            del self.objects[key]
        else:
            self.objects[key] = data

    @rule(key=st.sampled_from(KEYS), size=st.sampled_from([1, 500, 9000]))
    def create(self, key: Key, size: int) -> None:
        item = {"metadata": {"name": key.name}, "text": "c" * size}
        try:
            self.wrote("ADDED", key, self.run(self.store.create(key, item)))
        except AlreadyExists:
            assert key in self.objects
        else:
            assert self.log[-1][3] is None

    @rule(key=st.sampled_from(KEYS), size=st.sampled_from([1, 500, 9000]), stale=st.booleans())
    def update(self, key: Key, size: int, stale: bool) -> None:
        item = {"metadata": {"name": key.name}, "text": "u" * size}
        present = self.objects.get(key)
        version = int(msgspec.json.decode(present)["metadata"]["resourceVersion"]) if present else 0
        try:
            data = self.run(self.store.update(key, item, version - 1 if stale else None))
        except Missing:
            assert present is None
        except Conflict:
            assert stale
        else:
            assert present is not None
            assert not stale
            self.wrote("MODIFIED", key, data)

    @rule(key=st.sampled_from(KEYS))
    def delete(self, key: Key) -> None:
        try:
            self.wrote("DELETED", key, self.run(self.store.delete(key, None)))
        except Missing:
            assert key not in self.objects

    @rule()
    def copy(self) -> None:
        copy = Copies(self.database.parent / "copies").take(self.database)
        assert copy.objects == len(self.objects)

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.open()
        assert not self.findings

    @rule()
    def crash(self) -> None:
        old = self.database.parent
        self.turn += 1
        shutil.copytree(old, self.database.parent)
        (self.database.parent / "store.db-shm").unlink(missing_ok=True)
        self.store.close()
        self.open()
        assert not self.findings

    @precondition(lambda self: self.objects)
    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        """Change a value behind the store's back: its last write is in the history, or else that it is lost is said."""
        key = data.draw(st.sampled_from(sorted(self.objects)))
        self.store.close()
        with contextlib.closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
            connection.execute("UPDATE objects SET data=zeroblob(10) WHERE resource=? AND namespace=? AND name=?", key)
        (self.database.parent / "store.suspect").touch()
        self.open()
        assert len(self.findings) == 1
        self.log.clear()
        assert self.store.version >= self.highest
        self.highest = self.store.version
        present = self.store.get(key)
        if present != self.objects[key]:
            assert self.findings[0].reason == "StoreDamaged"
            assert f"{key.namespace}/{key.name}" in self.findings[0].message
            if present is None:
                del self.objects[key]
            else:
                self.objects[key] = present

    @invariant()
    def what_is_there_is_what_was_written(self) -> None:
        for key in KEYS:
            assert self.store.get(key) == self.objects.get(key)
        pods = [data for key, data in sorted(self.objects.items()) if key.resource == "/pods"]
        assert self.store.list_objects("/pods").items == pods

    @invariant()
    def a_watch_tells_every_write_or_says_that_it_cannot(self) -> None:
        for since in {version - 1 for version, *_ in self.log[-15::4]}:
            try:
                watcher = self.store.watch("/pods", None, since)
            except Expired:
                assert sum(version > since for version, *_ in self.log) > 3
                continue
            wanted = [entry for entry in self.log if entry[0] > since and entry[2].resource == "/pods"]
            for version, type_, key, previous in wanted:
                event = self.run(asyncio.wait_for(watcher.next(), 5))
                assert (event.version, event.type, event.key, event.previous) == (version, type_, key, previous)
            self.store.unwatch(watcher)

    def teardown(self) -> None:
        self.store.close()
        self.runner.close()
        shutil.rmtree(self.root)


StoreMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=30, deadline=None)
TestStore = StoreMachine.TestCase
