"""Conditions: the list in `status.conditions`, one entry for each type.

`lastTransitionTime` says since when the status is what it is: a new reason or message does not move it. Functions take
and return JSON (dicts), because a status patch is made of it; typed objects go through `msgspec.to_builtins` first.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from skerry.kit.clock import timestamp

Status = Literal["True", "False", "Unknown"]
Condition = dict[str, Any]


def find(conditions: Iterable[Mapping[str, Any]] | None, type_: str) -> Mapping[str, Any] | None:
    """Return the condition of a type, if there is one."""
    return next((condition for condition in conditions or () if condition.get("type") == type_), None)


def is_true(conditions: Iterable[Mapping[str, Any]] | None, type_: str) -> bool:
    """Say whether a condition is there and true."""
    return (find(conditions, type_) or {}).get("status") == "True"


def with_condition(
    conditions: Sequence[Mapping[str, Any]] | None,
    type_: str,
    status: Status,
    now: datetime,
    *,
    reason: str = "",
    message: str = "",
    observed_generation: int | None = None,
    **more: Any,
) -> list[Condition]:
    """Return the conditions with one set, in its old place; equal to the old ones when nothing changed.

    `more` sets further fields (`severity`, `lastUpdateTime`), also `lastTransitionTime` itself where it must move.
    """
    before = find(conditions, type_)
    wanted = {
        "type": type_,
        "status": status,
        "lastTransitionTime": timestamp(now),
        "reason": reason or None,
        "message": message or None,
        "observedGeneration": observed_generation,
    }
    if before is not None and before.get("status") == status and before.get("lastTransitionTime"):
        wanted["lastTransitionTime"] = before["lastTransitionTime"]
    condition = {key: value for key, value in {**wanted, **more}.items() if value is not None}
    others = [dict(other) for other in conditions or ()]
    places = [place for place, other in enumerate(others) if other.get("type") == type_]
    if not places:
        return [*others, condition]
    others[places[0]] = condition
    return [other for place, other in enumerate(others) if place not in places[1:]]


def without_condition(conditions: Iterable[Mapping[str, Any]] | None, type_: str) -> list[Condition]:
    """Return the conditions without one."""
    return [dict(condition) for condition in conditions or () if condition.get("type") != type_]
