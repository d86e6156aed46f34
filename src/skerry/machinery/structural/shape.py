"""Whether a schema has the form of one at all: each keyword with a value of its type.

Every other module here relies on it. On a cluster the decoder refuses what is checked here, in words of Go's that name
the type of the field.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from skerry.machinery.fielderrors import FieldError, invalid
from skerry.machinery.structural import EMBEDDED, INT_OR_STRING, LIST_MAP_KEYS, LIST_TYPE, MAP_TYPE, PRESERVE, RULES

_DEEPEST: Final = 100


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_factor(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict)


def _are_schemas(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_schema, value))


def _are_named(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_schema, value.values()))


_KEYWORDS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    **dict.fromkeys(("type", "pattern", "format", "title", "description", LIST_TYPE, MAP_TYPE), (_is_text, "a string")),
    **dict.fromkeys(
        ("nullable", "uniqueItems", "exclusiveMinimum", "exclusiveMaximum", PRESERVE, EMBEDDED, INT_OR_STRING),
        (_is_flag, "a boolean"),
    ),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        (_is_count, "a non-negative integer"),
    ),
    **dict.fromkeys(("minimum", "maximum"), (_is_number, "a number")),
    "multipleOf": (_is_factor, "a positive number"),
    "enum": (_is_list, "a list"),
    **dict.fromkeys(("required", LIST_MAP_KEYS), (_are_texts, "a list of strings")),
    **dict.fromkeys(("anyOf", "allOf", "oneOf"), (_are_schemas, "a list of schemas")),
    RULES: (_are_schemas, "a list of rules"),
    "not": (_is_schema, "a schema"),
    "items": (lambda value: _is_schema(value) or _are_schemas(value), "a schema"),
    "additionalProperties": (lambda value: _is_schema(value) or _is_flag(value), "a schema or a boolean"),
    "properties": (_are_named, "a map of schemas"),
}


def shape_errors(schema: dict[str, Any], path: str, depth: int = 0) -> Iterator[FieldError]:
    """Yield the keywords that have a value of a wrong type, in a schema and in all below it."""
    if depth > _DEEPEST:
        yield invalid(path, "", f"must not be nested more than {_DEEPEST} levels deep")
        return
    for name, value in schema.items():
        check, wanted = _KEYWORDS.get(name, (None, ""))
        if check is None or value is None:
            continue
        if not check(value):
            yield invalid(f"{path}.{name}", value, f"must be {wanted}")
        else:
            for place, inner in _below(name, value, f"{path}.{name}"):
                yield from shape_errors(inner, place, depth + 1)


def _below(name: str, value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    match name:
        case "properties":
            for key, inner in value.items():
                yield f"{path}[{key}]", inner
        case "anyOf" | "allOf" | "oneOf":
            for index, inner in enumerate(value):
                yield f"{path}[{index}]", inner
        case "not" | "items" | "additionalProperties" if isinstance(value, dict):
            yield path, value
