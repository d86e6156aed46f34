"""Gets out of a damaged database what can be proven to be what was written.

It works on a duplicate. Pages that are damaged make a query fail; where one does, objects are read one by one by their
row numbers, and the history version by version. The index says of a name that the history or the newest copy knows
whether there is an object at all. Each row counts only if its checksum fits. When the first page is gone (the header,
the list of tables), that of an empty database takes its place: the tables of every store begin at the same pages.

Then `decide`, which is pure, says for every key what is its newest known state, and of which it cannot be sure:

    a row in `objects`, or none where a name was looked up and the tree answered    the truth
    a later write in `history`                                                      truer still
    a page that cannot be read: the newest write in `history`, or the copy's row    the truth if the history is whole
                                                                                    since then; else perhaps too old
"""

import contextlib
import shutil
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from skerry.cluster.store import checksums
from skerry.cluster.store.copies import Row, new_database
from skerry.cluster.store.objects import Key
from skerry.cluster.store.schema import PAGE_SIZE

_OBJECTS: Final = "SELECT resource, namespace, name, version, data, sum FROM objects"
_WRITES: Final = "SELECT version, type, resource, namespace, name, data, before, previous, sum FROM history"
_MOST_ROWS: Final = 50_000  # row numbers that are tried though the index does not name them
_BEYOND: Final = 2_000
_MOST_WRITES: Final = 50_000  # versions that are tried one by one


class Write(NamedTuple):
    """A row of the history; `data` None says that the object was removed."""

    key: Key
    data: bytes | None


@dataclass
class Remains:
    """What was read."""

    objects: dict[Key, Row] = field(default_factory=dict)
    absent: set[Key] = field(default_factory=set)  # looked up, and the answer was that there is none
    damaged: set[Key] = field(default_factory=set)  # known to be there, and not readable
    writes: dict[int, Write] = field(default_factory=dict)
    version: int = 0  # the last that was given out; 0 when that cannot be read
    whole: bool = False  # every object was seen
    doubtful: set[Key] = field(default_factory=set)  # in the table, and not in its index
    strange: int = 0  # rows whose name itself is damaged


class Loss(NamedTuple):
    """An object that may be older than what was acknowledged, or is gone (`restored` None)."""

    key: Key
    restored: int | None


class Decision(NamedTuple):
    """The state to go on with."""

    objects: dict[Key, Row]
    losses: list[Loss]
    unseen: bool  # there may have been objects of which nothing is known
    highest: int  # the highest version that surely was given out

    @property
    def complete(self) -> bool:
        """Whether nothing that was acknowledged can be missing."""
        return not self.losses and not self.unseen


def read(database: Path, duplicate: Path, known: Iterable[Key]) -> Remains:
    """Read what can be read of a damaged database; `duplicate` is a directory to work in."""
    remains = Remains()
    path = _duplicated(database, duplicate)
    if path is None:
        return remains
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        with contextlib.suppress(sqlite3.Error, TypeError):
            remains.version = connection.execute("SELECT value FROM marks WHERE name='version'").fetchone()[0]
        _read_writes(connection, remains)
        read_all = _read_objects(connection, remains)
        agreed = _compare_with_index(connection, remains)
        remains.whole = read_all and agreed and not remains.damaged
        if not remains.whole:
            names = {*known, *(write.key for write in remains.writes.values())}
            for key in names - remains.objects.keys():
                _look_up(connection, remains, key)
            _distrust(remains, names)
    return remains


def _distrust(remains: Remains, known: set[Key]) -> None:
    """Where names themselves are damaged, a name that was not found may be one of those."""
    if strange := remains.damaged - known:
        remains.damaged -= strange
        remains.strange = len(strange)
        remains.absent.clear()


def decide(remains: Remains, copied: Mapping[Key, Row], copy_version: int) -> Decision:
    """Choose the state to go on with; without a copy, `copy_version` is 1, and all began with nothing."""
    newest = {remains.writes[version].key: version for version in sorted(remains.writes)}
    seen = max([copy_version, *remains.writes, *(row.version for row in remains.objects.values())])
    known_since = _known_since(remains, seen)
    objects: dict[Key, Row] = {}
    losses: list[Loss] = []
    for key in {*remains.objects, *remains.damaged, *newest, *copied}:
        row, sure = _state(key, remains, copied.get(key), newest.get(key, 0), known_since)
        # The copy has it, or has it not, and every write since the copy is known: none was about this object.
        sure = sure or (key not in newest and known_since <= copy_version)
        if row is not None:
            objects[key] = row
        if not sure:
            losses.append(Loss(key, row.version if row else None))
    unseen = not remains.whole and known_since > copy_version
    return Decision(objects, sorted(losses), unseen, seen)


def _state(key: Key, remains: Remains, copy: Row | None, written: int, known_since: int) -> tuple[Row | None, bool]:
    """Return the best known state of one object, and whether it surely is the last one."""
    row = remains.objects.get(key)
    if row is not None and row.version >= written:
        return row, key not in remains.doubtful or known_since <= row.version
    gone = row is None and (key in remains.absent or (remains.whole and key not in remains.damaged))
    if written:
        data = remains.writes[written].data
        state = Row(written, data) if data is not None else None
        if known_since <= written:
            return state, True
        if gone:
            return None, True
        return (copy if copy is not None and copy.version > written else state), False
    return (None, True) if gone else (copy, False)


def _known_since(remains: Remains, seen: int) -> int:
    """Return the version after which every write is known; one that is out of reach when the last one is not known."""
    if remains.version < seen:
        return remains.version + seen + 1
    version = remains.version
    while version in remains.writes:
        version -= 1
    return version


