"""Whether a JSON object fits a kind's structs: unknown and duplicate fields, wrong types, missing values.

One walk over the value and the `msgspec.Struct` types finds all problems, where `msgspec.convert` stops at the first;
and the three sorts of problem have three different answers in Kubernetes: a strict decoding error, a 400, a 422.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

import msgspec

from skerry.machinery.fielderrors import FieldError, required

_JSON_NAMES: Final = {bool: "bool", int: "number", float: "number", str: "string", list: "array", dict: "object"}
_GO_NAMES: Final = {bool: "bool", int: "int", float: "float64", str: "string"}


@dataclass(frozen=True)
class Problem:
    """One misfit. `path` is `spec.containers[0].name`."""

    sort: Literal["unknown", "type", "missing"]
    path: str
    detail: str = ""


@dataclass(frozen=True)
class _Field:
    type: Any
    required: bool


def unknown_fields(item: Any, model: type[msgspec.Struct], open_fields: Sequence[str] = ()) -> list[str]:
    """Return `unknown field "spec.x"` for each field that the model lacks, but below `open_fields` (dotted paths)."""
    return [
        f'unknown field "{problem.path}"'
        for problem in _walk(item, model, "")
        if problem.sort == "unknown" and not _below(problem.path, open_fields)
    ]


def type_error(item: Any, model: type[msgspec.Struct]) -> str | None:
    """Return the first value of a wrong JSON type, in the decoder's words; None when all fit."""
    for problem in _walk(item, model, ""):
        if problem.sort == "type":
            return problem.detail
    return None


def check(item: Any, model: type[msgspec.Struct]) -> list[FieldError]:
    """Return `Required value` for each required field that is missing."""
    return [required(problem.path) for problem in _walk(item, model, "") if problem.sort == "missing"]


def duplicate_fields(body: bytes) -> list[str]:
    """Return `duplicate field "spec.x"` for each key that stands twice in one JSON map of a valid document."""
    import json

    found: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        for key, value in items:
            if key in seen:
                found.append(key)
            seen[key] = value
        return seen

    try:
        decoded = json.loads(body, object_pairs_hook=pairs)
    except ValueError:
        return []
    return [f'duplicate field "{_path_of(decoded, key)}"' for key in dict.fromkeys(found)]


def _path_of(value: Any, key: str, path: str = "") -> str:
    """Find where a key stands, for the message; the last part alone when it stands in several places."""
    places = list(_places(value, key, path))
    return places[0] if len(places) == 1 else key


def _places(value: Any, key: str, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for name, inner in value.items():
            here = f"{path}.{name}" if path else name
            if name == key:
                yield here
            yield from _places(inner, key, here)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _places(inner, key, f"{path}[{index}]")


def _walk(value: Any, wanted: Any, path: str) -> Iterator[Problem]:
    if value is None or wanted is Any:
        return
    options = _options(wanted)
    chosen = next((option for option in options if _fits(value, option)), None)
    if chosen is None:
        yield Problem("type", path, _mismatch(value, options[0], path))
        return
    if isinstance(chosen, type) and issubclass(chosen, msgspec.Struct):
        yield from _walk_struct(value, chosen, path)
    elif get_origin(chosen) is list:
        for index, inner in enumerate(value):
            yield from _walk(inner, get_args(chosen)[0], f"{path}[{index}]")
    elif get_origin(chosen) is dict:
        for key, inner in value.items():
            yield from _walk(inner, get_args(chosen)[1], f"{path}.{key}")


def _walk_struct(value: dict[str, Any], model: type[msgspec.Struct], path: str) -> Iterator[Problem]:
    fields = _fields(model)
    prefix = f"{path}." if path else ""
    for key, inner in value.items():
        field = fields.get(key)
        if field is None:
            yield Problem("unknown", prefix + str(key))
        else:
            yield from _walk(inner, field.type, prefix + key)
    for key, field in fields.items():
        if field.required and value.get(key) is None:
            yield Problem("missing", prefix + key)


@cache
def _fields(model: type[msgspec.Struct]) -> dict[str, _Field]:
    return {field.encode_name: _Field(field.type, field.required) for field in msgspec.structs.fields(model)}


@cache
def _options(wanted: Any) -> tuple[Any, ...]:
    """Return what a value may be: the parts of a union without None, bare containers with their parameters."""
    if get_origin(wanted) in {Union, UnionType}:
        return tuple(option for option in get_args(wanted) if option is not NoneType)
    return (wanted,)


def _fits(value: Any, option: Any) -> bool:
    origin = get_origin(option) or option
    if option is Any or origin is object:
        return True
    if isinstance(origin, type) and issubclass(origin, msgspec.Struct):
        return isinstance(value, dict)
    if origin is bool:
        return isinstance(value, bool)
    if origin is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if origin is datetime:
        return isinstance(value, str) and _is_time(value)
    if origin is dict:
        return isinstance(value, dict)
    if origin is list:
        return isinstance(value, list)
    return isinstance(value, str)


def _is_time(text: str) -> bool:
    try:
        msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return False
    return True


def _mismatch(value: Any, wanted: Any, path: str) -> str:
    origin = get_origin(wanted) or wanted
    if origin is datetime and isinstance(value, str):
        return f'parsing time "{value}" as "2006-01-02T15:04:05Z07:00": want an RFC 3339 time at {path}'
    found = _JSON_NAMES.get(type(value), type(value).__name__)
    if origin is list:
        name = "array"
    elif origin is dict:
        name = "map"
    else:
        name = _GO_NAMES.get(origin, getattr(origin, "__name__", str(origin)))
    return f"json: cannot unmarshal {found} into field {path} of type {name}"


def _below(path: str, prefixes: Sequence[str]) -> bool:
    return any(path == prefix or path.startswith((f"{prefix}.", f"{prefix}[")) for prefix in prefixes)
