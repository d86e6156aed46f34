"""How defaults are filled in: an explicit null and an empty text count as absent, as they do for Go's decoder."""

from typing import Any


def branch(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the object at a key, made if there is none."""
    found: dict[str, Any] | None = parent.get(key)
    if found is None:
        found = parent[key] = {}
    return found


def fill(target: dict[str, Any], **values: Any) -> None:
    """Set what has no value yet."""
    for key, value in values.items():
        if target.get(key) is None or target[key] == "":
            target[key] = value
