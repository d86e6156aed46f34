"""From the schema of an older Skerry to today's, one numbered step after the other, on a copy of the file.

Today's file takes the place of the old one only when it is complete and checked, and the old one is kept aside: going
back to the older Skerry means putting it back. A step that is released is never changed; the tables that it makes are
written down in it, whatever `schema.py` says later.
"""

import contextlib
import sqlite3
from collections.abc import Callable, Mapping
from typing import Final

from skerry.cluster.store import checksums
from skerry.cluster.store.objects import Key
from skerry.cluster.store.place import Place, stage
from skerry.cluster.store.schema import SCHEMA_VERSION, connect

Step = Callable[[sqlite3.Connection], None]


def bring_forward(place: Place, found: int) -> None:
    """Stage a database of today's schema with all that one of schema `found` holds.

    Raises `sqlite3.Error`, `OSError`; nothing is changed then.
    """
    target = place.clear_building()
    target.touch(mode=0o600)
    with contextlib.closing(connect(place.database)) as old, contextlib.closing(sqlite3.connect(target)) as new:
        old.backup(new)
    with contextlib.closing(sqlite3.connect(target, isolation_level=None)) as new:
        new.execute("PRAGMA journal_mode=DELETE")
        for number in range(found + 1, SCHEMA_VERSION + 1):
            new.execute("BEGIN IMMEDIATE")
            STEPS[number](new)
            new.execute(f"PRAGMA user_version={number}")
            new.execute("COMMIT")
        new.execute("PRAGMA auto_vacuum=INCREMENTAL")
        new.execute("VACUUM")
        check = new.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if check != "ok":
            raise sqlite3.DatabaseError(check)
    stage(place)


def _add_checksums(connection: sqlite3.Connection) -> None:
    """Schema 2: checksums, the state before a write by its version, and objects in a table with row numbers."""
    connection.create_function("object_sum", 5, _object_sum, deterministic=True)
    connection.create_function("write_sum", 7, _write_sum, deterministic=True)
    connection.execute("ALTER TABLE objects RENAME TO old_objects")
    connection.execute("ALTER TABLE history RENAME TO old_history")
    connection.execute("ALTER TABLE marks RENAME TO old_marks")
    for statement in _TABLES_2.split(";"):
        connection.execute(statement)
    connection.execute(
        "INSERT INTO objects SELECT resource, namespace, name, version, data,"
        " object_sum(resource, namespace, name, version, data) FROM old_objects"
    )
    connection.execute(
        "INSERT INTO history SELECT version, type, resource, namespace, name, data, NULL, previous,"
        " write_sum(version, type, resource, namespace, name, data, previous) FROM old_history"
    )
    connection.execute("INSERT INTO marks SELECT name, value FROM old_marks")
    for table in ("objects", "history", "marks"):
        connection.execute(f"DROP TABLE old_{table}")


_TABLES_2: Final = """
CREATE TABLE objects (
    resource  TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    version   INTEGER NOT NULL,
    data      BLOB NOT NULL,
    sum       INTEGER NOT NULL,
    PRIMARY KEY (resource, namespace, name)
);
CREATE TABLE history (
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
CREATE TABLE marks (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID
"""


def _object_sum(resource: str, namespace: str, name: str, version: int, data: bytes) -> int:
    return checksums.of_object(Key(resource, namespace, name), version, data)


def _write_sum(
    version: int, type_: str, resource: str, namespace: str, name: str, data: bytes, previous: bytes | None
) -> int:
    return checksums.of_write(version, type_, Key(resource, namespace, name), data, None, previous)


STEPS: Final[Mapping[int, Step]] = {2: _add_checksums}
