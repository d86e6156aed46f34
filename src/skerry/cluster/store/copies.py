"""Verified copies of the present state: a database of its own, without history, that was read back row by row.

    write_copy()   one consistent state of a database, whoever writes to it meanwhile
    verify()       read a copy as a stranger would: structure, every checksum, the number of objects
    Copies         the few that are kept, named after their version, so that no clock decides which is the newest

A copy is made beside the others under another name and renamed when it was verified and flushed.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from skerry.cluster.store import checksums
from skerry.cluster.store.failpoints import reach
from skerry.cluster.store.objects import Key
from skerry.cluster.store.place import flush
from skerry.cluster.store.schema import SCHEMA_VERSION, TABLES, mark, schema_of
from skerry.kit.files import private_directory, sync_directory

KEPT: Final = 3
_BUSY_SECONDS: Final = 5.0


class Row(NamedTuple):
    """One object as it is stored."""

    version: int
    data: bytes


class Copy(NamedTuple):
    """What is known of a copy that was verified."""

    path: Path
    version: int
    objects: int
    bytes: int


def new_database(path: Path) -> sqlite3.Connection:
    """Make a file with tables, on which nobody relies before `flush`."""
    path.touch(mode=0o600)
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    connection.execute("PRAGMA journal_mode=OFF")
    connection.execute("PRAGMA synchronous=OFF")
    connection.executescript(f"{TABLES} PRAGMA user_version={SCHEMA_VERSION};")
    return connection


def write_copy(database: Path, target: Path) -> None:
    """Write the present state of `database` to the new file `target`.

    Raises `sqlite3.Error`, `OSError`; what there is of `target` is then removed.
    """
    target.unlink(missing_ok=True)
    try:
        with contextlib.closing(new_database(target)) as connection:
            connection.execute(f"PRAGMA busy_timeout={int(_BUSY_SECONDS * 1000)}")
            connection.execute("ATTACH ? AS live", (str(database),))
            connection.execute("BEGIN")  # one transaction reads one state
            connection.execute("INSERT INTO main.objects SELECT * FROM live.objects")
            version = connection.execute("SELECT value FROM live.marks WHERE name='version'").fetchone()[0]
            # Nothing before it is known here, so a watch from an older version has to list again.
            connection.execute("INSERT INTO main.marks VALUES ('version', ?1), ('compacted', ?1)", (version,))
            connection.execute("COMMIT")
        flush(target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    reach("copy.written")


def open_copy(path: Path) -> sqlite3.Connection:
    """Open a copy to read; nothing is made beside it."""
    return sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)


def verify(path: Path) -> Copy:
    """Read everything in a copy.

    Raises `sqlite3.Error` that says what is wrong with it, `OSError`.
    """
    with contextlib.closing(open_copy(path)) as connection:
        if schema_of(connection) != SCHEMA_VERSION:
            raise sqlite3.DatabaseError(f"{path} has another schema than {SCHEMA_VERSION}")
        check = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if check != "ok":
            raise sqlite3.DatabaseError(check)
        count = sum(1 for _ in rows(connection))
        return Copy(path, mark(connection, "version"), count, path.stat().st_size)


def rows(connection: sqlite3.Connection) -> Iterator[tuple[Key, Row]]:
    """Yield every object, in order.

    Raises `sqlite3.DatabaseError` at the first that is not what was written.
    """
    for row in connection.execute("SELECT resource, namespace, name, version, data, sum FROM objects ORDER BY 1, 2, 3"):
        check_object(row)
        yield Key(*row[:3]), Row(row[3], row[4])


def check_object(row: tuple[Any, ...]) -> None:
    """Raise `sqlite3.DatabaseError` when a row of `objects` is not what was written."""
    *key, version, data, total = row
    if not isinstance(data, bytes) or checksums.of_object(Key(*map(str, key)), version, data) != total:
        raise sqlite3.DatabaseError(f"{key[0]} {key[1]}/{key[2]} is not what was written")


def check_write(row: tuple[Any, ...]) -> None:
    """Raise `sqlite3.DatabaseError` when a row of `history` is not what was written."""
    version, type_, resource, namespace, name, data, before, previous, total = row
    key = Key(str(resource), str(namespace), str(name))
    fits = isinstance(data, bytes) and isinstance(previous, bytes | None)
    if not fits or checksums.of_write(version, str(type_), key, data, before, previous) != total:
        raise sqlite3.DatabaseError(f"write {version} is not what was written")


def check_rows(connection: sqlite3.Connection) -> None:
    """Raise `sqlite3.DatabaseError` at the first row, of the present or of the past, that is not what was written."""
    for _ in rows(connection):
        pass
    columns = "version, type, resource, namespace, name, data, before, previous, sum"
    for row in connection.execute(f"SELECT {columns} FROM history ORDER BY version"):  # noqa: S608
        check_write(row)


class Copies:
    """The rolling copies."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def paths(self) -> list[Path]:
        """The copies, oldest first."""
        return sorted(self._directory.glob("copy-*.db"))

    @property
    def newest(self) -> int:
        """The version of the newest copy, 0 when there is none."""
        found = self.paths()
        return version_of(found[-1]) if found else 0

    def take(self, database: Path) -> Copy:
        """Make and verify a copy, and forget the oldest.

        Raises `sqlite3.Error`, `OSError`; the older copies are then all there.
        """
        private_directory(self._directory)
        made = self._directory / "building"
        write_copy(database, made)
        try:
            copy = verify(made)
        except BaseException:
            made.unlink(missing_ok=True)
            raise
        reach("copy.verified")
        kept = self._directory / f"copy-{copy.version:020d}.db"
        made.replace(kept)
        sync_directory(self._directory)
        reach("copy.kept")
        for old in self.paths()[:-KEPT]:
            old.unlink(missing_ok=True)
        return copy._replace(path=kept)

    def newest_good(self) -> Copy | None:
        """Return the newest copy that reads back well."""
        for path in reversed(self.paths()):
            with contextlib.suppress(sqlite3.Error, OSError):
                return verify(path)
        return None


def version_of(path: Path) -> int:
    """Return the version in the name of a copy."""
    digits = path.stem.rpartition("-")[2]
    return int(digits) if digits.isdigit() else 0
