"""Whether a JSON object fits a kind's structs: unknown and duplicate fields, wrong types, missing values.

One walk over the value and the `msgspec.Struct` types finds all problems, where `msgspec.convert` stops at the first;
and the three sorts of problem have three different answers in Kubernetes: a strict decoding error, a 400, a 422.

Null is the absence of a value everywhere. Quantities may be numbers, as in YAML; times are RFC 3339 with a zone.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from skerry.machinery.fielderrors import FieldError, required
from skerry.machinery.quantity import Quantity, QuantityError
from skerry.machinery.structs import ANYTHING, Scalar, Shape, fields_of, required_of

UNFIT: Final = "unfit"
TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)
# Integers are 32 bits in Kubernetes but for these. Only the words of an error depend on it.
LONG: Final = frozenset(
    {
        "activeDeadlineSeconds",
        "deletionGracePeriodSeconds",
        "expirationSeconds",
        "fsGroup",
        "generation",
        "gracePeriodSeconds",
        "observedGeneration",
        "runAsGroup",
        "runAsUser",
        "sizeBytes",
        "terminationGracePeriodSeconds",
        "tolerationSeconds",
    }
)
GO_SCALARS: Final[dict[Scalar, str]] = {
    "boolean": "bool",
    "integer": "int32",
    "number": "float64",
    "string": "string",
    "time": "v1.Time",
    "quantity": "resource.Quantity",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One misfit. `path` is `spec.containers[0].name`."""

    sort: Literal["unknown", "type", "missing"]
    path: str
    detail: str = ""


def unknown_fields(item: Any, model: type[msgspec.Struct], open_fields: Sequence[str] = ()) -> list[str]:
    """Return `unknown field "spec.x"` for each field that the model lacks, but below `open_fields` (dotted paths)."""
    return unknown_of(problems(item, model), open_fields)


def unknown_of(found: Iterable[Problem], open_fields: Sequence[str] = ()) -> list[str]:
    """Return the unknown fields among problems, in the words of `unknown_fields`."""
    return [
        f'unknown field "{problem.path}"'
        for problem in found
        if problem.sort == "unknown" and not _below(problem.path, open_fields)
    ]


def type_error(item: Any, model: type[msgspec.Struct]) -> str | None:
    """Return the first value of a wrong type, in the decoder's words; None when all fit."""
    return next((problem.detail for problem in problems(item, model) if problem.sort == "type"), None)


def check(item: Any, model: type[msgspec.Struct]) -> list[FieldError]:
    """Return `Required value` for each required field that is missing."""
    return [required(problem.path) for problem in problems(item, model) if problem.sort == "missing"]


