"""`FieldManager`: what an update and an apply do to an object of one kind and to the owners of its fields.

An update makes the writer the owner of all that it changed; the others lose what it changed and what it removed. So a
create is an update of the object that has nothing. An object without owners is left alone: its fields were never
tracked, and the first apply finds them in the hands of `before-first-apply`.

An apply makes the writer the owner of exactly what its configuration says:

    merged   = the object with the configuration over it
    pruned   = merged without what the writer applied last time and nobody owns now
    conflict = what pruned changes against the object, in the sets of others; forced, they lose it

What it removes, others lose too. A list item or a map key that only the writer had goes with all that is in it.
Objects may come with entries of a version that is not served any more; nobody can say what they mean: they are dropped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from skerry.machinery import status
from skerry.machinery.apply.checking import misfits
from skerry.machinery.apply.comparing import Comparison, compare
from skerry.machinery.apply.conflicts import ApplyConflict
from skerry.machinery.apply.fields import field_set, with_parents
from skerry.machinery.apply.lastapplied import MANAGER, last_applied_fields, with_last_applied
from skerry.machinery.apply.merging import merge, prune, without_nulls
from skerry.machinery.apply.owners import (
    Owners,
    OwnersError,
    Share,
    Writer,
    capped,
    read_owners,
    writer,
    written_owners,
)
from skerry.machinery.apply.schema import Struct
from skerry.machinery.apply.sets import EMPTY, FieldSet, difference, intersection, union

BEFORE_FIRST_APPLY: Final = "before-first-apply"

JsonObject = dict[str, Any]

# What the server itself keeps; nobody owns it.
_STRIPPED: Final[FieldSet] = {
    "f:apiVersion": {},
    "f:kind": {},
    "f:metadata": {
        ".": {},
        **{
            f"f:{name}": {}
            for name in (
                "name",
                "namespace",
                "creationTimestamp",
                "selfLink",
                "uid",
                "clusterName",
                "generation",
                "managedFields",
                "resourceVersion",
            )
        },
    },
}


@dataclass(frozen=True, slots=True)
class Applied:
    """The outcome of an apply: the object, not yet defaulted nor validated, and its `managedFields`."""

    item: JsonObject
    managed_fields: list[JsonObject]


@dataclass(frozen=True, slots=True)
class FieldManager:
    """The rules of one kind, as one path (the object or a sub-resource) writes it.

    `ignored` are the fields at the top that this path does not write: nobody gets them by writing here.
    """

    node: Struct
    api_version: str
    kind: str
    subresource: str = ""
    ignored: Callable[[str], bool] = field(default=lambda _name: False)
    open_fields: Sequence[str] = ()
    versions: frozenset[str] = frozenset()  # other apiVersions with the same fields

    def update(self, live: JsonObject | None, new: JsonObject, name: str, now: str) -> list[JsonObject]:
        """Return the `managedFields` of `new`, which replaces `live` (None for a create).

        A client may send `managedFields` of its own: valid ones are believed, an empty list means to forget them all.
        """
        owners = self._owners_of_update(live, new)
        if live is not None and not owners:
            return []
        return written_owners(self._updated(live, new, owners, name, now))

    def _owners_of_update(self, live: JsonObject | None, new: JsonObject) -> dict[Writer, Share]:
        stored = _managed_fields(live)
        sent = _managed_fields(new)
        if self.subresource or sent == stored:
            return self._known(stored, stored=True)
        if sent in ([], [{}]):
            return {}
        return self._known(sent) or self._known(stored, stored=True)

    def _known(self, entries: Any, *, stored: bool = False) -> dict[Writer, Share]:
        try:
            owners = read_owners(entries or [], stored=stored)
        except OwnersError:
            return {}
        known = {self.api_version, *self.versions}
        return {identity: share for identity, share in owners.items() if share.version in known}

    def _updated(
        self, live: JsonObject | None, new: JsonObject, owners: Owners, name: str, now: str
    ) -> dict[Writer, Share]:
        changed = self._visible(compare(_plain(live or {}), _plain(new), self.node))
        identity = writer(name, "Update", self.api_version, self.subresource)
        kept = _without(owners, union(union(changed.modified, changed.added), changed.removed))
        mine = difference(union(changed.modified, changed.added), _STRIPPED)
        if mine:
            earlier = kept[identity].fields if identity in kept else EMPTY
            kept[identity] = Share(union(earlier, mine), self.api_version, now)
        return capped(kept)

    def apply(self, live: JsonObject | None, config: JsonObject, name: str, now: str, *, force: bool) -> Applied:
        """Apply a configuration; raises `ApplyConflict`, or another `StatusError` for one that cannot be applied."""
        self._check(config)
        item = live if live is not None else {"apiVersion": self.api_version, "kind": self.kind, "metadata": {}}
        owners = self._owners_of_apply(live, now)
        try:
            applied = self._applied(item, config, owners, name, now, force=force)
        except ApplyConflict as conflict:
            if name != MANAGER or live is None:
                raise
            self._allow(conflict, live)
            applied = self._applied(item, config, owners, name, now, force=True)
        if name == MANAGER:
            applied = replace(applied, item=with_last_applied(applied.item, config))
        return applied

    def _check(self, config: JsonObject) -> None:
        if config.get("apiVersion") != self.api_version:
            raise status.bad_request(
                "Incorrect version specified in apply patch. "
                f"Specified patch version: {config.get('apiVersion') or ''}, expected: {self.api_version}"
            )
        meta = config.get("metadata") or {}
        if isinstance(meta, dict) and meta.get("managedFields") is not None:
            raise status.bad_request("metadata.managedFields must be nil")
        if problems := misfits(config, self.node, self.open_fields):
            raise self._unfit(config, problems)

    def _unfit(self, config: JsonObject, problems: Sequence[str]) -> status.StatusError:
        meta = config.get("metadata")
        meta = meta if isinstance(meta, dict) else {}
        where = f"{meta.get('namespace') or ''}/{meta.get('name') or ''}"
        text = problems[0] if len(problems) == 1 else "errors:\n" + "\n".join(f"  {problem}" for problem in problems)
        group, _, version = self.api_version.rpartition("/")
        message = (
            f"failed to create typed patch object ({where}; {group + '/' if group else '/'}{version}, "
            f"Kind={self.kind}): {text}"
        )
        return status.StatusError(500, "", message)

    def _owners_of_apply(self, live: JsonObject | None, now: str) -> dict[Writer, Share]:
        if live is None:
            return {}
        owners = self._known(_managed_fields(live), stored=True)
        return owners or self._updated(None, live, {}, BEFORE_FIRST_APPLY, now)

    def _applied(
        self, live: JsonObject, config: JsonObject, owners: Owners, name: str, now: str, *, force: bool
    ) -> Applied:
        identity = writer(name, "Apply", self.api_version, self.subresource)
        claimed = self._own(field_set(config, self.node))
        last = owners.get(identity)
        shares = {**owners, identity: Share(claimed, self.api_version, now)}
        new = self._pruned(merge(live, config, self.node), last, shares)
        changed = self._visible(compare(_plain(live), _plain(new), self.node))
        others = {writer: share for writer, share in owners.items() if writer != identity}
        touched = union(changed.modified, changed.added)
        taken = union(touched, changed.displaced)
        conflicts = {writer: held for writer, share in others.items() if (held := intersection(share.fields, taken))}
        if conflicts and not force:
            raise ApplyConflict(conflicts)
        kept = _without(others, union(touched, changed.removed))
        mine = difference(claimed, _STRIPPED)
        item = without_nulls(new)
        if mine:
            idle = last is not None and last.fields == mine and item == live
            kept[identity] = Share(mine, self.api_version, last.time if idle and last is not None else now)
        return Applied(item, written_owners(kept))

    def _pruned(self, merged: JsonObject, last: Share | None, shares: Owners) -> JsonObject:
        if last is None:
            return merged
        wanted: FieldSet = EMPTY
        for share in shares.values():
            wanted = union(wanted, share.fields)
        if not difference(last.fields, wanted):
            return merged
        doomed = difference(with_parents(last.fields, self.node), with_parents(wanted, self.node))
        pruned: JsonObject = prune(merged, doomed, wanted, self.node)
        return pruned

    def _allow(self, conflict: ApplyConflict, live: JsonObject) -> None:
        """Raise what is left of a conflict after the fields that the same person applied as a client."""
        allowed = last_applied_fields(live, self.api_version, self.node)
        left = {one: difference(held, allowed) for one, held in conflict.fields.items()}
        if left := {one: held for one, held in left.items() if held}:
            raise ApplyConflict(left)

    def _own(self, fields: FieldSet) -> FieldSet:
        return {element: below for element, below in fields.items() if not self.ignored(element[2:])}

    def _visible(self, changed: Comparison) -> Comparison:
        return Comparison(
            self._own(changed.removed),
            self._own(changed.modified),
            self._own(changed.added),
            self._own(changed.displaced),
        )


def _without(owners: Owners, lost: FieldSet) -> dict[Writer, Share]:
    """Take fields away from writers; those who have nothing left are gone."""
    left = {}
    for identity, share in owners.items():
        fields = difference(share.fields, lost)
        if fields:
            left[identity] = share if fields is share.fields else Share(fields, share.version, share.time)
    return left


def _managed_fields(obj: JsonObject | None) -> Any:
    meta = (obj or {}).get("metadata")
    return meta.get("managedFields") if isinstance(meta, dict) else None


def _plain(obj: Mapping[str, Any]) -> JsonObject:
    """Return an object without what takes no part in ownership and would only cost time to compare."""
    meta = obj.get("metadata")
    if not isinstance(meta, dict) or "managedFields" not in meta:
        return dict(obj)
    return {**obj, "metadata": {name: value for name, value in meta.items() if name != "managedFields"}}
