"""Validation of a value by its schema; every error in the words of Kubernetes.

An update is held only to what it changes: a part that is as it was before is not looked at, even when the schema has
become stricter since (validation ratcheting, on since Kubernetes 1.33). So the walk carries the old value beside the
new one; the items of a keyed list are compared by key, those of any other list only as a whole.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from skerry.machinery.fielderrors import FieldError, duplicate, invalid, required
from skerry.machinery.jsonvalues import equal
from skerry.machinery.re2 import PatternError, compiled
from skerry.machinery.structural import (
    EMBEDDED,
    INT_OR_STRING,
    LIST_MAP_KEYS,
    LIST_TYPE,
    Schema,
    formats,
    items_of,
    properties_of,
    values_of,
)

_NOTHING: Final = object()
_RANGES: Final = {"int32": 31, "int64": 63}


def errors_of(value: Any, schema: Schema, old: Any = _NOTHING) -> list[FieldError]:
    """Return what is wrong with a whole object; `old` is what it replaces."""
    return [*_walk(value, schema, "", old), *_lists(value, schema, "", old)]


def _walk(value: Any, schema: Schema, path: str, old: Any = _NOTHING) -> Iterator[FieldError]:
    if old is not _NOTHING and equal(value, old):
        return
    misfit = _type_misfit(value, schema, path)
    if misfit is not None:
        yield misfit
    yield from _logic(value, schema, path)
    match value:
        case bool() | None:
            pass
        case str():
            yield from _string(value, schema, path)
        case int() | float():
            yield from _number(value, schema, path)
        case list():
            yield from _list(value, schema, path, old)
    yield from _enum(value, schema, path)
    if isinstance(value, dict):
        yield from _object(value, schema, path, old)


# Types


def _type_misfit(value: Any, schema: Schema, path: str) -> FieldError | None:
    wanted = ["integer", "string"] if schema.get(INT_OR_STRING) else [schema["type"]] if schema.get("type") else []
    found = _type_of(value)
    if not wanted or (value is None and schema.get("nullable")):
        return None
    if found in wanted or (found == "integer" and "number" in wanted):
        return None
    if found == "number" and "integer" in wanted and float(value).is_integer():
        return None
    return _type_invalid(path, found, ",".join(wanted), found)


def _type_invalid(path: str, shown: Any, wanted: str, found: str) -> FieldError:
    detail = f"{_in_body(path)} must be of type {wanted}: {_quoted(found)}"
    return FieldError("FieldValueTypeInvalid", _place(path), f"Invalid value: {_quoted(shown)}: {detail}")


def _type_of(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


# allOf, anyOf, oneOf, not


def _logic(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    if schema.get("anyOf"):
        yield from _any_of(value, schema["anyOf"], path)
    if schema.get("oneOf"):
        yield from _one_of(value, schema["oneOf"], path)
    if schema.get("allOf"):
        found = [list(_walk(value, each, path)) for each in schema["allOf"]]
        yield from (error for errors in found for error in errors)
        if any(found):
            none = ". None validated" if all(found) else ""
            yield _unplaced(f"{_quoted(path)} must validate all the schemas (allOf){none}")
    if schema.get("not") is not None and not any(_walk(value, schema["not"], path)):
        yield _unplaced(f"{_quoted(path)} must not validate the schema (not)")


def _any_of(value: Any, choices: Sequence[Schema], path: str) -> Iterator[FieldError]:
    found = [list(_walk(value, each, path)) for each in choices]
    if all(found):
        yield _unplaced(f"{_quoted(path)} must validate at least one schema (anyOf)")
        yield from min(found, key=len)


def _one_of(value: Any, choices: Sequence[Schema], path: str) -> Iterator[FieldError]:
    found = [list(_walk(value, each, path)) for each in choices]
    valid = sum(1 for errors in found if not errors)
    if valid == 1:
        return
    how = f"Found {valid} valid alternatives" if valid else "Found none valid"
    yield _unplaced(f"{_quoted(path)} must validate one and only one schema (oneOf). {how}")
    if not valid:
        yield from min(found, key=len)


# Scalars


def _string(text: str, schema: Schema, path: str) -> Iterator[FieldError]:
    most, least, pattern = schema.get("maxLength"), schema.get("minLength"), schema.get("pattern")
    if most is not None and len(text) > most:
        yield FieldError("FieldValueTooLong", _place(path), f"Too long: may not be more than {most} bytes")
    if least is not None and len(text) < least:
        yield invalid(_place(path), text, f"{_in_body(path)} should be at least {least} chars long")
    if pattern and not _matches(pattern, text):
        yield invalid(_place(path), text, f"{_in_body(path)} should match '{pattern}'")
    name = schema.get("format")
    if name and not schema.get(INT_OR_STRING) and not formats.fits(text, name):
        yield _type_invalid(path, text, name, text)


def _matches(pattern: str, text: str) -> bool:
    try:
        return compiled(pattern).found_in(text)
    except PatternError:
        return True  # said when the definition was written: what cannot be read is not checked


def _number(value: float, schema: Schema, path: str) -> Iterator[FieldError]:
    multiple, bits = schema.get("multipleOf"), _RANGES.get(schema.get("format") or "")
    if bits is not None and schema.get("type") == "integer" and not -(2**bits) <= value < 2**bits:
        yield _unplaced(f"Checked value must be of type integer with format {schema['format']} in {path}")
    if multiple and not _is_multiple(value, multiple):
        yield invalid(_place(path), value, f"{_in_body(path)} should be a multiple of {_go(multiple)}")
    for limit, exclusive, beyond, words in (
        ("maximum", "exclusiveMaximum", float.__gt__, "less than"),
        ("minimum", "exclusiveMinimum", float.__lt__, "greater than"),
    ):
        bound = schema.get(limit)
        if bound is None:
            continue
        strict = bool(schema.get(exclusive))
        if _beyond(value, bound, beyond) or (strict and value == bound):
            words_ = words if strict else f"{words} or equal to"
            yield invalid(_place(path), value, f"{_in_body(path)} should be {words_} {_go(bound)}")


def _beyond(value: float, bound: float, beyond: Callable[[float, float], bool]) -> bool:
    if isinstance(value, int) and isinstance(bound, int):
        return value > bound if beyond is float.__gt__ else value < bound
    return beyond(float(value), float(bound))


def _is_multiple(value: float, factor: float) -> bool:
    if isinstance(value, int) and isinstance(factor, int):
        return value % factor == 0
    return (float(value) / float(factor)).is_integer()


def _enum(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    choices = schema.get("enum")
    if not choices or any(equal(value, choice) for choice in choices):
        return
    if value is None and schema.get("nullable"):
        return
    shown = ", ".join(_quoted(choice if isinstance(choice, str) else _json(choice)) for choice in choices)
    message = f"Unsupported value: {_json(value)}: supported values: {shown}"
    yield FieldError("FieldValueNotSupported", _place(path), message)


# Containers


def _list(items: list[Any], schema: Schema, path: str, old: Any) -> Iterator[FieldError]:
    of_items, most, least = items_of(schema), schema.get("maxItems"), schema.get("minItems")
    if of_items:
        before = _by_keys(old, schema)
        for index, item in enumerate(items):
            was = before.get(_key(item, schema), _NOTHING) if before else _NOTHING
            yield from _walk(item, of_items, f"{path}[{index}]", was)
    if least is not None and len(items) < least:
        yield invalid(_place(path), len(items), f"{_in_body(path)} should have at least {least} items")
    if most is not None and len(items) > most:
        yield _too_many(path, len(items), most)


def _by_keys(old: Any, schema: Schema) -> dict[str, Any]:
    if not isinstance(old, list) or schema.get(LIST_TYPE) != "map":
        return {}
    return {_key(item, schema): item for item in old}


def _key(item: Any, schema: Schema) -> str:
    return _json(_keys_of(item, schema)) if isinstance(item, dict) else ""


def _keys_of(item: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    return {name: item[name] for name in schema.get(LIST_MAP_KEYS) or [] if name in item}


def _object(value: dict[str, Any], schema: Schema, path: str, old: Any) -> Iterator[FieldError]:
    most, least = schema.get("maxProperties"), schema.get("minProperties")
    if least is not None and len(value) < least:
        yield invalid(_place(path), len(value), f"{_in_body(path)} should have at least {least} properties")
    if most is not None and len(value) > most:
        yield _too_many(path, len(value), most)
    named, values = properties_of(schema), values_of(schema)
    before = old if isinstance(old, dict) else {}
    for name, inner in value.items():
        known = named.get(name, values)
        if known is not None:
            yield from _walk(inner, known, _child(path, name), before.get(name, _NOTHING))
    for name in schema.get("required") or []:
        if name not in value:
            yield required(_child(path, name))
    if schema.get(EMBEDDED):
        yield from _embedded(value, path)


def _embedded(value: dict[str, Any], path: str) -> Iterator[FieldError]:
    for name in ("apiVersion", "kind"):
        if not value.get(name):
            yield required(_child(path, name), "must not be empty")


def _lists(value: Any, schema: Schema, path: str, old: Any) -> Iterator[FieldError]:
    """Yield what stands twice in a list whose items must differ."""
    if old is not _NOTHING and equal(value, old):
        return
    if isinstance(value, dict):
        named, values = properties_of(schema), values_of(schema)
        before = old if isinstance(old, dict) else {}
        for name, inner in value.items():
            known = named.get(name, values)
            if known is not None:
                yield from _lists(inner, known, _child(path, name), before.get(name, _NOTHING))
    elif isinstance(value, list):
        seen: set[str] = set()
        sort = schema.get(LIST_TYPE)
        for index, item in enumerate(value):
            if sort in {"set", "map"} and (sort == "set" or isinstance(item, dict)):
                shown = item if sort == "set" else _keys_of(item, schema)
                key = json.dumps(shown, sort_keys=True)
                if key in seen:
                    yield duplicate(f"{path}[{index}]", shown)
                seen.add(key)
            yield from _lists(item, items_of(schema), f"{path}[{index}]", _NOTHING)


# Words


def _child(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _place(path: str) -> str:
    return path or "<nil>"


def _in_body(path: str) -> str:
    return f"{path} in body"


def _too_many(path: str, count: int, most: int) -> FieldError:
    return FieldError("FieldValueTooMany", _place(path), f"Too many: {count}: must have at most {most} items")


def _unplaced(detail: str) -> FieldError:
    """Complain without naming a field: what the logic of schemas refuses has none."""
    return FieldError("FieldValueInvalid", "<nil>", f'Invalid value: "": {detail}')


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _go(number: float) -> str:
    """Write a limit as Go does: `5`, not `5.0`."""
    return str(int(number)) if float(number).is_integer() and abs(number) < 1e21 else repr(number)
