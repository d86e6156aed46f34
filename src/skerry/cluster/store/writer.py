"""The one thread that writes.

Operations wait in a queue. The thread takes all that wait, runs each inside a savepoint of one transaction, commits
once, and hands the results to the event loop: first the events to the watchers, then the answers to the callers, in
the order of their versions. So a client that got its answer can never be overtaken by its own event.
"""

import queue
import sqlite3
import threading
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from skerry.cluster.store.objects import AlreadyExists, Conflict, Event, Key, Missing, StoreError, StoreFailed
from skerry.cluster.store.schema import connect

_BATCH: Final = 64
_COMPACT_EVERY: Final = 1000

Publish = Callable[[list[Event]], None]


@dataclass(frozen=True)
class Write:
    """One operation. `object` None means delete; `expected` None means whatever version is there."""

    key: Key
    object: dict[str, Any] | None
    create: bool
    expected: int | None
    answer: "Future[bytes]"


class Writer(threading.Thread):
    """Owns the writing connection."""

    def __init__(self, path: Path, loop: AbstractEventLoop, publish: Publish, keep_history: int) -> None:
        super().__init__(name="store-writer", daemon=True)
        self._path = path
        self._loop = loop
        self._publish = publish
        self._keep_history = keep_history
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._since_compaction = 0

    def submit(self, write: Write) -> None:
        self._queue.put(write)

    def stop(self) -> None:
        """Finish what waits and end the thread."""
        self._queue.put(None)
        self.join(timeout=10)

    def run(self) -> None:
        connection = connect(self._path)
        try:
            while True:
                batch, last = self._take()
                if batch:
                    self._commit(connection, batch)
                if last:
                    return
        finally:
            connection.close()

    def _take(self) -> tuple[list[Write], bool]:
        batch: list[Write] = []
        item = self._queue.get()
        while True:
            if item is None:
                return batch, True
            batch.append(item)
            if len(batch) >= _BATCH:
                return batch, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, False

    def _commit(self, connection: sqlite3.Connection, batch: list[Write]) -> None:
        events: list[Event] = []
        answers: list[tuple[Future[bytes], bytes | StoreError]] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            version = connection.execute("SELECT value FROM marks WHERE name='version'").fetchone()[0]
            for write in batch:
                try:
                    event = _apply(connection, write, version + 1)
                except StoreError as error:
                    answers.append((write.answer, error))
                    continue
                version += 1
                events.append(event)
                answers.append((write.answer, event.data))
            connection.execute("UPDATE marks SET value=? WHERE name='version'", (version,))
            self._compact(connection, version, len(events))
            connection.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            failure = StoreFailed(f"cannot write to {self._path}: {error}")
            events, answers = [], [(write.answer, failure) for write in batch]
        self._loop.call_soon_threadsafe(self._deliver, events, answers)

    def _compact(self, connection: sqlite3.Connection, version: int, writes: int) -> None:
        self._since_compaction += writes
        if self._since_compaction < _COMPACT_EVERY:
            return
        self._since_compaction = 0
        oldest = version - self._keep_history
        if oldest > 1:
            connection.execute("DELETE FROM history WHERE version <= ?", (oldest,))
            connection.execute("UPDATE marks SET value=max(value, ?) WHERE name='compacted'", (oldest,))

    def _deliver(self, events: list[Event], answers: "list[tuple[Future[bytes], bytes | StoreError]]") -> None:
        self._publish(events)
        for future, result in answers:
            if future.done():  # the caller gave up waiting; the write stands
                continue
            if isinstance(result, StoreError):
                future.set_exception(result)
            else:
                future.set_result(result)


def _apply(connection: sqlite3.Connection, write: Write, version: int) -> Event:
    key = write.key
    row = connection.execute(
        "SELECT version, data FROM objects WHERE resource=? AND namespace=? AND name=?", key
    ).fetchone()
    previous: bytes | None = row[1] if row else None
    if write.create and row:
        raise AlreadyExists(key)
    if not write.create and not row:
        raise Missing(key)
    if write.expected is not None and row and row[0] != write.expected:
        raise Conflict(key)
    if write.object is None:
        assert previous is not None
        data = stamped(msgspec.json.decode(previous), version)
        connection.execute("DELETE FROM objects WHERE resource=? AND namespace=? AND name=?", key)
        event = Event(version, "DELETED", key, data, previous)
    else:
        data = stamped(write.object, version)
        connection.execute("INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?)", (*key, version, data))
        event = Event(version, "ADDED" if write.create else "MODIFIED", key, data, previous)
    connection.execute(
        "INSERT INTO history VALUES (?,?,?,?,?,?,?)", (version, event.type, *key, event.data, event.previous)
    )
    return event


def stamped(item: dict[str, Any], version: int) -> bytes:
    """Encode the object with the version in `metadata.resourceVersion`; the caller's object is not changed."""
    return msgspec.json.encode({**item, "metadata": {**item["metadata"], "resourceVersion": str(version)}})
