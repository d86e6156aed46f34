"""Changing an existing object only where we own it.

What was rendered last time is kept in an annotation, as `kubectl apply` does. The patch (a JSON merge patch) sets what
the new rendering says and the object does not have, and removes what the last rendering said and the new one does not.
All else stays: replicas, the annotation of `kubectl rollout restart`, labels of other tools, defaults of the server.
Lists are replaced as a whole.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from skerry.machinery.jsonvalues import equal
from skerry.machinery.quantity import Quantity, QuantityError

Json = dict[str, Any]

_AMOUNTS: Final = frozenset({"limits", "requests"})
LAST_RENDERED_ANNOTATION: Final = "operator.skerry.dev/last-rendered"


def with_record(rendered: Json) -> Json:
    """Return the rendering with the record of itself, ready to be created."""
    return {**rendered, "metadata": _recorded(rendered)["metadata"]}


def change(existing: Json, rendered: Json) -> Json:
    """Return the patch that brings the object to the rendering, `{}` when there is nothing to do."""
    annotations = (existing.get("metadata") or {}).get("annotations") or {}
    last = _read(annotations.get(LAST_RENDERED_ANNOTATION, ""))
    wanted = _recorded(rendered)
    owned = {"metadata": _owned_metadata(wanted), "spec": rendered["spec"]}
    return _three_way(last, owned, existing)


def _recorded(rendered: Json) -> Json:
    record = {"metadata": _owned_metadata(rendered), "spec": rendered["spec"]}
    text = json.dumps(record, sort_keys=True, separators=(",", ":"))
    metadata = rendered["metadata"]
    return {"metadata": {**metadata, "annotations": {**metadata["annotations"], LAST_RENDERED_ANNOTATION: text}}}


def _owned_metadata(rendered: Json) -> Json:
    return {key: rendered["metadata"][key] for key in ("labels", "annotations")}


def _read(text: str) -> Json:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _three_way(
    last: Mapping[str, Any], wanted: Mapping[str, Any], existing: Mapping[str, Any], *, amounts: bool = False
) -> Json:
    patch: Json = {key: None for key in last if key not in wanted and key in existing}
    for key, value in wanted.items():
        before, are_amounts = existing.get(key), amounts or key in _AMOUNTS
        if isinstance(value, dict) and isinstance(before, dict):
            inner = _three_way(_mapping(last.get(key)), value, before, amounts=are_amounts)
            if inner:
                patch[key] = inner
        elif not covers(before, value, amounts=are_amounts) or _list_changed(last, key, value):
            patch[key] = value
    return patch


def _list_changed(last: Mapping[str, Any], key: str, value: Any) -> bool:
    # An item may have lost a member that the object still has: only the last rendering tells.
    return isinstance(value, list) and key in last and bool(last[key] != value)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def covers(existing: Any, wanted: Any, *, amounts: bool = False) -> bool:
    """Whether the object has all that is wanted; it may have more, such as the server's defaults."""
    if isinstance(wanted, dict):
        if not isinstance(existing, dict):
            return not wanted and existing is None
        return all(
            covers(existing.get(key), value, amounts=amounts or key in _AMOUNTS) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        if not isinstance(existing, list):
            return not wanted and existing is None
        return len(existing) == len(wanted) and all(map(covers, existing, wanted))
    return _same_amount(existing, wanted) if amounts else equal(existing, wanted)


def _same_amount(existing: Any, wanted: Any) -> bool:
    # The server stores `1000m` as `1`; to ask for it again and again would never end.
    try:
        return existing is not None and Quantity.parse(existing) == Quantity.parse(wanted)
    except QuantityError:
        return equal(existing, wanted)
