"""Makes the database usable before it is opened, whatever has happened to it, and says what was done.

    a replacement that was cut off          finished
    not ours to read or write               its mode is set, else it is put aside
    schema of an older Skerry               brought forward, the old file kept aside
    schema of a newer Skerry                refused: it is whole, and this Skerry would harm it
    damaged                                 salvaged (`salvage.py`), the damaged file kept aside with a report
    missing or empty, and it was there      the newest copy takes its place

After all but the first three the next resourceVersion is above everything that was ever given out, so that watches of
before list again instead of missing what they cannot know.

Errors of the disk itself (full, read-only) are not damage; they are left to `Store.open`.
"""

import contextlib
import errno
import os
import sqlite3
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from skerry.cluster.store import copies, migrations, salvage
from skerry.cluster.store.ceiling import UNKNOWN_STEP, Ceiling
from skerry.cluster.store.checksums import of_object
from skerry.cluster.store.copies import Copies, Copy, Row, new_database
from skerry.cluster.store.objects import Key, StoreFailed
from skerry.cluster.store.place import Place, install, keep_incoming, stage
from skerry.cluster.store.schema import SCHEMA_VERSION, NewerSchema, check_quickly, connect, mark, schema_of
from skerry.kit import files

Reason = Literal["StoreRestored", "StoreDamaged", "StoreMigrated", "StoreLost", "StoreReadOnly"]

_NAMED: Final = 10  # objects that a message names; the report beside the damaged file names all
_DISK: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_PERM}
)


class Finding(msgspec.Struct, frozen=True):
    """What was found and done, for people.

    StoreRestored: it was damaged, and all is there. StoreDamaged: something is lost. StoreLost: there was no database.
    StoreReadOnly: the disk refuses writes at present.
    """

    reason: Reason
    message: str


def recover(database: Path) -> list[Finding]:
    """Make the database usable; returns what there was to do, mostly nothing.

    Raises `StoreFailed` for a newer schema; `sqlite3.Error`, `OSError` when the disk does not let it be done.
    """
    place = Place(database)
    install(place)
    keep_incoming(place)
    _own(place)
    if not database.exists() or not database.stat().st_size:
        return _missing(place)
    try:
        found = _schema_of(place)
        if found is None:
            return _missing(place)
        if found == SCHEMA_VERSION:
            return []
        migrations.bring_forward(place, found)
        kept = install(place)
        return [Finding("StoreMigrated", f"the database has schema {SCHEMA_VERSION} now; the old one is {kept}")]
    except NewerSchema as error:
        raise StoreFailed(f"cannot open the database {database}: {error}") from error
    except sqlite3.Error as error:
        if is_disk(error):
            raise
        return [repair(place, str(error))]


def is_disk(error: sqlite3.Error) -> bool:
    """Tell whether the disk refused; else the content is at fault."""
    code = getattr(error, "sqlite_errorcode", None) or 0
    return (code & 0xFF) in _DISK or (code & 0xFF) == sqlite3.SQLITE_IOERR


def _schema_of(place: Place) -> int | None:
    """Check the database, closely if the background check asked for that, and return its schema; None when empty."""
    with contextlib.closing(connect(place.database)) as connection:
        found = schema_of(connection)
        check_quickly(connection, place.database)
        if found == 0 and not connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            return None
        if found == 0 or connection.execute("SELECT count(*) FROM marks").fetchone()[0] < 2:
            raise sqlite3.DatabaseError("tables are missing")
        if found == SCHEMA_VERSION:
            mark(connection, "version")
            if place.suspect.exists():
                copies.check_rows(connection)
                place.suspect.unlink()
        return found


def repair(place: Place, why: str) -> Finding:
    """Put the best that can be had in the place of a damaged database."""
    decision, copy = salvaged(place, place.database.parent)
    ceiling = Ceiling(place.database).value
    build(place, decision.objects, max(ceiling, decision.highest) if ceiling else decision.highest + UNKNOWN_STEP)
    kept = install(place)
    finding = _finding(place, why, decision, copy)
    if kept is not None:
        _report(kept, finding, decision)
        finding = Finding(finding.reason, f"{finding.message}. The damaged file is kept in {kept}")
    return finding


