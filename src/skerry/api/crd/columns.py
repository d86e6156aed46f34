"""Printer columns of custom resources: a JSONPath and a type each.

Only the first value that a path leads to is shown. A text column shows any value, maps and lists as JSON; the other
types show nothing for a value of another type. A date is shown as an age.

Facts: k8s.io/apiextensions-apiserver `pkg/registry/customresource/tableconvertor`.
"""

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

from skerry.api.cells import NAME_COLUMN, moment, since
from skerry.api.registry import Column, Object
from skerry.machinery.jsonpath import JsonPath, JsonPathError

_UNDESCRIBED: Final = "Custom resource definition column (in JSONPath format)"
_AGE: Final = {
    "name": "Age",
    "type": "date",
    "jsonPath": ".metadata.creationTimestamp",
    "description": (
        "CreationTimestamp is a timestamp representing the server time when this object was created. It is not "
        "guaranteed to be set in happens-before order across separate operations."
    ),
}


def columns_of(declared: Iterable[Object]) -> tuple[Column, ...]:
    """Return the columns of a version, the name first; the age where none is declared."""
    return (NAME_COLUMN, *(_column(each) for each in (list(declared) or [_AGE])))


def _column(declared: Object) -> Column:
    return Column(
        declared["name"],
        _cell(declared["jsonPath"], declared["type"]),
        type=declared["type"],
        format=declared.get("format") or "",
        priority=declared.get("priority") or 0,
        description=declared.get("description") or f"{_UNDESCRIBED}: {declared['jsonPath']}",
    )


def _cell(where: str, kind: str) -> Callable[[Object, datetime], Any]:
    try:
        path = JsonPath(where)
    except JsonPathError:
        return lambda _item, _now: None

    def cell(item: Object, now: datetime) -> Any:
        found = path.find(item)
        return shown(found[0], kind, now) if found else None

    return cell


def shown(value: Any, kind: str, now: datetime) -> Any:
    """Return what a column of a type shows of a value."""
    match kind, value:
        case _, None:
            return None
        case "string", str():
            return value
        case "string", _:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        case "boolean", bool():
            return value
        case "integer" | "number", bool():
            return None
        case "integer", int() | float():
            return int(value)
        case "number", int() | float():
            return float(value)
        case "date", str():
            return since(value, now) if moment(value) else "<invalid>"
    return None
