"""Which names a definition gets. Of two definitions of one group that want the same name, the first one has it.

A definition is served when all its names are accepted. One that lost a name is looked at again when names get free.

Facts: k8s.io/apiextensions-apiserver `pkg/controller/status/naming_controller.go`, `pkg/controller/establish`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from skerry.api.registry import Object
from skerry.machinery.conditions import is_true, with_condition


@dataclass(frozen=True)
class Taken:
    """Names that others in the group have: of resources, and of kinds."""

    resources: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()


def taken_by(names: Object) -> Taken:
    """Return the names that somebody else cannot have any more."""
    resources = {names.get("plural"), names.get("singular"), *(names.get("shortNames") or [])}
    kinds = {names.get("kind"), names.get("listKind")}
    return Taken(frozenset(filter(None, resources)), frozenset(filter(None, kinds)))


def status_of(item: Object, taken: Taken, now: datetime) -> Object:
    """Return the status of a definition: its accepted names, conditions and stored versions."""
    before: Object = item.get("status") or {}
    names = item["spec"].get("names") or {}
    accepted, reason, message = _accepted(names, before.get("acceptedNames") or {}, taken)
    conditions = with_condition(
        before.get("conditions"),
        "NamesAccepted",
        "False" if reason else "True",
        now,
        reason=reason or "NoConflicts",
        message=message or "no conflicts found",
    )
    if not reason or is_true(before.get("conditions"), "Established"):
        established = ("True", "InitialNamesAccepted", "the initial names have been accepted")
    else:
        established = ("False", "NotAccepted", "not all names are accepted")
    truth, why, text = established
    conditions = with_condition(conditions, "Established", truth, now, reason=why, message=text)  # type: ignore[arg-type]
    stored = list(before.get("storedVersions") or [])
    stored += [
        version["name"]
        for version in item["spec"].get("versions") or []
        if version.get("storage") and version.get("name") and version["name"] not in stored
    ]
    return {**before, "acceptedNames": accepted, "conditions": conditions, "storedVersions": stored}


def _accepted(wanted: Object, accepted: Object, taken: Taken) -> tuple[Object, str, str]:
    """Return the names that are accepted now, and the last conflict as reason and message."""
    found: Object = {}
    reason = message = ""
    for field, others, conflict in (
        ("plural", taken.resources, "PluralConflict"),
        ("singular", taken.resources, "SingularConflict"),
        ("shortNames", taken.resources, "ShortNamesConflict"),
        ("kind", taken.kinds, "KindConflict"),
        ("listKind", taken.kinds, "ListKindConflict"),
    ):
        problem = _conflict(wanted.get(field), accepted.get(field), others)
        if problem:
            reason, message = conflict, problem
        value = accepted.get(field) if problem else wanted.get(field)
        if value or field in {"plural", "kind"}:
            found[field] = value or ""
    if wanted.get("categories"):
        found["categories"] = wanted["categories"]
    return found, reason, message


def _conflict(wanted: Any, accepted: Any, others: Collection[str]) -> str:
    """Say which name is in use; one that was accepted before stays the definition's own."""
    if wanted == accepted or not wanted:
        return ""
    own = set(accepted) if isinstance(accepted, list) else {accepted}
    names = [name for name in (wanted if isinstance(wanted, list) else [wanted]) if name not in own]
    used = [f'"{name}" is already in use' for name in names if name in others]
    return used[0] if len(used) == 1 else f"[{', '.join(used)}]" if used else ""