def salvaged(place: Place, room: Path) -> tuple[salvage.Decision, Copy | None]:
    """Find the best that can be had, with the help of the newest copy; works in the directory `room`."""
    copy = Copies(place.copies).newest_good()
    copied = _rows_of(copy)
    with tempfile.TemporaryDirectory(dir=room, prefix=".salvage-") as directory:
        remains = salvage.read(place.database, Path(directory), copied)
    return salvage.decide(remains, copied, copy.version if copy else 1), copy


def build(place: Place, objects: Mapping[Key, Row], first: int) -> None:
    """Stage a database with these objects whose next version comes after `first`."""
    Ceiling(place.database).cover(first)
    with contextlib.closing(new_database(place.clear_building())) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO objects VALUES (?,?,?,?,?,?)",
            ((*key, row.version, row.data, of_object(key, row.version, row.data)) for key, row in objects.items()),
        )
        connection.execute("INSERT INTO marks VALUES ('version', ?1), ('compacted', ?1)", (first,))
        connection.execute("COMMIT")
    stage(place)


def _missing(place: Place) -> list[Finding]:
    """There is no database: a new box, or one that has lost it."""
    copy, ceiling = Copies(place.copies).newest_good(), Ceiling(place.database)
    if copy is None and not ceiling.value:
        return []
    objects = _rows_of(copy)
    first = ceiling.value or (copy.version if copy else 1) + UNKNOWN_STEP
    build(place, objects, first)
    install(place)
    restored = f"restored {_of_copy(copy)}" if copy else "there was no copy; all objects are lost"
    return [Finding("StoreLost", f"the database {place.database} was missing or empty: {restored}")]


def _finding(place: Place, why: str, decision: salvage.Decision, copy: Copy | None) -> Finding:
    reason = " ".join(why.split())  # SQLite writes several lines
    start = f"the database {place.database} was damaged ({reason}): {len(decision.objects)} objects were restored"
    if decision.complete:
        return Finding("StoreRestored", f"{start}, nothing that was acknowledged is lost")
    parts = [_loss(loss) for loss in decision.losses[:_NAMED]]
    if len(decision.losses) > _NAMED:
        parts.append(f"and {len(decision.losses) - _NAMED} more")
    if decision.unseen:
        since = f"version {copy.version}" if copy else "the beginning"
        parts.append(f"objects that were made after {since} and are not listed by `kubectl get` now")
    return Finding("StoreDamaged", f"{start}; what may be older than it was, or lost: {'; '.join(parts)}")


def _loss(loss: salvage.Loss) -> str:
    name = f"{loss.key.resource.removeprefix('/')} {loss.key.namespace}/{loss.key.name}"
    return f"{name} (as of version {loss.restored})" if loss.restored else f"{name} (lost)"


def _report(kept: Path, finding: Finding, decision: salvage.Decision) -> None:
    lost = [
        {"resource": one.key.resource, "namespace": one.key.namespace, "name": one.key.name, "restored": one.restored}
        for one in decision.losses
    ]
    with contextlib.suppress(OSError):
        report = {"reason": finding.reason, "message": finding.message, "lost": lost}
        files.replace(kept / "report.json", msgspec.json.encode(report))


def _rows_of(copy: Copy | None) -> dict[Key, Row]:
    if copy is None:
        return {}
    with contextlib.closing(copies.open_copy(copy.path)) as connection:
        return dict(copies.rows(connection))


def _of_copy(copy: Copy) -> str:
    return f"{copy.objects} objects from the copy of version {copy.version}"


def _own(place: Place) -> None:
    """See to it that we may read and write the files; what cannot be ours goes aside, and counts as missing."""
    for path in place.parts():
        if path.is_dir():
            _put_aside(place, path)
        elif not os.access(path, os.R_OK | os.W_OK):
            try:
                path.chmod(0o600)
            except PermissionError:
                _take_over(place, path)
            except OSError as error:  # a read-only disk; `Store.open` says so
                if error.errno != errno.EROFS:
                    raise


def _take_over(place: Place, path: Path) -> None:
    """Make a file of somebody else ours, by copying what we may read."""
    try:
        content = path.read_bytes()
    except OSError:
        content = None
    _put_aside(place, path)
    if content is not None:
        files.replace(path, content)


def _put_aside(place: Place, path: Path) -> None:
    incoming = files.private_directory(place.aside / "incoming")
    path.replace(incoming / path.name)
    keep_incoming(place)
