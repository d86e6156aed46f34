"""The one thread that writes.

Operations wait in a queue. The thread takes all that wait, runs them inside one transaction (each checks everything
before it changes anything, so one that is refused leaves no trace), commits once, and hands the results to the event
loop: first the events to the watchers, then the answers to the callers, in the order of their versions. So a client
that got its answer can never be overtaken by its own event.
"""

import contextlib
import errno
import queue
import shutil
import sqlite3
import threading
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Final

import msgspec

from skerry.cluster.store import checksums
from skerry.cluster.store.ceiling import Ceiling
from skerry.cluster.store.compaction import Keep, compact, give_back
from skerry.cluster.store.failpoints import reach
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
    StoreFull,
)
from skerry.cluster.store.recovery import Finding, is_disk, recover
from skerry.cluster.store.schema import connect, mark
from skerry.kit.log import logger

log = logger(__name__)

_BATCH: Final = 64
_RETRY_SECONDS: Final = 1.0  # between two attempts to open a file that could not be opened
_LEAST_ROOM: Final = 256 << 10
_ANY_OF_NAMESPACE: Final = "SELECT 1 FROM objects WHERE namespace=? LIMIT 1"

# What SQLite says when the content of the file is at fault, and not what was asked of it.
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
# After these the connection, or the file below it, may not be what it was.
_BROKEN: Final = frozenset({*_DAMAGED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY})

Publish = Callable[[list[Event]], None]
Reopened = Callable[[list[Finding]], None]
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


class Repair:
    """Asks the thread to look at the whole file before the next write, and to mend it."""


