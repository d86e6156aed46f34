"""The store as the API server sees it: get, list, create, update, delete, watch."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from skerry.cluster.store.ceiling import Ceiling
from skerry.cluster.store.compaction import Keep
from skerry.cluster.store.listing import Listing, Range, listed
from skerry.cluster.store.objects import Event, Expired, Key, StoreFailed
from skerry.cluster.store.recent import Recent
from skerry.cluster.store.recovery import Finding, is_disk
from skerry.cluster.store.schema import SCHEMA_VERSION, check_quickly, connect, make_tables, schema_of
from skerry.cluster.store.snapshot import snapshot
from skerry.cluster.store.watcher import Topic, Watcher, Watchers
from skerry.cluster.store.writer import Write, Writer

_KEEP: Final = Keep()
_PIECE: Final = 256


class _Connections(NamedTuple):
    writing: sqlite3.Connection | None
    reading: sqlite3.Connection


class Store:
    """One SQLite file. Make it with `Store.open`, in the event loop that will use it."""

    def __init__(self, path: Path, connections: "_Connections", keep: Keep, trouble: str = "") -> None:
        self._path = path
        self._reader = connections.reading
        self._loop = asyncio.get_running_loop()
        self._watchers = Watchers()
        self._recent = Recent()
        self._listeners: list[Callable[[Event], None]] = []
        self._closed = self._repairing = False
        self._published = self._mark("version")
        self._findings: list[Finding] = []
        self._writer = Writer(path, connections.writing, self._loop, keep, self._reopened)
        self._writer.trouble = trouble
        self._writer.start(self._publish)

    @classmethod
    def open(cls, path: Path, *, keep: Keep = _KEEP, checked: bool = False) -> "Store":
        """Open or make the database; `keep` is what watches can resume from, `checked` says that its structure is.

        Raises `StoreFailed` when the file is damaged or cannot be written.
        """
        with contextlib.ExitStack() as undo:
            try:
                writing = undo.enter_context(contextlib.closing(connect(path)))
                prepare(writing, path, checked=checked)
                reading = undo.enter_context(contextlib.closing(connect(path, readonly=True)))
                store = cls(path, _Connections(writing, reading), keep)
            except (sqlite3.Error, OSError) as error:
                raise StoreFailed(f"cannot open the database {path}: {error}") from error
            undo.pop_all()
        return store

    @classmethod
    def open_for_reading(cls, path: Path, why: str, *, keep: Keep = _KEEP) -> "Store":
        """Serve what there is from memory while the disk does not let itself be written; writes try it again."""
        return cls(path, _Connections(None, snapshot(path)), keep, why)

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

    @property
    def committed(self) -> int:
        """The resourceVersion of the last write; watchers may hear of it a moment later."""
        return self._mark("version")

    @property
    def trouble(self) -> str:
        """Why the disk refuses writes at present, "" when it does not."""
        return self._writer.trouble

    def findings(self) -> list[Finding]:
        """Take what repairs have found since the last call."""
        taken, self._findings = self._findings, []
        return taken

    def repair(self) -> None:
        """Have the database looked at, and mended if it is damaged."""
        self._writer.repair()

    def get(self, key: Key) -> bytes | None:
        """Return the object.

        Raises `StoreFailed`, as all reading does.
        """
        if (known := self._recent.get(key)) is not None and not self._closed:
            return known
        rows = self._read("SELECT data FROM objects WHERE resource=? AND namespace=? AND name=?", *key)
        if not rows:
            return None
        data: bytes = rows[0][0]
        self._recent.put(key, data)
        return data

    def list_objects(
        self,
        resource: str,
        namespace: str | None = None,
        *,
        name: str | None = None,
        limit: int = 0,
        after: tuple[str, str] | None = None,
        at: int | None = None,
        count: bool = True,
    ) -> Listing:
        """List a resource in one namespace or in all (None), ordered by namespace and name; `limit` 0 means all.

        `at` shows it as it was at that version; what remains after a page is only counted when `count` says so.
        Raises `Expired` when what changed since then is no longer known.
        """
        self._read("BEGIN")
        try:
            if at is not None:
                self.check_kept(at)
            keys = Range(resource, namespace, name, after)
            return listed(self._read, keys, self._mark("version"), at, limit, count=count)
        finally:
            with contextlib.suppress(sqlite3.Error):
                self._reader.execute("COMMIT")

    def counts(self) -> dict[str, int]:
        """Return how many objects each resource has; those without any are left out."""
        return dict(self._read("SELECT resource, count(*) FROM objects GROUP BY resource"))

    def size(self) -> int:
        """Return the bytes of the database file, without what waits in its log."""
        pages, page = (self._read(f"PRAGMA {name}")[0][0] for name in ("page_count", "page_size"))
        return int(pages * page)

    def problem(self) -> str | None:
        """Say why the store cannot be read, or why the disk refuses writes; None when all is well."""
        if self._closed:
            return "the store is closed"
        try:
            self._mark("version")
        except StoreFailed as error:
            return str(error)
        return self.trouble or None

    async def create(self, key: Key, item: dict[str, Any]) -> bytes:
        """Store a new object and return it with its resourceVersion.

        Raises `AlreadyExists`, `StoreFailed`.
        """
        return await self._submit(Write(key, item, self._answer(), create=True))

    async def update(self, key: Key, item: dict[str, Any], expected: int | None) -> bytes:
        """Replace an object that is at version `expected` (None: at any).

        Raises `Missing`, `Conflict`, `StoreFailed`.
        """
        return await self._submit(Write(key, item, self._answer(), expected=expected))

    async def delete(self, key: Key, expected: int | None, *, empty: str | None = None) -> bytes:
        """Remove an object and return its last state; with `empty`, only if that namespace holds nothing.

        Raises `Missing`, `Conflict`, `StoreFailed`.
        """
        return await self._submit(Write(key, None, self._answer(), expected=expected, empty=empty))

    def watch(self, resource: str, namespace: str | None, since: int, *, name: str | None = None) -> Watcher:
        """Follow a resource, or one name of it: everything after version `since`, in order, without gaps.

        Raises `Expired` when that history is compacted away, or when the version was never given out: its client knew
        another state of this database. Give the watcher back to `unwatch`.
        """
        self.check_kept(since)
        if since > self.committed:
            raise Expired(f"too large resource version: {since}, current: {self.committed}")
        topic = Topic(resource, namespace, name)
        watcher = Watcher(topic, since, partial(self._history, topic))
        self._watchers.add(watcher)
        return watcher

    def unwatch(self, watcher: Watcher) -> None:
        """Forget a watcher."""
        self._watchers.discard(watcher)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with every write before its caller hears that it is done; it must not block or fail."""
        self._listeners.append(listener)

    def check_kept(self, version: int) -> None:
        """Raise `Expired` when what happened after a version is no longer known."""
        oldest = self._mark("compacted")
        if version < oldest:
            raise Expired(f"too old resource version: {version} ({oldest})")

    def _history(self, topic: Topic, since: int) -> tuple[list[Event], bool]:
        self.check_kept(since)
        # Only up to what was published: later rows reach the watcher through `_publish`, once.
        rows = self._read(
            "SELECT h.version, h.type, h.resource, h.namespace, h.name, h.data, ifnull(h.previous, b.data)"
            " FROM history h LEFT JOIN history b ON b.version = h.before"
            " WHERE h.version > ? AND h.version <= ? AND h.resource = ? AND h.namespace = ifnull(?, h.namespace)"
            " AND h.name = ifnull(?, h.name) ORDER BY h.version LIMIT ?",
            since,
            self._published,
            *topic,
            _PIECE,
        )
        events = [Event(row[0], row[1], Key(row[2], row[3], row[4]), row[5], row[6]) for row in rows]
        return events, len(events) < _PIECE

    def _answer(self) -> "asyncio.Future[bytes]":
        return self._loop.create_future()

    async def _submit(self, write: Write) -> bytes:
        if self._closed:
            raise StoreFailed("the store is closed")
        self._recent.begin(write.key)
        write.answer.add_done_callback(partial(self._decided, write))
        self._writer.submit(write)
        # A caller that gives up must not hide how the write ended.
        return await asyncio.shield(write.answer)

    def _decided(self, write: Write, answer: "asyncio.Future[bytes]") -> None:
        self._recent.end(write.key)
        if answer.cancelled():
            return
        if answer.exception() is None and write.object is not None:
            self._recent.put(write.key, answer.result())

    def _publish(self, events: list[Event]) -> None:
        for event in events:
            self._published = event.version
            for listener in self._listeners:
                listener(event)
            self._watchers.offer(event)

    def _reopened(self, findings: list[Finding]) -> None:
        """The writer has a new connection, and perhaps another file: read from it, and let all watches begin anew."""
        self._repairing = False
        self._recent.clear()
        with contextlib.suppress(sqlite3.Error):
            reading = connect(self._path, readonly=True)
            self._reader.close()
            self._reader = reading
        if findings:
            self._findings += findings
            self._published = self._mark("version")
            for watcher in list(self._watchers):
                watcher.close()

    def _mark(self, name: str) -> int:
        value: int = self._read("SELECT value FROM marks WHERE name=?", name)[0][0]
        return value

    def _read(self, query: str, *arguments: str | int | None) -> list[Any]:
        try:
            return self._reader.execute(query, arguments).fetchall()
        except sqlite3.Error as error:
            if not self._closed and not self._repairing and not is_disk(error):
                self._repairing = True
                self._writer.repair()
            raise StoreFailed(f"cannot read the database: {error}") from error


def prepare(connection: sqlite3.Connection, path: Path, *, checked: bool) -> None:
    """Fill an empty file; check one that is not.

    Raises `sqlite3.DatabaseError`: it is damaged, or has another schema; `recovery.recover` helps both.
    """
    found = schema_of(connection)
    if found == 0 and not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        make_tables(connection, path, max(1, Ceiling(path).value))
    elif found != SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"the database has schema {found}, not {SCHEMA_VERSION}")
    elif not checked:
        check_quickly(connection, path)
