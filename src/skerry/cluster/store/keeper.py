"""Looks after the database while it is used: takes copies, reads every row now and then, notices a full disk.

copies   when nothing was written for a minute since the last change, and at the latest an hour after it; never more
         often than every ten minutes, and only where there is room for the copy and as much again
rows     every row against its checksum, and the structure, soon after the start and then once a day, in pieces with
         pauses; what does not fit is repaired at once
"""

import asyncio
import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from skerry.cluster.store import copies
from skerry.cluster.store.copies import Copies
from skerry.cluster.store.objects import Key, StoreFailed
from skerry.cluster.store.place import Place
from skerry.cluster.store.recovery import Finding, is_disk
from skerry.cluster.store.schema import connect
from skerry.cluster.store.store import Store
from skerry.kit import files
from skerry.kit.clock import Clock
from skerry.kit.log import logger

log = logger(__name__)

_PIECE: Final = 200  # rows
_PAUSE: Final = 0.1  # seconds after each piece
_STRUCTURE_LIMIT: Final = 256 << 20  # bytes; the structure of a larger file is checked through its rows only

Position = tuple[Any, ...]  # the key of the last row that was read
# Checks the rows that come next and returns the last one's key, None at the end; raises for one that is wrong.
CheckPiece = Callable[[sqlite3.Connection, Position], Position | None]


class Pace(NamedTuple):
    """Seconds."""

    look: float = 10.0
    quiet: float = 60.0
    between_copies: float = 600.0
    longest_without: float = 3600.0
    first_check: float = 120.0
    between_checks: float = 86_400.0


class Keeper:
    """One task of the daemon."""

    def __init__(
        self, store: Store, database: Path, clock: Clock, tell: Callable[[Finding], None], pace: Pace | None = None
    ) -> None:
        self._store = store
        self._place = Place(database)
        self._copies = Copies(self._place.copies)
        self._clock = clock
        self._tell = tell
        self._pace = pace or Pace()
        self._version = 0
        self._trouble = ""
        self._changed_at = self._dirty_since = self._copied_at = clock.monotonic()
        self._copied_at -= self._pace.between_copies
        self._check_at = clock.monotonic() + self._pace.first_check

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            await self._clock.sleep(self._pace.look)
            self._tell_all()
            try:
                await self._look()
            except (sqlite3.Error, OSError, StoreFailed) as error:
                log.warning("store not looked after", error=f"{type(error).__name__}: {error}")

    def _tell_all(self) -> None:
        for finding in self._store.findings():
            self._tell(finding)
        trouble = self._store.trouble
        if trouble and trouble != self._trouble:
            self._tell(Finding("StoreReadOnly", trouble))
        self._trouble = trouble

    async def _look(self) -> None:
        now = self._clock.monotonic()
        if self._store.committed != self._version:
            self._dirty_since = now if self._version <= self._copies.newest else self._dirty_since
            self._version, self._changed_at = self._store.committed, now
        if self._copy_due(now):
            self._copied_at = now
            await self._copy()
        if now >= self._check_at:
            self._check_at = now + self._pace.between_checks
            await self.check()

    def _copy_due(self, now: float) -> bool:
        if self._version <= self._copies.newest or now - self._copied_at < self._pace.between_copies:
            return False
        return now - self._changed_at >= self._pace.quiet or now - self._dirty_since >= self._pace.longest_without

    async def _copy(self) -> None:
        size = sum(part.stat().st_size for part in self._place.parts())
        if shutil.disk_usage(self._place.database.parent).free < 2 * size + (16 << 20):
            log.warning("no room for a copy of the database", bytes=size)
            return
        try:
            copy = await asyncio.to_thread(self._copies.take, self._place.database)
        except sqlite3.DatabaseError as error:
            log.warning("copy of the database failed", error=str(error))
            await self.check()
        else:
            log.info("database copied", version=copy.version, objects=copy.objects, bytes=copy.bytes)

    async def check(self) -> bool:
        """Read everything; have it repaired if something does not fit. Returns whether all was well."""
        damage = await self._damage()
        if damage:
            log.error("database damaged", damage=damage)
            await asyncio.to_thread(files.replace, self._place.suspect, damage.encode())
            self._store.repair()
        return not damage

    async def _damage(self) -> str:
        """Say what is damaged, "" for nothing."""
        connection = await asyncio.to_thread(connect, self._place.database, readonly=True)
        with contextlib.closing(connection):
            try:
                if self._place.database.stat().st_size <= _STRUCTURE_LIMIT:
                    check = await asyncio.to_thread(_integrity, connection)
                    if check != "ok":
                        return check
                await self._in_pieces(_check_objects, connection, Key("", "", ""))
                await self._in_pieces(_check_writes, connection, (0,))
            except sqlite3.DatabaseError as error:
                if is_disk(error):
                    raise
                return str(error)
        return ""

    async def _in_pieces(self, check: CheckPiece, connection: sqlite3.Connection, after: Position) -> None:
        position: Position | None = after
        while position is not None:
            position = await asyncio.to_thread(check, connection, position)
            await self._clock.sleep(_PAUSE)


def _integrity(connection: sqlite3.Connection) -> str:
    found: str = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    return found


def _check_objects(connection: sqlite3.Connection, after: Position) -> Position | None:
    rows = connection.execute(
        "SELECT resource, namespace, name, version, data, sum FROM objects"
        " WHERE (resource, namespace, name) > (?, ?, ?) ORDER BY resource, namespace, name LIMIT ?",
        (*after, _PIECE),
    ).fetchall()
    for row in rows:
        copies.check_object(row)
    return rows[-1][:3] if rows else None


def _check_writes(connection: sqlite3.Connection, after: Position) -> Position | None:
    rows = connection.execute(
        "SELECT version, type, resource, namespace, name, data, before, previous, sum FROM history"
        " WHERE version > ? ORDER BY version LIMIT ?",
        (*after, _PIECE),
    ).fetchall()
    for row in rows:
        copies.check_write(row)
    return rows[-1][:1] if rows else None
