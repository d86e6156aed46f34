"""The set of fields of an object: what an applied configuration claims.

Leaves and items of lists are in the set, and so are keys of maps; declared fields of structs are there only as the way
to what is in them, unless they are null or an empty map: to say nothing but `strategy: {}` is to own `strategy`.
An empty list claims nothing. `everything` has the containers too: it is what comes into being with a new value.
"""

from collections.abc import Mapping
from typing import Any

from skerry.machinery.apply import elements
from skerry.machinery.apply.schema import (
    NULL,
    Anything,
    Keyed,
    Leaf,
    ListNode,
    MapNode,
    MapOf,
    Node,
    SetOf,
    Struct,
    as_list,
    as_map,
)
from skerry.machinery.apply.sets import SELF, FieldSet


def field_set(value: Any, node: Node) -> FieldSet:
    """Return the fields inside of a value: for a whole object, the set that it claims."""
    if (mapping := as_map(node, value)) is not None:
        return _of_map(value, mapping)
    if (listing := as_list(node, value)) is not None:
        return _of_list(value, listing)
    return {}


def has_parts(value: Any, node: Node) -> bool:
    """Say whether a value is owned part by part."""
    return as_map(node, value) is not None or as_list(node, value) is not None


def _of_map(value: Mapping[str, Any], node: MapNode) -> FieldSet:
    fields: FieldSet = {}
    for name in sorted(value):
        inner = value[name]
        below = field_set(inner, node.of(name))
        if not has_parts(inner, node.of(name)) or inner == {}:
            fields[elements.field(name)] = {}
        elif not (isinstance(node, Struct) and name in node.fields):
            fields[elements.field(name)] = {SELF: {}, **below} if below else {}
        elif below:
            fields[elements.field(name)] = below
    return fields


def _of_list(value: list[Any], node: ListNode) -> FieldSet:
    fields: FieldSet = {}
    for element, items in by_element(value, node).items():
        below = field_set(items[0], node.items) if len(items) == 1 else {}
        fields[element] = {SELF: {}, **below} if below else {}
    return fields


def by_element(value: list[Any], node: Keyed | SetOf) -> dict[str, list[Any]]:
    """Return the items of a list by their names, in the order of sets.

    What has no name is left out, a name that stands twice has two.
    """
    found: dict[str, list[Any]] = {}
    for item in value:
        if (element := node.element(item)) is not None:
            found.setdefault(element, []).append(item)
    return {element: found[element] for element in sorted(found, key=elements.order)} if len(found) > 1 else found


def everything(value: Any, node: Node) -> FieldSet:
    """Return a value with all that is in it, as the node of a set."""
    if not value or isinstance(node, Leaf):
        return {}
    below: FieldSet = {SELF: {}}
    if (mapping := as_map(node, value)) is not None:
        for name in sorted(value):
            inner = value[name]
            if inner is not None and inner is not NULL:
                below[elements.field(name)] = everything(inner, mapping.of(name))
    elif (listing := as_list(node, value)) is not None:
        for element, items in by_element(value, listing).items():
            below[element] = everything(items[0], listing.items) if len(items) == 1 else {}
    return below if len(below) > 1 else {}


def with_parents(fields: FieldSet, node: Node) -> FieldSet:
    """Return a set in which declared fields with members below are members themselves.

    A struct that holds nothing but what its owner wrote goes when the owner withdraws, though nobody claims the struct.
    """
    grown: FieldSet = {}
    for element, below in fields.items():
        inner = _below(element, node)
        if below and inner is not None:
            declared = isinstance(node, Struct) and element[2:] in node.fields
            below = with_parents(below, inner)  # noqa: PLW2901 - the same node, grown
            grown[element] = {SELF: {}, **below} if declared else below
        else:
            grown[element] = below
    return grown


def _below(element: str, node: Node) -> Node | None:
    if element.startswith("f:"):
        return node.of(element[2:]) if isinstance(node, Struct | MapOf | Anything) else None
    return node.items if element.startswith("k:") and isinstance(node, Keyed) else None
