"""What changed between two objects: fields removed, modified and added, each a set.

A null is an absent field, as it is for Go's structs. A `NULL` that an applied configuration put there changes what was
there, and is nothing where nothing was.
Equal parts are skipped by Python's own comparison, which makes an update cost what it changes. (It takes `true` for
`1`, so where a schema allows both, a change from one to the other is nobody's.)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from skerry.machinery.apply import elements
from skerry.machinery.apply.fields import by_element, everything
from skerry.machinery.apply.schema import NULL, ListNode, MapNode, Node, Struct, as_list, as_map
from skerry.machinery.apply.sets import SELF, FieldSet, in_order


@dataclass(slots=True)
class Comparison:
    """The changes inside of one value.

    `displaced` are those removed fields whose place is taken: a map without a schema became a scalar.
    """

    removed: FieldSet = field(default_factory=dict)
    modified: FieldSet = field(default_factory=dict)
    added: FieldSet = field(default_factory=dict)
    displaced: FieldSet = field(default_factory=dict)

    def put(self, element: str, inner: "Comparison") -> None:
        if inner.removed:
            self.removed[element] = inner.removed
        if inner.modified:
            self.modified[element] = inner.modified
        if inner.added:
            self.added[element] = inner.added
        if inner.displaced:
            self.displaced[element] = inner.displaced


def compare(old: Any, new: Any, node: Node) -> Comparison:
    """Compare two values of one schema part by part."""
    found = Comparison()
    if (mapping := as_map(node, old)) is not None and isinstance(new, dict):
        _maps(old, new, mapping, found)
    elif (listing := as_list(node, old)) is not None and isinstance(new, list):
        _lists(old, new, listing, found)
    return found


def _maps(old: Mapping[str, Any], new: Mapping[str, Any], node: MapNode, found: Comparison) -> None:
    for name in sorted(old):
        before, after = old[name], new.get(name)
        if before is None:
            continue
        if after is None:
            found.removed[elements.field(name)] = everything(before, node.of(name))
        elif before is not after:
            _values(elements.field(name), before, after, node.of(name), found)
    modified, added = len(found.modified), len(found.added)
    for name in sorted(new):
        if old.get(name) is None:
            _new_field(name, new[name], node, found)
    if len(found.modified) > modified > 0:
        found.modified = in_order(found.modified)
    if len(found.added) > added > 0:
        found.added = in_order(found.added)


def _new_field(name: str, value: Any, node: MapNode, found: Comparison) -> None:
    if value is None or value is NULL:
        return
    if isinstance(node, Struct) and name in node.zero:
        _values(elements.field(name), [] if isinstance(value, list) else {}, value, node.of(name), found)
    else:
        found.added[elements.field(name)] = everything(value, node.of(name))


def _values(element: str, before: Any, after: Any, node: Node, found: Comparison) -> None:
    if before == after:
        return
    if _have_parts(before, after, node):
        found.put(element, compare(before, after, node))
        return
    found.modified[element] = {}
    if below := _inside(before, node):
        found.removed[element] = found.displaced[element] = below
    if below := _inside(after, node):
        found.added[element] = below


def _have_parts(before: Any, after: Any, node: Node) -> bool:
    """Say whether to look inside; two empty containers of different types are compared as they are."""
    if not before and not after:
        return False
    if as_map(node, before) is not None:
        return isinstance(after, dict)
    return as_list(node, before) is not None and isinstance(after, list)


def _inside(value: Any, node: Node) -> FieldSet:
    return {element: below for element, below in everything(value, node).items() if element != SELF}


def _lists(old: list[Any], new: list[Any], node: ListNode, found: Comparison) -> None:
    before, after = by_element(old, node), by_element(new, node)
    for element in sorted(before.keys() | after.keys(), key=elements.order):
        _items(element, before.get(element, []), after.get(element, []), node.items, found)


def _items(element: str, before: list[Any], after: list[Any], node: Node, found: Comparison) -> None:
    """Compare the items of one name; two of the same name are one leaf, for nobody can tell them apart."""
    if len(before) == 1 and len(after) == 1:
        _values(element, before[0], after[0], node, found)
    elif len(before) > 1 and len(after) > 1:
        if before != after:
            found.modified[element] = {}
    else:
        if before:
            found.removed[element] = everything(before[0], node) if len(before) == 1 else {}
        if after:
            found.added[element] = everything(after[0], node) if len(after) == 1 else {}
