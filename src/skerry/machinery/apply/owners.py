"""`metadata.managedFields` as a table: which writer has which fields.

A writer is told apart by its name, by what it does (apply or update), by the sub-resource that it writes through, and,
for updates only, by the version that it writes in: whoever applies has one set of fields, in whatever version.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

from skerry.machinery.apply.sets import FieldSet, SetError, decode, union

Operation = Literal["Apply", "Update"]

# As many updaters keep an entry of their own; the oldest of more are thrown together.
MOST_UPDATERS: Final = 10
ANCIENT: Final = "ancient-changes"


class OwnersError(ValueError):
    """A `managedFields` that cannot be read."""


@dataclass(frozen=True, slots=True, order=True)
class Writer:
    """Who writes. `version` is empty for appliers."""

    name: str
    operation: Operation
    version: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        """Name the writer as a conflict does."""
        text = '"' + self.name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.version}" if self.operation == "Update" else text


@dataclass(frozen=True, slots=True)
class Share:
    """What a writer has, in terms of which version, and since when; `entry` is what it was read from."""

    fields: FieldSet
    version: str
    time: str | None
    entry: dict[str, Any] | None = field(default=None, compare=False)


Owners = Mapping[Writer, Share]


def writer(name: str, operation: Operation, version: str, subresource: str = "") -> Writer:
    """Make the identity of a writer."""
    return Writer(name or "unknown", operation, version if operation == "Update" else "", subresource)


def read_owners(entries: Any, *, stored: bool = False) -> dict[Writer, Share]:
    """Read `managedFields`; raises `OwnersError`.

    What is `stored` was written here, so its sets are in their one form already: they are taken as they are.
    """
    if not isinstance(entries, list):
        raise OwnersError("managedFields must be a list")
    return dict(_read(index, entry, stored=stored) for index, entry in enumerate(entries))


def _read(index: int, entry: Any, *, stored: bool) -> tuple[Writer, Share]:
    if not isinstance(entry, dict):
        raise OwnersError(f"managed fields entry {index} must be a map")
    operation, version = entry.get("operation"), entry.get("apiVersion")
    if operation not in {"Apply", "Update"}:
        raise OwnersError("operation must be `Apply` or `Update`")
    if not version:
        raise OwnersError("apiVersion must not be empty")
    kind = entry.get("fieldsType")
    if kind != "FieldsV1":
        what = f'invalid fieldsType "{kind}"' if kind else "missing fieldsType"
        raise OwnersError(f"{what} in managed fields entry {index}")
    try:
        spelled = entry.get("fieldsV1") or {}
        fields = spelled if stored else decode(spelled)
    except SetError as error:
        raise OwnersError(f"error decoding set: {error}") from None
    identity = Writer(
        entry.get("manager") or "", operation, version if operation == "Update" else "", entry.get("subresource") or ""
    )
    return identity, Share(fields, version, entry.get("time"), entry if stored else None)


def written_owners(owners: Owners) -> list[dict[str, Any]]:
    """Return `managedFields` in the server's order: appliers first, then by time, name, version and sub-resource."""
    shares = sorted(owners.items(), key=_place)
    return [_written(identity, share) for identity, share in shares]


def _place(entry: tuple[Writer, Share]) -> tuple[str, float, str, str, str]:
    identity, share = entry
    return identity.operation, seconds(share.time), identity.name, share.version, identity.subresource


def seconds(time: str | None) -> float:
    """Return a time in whole seconds, 0 for none and for what is no time."""
    try:
        return datetime.fromisoformat(time).timestamp() // 1 if time else 0
    except ValueError:
        return 0


def _written(identity: Writer, share: Share) -> dict[str, Any]:
    if share.entry is not None:
        return share.entry
    entry: dict[str, Any] = {
        "manager": identity.name,
        "operation": identity.operation,
        "apiVersion": share.version,
        "time": share.time,
        "fieldsType": "FieldsV1",
        "fieldsV1": share.fields,
        "subresource": identity.subresource,
    }
    return {name: value for name, value in entry.items() if value or name == "fieldsV1"}


def capped(owners: Owners) -> dict[Writer, Share]:
    """Return owners of whom at most `MOST_UPDATERS` are updaters: the oldest of a version share one entry."""
    kept = dict(owners)
    updaters = [identity for identity in owners if identity.operation == "Update"]
    spare = len(updaters) - MOST_UPDATERS
    first: dict[str, Writer] = {}
    for identity in sorted(updaters, key=lambda one: (seconds(owners[one].time), one)):
        if spare <= 0:
            break
        oldest = first.setdefault(identity.version, identity)
        if oldest is identity:
            continue
        bucket, share = writer(ANCIENT, "Update", identity.version), kept.pop(identity)
        older = kept.pop(bucket) if bucket in kept else kept.pop(oldest)
        kept[bucket] = Share(union(older.fields, share.fields), share.version, share.time)
        spare -= 1
    return kept


def same_but_times(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Say whether two `managedFields` differ in nothing but the times."""
    return [_timeless(entry) for entry in one] == [_timeless(entry) for entry in other]


def _timeless(entry: Any) -> Any:
    return {name: value for name, value in entry.items() if name != "time"} if isinstance(entry, dict) else entry
