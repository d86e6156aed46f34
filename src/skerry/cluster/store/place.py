"""The files beside the database, and the one way in which another database takes its place.

    store.db, -wal, -shm    the live database
    store.ceiling           versions that may have been given out
    store.suspect           the background check found damage: look closely at the next start
    store.building          a new database in the making; worthless after a crash
    store.staged            a new database, complete and flushed: it goes in as soon as somebody looks
    copies/                 verified copies, newest last
    aside/NUMBER/           databases that were replaced, with a report; the newest few

`install` may be cut off anywhere and is simply done again: while `store.staged` is there, whatever stands in its place
is to go aside, the write-ahead log first of all (it must never meet another database than its own).
"""

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skerry.cluster.store.failpoints import reach
from skerry.kit.files import private_directory, sync_directory

_KEPT_ASIDE: Final = 3
_PARTS: Final = ("-wal", "-journal", "")  # the database goes last: without it, its log is of no use


@dataclass(frozen=True)
class Place:
    """Where one database lives."""

    database: Path

    @property
    def staged(self) -> Path:
        return self._beside("staged")

    @property
    def building(self) -> Path:
        return self._beside("building")

    @property
    def suspect(self) -> Path:
        return self._beside("suspect")

    @property
    def copies(self) -> Path:
        return self.database.parent / "copies"

    @property
    def aside(self) -> Path:
        return self.database.parent / "aside"

    def parts(self) -> list[Path]:
        """The files of the live database that are there."""
        names = [self.database.with_name(self.database.name + part) for part in _PARTS]
        return [path for path in names if os.path.lexists(path)]

    def clear_building(self) -> Path:
        """Remove what a crash left of a database in the making; returns where to make one."""
        for part in _PARTS:
            self.building.with_name(self.building.name + part).unlink(missing_ok=True)
        return self.building

    def _beside(self, suffix: str) -> Path:
        return self.database.with_name(f"{self.database.stem}.{suffix}")


def stage(place: Place) -> None:
    """Declare the database in the making complete."""
    flush(place.building)
    reach("repair.built")
    place.building.replace(place.staged)
    sync_directory(place.staged.parent)
    reach("repair.staged")


def install(place: Place) -> Path | None:
    """Put the staged database in, if there is one; returns where the old one was put, None when there was none.

    Raises `OSError`.
    """
    if not place.staged.exists():
        return None
    incoming = private_directory(place.aside / "incoming")
    for part in place.parts():
        part.replace(incoming / part.name)
    reach("repair.aside")
    place.database.with_name(place.database.name + "-shm").unlink(missing_ok=True)
    sync_directory(place.database.parent)
    sync_directory(incoming)
    reach("repair.cleared")
    place.staged.replace(place.database)
    sync_directory(place.database.parent)
    reach("repair.installed")
    place.suspect.unlink(missing_ok=True)
    return keep_incoming(place)


def keep_incoming(place: Place) -> Path | None:
    """Give what was put aside its number; the oldest are removed."""
    incoming = place.aside / "incoming"
    if not incoming.is_dir():
        return None
    numbered = sorted(path for path in place.aside.iterdir() if path.name.isdigit())
    if not any(incoming.iterdir()):
        incoming.rmdir()
        return None
    kept = place.aside / f"{int(numbered[-1].name) + 1 if numbered else 1:06d}"
    incoming.replace(kept)
    sync_directory(place.aside)
    for old in numbered[: max(0, len(numbered) + 1 - _KEPT_ASIDE)]:
        shutil.rmtree(old, ignore_errors=True)
    return kept


def flush(path: Path) -> None:
    """Return once the content of a file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    with contextlib.closing(os.fdopen(descriptor, "rb")) as file:
        os.fsync(file.fileno())
