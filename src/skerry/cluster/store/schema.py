"""The database file: pragmas and tables."""

import os
import sqlite3
from pathlib import Path
from typing import Final

from skerry.kit.files import sync_directory

SCHEMA_VERSION: Final = 1

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS objects (
    resource  TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    version   INTEGER NOT NULL,
    data      BLOB NOT NULL,
    PRIMARY KEY (resource, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    version   INTEGER PRIMARY KEY,
    type      TEXT NOT NULL,
    resource  TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    data      BLOB NOT NULL,
    previous  BLOB
);
CREATE TABLE IF NOT EXISTS marks (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT OR IGNORE INTO marks VALUES ('version', 1), ('compacted', 1);
"""


def connect(path: Path, *, readonly: bool = False) -> sqlite3.Connection:
    """Open the database as the store needs it; transactions are begun by hand."""
    if not readonly:
        # It holds Secrets. SQLite gives its other files the mode of this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, check_same_thread=False)
    # FULL makes a WAL commit wait for the disk: what was acknowledged survives a power cut.
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA cache_size=-2048")  # KiB; the default of 2 MB, said because memory is our budget
    connection.execute("PRAGMA wal_autocheckpoint=1000")
    connection.execute("PRAGMA journal_size_limit=4194304")
    if readonly:
        connection.execute("PRAGMA query_only=ON")
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of an empty file; refuse a file that a newer Skerry wrote.

    Raises `sqlite3.DatabaseError` when the file is damaged.
    """
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found > SCHEMA_VERSION:
        raise sqlite3.DatabaseError(
            f"the database has schema {found}, this Skerry knows up to {SCHEMA_VERSION}; start the newer Skerry"
        )
    check = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if check != "ok":
        raise sqlite3.DatabaseError(check)
    connection.executescript(_TABLES)
    connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    sync_directory(path.parent)
