"""JSON merge patch (RFC 7386), and the patch that turns one document into another.

A patch is a picture of the change: members that are objects are merged, `null` removes a member, everything else
(arrays too) replaces what was there. So a member cannot be *set* to null: `merge_diff` reads null as absent.
"""

from typing import Any

from skerry.machinery.jsonvalues import copied, equal


def merge_patch(target: Any, patch: Any) -> Any:
    """Return `target` with `patch` applied; neither is changed, nor shared with the result."""
    if not isinstance(patch, dict):
        return copied(patch)
    merged = copied(target) if isinstance(target, dict) else {}
    _merge_into(merged, patch)
    return merged


def _merge_into(target: dict[str, Any], patch: dict[str, Any]) -> None:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict):
            member = target.get(key)
            if not isinstance(member, dict):
                target[key] = member = {}
            _merge_into(member, value)
        else:
            target[key] = copied(value)


def merge_diff(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the merge patch that makes `new` of `old`: `{}` when they are equal."""
    wanted = {key: value for key, value in new.items() if value is not None}
    patch: dict[str, Any] = dict.fromkeys(sorted(old.keys() - wanted.keys()))
    for key, value in wanted.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := merge_diff(before, value):
                patch[key] = inner
        elif not equal(before, value):
            patch[key] = copied(value)
    return patch
