r"""JSONPath as Kubernetes has it, for printer columns and `scale`: names, indexes, `[*]`, slices, unions and filters.

    .spec.replicas      .metadata.labels.app\.kubernetes\.io/name      .metadata.annotations['a.b']
    .spec.ports[0]      .status.conditions[?(@.type=="Ready")].status     .spec.containers[*].name

A path is parsed once into steps; each step turns a value into values. Recursive descent (`..`) and functions are left
out: no definition has them, since the API server takes only simple paths.

Facts: k8s.io/client-go `util/jsonpath`.
"""

import json
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

Step = Callable[[Any], Iterable[Any]]

_NAME: Final = re.compile(r"(?:\\.|[^.\[\\])+", re.DOTALL)
_SLICE: Final = re.compile(r"(-?\d*):(-?\d*)(?::(-?\d*))?", re.ASCII)
_FILTER: Final = re.compile(
    r"\?\(\s*(?P<left>.+?)\s*(?:(?P<operator>==|!=|<=|>=|<|>)\s*(?P<right>.+?)\s*)?\)", re.DOTALL
)
_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


class JsonPathError(ValueError):
    """The text is no path that is known here."""


class JsonPath:
    """A parsed path."""

    def __init__(self, text: str) -> None:
        self._steps = _parsed(text)

    def find(self, value: Any) -> list[Any]:
        """Return all that the path leads to; nothing where it leads nowhere."""
        found = [value]
        for step in self._steps:
            found = [inner for one in found for inner in step(one)]
        return found


def names_of(text: str) -> Sequence[str]:
    """Return the names of a path without brackets, as `scale` takes it; raises `JsonPathError` for any other."""
    if not text.startswith("."):
        raise JsonPathError("must be a simple json path starting with .")
    if "[" in text:
        raise JsonPathError("must be a simple json path without array notation")
    return [_unescaped(name) for name in _NAME.findall(text)]


def _parsed(text: str) -> list[Step]:
    text = text.strip().removeprefix("{").removesuffix("}") if text.strip().startswith("{") else text.strip()
    place, steps = 0, []
    while place < len(text):
        if text[place] == "[":
            end = _closing(text, place)
            steps.append(_bracket(text[place + 1 : end].strip()))
            place = end + 1
            continue
        if text.startswith("..", place):
            raise JsonPathError(f"recursive descent is not supported: {text!r}")
        place += text[place] == "."
        if text.startswith("[", place) or place == len(text):
            continue
        found = _NAME.match(text, place)
        if found is None:
            raise JsonPathError(f"cannot read {text[place:]!r} of {text!r}")
        steps.append(_all if found[0] == "*" else _member(_unescaped(found[0])))
        place = found.end()
    return steps


def _closing(text: str, begun: int) -> int:
    """Return where the bracket closes; brackets in quotes and in filters do not count."""
    depth, quote = 0, ""
    for place in range(begun, len(text)):
        char = text[place]
        if quote:
            quote = "" if char == quote and text[place - 1] != "\\" else quote
        elif char in "'\"":
            quote = char
        elif char in "[]":
            depth += 1 if char == "[" else -1
            if depth == 0:
                return place
    raise JsonPathError(f"unterminated array: {text!r}")


def _bracket(text: str) -> Step:
    if text == "*":
        return _all
    if text.startswith("?("):
        return _filter(text)
    if text[:1] in {"'", '"'} and text[-1:] == text[0] and text.count(text[0]) == 2:
        return _member(_unescaped(text[1:-1]))
    if "," in text:
        steps = [_bracket(part.strip()) for part in text.split(",")]
        return lambda value: [inner for step in steps for inner in step(value)]
    if found := _SLICE.fullmatch(text):
        parts = [int(part) if part else None for part in found.groups()]
        return lambda value: value[slice(*parts)] if isinstance(value, list) else ()
    try:
        index = int(text)
    except ValueError:
        raise JsonPathError(f"invalid array index {text}") from None
    return lambda value: value[index : index + 1 or None] if isinstance(value, list) else ()


def _filter(text: str) -> Step:
    found = _FILTER.fullmatch(text)
    if found is None or (found["operator"] is None and found["left"].endswith("=")):
        raise JsonPathError(f"cannot read the filter {text!r}")
    left = _operand(found["left"])
    if found["operator"] is None:
        return lambda value: [item for item in _each(value) if list(left(item))]
    right, compare = _operand(found["right"]), _OPERATORS[found["operator"]]

    def holds(item: Any) -> bool:
        one, other = list(left(item)), list(right(item))
        if len(one) != 1 or len(other) != 1:
            return False
        try:
            return compare(one[0], other[0])
        except TypeError:
            return False

    return lambda value: [item for item in _each(value) if holds(item)]


def _operand(text: str) -> Step:
    if text.startswith("@"):
        return JsonPath(text[1:]).find
    if text[:1] in {"'", '"'} and text[-1:] == text[0]:
        literal: Any = _unescaped(text[1:-1])
    else:
        try:
            literal = json.loads(text)
        except ValueError:
            raise JsonPathError(f"cannot read {text!r} in a filter") from None
    return lambda _: [literal]


def _member(name: str) -> Step:
    return lambda value: [value[name]] if isinstance(value, dict) and name in value else ()


def _all(value: Any) -> Iterator[Any]:
    yield from _each(value)


def _each(value: Any) -> Iterable[Any]:
    if isinstance(value, list):
        return value
    return value.values() if isinstance(value, dict) else ()


def _unescaped(name: str) -> str:
    return re.sub(r"\\(.)", r"\1", name, flags=re.DOTALL)
