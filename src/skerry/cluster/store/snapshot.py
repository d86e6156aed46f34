"""The last committed state of a database in memory, for as long as its own disk cannot be written.

SQLite needs to write even to read a database with a write-ahead log. On a disk that is full or read-only the two files
are read as they are, put together elsewhere, and taken into memory.
"""

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import Final

from skerry.cluster.store.schema import SCHEMA_VERSION, TABLES, schema_of

_MEMORY_DISK: Final = Path("/dev/shm")  # noqa: S108 - a directory of our own is made in it


def snapshot(database: Path) -> sqlite3.Connection:
    """Return a connection to the state in memory; without a file that can be read it is empty."""
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    with contextlib.suppress(sqlite3.Error, OSError):
        _load(database, memory)
    with contextlib.suppress(sqlite3.Error):
        if schema_of(memory) == SCHEMA_VERSION:
            return memory
    memory.close()
    memory = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    memory.executescript(TABLES)
    memory.execute("INSERT INTO marks VALUES ('version', 1), ('compacted', 1)")
    return memory


def _load(database: Path, memory: sqlite3.Connection) -> None:
    where = _MEMORY_DISK if _MEMORY_DISK.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where, prefix="skerry-") as directory:
        for path in (database, database.with_name(f"{database.name}-wal")):
            if path.exists():
                shutil.copyfile(path, Path(directory) / path.name)
        with contextlib.closing(sqlite3.connect(Path(directory) / database.name)) as source:
            source.backup(memory)
