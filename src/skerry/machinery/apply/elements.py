"""One step of a path, spelled as in `fieldsV1`.

    f:replicas                              a field of a struct or a key of a map
    k:{"containerPort":80,"protocol":"TCP"} the item of a list that has these values under its keys
    v:"example.com/protect"                 a member of a list that is a set
    i:3                                     an item of a list by its place; read, never written

The text is the identity: equal steps are equal strings, so sets of fields can be plain dicts. That holds because the
JSON inside is always written in one way (`canonical` brings a client's spelling into it): sorted keys, no spaces, and
`<`, `>`, `&` escaped as Go's encoder does.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

# Go escapes these inside JSON strings; outside of strings they do not occur.
_ESCAPES: Final = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})
_ESCAPED: Final = re.compile("[<>&\u2028\u2029]")
_ENCODER: Final = msgspec.json.Encoder(order="deterministic")


class ElementError(ValueError):
    """A step that cannot be read."""


def field(name: str) -> str:
    """Name a field of a struct or a key of a map."""
    return f"f:{name}"


def item(keys: Mapping[str, Any]) -> str:
    """Name an item of a list by the values of its keys."""
    return f"k:{_json(keys)}"


def member(value: Any) -> str:
    """Name a member of a set."""
    return f"v:{_json(value)}"


def _json(value: Any) -> str:
    text = _ENCODER.encode(value).decode()
    return text.translate(_ESCAPES) if _ESCAPED.search(text) else text


@lru_cache(maxsize=4096)
def canonical(element: str) -> str | None:
    """Return the one spelling of a step, None for a sort of step that is not known; raises `ElementError`."""
    sort, colon, rest = element[:1], element[1:2], element[2:]
    if colon != ":":
        raise ElementError(f"missing colon: {element}" if len(element) > 1 else "key must be 2 characters long:")
    match sort:
        case "f":
            return element
        case "k":
            keys = _parsed(rest)
            if not isinstance(keys, dict):
                raise ElementError(f"want a map: {element}")
            return item(keys)
        case "v":
            return member(_parsed(rest))
        case "i":
            if not rest.removeprefix("-").isdecimal():
                raise ElementError(f"want a number: {element}")
            return f"i:{int(rest)}"
    return None


def _parsed(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise ElementError(f"want JSON: {text}: {error}") from None


def shown(element: str) -> str:
    """Return a step as messages show it: `.spec`, `[name="x"]`, `[="x"]`, `[3]`."""
    sort, rest = element[0], element[2:]
    match sort:
        case "f":
            return f".{rest}"
        case "k":
            keys: dict[str, Any] = msgspec.json.decode(rest)
            return f"[{','.join(f'{name}={_quoted(keys[name])}' for name in sorted(keys))}]"
        case "v":
            return f"[={_quoted(msgspec.json.decode(rest))}]"
    return f"[{rest}]"


def _quoted(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "null" if value is None else msgspec.json.encode(value).decode()


# The parts of a step that decide its place: sort, name of a field, and pairs of key and comparable value.
Order = tuple[int, str, tuple[tuple[str, int, Any], ...]]


@lru_cache(maxsize=4096)
def order(element: str) -> Order:
    """Return a sort key: the `.`, then fields by name, then items by their keys, then members, then places."""
    match element[0]:
        case ".":
            return -1, "", ()
        case "f":
            return 0, element, ()
        case "k":
            keys: dict[str, Any] = msgspec.json.decode(element[2:])
            return 1, "", tuple((name, *_rank(keys[name])) for name in sorted(keys))
        case "v":
            return 2, "", (("", *_rank(msgspec.json.decode(element[2:]))),)
    return 3, "", (("", 0, int(element[2:])),)


def _rank(value: Any) -> tuple[int, Any]:
    """Make values of all types comparable: numbers, then texts, then booleans, then the rest by their JSON."""
    if isinstance(value, bool):
        return 2, value
    if isinstance(value, int | float):
        return 0, value
    return (1, value) if isinstance(value, str) else (3, _json(value))