def _duplicated(database: Path, directory: Path) -> Path | None:
    """Copy the database with its log, and mend what keeps SQLite from opening it; None when there is nothing."""
    if not database.is_file() or not database.stat().st_size:
        return None
    duplicate = directory / database.name
    shutil.copyfile(database, duplicate)
    wal = database.with_name(f"{database.name}-wal")
    if wal.is_file():
        shutil.copyfile(wal, directory / wal.name)
    with duplicate.open("r+b") as file:
        file.truncate(-(-duplicate.stat().st_size // PAGE_SIZE) * PAGE_SIZE)
    if _opens(duplicate):
        return duplicate
    empty = directory / "empty"
    new_database(empty).close()
    with duplicate.open("r+b") as file:
        file.write(_first_page(empty, duplicate.stat().st_size // PAGE_SIZE))
    if _opens(duplicate):
        return duplicate
    (directory / wal.name).unlink(missing_ok=True)
    return duplicate if _opens(duplicate) else None


def _first_page(empty: Path, pages: int) -> bytes:
    page = bytearray(empty.read_bytes()[:PAGE_SIZE])
    page[18:20] = b"\x02\x02"  # there may be a write-ahead log
    page[28:32] = pages.to_bytes(4, "big")
    return bytes(page)


def _opens(path: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            # Every table once, so that a list of tables that is damaged does not pass.
            for table in ("objects", "history", "marks"):
                if not connection.execute("SELECT 1 FROM sqlite_master WHERE name=?", (table,)).fetchone():
                    return False
    except sqlite3.Error:
        return False
    return True


def _read_objects(connection: sqlite3.Connection, remains: Remains) -> bool:
    """Read every object that can be read; returns whether no page failed."""
    try:
        for row in connection.execute(f"{_OBJECTS} NOT INDEXED ORDER BY rowid"):
            _take(remains, row)
    except sqlite3.Error:
        _read_one_by_one(connection, remains)
        return False
    return True


def _compare_with_index(connection: sqlite3.Connection, remains: Remains) -> bool:
    """Find what table and index do not agree on: pages may be whole, and at a wrong place."""
    try:
        rows = connection.execute("SELECT resource, namespace, name FROM objects ORDER BY 1, 2, 3")
        named = {Key(*map(str, row)) for row in rows}
    except (sqlite3.Error, TypeError):
        return False
    remains.damaged |= named - remains.objects.keys()
    remains.doubtful = remains.objects.keys() - named
    return not remains.doubtful


def _read_one_by_one(connection: sqlite3.Connection, remains: Remains) -> None:
    """Try the row numbers that the index knows, and where it may not know all, those below as well."""
    numbers: set[int] = set()
    for order in ("ASC", "DESC"):
        with contextlib.suppress(sqlite3.Error):
            named = f"SELECT rowid FROM objects ORDER BY resource {order}, namespace {order}, name {order}"  # noqa: S608
            for (number,) in connection.execute(named):
                numbers.add(number)
    last = max(numbers, default=0) + _BEYOND
    with contextlib.suppress(sqlite3.Error, TypeError):
        last = int(connection.execute("SELECT max(rowid) FROM objects NOT INDEXED").fetchone()[0])
    for number in numbers | set(range(1, min(last, _MOST_ROWS) + 1)):
        with contextlib.suppress(sqlite3.Error):
            row = connection.execute(f"{_OBJECTS} NOT INDEXED WHERE rowid=?", (number,)).fetchone()
            if row is not None:
                _take(remains, row)


def _look_up(connection: sqlite3.Connection, remains: Remains, key: Key) -> None:
    """Ask the index for an object that was not read."""
    try:
        row = connection.execute(
            "SELECT rowid FROM objects WHERE resource=? AND namespace=? AND name=?", key
        ).fetchone()
    except sqlite3.Error:
        remains.damaged.add(key)
        return
    (remains.absent if row is None else remains.damaged).add(key)


def _take(remains: Remains, row: tuple[Any, ...]) -> None:
    """Believe a row of `objects` whose checksum fits."""
    if not _typed(row, (str, str, str, int, bytes, int)):
        remains.damaged.add(Key(*map(str, row[:3])))  # a row of another table
        return
    key = Key(*row[:3])
    if checksums.of_object(key, row[3], row[4]) == row[5]:
        if key not in remains.objects or remains.objects[key].version < row[3]:
            remains.objects[key] = Row(row[3], row[4])
    else:
        remains.damaged.add(key)


def _read_writes(connection: sqlite3.Connection, remains: Remains) -> None:
    """Read the history from both ends, and what is between them version by version."""
    ends: list[int] = [remains.version] if remains.version else []
    for order in ("ASC", "DESC"):
        try:
            for row in connection.execute(f"{_WRITES} ORDER BY version {order}"):
                ends.append(int(row[0]))
                _take_write(remains, row)
        except sqlite3.Error:
            continue
        return
    last = max(ends, default=0)
    first = max(min(ends, default=0) - _BEYOND, last - _MOST_WRITES, 1)
    for version in range(first, last + 1):
        with contextlib.suppress(sqlite3.Error):
            row = connection.execute(f"{_WRITES} WHERE version=?", (version,)).fetchone()
            if row is not None:
                _take_write(remains, row)


def _take_write(remains: Remains, row: tuple[Any, ...]) -> None:
    if not _typed(row[:6], (int, str, str, str, str, bytes)):
        return
    version, type_, resource, namespace, name, data, before, previous, total = row
    key = Key(resource, namespace, name)
    with contextlib.suppress(TypeError):
        if checksums.of_write(version, type_, key, data, before, previous) == total:
            remains.writes[version] = Write(key, None if type_ == "DELETED" else data)


def _typed(values: tuple[Any, ...], types: tuple[type, ...]) -> bool:
    return all(isinstance(value, type_) for value, type_ in zip(values, types, strict=True))
