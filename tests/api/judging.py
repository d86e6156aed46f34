"""What the tests of validation share: default an object as the server does, then collect the complaints."""

import copy
from typing import Any

from skerry.api.kinds import REGISTRY
from skerry.api.registry import Kind
from skerry.machinery.fielderrors import invalid

Json = dict[str, Any]


def complaints(short_name: str, new: Json, old: Json | None = None) -> list[str]:
    """Return the texts that a client would read."""
    kind = REGISTRY.by_short_name(short_name)
    assert kind is not None
    item = _defaulted(kind, new)
    name = item["metadata"]["name"]
    errors = [invalid("metadata.name", name, problem) for problem in kind.name_rule(name)]
    errors += kind.validate(item, old and _defaulted(kind, old))
    return [str(error) for error in errors]


def _defaulted(kind: Kind, item: Json) -> Json:
    item = copy.deepcopy(item)
    item["metadata"] = {"name": "x", "namespace": "a", **item.get("metadata", {})}
    kind.default(item)
    return item


def changed(item: Json, path: str, value: Any) -> Json:
    """Return a copy with another value at a dotted path; numbers are places in lists."""
    item = copy.deepcopy(item)
    at: Any = item
    *parts, last = path.split(".")
    for part in parts:
        at = at[int(part)] if part.isdigit() else at.setdefault(part, {})
    at[int(last) if last.isdigit() else last] = value
    return item
