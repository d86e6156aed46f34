"""Bounds the history, by number of writes and by bytes, and so the file.

A write is kept longer than its turn while a later one that is still kept names it as its state before.
"""

import sqlite3
from typing import Final, NamedTuple

_ROOM_KEPT: Final = 2_048  # free pages that stay in the file for the next writes
_PIECE: Final = 512  # pages that are given back at once, so that no write waits long


class Keep(NamedTuple):
    """How much history is kept."""

    writes: int = 2_000
    bytes: int = 32 << 20

    @property
    def due_writes(self) -> int:
        """After so many writes it is time to look again."""
        return min(500, self.writes)

    @property
    def due_bytes(self) -> int:
        return self.bytes // 4


def compact(connection: sqlite3.Connection, version: int, keep: Keep) -> None:
    """Remove what is too much, inside the transaction that is open."""
    oldest = max(version - keep.writes, _too_many_bytes(connection, keep.bytes))
    if oldest <= 1:
        return
    connection.execute(
        "DELETE FROM history WHERE version <= ?1 AND version NOT IN"
        " (SELECT before FROM history WHERE version > ?1 AND before IS NOT NULL)",
        (oldest,),
    )
    connection.execute("UPDATE marks SET value=max(value, ?) WHERE name='compacted'", (oldest,))


def _too_many_bytes(connection: sqlite3.Connection, most: int) -> int:
    """Return the newest version that no longer fits, 0 when all fits."""
    total = 0
    sizes = connection.execute(
        "SELECT version, length(data) + ifnull(length(previous), 0) FROM history ORDER BY version DESC"
    )
    for version, size in sizes:
        total += size
        if total > most:
            found: int = version
            return found
    return 0


def give_back(connection: sqlite3.Connection) -> bool:
    """Return some free pages to the file system when there are many; outside of a transaction."""
    free, pages = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("freelist_count", "page_count"))
    if free <= max(_ROOM_KEPT, pages // 4):
        return False
    connection.execute(f"PRAGMA incremental_vacuum({_PIECE})").fetchall()
    return True
