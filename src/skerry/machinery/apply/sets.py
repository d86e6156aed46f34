"""Sets of fields, as nested dicts in the form of `fieldsV1`, and their algebra.

    {"f:spec": {"f:replicas": {}, "f:selector": {}}}        .spec.replicas and .spec.selector, but not .spec
    {"f:labels": {".": {}, "f:app": {}}}                    .labels itself and .labels.app

A node without children is a member of the set; a node with children is one when it has a `.`. No node is without a
member in it or below, and `{".": {}}` alone is written `{}`, so equal sets are equal dicts. The empty set is `{}` at
the top, where the object as a whole is nobody's field. Each dict is in the server's order (`elements.order`), so a set
is its own JSON: whoever makes one keeps to these rules. Sets are values: nothing here changes one, results share parts.
"""

from collections.abc import Iterator
from typing import Any, Final

from skerry.machinery.apply.elements import ElementError, Order, canonical, order

FieldSet = dict[str, "FieldSet"]
Path = tuple[str, ...]

SELF: Final = "."
EMPTY: Final[FieldSet] = {}
_MEMBER: Final[FieldSet] = {SELF: {}}


class SetError(ValueError):
    """A `fieldsV1` that cannot be read."""


def has_self(node: FieldSet) -> bool:
    """Say whether the field of a node is a member of the set."""
    return not node or SELF in node


def tidy(node: FieldSet) -> FieldSet | None:
    """Return a node in its one form; None when there is no member in it."""
    if len(node) == 1 and SELF in node:
        return {}
    return node or None


def union(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return the fields of both."""
    if not one or not other:
        return one or other
    merged = dict(one)
    for element, node in other.items():
        mine = one.get(element)
        merged[element] = node if mine is None else _union_of_nodes(mine, node)
    return merged if len(merged) == len(one) else in_order(merged)


def _union_of_nodes(one: FieldSet, other: FieldSet) -> FieldSet:
    if one and other:
        return union(one, other)
    whole = one or other
    return whole if has_self(whole) else {**_MEMBER, **whole}


def intersection(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return the fields that are in both."""
    common: FieldSet = {}
    for element, node in one.items():
        theirs = other.get(element)
        if theirs is None:
            continue
        if element == SELF:
            common[SELF] = {}
        elif (inner := _common_of_nodes(node, theirs)) is not None:
            common[element] = inner
    return common


def _common_of_nodes(one: FieldSet, other: FieldSet) -> FieldSet | None:
    if one and other:
        return tidy(intersection(one, other))
    return {} if has_self(one) and has_self(other) else None


def difference(one: FieldSet, other: FieldSet) -> FieldSet:
    """Return the fields of `one` that are not in `other`; a field and what is below it count apart."""
    if not one or not other:
        return one
    left: FieldSet = {}
    for element, node in one.items():
        theirs = other.get(element)
        if theirs is None:
            left[element] = node
        elif element != SELF and (inner := tidy(difference(node or _MEMBER, theirs or _MEMBER))) is not None:
            left[element] = inner
    return left


def in_order(fields: FieldSet) -> FieldSet:
    """Return a node with its steps in the server's order."""
    return dict(sorted(fields.items(), key=_place)) if len(fields) > 1 else fields


def _place(entry: tuple[str, FieldSet]) -> Order:
    return order(entry[0])


def paths(fields: FieldSet, prefix: Path = ()) -> Iterator[Path]:
    """Yield the members in the server's order: those of a node first, then what is below each."""
    for element, node in fields.items():
        if element != SELF and has_self(node):
            yield (*prefix, element)
    for element, node in fields.items():
        yield from paths(node, (*prefix, element))


def decode(fields: Any) -> FieldSet:
    """Read a `fieldsV1`; raises `SetError`. Steps of an unknown sort are dropped, as the real server does."""
    if not isinstance(fields, dict):
        raise SetError(f"want a map, got {type(fields).__name__}")
    found: FieldSet = {}
    for spelled, node in fields.items():
        if spelled == SELF:
            continue
        try:
            element = canonical(spelled)
        except ElementError as error:
            raise SetError(f"parsing key as path element: {error}") from None
        if element is not None:
            inner = _decoded_node(node)
            found[element] = _union_of_nodes(found[element], inner) if element in found else inner
    return in_order(found)


def _decoded_node(node: Any) -> FieldSet:
    inner = decode(node)
    return {SELF: {}, **inner} if inner and SELF in node else inner