class Writer:
    """Owns the writing connection and its thread, which outlives every failure until `stop`.

    A connection that is broken is dropped, and made anew for the next write. Without one from the start (`connection`
    None: the disk was full or read-only) the same happens: each write tries, and the first that succeeds ends it.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection | None, loop: AbstractEventLoop, keep: Keep, reopened: Reopened
    ) -> None:
        self._path = path
        self._connection = connection
        self._loop = loop
        self._reopened = reopened
        self._damaged = False
        self._refused: StoreFailed | None = None  # why there is no connection; looked at again after a while
        self._retry_at = 0.0
        self._keep = keep
        self._ceiling = Ceiling(path)
        self._queue: queue.SimpleQueue[Write | Repair | None] = queue.SimpleQueue()
        self._gives_back = True  # there is more to give back, or may be
        self._writes = keep.due_writes  # since the last compaction; the last daemon's count is not known
        self._bytes = 0
        self.trouble = ""  # why the last write was refused by the disk, "" when it was not
        self._publish: Publish
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)

    def start(self, publish: Publish) -> None:
        """Begin to write; `publish` is called in the event loop with what was committed."""
        self._publish = publish
        self._thread.start()

    def submit(self, write: Write) -> None:
        self._queue.put(write)

    def repair(self) -> None:
        """Have the file looked at, and mended, before the next write."""
        self._queue.put(Repair())

    def stop(self) -> None:
        """Finish what waits and end the thread."""
        self._queue.put(None)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        last = False
        while not last:
            batch, last = self._take()
            if batch or self._damaged:
                self._commit(batch)
                batch.clear()  # the next write may be long in coming, and an object may be large
        self._drop()

    def _take(self) -> tuple[list[Write], bool]:
        batch: list[Write] = []
        item = self._queue.get()
        while True:
            if item is None:
                return batch, True
            if isinstance(item, Repair):
                self._damaged = True
            else:
                batch.append(item)
            if len(batch) >= _BATCH:
                return batch, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, False

    def _commit(self, batch: list[Write]) -> None:
        events: list[Event] = []
        try:
            connection = self._connected()
            events, answers = self._transaction(connection, batch)
            self._say_works()
        except Exception as error:
            if not isinstance(error, sqlite3.Error | OSError | StoreError):
                log.exception("store batch failed")
            failure = self._failure(error)
            self._after(error, failure)
            answers = [(write.answer, failure) for write in batch]
        self._call(self._deliver, events, answers)
        # Only a compaction frees much, and each statement costs the event loop a turn of the interpreter's lock.
        if events and (self._gives_back or not self._writes):
            with contextlib.suppress(sqlite3.Error):  # nobody waits for it; the next batch tries again
                self._gives_back = give_back(connection)
                if self._gives_back:
                    reach("vacuum.done")

    def _connected(self) -> sqlite3.Connection:
        """Return the connection; after a failure mend the file if it is damaged, and make a new one."""
        if self._connection is not None and not self._damaged:
            return self._connection
        if self._refused is not None and monotonic() < self._retry_at:
            raise self._refused
        self._drop()
        findings = recover(self._path)
        self._connection = connect(self._path)
        self._damaged, self._refused = False, None
        self._ceiling = Ceiling(self._path)
        self._call(self._reopened, findings)
        return self._connection

    def _after(self, error: Exception, failure: StoreFailed) -> None:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
        if self._connection is None and failure is not self._refused:
            self._refused, self._retry_at = failure, monotonic() + _RETRY_SECONDS
        if code in _BROKEN:
            self._damaged = self._damaged or code in _DAMAGED
            self._drop()
        if self.trouble != str(failure):
            self.trouble = str(failure)
            log.error("store cannot write", error=str(failure))

    def _say_works(self) -> None:
        if self.trouble:
            log.info("store writes again")
            self.trouble = ""

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _call(self, what: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is gone, and with it everybody who could be told
            self._loop.call_soon_threadsafe(what, *arguments)

    def _failure(self, error: Exception) -> StoreFailed:
        if isinstance(error, StoreFailed):
            return error
        full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or (
            isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
        )
        # SQLite that has no room for its shared memory says that it cannot open the file.
        if full or (isinstance(error, sqlite3.Error) and is_disk(error) and self._no_room()):
            return StoreFull(f"cannot write to {self._path}: {error}; make room on its disk")
        return StoreFailed(f"cannot write to {self._path}: {error}")

    def _no_room(self) -> bool:
        try:
            return shutil.disk_usage(self._path.parent).free < _LEAST_ROOM
        except OSError:
            return False

    def _transaction(self, connection: sqlite3.Connection, batch: list[Write]) -> tuple[list[Event], list[Answer]]:
        events: list[Event] = []
        answers: list[Answer] = []
        connection.execute("BEGIN IMMEDIATE")
        version, compacted = mark(connection, "version"), mark(connection, "compacted")
        self._ceiling.cover(version + len(batch))
        reach("writer.begun")
        for write in batch:
            try:
                event = _apply(connection, write, version + 1, compacted)
            except StoreError as error:
                answers.append((write.answer, error))
            else:
                version += 1
                events.append(event)
                answers.append((write.answer, event.data))
        reach("writer.changed")
        connection.execute("UPDATE marks SET value=? WHERE name='version'", (version,))
        writes, size = self._writes + len(events), self._bytes + sum(len(event.data) for event in events)
        if writes >= self._keep.due_writes or size >= self._keep.due_bytes:
            compact(connection, version, self._keep)
            writes = size = 0
            reach("writer.compacted")
        connection.execute("COMMIT")
        reach("writer.committed")
        self._writes, self._bytes = writes, size
        return events, answers

    def _deliver(self, events: list[Event], answers: list[Answer]) -> None:
        self._publish(events)
        for future, result in answers:
            if future.done():  # the caller gave up waiting; the write stands
                continue
            if isinstance(result, StoreError):
                future.set_exception(result)
            else:
                future.set_result(result)


def _apply(connection: sqlite3.Connection, write: Write, version: int, compacted: int) -> Event:
    """Make one change; an error leaves the transaction as it was."""
    key = write.key
    before, previous = _checked(connection, write)
    if write.object is None:
        assert previous is not None
        event = Event(version, "DELETED", key, _encoded(key, msgspec.json.decode(previous), version), previous)
        connection.execute("DELETE FROM objects WHERE resource=? AND namespace=? AND name=?", key)
    else:
        data = _encoded(key, write.object, version)
        event = Event(version, "ADDED" if write.create else "MODIFIED", key, data, previous)
        total = checksums.of_object(key, version, data)
        if previous is None:
            connection.execute("INSERT INTO objects VALUES (?,?,?,?,?,?)", (*key, version, data, total))
        else:
            connection.execute(
                "UPDATE objects SET version=?, data=?, sum=? WHERE resource=? AND namespace=? AND name=?",
                (version, data, total, *key),
            )
    # The write that made the state before is in the history, unless that ends after it.
    kept = previous if before is not None and before <= compacted else None
    total = checksums.of_write(version, event.type, key, event.data, before, kept)
    connection.execute(
        "INSERT INTO history VALUES (?,?,?,?,?,?,?,?,?)", (version, event.type, *key, event.data, before, kept, total)
    )
    return event


def _checked(connection: sqlite3.Connection, write: Write) -> tuple[int | None, bytes | None]:
    """Return the present version and state of the object, after checking that the write may change it."""
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
    return row or (None, None)


def _encoded(key: Key, item: dict[str, Any], version: int) -> bytes:
    try:
        return stamped(item, version)
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise NotStorable(f"cannot store {key.resource} {key.name}: {type(error).__name__}: {error}") from error


def stamped(item: dict[str, Any], version: int) -> bytes:
    """Encode the object with the version in `metadata.resourceVersion`; the caller's object is not changed."""
    return msgspec.json.encode({**item, "metadata": {**item["metadata"], "resourceVersion": str(version)}})
