"""A configuration merged into an object.

What the configuration says replaces what is there, leaf by leaf; the rest stays. Where it says null, the result has
`NULL` until the owners have been computed, because a field that is withdrawn in this way is claimed all the same.

Items of a keyed list and members of a set come in the order of the configuration; those that only the object has keep
their place before the item that they stood before. A configuration that changes nothing changes no order either when
it names the items in the object's own order.
"""

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final

from skerry.machinery.apply.elements import field
from skerry.machinery.apply.schema import NULL, ListNode, MapNode, Node, as_list, as_map
from skerry.machinery.apply.sets import FieldSet, has_self
from skerry.machinery.jsonvalues import copied

ABSENT: Final[Any] = object()


def merge(live: Any, applied: Any, node: Node) -> Any:
    """Return `live` with `applied` merged in; neither is changed, nor shared with what is new."""
    if applied is None:
        # A null container is the same as an empty one, and an empty one adds nothing.
        return NULL if live is None or live is ABSENT or not _has_parts(live, node) else live
    if live is not ABSENT and not (live or applied):
        return copied(applied)
    if (mapping := as_map(node, applied)) is not None:
        return _maps(live if isinstance(live, dict) else {}, applied, mapping)
    if (listing := as_list(node, applied)) is not None:
        return _lists(live if isinstance(live, list) else [], applied, listing)
    return copied(applied)


def _has_parts(value: Any, node: Node) -> bool:
    return bool(value) and (as_map(node, value) is not None or as_list(node, value) is not None)


def _maps(live: Mapping[str, Any], applied: Mapping[str, Any], node: MapNode) -> dict[str, Any]:
    merged = dict(live)
    for name, value in applied.items():
        merged[name] = merge(live.get(name, ABSENT), value, node.of(name))
    return merged


def _lists(live: list[Any], applied: list[Any], node: ListNode) -> list[Any]:
    names = [node.element(item) for item in live]
    wanted = {node.element(item): item for item in applied}
    if None in names or None in wanted:
        return [copied(item) for item in applied]
    # Twins in the object have no place to merge into: the configuration's item replaces them all.
    twins = Counter(names)
    before = {name: ABSENT if twins[name] > 1 else item for name, item in zip(names, live, strict=True)}
    merged: list[Any] = []
    place = 0
    turns = deque(name for name in wanted if name in before)
    for name, item in wanted.items():
        # Up to the next item that both have: what only the object has goes first, what is shared waits for its turn.
        while place < len(live) and not (turns and names[place] == turns[0]):
            if names[place] not in wanted:
                merged.append(live[place])
            place += 1
        merged.append(merge(before.get(name, ABSENT), item, node.items))
        if turns and turns[0] == name:
            turns.popleft()
    return merged + [item for name, item in zip(names[place:], live[place:], strict=True) if name not in wanted]


def without_nulls(value: Any) -> Any:
    """Return a copy of a merged value, without its applied nulls."""
    if isinstance(value, dict):
        return {name: without_nulls(inner) for name, inner in value.items() if inner is not NULL}
    return [without_nulls(inner) for inner in value] if isinstance(value, list) else value


def prune(value: Any, doomed: FieldSet, wanted: FieldSet, node: Node) -> Any:
    """Return a value without the fields of a set; None when that leaves nothing.

    Both sets are the inside of the value's node. A member of `doomed` takes all that is in it along. A container that
    is emptied goes too, unless it is itself a member of `wanted`.
    """
    if (mapping := as_map(node, value)) is not None:
        return _pruned_map(value, doomed, wanted, mapping) or None
    if (listing := as_list(node, value)) is not None:
        return _pruned_list(value, doomed, wanted, listing) or None
    return value


def _pruned_map(value: Mapping[str, Any], doomed: FieldSet, wanted: FieldSet, node: MapNode) -> dict[str, Any]:
    left = {}
    for name, inner in value.items():
        kept = _spared(inner, field(name), doomed, wanted, node.of(name))
        if kept is not None:
            left[name] = kept
    return left


def _pruned_list(value: list[Any], doomed: FieldSet, wanted: FieldSet, node: ListNode) -> list[Any]:
    left = []
    for item in value:
        element = node.element(item)
        kept = item if element is None else _spared(item, element, doomed, wanted, node.items)
        if kept is not None:
            left.append(kept)
    return left


def _spared(value: Any, element: str, doomed: FieldSet, wanted: FieldSet, node: Node) -> Any:
    fate = doomed.get(element)
    if fate is None:
        return value
    if has_self(fate):
        return None
    claims = wanted.get(element)
    kept = prune(value, fate, claims or {}, node)
    return type(value)() if kept is None and claims is not None and has_self(claims) else kept
