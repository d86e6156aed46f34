"""The last committed state of a database in memory, for as long as its own disk cannot be written.

SQLite needs to write even to read a database with a write-ahead log. On a disk that is full or read-only the two files
are read as they are, put together elsewhere, and taken into memory. If they are damaged as well, what can be salvaged
is. Nothing at all is refused rather than shown as an empty cluster: the node would end every pod.
"""

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Final

from skerry.cluster.store import checksums
from skerry.cluster.store.ceiling import Ceiling
from skerry.cluster.store.objects import StoreFailed
from skerry.cluster.store.place import Place
from skerry.cluster.store.recovery import salvaged
from skerry.cluster.store.schema import SCHEMA_VERSION, TABLES, schema_of

_MEMORY_DISK: Final = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it


def snapshot(database: Path) -> sqlite3.Connection:
    """Return a connection to the state in memory.

    Raises `StoreFailed` when nothing can be read.
    """
    try:
        return _loaded(database)
    except (sqlite3.Error, OSError):
        return _salvaged(database)


def _loaded(database: Path) -> sqlite3.Connection:
    memory = _memory()
    try:
        with tempfile.TemporaryDirectory(dir=_room(), prefix="skerry-") as directory:
            for path in (database, database.with_name(f"{database.name}-wal")):
                if path.exists():
                    shutil.copyfile(path, Path(directory) / path.name)
            with contextlib.closing(sqlite3.connect(Path(directory) / database.name)) as source:
                source.backup(memory)
        _check(memory)
    except BaseException:
        memory.close()
        raise
    return memory


def _check(memory: sqlite3.Connection) -> None:
    if schema_of(memory) != SCHEMA_VERSION or memory.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise sqlite3.DatabaseError("damaged")


def _salvaged(database: Path) -> sqlite3.Connection:
    try:
        decision, _ = salvaged(Place(database), _room() or database.parent)
    except (sqlite3.Error, OSError) as error:
        raise StoreFailed(f"cannot read the database {database}: {error}") from error
    if not decision.objects:
        raise StoreFailed(f"cannot read anything of the database {database}, and there is no copy of it")
    memory = _memory()
    memory.executescript(f"{TABLES} PRAGMA user_version={SCHEMA_VERSION};")
    memory.executemany(
        "INSERT INTO objects VALUES (?,?,?,?,?,?)",
        (
            (*key, row.version, row.data, checksums.of_object(key, row.version, row.data))
            for key, row in decision.objects.items()
        ),
    )
    version = max(Ceiling(database).value, decision.highest)
    memory.execute("INSERT INTO marks VALUES ('version', ?1), ('compacted', ?1)", (version,))
    return memory


def _memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)


def _room() -> Path | None:
    return _MEMORY_DISK if _MEMORY_DISK.is_dir() else None
