"""The one thread that writes.

Operations wait in a queue. The thread takes all that wait, runs them inside one transaction (each checks everything
before it changes anything, so one that is refused leaves no trace), commits once, and hands the results to the event
loop: first the events to the watchers, then the answers to the callers, in the order of their versions. So a client
that got its answer can never be overtaken by its own event.
"""

import contextlib
import queue
import sqlite3
import threading
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from skerry.cluster.store.objects import (
    AlreadyExists,
    Conflict,
    Event,
    Key,
    Missing,
    NotEmpty,
    NotStorable,
    StoreError,
    StoreFailed,
)
from skerry.kit.log import logger

log = logger(__name__)

_BATCH: Final = 64
_COMPACT_EVERY: Final = 500
_ANY_OF_NAMESPACE: Final = "SELECT 1 FROM objects WHERE namespace=? LIMIT 1"

Publish = Callable[[list[Event]], None]
Answer = tuple["Future[bytes]", "bytes | StoreError"]


@dataclass(frozen=True)
class Write:
    """One operation. `object` None means delete; `expected` None means whatever version is there."""

    key: Key
    object: dict[str, Any] | None
    answer: "Future[bytes]"
    create: bool = False
    expected: int | None = None
    empty: str | None = None  # delete only when no object is in this namespace


class Writer:
    """Owns the writing connection and its thread, which outlives every failure until `stop`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, loop: AbstractEventLoop, keep_history: int) -> None:
        self._path = path
        self._connection = connection
        self._loop = loop
        self._keep_history = keep_history
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._since_compaction = 0
        self._publish: Publish
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    def start(self, publish: Publish) -> None:
        """Begin to write; `publish` is called in the event loop with what was committed."""
        self._publish = publish
        self._thread.start()

    def submit(self, write: Write) -> None:
        self._queue.put(write)

    def stop(self) -> None:
        """Finish what waits and end the thread."""
        self._queue.put(None)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        with contextlib.closing(self._connection) as connection:
            last = False
            while not last:
                batch, last = self._take()
                if batch:
                    self._commit(connection, batch)

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
        try:
            events, answers = self._transaction(connection, batch)
        except Exception as error:
            if not isinstance(error, sqlite3.Error | OSError):
                log.exception("store batch failed")
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            failure = StoreFailed(f"cannot write to {self._path}: {error}")
            events, answers = [], [(write.answer, failure) for write in batch]
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it everybody who could be told
            self._loop.call_soon_threadsafe(self._deliver, events, answers)

    def _transaction(self, connection: sqlite3.Connection, batch: list[Write]) -> tuple[list[Event], list[Answer]]:
        events: list[Event] = []
        answers: list[Answer] = []
        connection.execute("BEGIN IMMEDIATE")
        version = connection.execute("SELECT value FROM marks WHERE name='version'").fetchone()[0]
        for write in batch:
            try:
                event = _apply(connection, write, version + 1)
            except StoreError as error:
                answers.append((write.answer, error))
            else:
                version += 1
                events.append(event)
                answers.append((write.answer, event.data))
        connection.execute("UPDATE marks SET value=? WHERE name='version'", (version,))
        compacted = self._compact(connection, version, len(events))
        connection.execute("COMMIT")
        self._since_compaction = 0 if compacted else self._since_compaction + len(events)
        return events, answers

    def _compact(self, connection: sqlite3.Connection, version: int, writes: int) -> bool:
        if self._since_compaction + writes < _COMPACT_EVERY:
            return False
        oldest = version - self._keep_history
        if oldest > 1:
            connection.execute("DELETE FROM history WHERE version <= ?", (oldest,))
            connection.execute("UPDATE marks SET value=max(value, ?) WHERE name='compacted'", (oldest,))
        return True

    def _deliver(self, events: list[Event], answers: list[Answer]) -> None:
        self._publish(events)
        for future, result in answers:
            if future.done():  # the caller gave up waiting; the write stands
                continue
            if isinstance(result, StoreError):
                future.set_exception(result)
            else:
                future.set_result(result)


def _apply(connection: sqlite3.Connection, write: Write, version: int) -> Event:
    """Make one change; an error leaves the transaction as it was."""
    key = write.key
    previous = _checked(connection, write)
    if write.object is None:
        assert previous is not None
        event = Event(version, "DELETED", key, _encoded(key, msgspec.json.decode(previous), version), previous)
        connection.execute("DELETE FROM objects WHERE resource=? AND namespace=? AND name=?", key)
    else:
        data = _encoded(key, write.object, version)
        event = Event(version, "ADDED" if write.create else "MODIFIED", key, data, previous)
        connection.execute("INSERT OR REPLACE INTO objects VALUES (?,?,?,?,?)", (*key, version, data))
    connection.execute(
        "INSERT INTO history VALUES (?,?,?,?,?,?,?)", (version, event.type, *key, event.data, event.previous)
    )
    return event


def _checked(connection: sqlite3.Connection, write: Write) -> bytes | None:
    """Return the present state of the object, after checking that the write may change it."""
    key = write.key
    row = connection.execute(
        "SELECT version, data FROM objects WHERE resource=? AND namespace=? AND name=?", key
    ).fetchone()
    if write.create and row:
        raise AlreadyExists(key)
    if not write.create and not row:
        raise Missing(key)
    if write.expected is not None and row and row[0] != write.expected:
        raise Conflict(key)
    if write.empty is not None and connection.execute(_ANY_OF_NAMESPACE, (write.empty,)).fetchone():
        raise NotEmpty(f"namespace {write.empty} is not empty")
    return row[1] if row else None


def _encoded(key: Key, item: dict[str, Any], version: int) -> bytes:
    try:
        return stamped(item, version)
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise NotStorable(f"cannot store {key.resource} {key.name}: {type(error).__name__}: {error}") from error


def stamped(item: dict[str, Any], version: int) -> bytes:
    """Encode the object with the version in `metadata.resourceVersion`; the caller's object is not changed."""
    return msgspec.json.encode({**item, "metadata": {**item["metadata"], "resourceVersion": str(version)}})
