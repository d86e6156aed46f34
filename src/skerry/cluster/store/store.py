"""The store as the API server sees it: get, list, create, update, delete, watch."""

import asyncio
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

from skerry.cluster.store.objects import Event, Expired, Key, StoreFailed
from skerry.cluster.store.schema import connect, prepare
from skerry.cluster.store.writer import Write, Writer

_WATCHER_LIMIT: Final = 10_000
_HISTORY: Final = 10_000


class Listing(NamedTuple):
    """A consistent list: all objects as they were at `version`. `after` names the last key when more follow."""

    version: int
    items: list[bytes]
    after: tuple[str, str] | None
    remaining: int


class Watcher:
    """A queue of events of one resource. Bounded: who does not read is dropped, never buffered without end."""

    def __init__(self, resource: str, namespace: str | None, since: int, backlog: Iterable[Event]) -> None:
        self._resource = resource
        self._namespace = namespace
        self._since = since
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue()
        self._dropped = False
        for event in backlog:
            self.offer(event)

    def offer(self, event: Event) -> None:
        """Take the event if it concerns this watcher."""
        key = event.key
        if event.version <= self._since:
            return  # the caller listed after the commit and before the delivery of this event
        if key.resource != self._resource or (self._namespace is not None and key.namespace != self._namespace):
            return
        if self._queue.qsize() >= _WATCHER_LIMIT:
            self._dropped = True
            return
        self._queue.put_nowait(event)

    def close(self) -> None:
        """End `next` with None after what is queued."""
        self._queue.put_nowait(None)

    async def next(self) -> Event | None:
        """Return the next event, None when the store closes.

        Raises `Expired` when this watcher fell too far behind.
        """
        if self._dropped and self._queue.empty():
            raise Expired("too slow: the watch fell behind")
        return await self._queue.get()


class Store:
    """One SQLite file. Make it with `Store.open`, in the event loop that will use it."""

    def __init__(self, path: Path, reader: sqlite3.Connection, loop: asyncio.AbstractEventLoop, history: int) -> None:
        self._reader = reader
        self._loop = loop
        self._watchers: set[Watcher] = set()
        self._published = self._mark("version")
        self._writer = Writer(path, loop, self._publish, history)
        self._writer.start()
        self._closed = False

    @classmethod
    def open(cls, path: Path, *, history: int = _HISTORY) -> "Store":
        """Open or make the database.

        Raises `StoreFailed` when the file is damaged or cannot be written.
        """
        try:
            with_tables = connect(path)
            prepare(with_tables)
            with_tables.close()
            reader = connect(path, readonly=True)
        except sqlite3.Error as error:
            raise StoreFailed(f"cannot open the database {path}: {error}") from error
        return cls(path, reader, asyncio.get_running_loop(), history)

    def close(self) -> None:
        """Commit what waits, end all watches, close the file."""
        if self._closed:
            return
        self._closed = True
        self._writer.stop()
        for watcher in self._watchers:
            watcher.close()
        self._reader.close()

    @property
    def version(self) -> int:
        """The resourceVersion of the last write that watchers were told of."""
        return self._published

    def get(self, key: Key) -> bytes | None:
        row = self._reader.execute(
            "SELECT data FROM objects WHERE resource=? AND namespace=? AND name=?", key
        ).fetchone()
        return row[0] if row else None

    def list_objects(
        self,
        resource: str,
        namespace: str | None = None,
        *,
        limit: int = 0,
        after: tuple[str, str] | None = None,
    ) -> Listing:
        """List a resource in one namespace or in all (None), ordered by namespace and name; `limit` 0 means all."""
        where, arguments = "resource=?", [resource]
        if namespace is not None:
            where += " AND namespace=?"
            arguments.append(namespace)
        if after is not None:
            where += " AND (namespace, name) > (?, ?)"
            arguments += after
        self._reader.execute("BEGIN")
        try:
            version = self._mark("version")
            page = f" LIMIT {limit + 1}" if limit else ""
            rows = self._reader.execute(
                f"SELECT namespace, name, data FROM objects WHERE {where} ORDER BY namespace, name{page}",  # noqa: S608
                arguments,
            ).fetchall()
            more = bool(limit) and len(rows) > limit
            remaining = self._count(where, arguments) - limit if more else 0
        finally:
            self._reader.execute("COMMIT")
        rows = rows[:limit] if more else rows
        return Listing(version, [row[2] for row in rows], (rows[-1][0], rows[-1][1]) if more else None, remaining)

    def count(self, resource: str, namespace: str) -> int:
        """Count the objects of a resource in a namespace."""
        return self._count("resource=? AND namespace=?", [resource, namespace])

    async def create(self, key: Key, item: dict[str, Any]) -> bytes:
        """Store a new object and return it with its resourceVersion.

        Raises `AlreadyExists`, `StoreFailed`.
        """
        return await self._submit(key, item, create=True, expected=None)

    async def update(self, key: Key, item: dict[str, Any], expected: int | None) -> bytes:
        """Replace an object that is at version `expected` (None: at any).

        Raises `Missing`, `Conflict`, `StoreFailed`.
        """
        return await self._submit(key, item, create=False, expected=expected)

    async def delete(self, key: Key, expected: int | None) -> bytes:
        """Remove an object and return its last state.

        Raises `Missing`, `Conflict`, `StoreFailed`.
        """
        return await self._submit(key, None, create=False, expected=expected)

    def watch(self, resource: str, namespace: str | None, since: int) -> Watcher:
        """Follow a resource: everything after version `since`, in order, without gaps.

        Raises `Expired` when that history is compacted away. Give the watcher back to `unwatch`.
        """
        if since < self._mark("compacted"):
            raise Expired(f"too old resource version: {since} ({self._mark('compacted')})")
        watcher = Watcher(resource, namespace, since, self._history(resource, since))
        self._watchers.add(watcher)
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        self._watchers.discard(watcher)

    def _history(self, resource: str, since: int) -> list[Event]:
        # Only up to what was published: later rows reach the watcher through `_publish`, once.
        rows = self._reader.execute(
            "SELECT version, type, resource, namespace, name, data, previous FROM history"
            " WHERE version > ? AND version <= ? AND resource = ? ORDER BY version",
            (since, self._published, resource),
        )
        return [Event(row[0], row[1], Key(row[2], row[3], row[4]), row[5], row[6]) for row in rows]

    async def _submit(self, key: Key, item: dict[str, Any] | None, *, create: bool, expected: int | None) -> bytes:
        if self._closed:
            raise StoreFailed("the store is closed")
        answer: asyncio.Future[bytes] = self._loop.create_future()
        self._writer.submit(Write(key, item, create, expected, answer))
        return await answer

    def _publish(self, events: list[Event]) -> None:
        for event in events:
            self._published = event.version
            for watcher in self._watchers:
                watcher.offer(event)

    def _mark(self, name: str) -> int:
        value: int = self._reader.execute("SELECT value FROM marks WHERE name=?", (name,)).fetchone()[0]
        return value

    def _count(self, where: str, arguments: list[str]) -> int:
        count: int = self._reader.execute(
            f"SELECT count(*) FROM objects WHERE {where}",  # noqa: S608
            arguments,
        ).fetchone()[0]
        return count
