"""Lists: what a resource holds now, or held at an earlier version.

An earlier state is the present one with the changes since then undone. An object that has not changed since has a
version that is not later; for every other key, the first write after that version kept what it replaced. Both are
found in one statement, in the order of the keys, so a page of an old state costs what a page of the present one does
plus a walk over the changes since.
"""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

# Runs one statement over the reading connection and returns its rows.
Read = Callable[..., list[Any]]

# The state before a write, none for the first one; kept with it, or as the state after an earlier write.
_REPLACED: Final = "ifnull(h.previous, (SELECT b.data FROM history b WHERE b.version = h.before))"
_NOW: Final = "SELECT namespace, name, data FROM objects WHERE {where}"
_THEN: Final = (
    "SELECT namespace, name, data FROM objects WHERE {where} AND version <= ?"
    " UNION ALL SELECT namespace, name, replaced FROM"
    " (SELECT namespace, name, {replaced} AS replaced, min(version) FROM history h"
    " WHERE {where} AND version > ? GROUP BY namespace, name) WHERE replaced IS NOT NULL"
)


class Listing(NamedTuple):
    """Objects as they were at `version`. `after` names the last key when more follow, `remaining` of them."""

    version: int
    items: list[bytes]
    after: tuple[str, str] | None
    remaining: int


class Range(NamedTuple):
    """Which keys are meant: of one resource, in one namespace or all, of one name or all, after one key."""

    resource: str
    namespace: str | None = None
    name: str | None = None
    after: tuple[str, str] | None = None

    def where(self) -> tuple[str, list[str | int]]:
        """Return the condition and its arguments."""
        terms: list[str] = ["resource=?"]
        arguments: list[str | int] = [self.resource]
        for column, value in (("namespace", self.namespace), ("name", self.name)):
            if value is not None:
                terms.append(f"{column}=?")
                arguments.append(value)
        if self.after is not None:
            # Said so that the index gives the rows in their order; with both said of one namespace, they are sorted.
            if self.namespace is None:
                terms.append("(namespace, name) > (?, ?)")
                arguments += self.after
            else:
                terms.append("name > ?")
                arguments.append(self.after[1])
        return " AND ".join(terms), arguments


def listed(read: Read, keys: Range, version: int, at: int | None, limit: int, *, count: bool) -> Listing:
    """Read a page of what is there at `version`, the latest one, or was there `at` an earlier one; 0: all of it."""
    where, arguments = keys.where()
    query, values = _NOW.format(where=where), [*arguments]
    if at is not None and at < version:
        query, values = _THEN.format(where=where, replaced=_REPLACED), [*arguments, at, *arguments, at]
    page = f" LIMIT {limit + 1}" if limit else ""
    rows = read(f"{query} ORDER BY namespace, name{page}", *values)
    shown = version if at is None else at
    if not limit or len(rows) <= limit:
        return Listing(shown, [row[2] for row in rows], None, 0)
    last = (rows[limit - 1][0], rows[limit - 1][1])
    total: int = read(f"SELECT count(*) FROM ({query})", *values)[0][0] if count else limit  # noqa: S608
    return Listing(shown, [row[2] for row in rows[:limit]], last, total - limit)
