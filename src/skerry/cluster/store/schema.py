"""The database file: pragmas, tables, and what a new one holds.

    objects   the present state, one row an object. A table with row numbers: without them SQLite moves what is longer
              than a kilobyte to pages of its own, and most objects are
    history   one row a write, for watches. The state before a write is the row of the write that made it (`before`);
              only where that one is compacted away already the bytes stand in `previous`
    marks     `version`: the last that was given out; `compacted`: watches from before it must list again

`sum` is the checksum of the row (`checksums.py`). Versions of this schema and the ways between them: `migrations.py`.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

from skerry.kit.files import sync_directory

SCHEMA_VERSION: Final = 2
PAGE_SIZE: Final = 4096
_CHECKED_AT_START: Final = 64 << 20  # a larger file is checked in the background only; 64 MiB take about 0.2 s

TABLES: Final = """
CREATE TABLE IF NOT EXISTS objects (
    resource  TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    version   INTEGER NOT NULL,
    data      BLOB NOT NULL,
    sum       INTEGER NOT NULL,
    PRIMARY KEY (resource, namespace, name)
);
CREATE TABLE IF NOT EXISTS history (
    version   INTEGER PRIMARY KEY,
    type      TEXT NOT NULL,
    resource  TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    data      BLOB NOT NULL,
    before    INTEGER,
    previous  BLOB,
    sum       INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS marks (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
"""


class NewerSchema(sqlite3.DatabaseError):
    """A newer Skerry wrote the file; it is whole, and not ours to touch."""


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """Open the database as the store needs it; transactions are begun by hand."""
    if not readonly and not path.exists():
        # It holds Secrets. SQLite gives its other files the mode of this one. A file that is there must not be opened
        # here: closing it again would drop the locks of every connection that this process has to it, and another
        # process would take itself for the last one and remove the log.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
    try:
        _tune(connection, readonly=readonly)
    except BaseException:
        connection.close()
        raise
    return connection


def _tune(connection: sqlite3.Connection, *, readonly: bool) -> None:
    if not readonly:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # heeded by a file without tables only
    # FULL makes a WAL commit wait for the disk: what was acknowledged survives a power cut.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=-2048")  # KiB; the default of 2 MB, said because memory is our budget
    connection.execute("PRAGMA wal_autocheckpoint=1000")
    connection.execute("PRAGMA journal_size_limit=4194304")
    if readonly:
        connection.execute("PRAGMA query_only=ON")


def schema_of(connection: sqlite3.Connection) -> int:
    """Return the schema of a file, 0 for an empty one.

    Raises `NewerSchema`, `sqlite3.DatabaseError` when the file is damaged.
    """
    found: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA_VERSION:
        raise NewerSchema(
            f"the database has schema {found}, this Skerry knows up to {SCHEMA_VERSION}; start the newer Skerry"
        )
    return found


def check_quickly(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `sqlite3.DatabaseError` when the structure of a file of common size is damaged."""
    if path.stat().st_size > _CHECKED_AT_START:
        return
    check = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if check != "ok":
        raise sqlite3.DatabaseError(check)


def make_tables(connection: sqlite3.Connection, path: Path, first: int) -> None:
    """Fill an empty file with tables; `first` is the version that counts as given out."""
    marks = f"INSERT OR IGNORE INTO marks VALUES ('version', {first}), ('compacted', {first});"  # noqa: S608
    connection.executescript(f"BEGIN IMMEDIATE; {TABLES} {marks} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
    sync_directory(path.parent)


def mark(connection: sqlite3.Connection, name: str) -> int:
    """Return a mark."""
    value: int = connection.execute("SELECT value FROM marks WHERE name=?", (name,)).fetchone()[0]
    return value