def duplicate_fields(body: bytes) -> list[str]:
    """Return `duplicate field "spec.x"` for each key that stands twice in one object of a JSON document."""
    marked = 0

    def keep(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal marked
        fields = dict(pairs)
        if len(fields) == len(pairs):
            return fields
        marked += 1
        keys = [key for key, _ in pairs]
        return _WithTwins(fields, {key for key in fields if keys.count(key) > 1})

    try:
        decoded = json.loads(body, object_pairs_hook=keep)
    except (ValueError, RecursionError):
        return []
    return [f'duplicate field "{path}"' for path in _twins(decoded, "")] if marked else []


class _WithTwins(dict[str, Any]):
    """A JSON object some of whose keys stood there twice."""

    def __init__(self, fields: dict[str, Any], twins: set[str]) -> None:
        super().__init__(fields)
        self.twins = twins


def _twins(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            here = f"{path}.{key}" if path else key
            if isinstance(value, _WithTwins) and key in value.twins:
                yield here
            yield from _twins(inner, here)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _twins(inner, f"{path}[{index}]")


def problems(item: Any, model: type[msgspec.Struct]) -> Iterator[Problem]:
    """Walk through an object and yield all that does not fit.

    Nearly all objects fit, and to see only that takes an eighth of the time.
    """
    if _fits(item, Shape(struct=model)):
        return iter(())
    return _walk(item, Shape(struct=model), "", _GoField("", ""))


def _fits(value: Any, shape: Shape) -> bool:
    """Say whether `_walk` would find nothing; it follows the same rules and keeps no account of where it is."""
    if value is None:
        return True
    if shape.struct is not None:
        return isinstance(value, dict) and _fits_struct(value, shape.struct)
    if shape.scalars:
        return (type(value) is str and "string" in shape.scalars) or any(
            not _misfit(value, scalar) for scalar in shape.scalars
        )
    if shape.list_item is not None:
        item = shape.list_item
        plain = item.struct is None
        return isinstance(value, list) and all(plain if inner is None else _fits(inner, item) for inner in value)
    if shape.map_item is not None:
        return isinstance(value, dict) and all(_fits(inner, shape.map_item) for inner in value.values())
    return True


def _fits_struct(value: dict[str, Any], model: type[msgspec.Struct]) -> bool:
    fields = fields_of(model)
    for key, inner in value.items():
        field = fields.get(key)
        if field is None or (inner is not None and not _fits(inner, field.shape)):
            return False
    return all(value.get(key) is not None for key in required_of(model))


@dataclass(frozen=True, slots=True)
class _GoField:
    """A place as Go's errors name it: the innermost struct and the fields that lead there, without indexes and keys."""

    struct: str
    path: str

    def __str__(self) -> str:
        return f"Go struct field {self.struct}.{self.path}" if self.path else "Go value"


def _walk(value: Any, shape: Shape, path: str, place: _GoField) -> Iterator[Problem]:
    if value is None or shape == ANYTHING:
        return
    if shape.struct is not None and isinstance(value, dict):
        yield from _walk_struct(value, shape.struct, path, place)
    elif shape.list_item is not None and isinstance(value, list):
        for index, inner in enumerate(value):
            here = f"{path}[{index}]"
            if inner is None and shape.list_item.struct is not None:
                # Go decodes it to an empty struct; nobody means that, and defaults would stumble over it.
                yield Problem("type", here, f"{here}: null is not an item of a list; leave it out")
            yield from _walk(inner, shape.list_item, here, place)
    elif shape.map_item is not None and isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, shape.map_item, f"{path}.{key}", place)
    else:
        misfits = [_misfit(value, scalar) for scalar in shape.scalars]
        if "" not in misfits:
            complaint = next((misfit for misfit in misfits if misfit != UNFIT), None)
            yield Problem("type", path, f"{path}: {complaint}" if complaint else _mismatch(value, shape, place))


def _walk_struct(value: dict[str, Any], model: type[msgspec.Struct], path: str, place: _GoField) -> Iterator[Problem]:
    fields = fields_of(model)
    prefix = f"{path}." if path else ""
    for key, inner in value.items():
        field = fields.get(key)
        if field is None:
            yield Problem("unknown", prefix + key)
        else:
            inside = _GoField(model.__name__, f"{place.path}.{key}" if place.path else key)
            yield from _walk(inner, field.shape, prefix + key, inside)
    for key, field in fields.items():
        if field.required and value.get(key) is None:
            yield Problem("missing", prefix + key)


def _misfit(value: Any, scalar: Scalar) -> str:
    """Return "" for a fit, a complaint of its own for malformed text, `UNFIT` for another JSON type."""
    match scalar:
        case "boolean":
            fits = isinstance(value, bool)
        case "integer":
            fits = isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
        case "number":
            fits = isinstance(value, int | float) and not isinstance(value, bool)
        case "string":
            fits = isinstance(value, str)
        case "time":
            return _time_misfit(value) if isinstance(value, str) else UNFIT
        case _:
            return _quantity_misfit(value)
    return "" if fits else UNFIT


def _time_misfit(text: str) -> str:
    try:
        fits = TIME.fullmatch(text) is not None and msgspec.convert(text, datetime) is not None
    except msgspec.ValidationError:
        fits = False
    return "" if fits else f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": it is not RFC 3339 with a zone'


def _quantity_misfit(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return UNFIT
    try:
        Quantity.parse(value)
    except QuantityError as error:
        return str(error)
    return ""


def _mismatch(value: Any, shape: Shape, place: _GoField) -> str:
    long = place.path.rpartition(".")[2] in LONG
    return f"json: cannot unmarshal {_found(value)} into {place} of type {_go_type(shape, long=long)}"


def _found(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number" if isinstance(value, int) and abs(value) < 2**63 else f"number {json.dumps(value)}"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def _go_type(shape: Shape, *, long: bool) -> str:
    if shape.struct is not None:
        return f"v1.{shape.struct.__name__}"
    if shape.list_item is not None:
        return f"[]{_go_type(shape.list_item, long=long)}"
    if shape.map_item is not None:
        return f"map[string]{_go_type(shape.map_item, long=long)}"
    if len(shape.scalars) != 1:
        return "intstr.IntOrString" if shape.scalars else "interface {}"
    return "int64" if long and shape.scalars == ("integer",) else GO_SCALARS[shape.scalars[0]]


def _below(path: str, prefixes: Sequence[str]) -> bool:
    return any(path == prefix or path.startswith((f"{prefix}.", f"{prefix}[")) for prefix in prefixes)
