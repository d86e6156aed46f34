"""Whether an applied configuration fits its schema: the real server's complaints, in its words.

Paths are those of the sets (`.spec.template.spec.containers[name="web"].ports`), and all complaints are collected.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from skerry.machinery.apply import elements
from skerry.machinery.apply.schema import Anything, Keyed, Leaf, ListOf, MapOf, Node, SetOf, Struct
from skerry.machinery.structs import Scalar


def misfits(config: Any, node: Node, open_fields: Sequence[str] = ()) -> list[str]:
    """Return what is wrong, `.spec.foo: field not declared in schema`; below `open_fields` any name goes."""
    return [f"{path}: {text}" if path else text for path, text in _walk(config, node, "", _Open(open_fields))]


class _Open:
    """The places (dotted names) in and below which fields need no declaration."""

    def __init__(self, fields: Sequence[str]) -> None:
        self._fields = tuple(f".{field}" for field in fields)

    def __contains__(self, path: str) -> bool:
        return any(path == field or path.startswith((f"{field}.", f"{field}[")) for field in self._fields)


def _walk(value: Any, node: Node, path: str, undeclared: _Open) -> Iterator[tuple[str, str]]:
    if value is None or isinstance(node, Anything):
        return
    if isinstance(node, Leaf):
        if node.inner is not None:
            yield from _walk(value, node.inner, path, undeclared)
        elif complaint := _scalar(value, node.scalars):
            yield path, complaint
    elif isinstance(node, Struct | MapOf):
        yield from _map(value, node, path, undeclared)
    else:
        yield from _list(value, node, path, undeclared)


def _map(value: Any, node: Struct | MapOf, path: str, undeclared: _Open) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield path, f"expected map, got &{{{_go(value)}}}"
        return
    for name, inner in value.items():
        here = f"{path}.{name}"
        if isinstance(node, Struct) and name not in node.fields and node.others is None:
            if here not in undeclared:
                yield here, "field not declared in schema"
        else:
            yield from _walk(inner, node.of(name), here, undeclared)


def _list(value: Any, node: ListOf | Keyed | SetOf, path: str, undeclared: _Open) -> Iterator[tuple[str, str]]:
    if not isinstance(value, list):
        yield path, f"expected list, got &{{{_go(value)}}}"
        return
    seen = set()
    for index, item in enumerate(value):
        if isinstance(node, ListOf):
            yield from _walk(item, node.items, f"{path}[{index}]", undeclared)
            continue
        element = node.element(item)
        if element is None:
            yield path, f"element {index}: {_nameless(item, node)}"
            return
        if element in seen:
            yield path, f"duplicate entries for key {elements.shown(element)}"
        seen.add(element)
        yield from _walk(item, node.items, path + elements.shown(element), undeclared)


def _nameless(item: Any, node: Keyed | SetOf) -> str:
    if isinstance(node, SetOf):
        if isinstance(item, dict):
            return "associative list without keys has an element that's a map type"
        if isinstance(item, list):
            return "not supported: associative list with lists as elements"
        return "associative list without keys has an element that's an explicit null"
    if item is None:
        return "associative list with keys may not have a null element"
    if not isinstance(item, dict):
        return "associative list with keys may not have non-map elements"
    missing = next(name for name, default in node.keys if item.get(name, default) is None)
    return (
        f'associative list with keys has an element that omits key field "{missing}" (and doesn\'t have default value)'
    )


def _scalar(value: Any, scalars: tuple[Scalar, ...]) -> str:
    sorts = {_SORTS[scalar] for scalar in scalars}
    if len(sorts) != 1 or "untyped" in sorts:
        return f"expected any scalar, got &{{{_go(value)}}}" if isinstance(value, dict | list) else ""
    match sorts.pop():
        case "numeric" if isinstance(value, bool) or not isinstance(value, int | float):
            return f"expected numeric (int or float), got {_go_type(value)}"
        case "boolean" if not isinstance(value, bool):
            return f"expected boolean, got &{{{_go(value)}}}"
        case "string" if not isinstance(value, str):
            return f"expected string, got &value.valueUnstructured{{Value:{_go(value)}}}"
    return ""


# Quantities and times are texts to most writers, but a quantity may be a number.
_SORTS: dict[Scalar, str] = {
    "boolean": "boolean",
    "integer": "numeric",
    "number": "numeric",
    "string": "string",
    "time": "string",
    "quantity": "untyped",
}


def _go(value: Any) -> str:
    """Format a value as Go's `%v` does."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{name}:{_go(value[name])}' for name in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_go, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _go_type(value: Any) -> str:
    names = {bool: "bool", str: "string", dict: "map[string]interface {}", list: "[]interface {}"}
    return names[type(value)]
