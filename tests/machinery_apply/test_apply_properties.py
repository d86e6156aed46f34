"""What holds for all objects, configurations and sequences of writers.

an apply said twice changes nothing the second time
an object after an apply is what it was, plus the configuration
appliers of different fields may come in any order
without force, an applier takes nothing from another one: neither the field, nor its value, nor its ownership
a withdrawn field goes with its last owner
after any history, what is owned exists, and the entries are in the one form and order
"""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st
from tests.machinery_apply.conftest import PROPERTY, make_toy, toy_manager

from skerry.machinery.apply.comparing import compare
from skerry.machinery.apply.conflicts import ApplyConflict
from skerry.machinery.apply.fields import everything, field_set
from skerry.machinery.apply.owners import Owners, read_owners, written_owners
from skerry.machinery.apply.schema import Keyed, SetOf
from skerry.machinery.apply.sets import FieldSet, Path, difference, intersection, paths, union

NOON = "2026-05-01T12:00:00Z"
LATER = "2026-05-01T13:00:00Z"
TOYS = toy_manager()

TEXT = st.sampled_from(["x", "y", "z"])
FLAGS = st.dictionaries(st.sampled_from(["f", "g", "h"]), TEXT, max_size=3)


def ports(numbers: st.SearchStrategy[int], least: int = 0) -> st.SearchStrategy[list[dict[str, Any]]]:
    port = st.fixed_dictionaries(
        {"port": numbers}, optional={"name": TEXT, "protocol": st.sampled_from(["TCP", "UDP"])}
    )
    return st.lists(port, min_size=least, max_size=4, unique_by=lambda one: (one["port"], one.get("protocol", "TCP")))


SPECS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(0, 3),
        "paused": st.booleans(),
        "args": st.lists(TEXT, max_size=3),
        "tags": st.lists(TEXT, unique=True, max_size=3),
        "ports": ports(st.integers(1, 3)),
        "knobs": st.fixed_dictionaries({}, optional={"speed": st.integers(0, 2), "colour": TEXT, "flags": FLAGS}),
        "selector": FLAGS,
        "extra": st.recursive(
            st.booleans() | st.integers(0, 1) | TEXT,
            lambda inner: st.dictionaries(TEXT, inner, max_size=2) | st.lists(inner, max_size=2),
            max_leaves=5,
        ),
    },
)


def stored(item: dict[str, Any], managed_fields: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the object as a store gives it back: through JSON, with its owners."""
    kept = {**item, "metadata": {**item["metadata"], "managedFields": managed_fields}}
    decoded: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(kept))
    return decoded


def applied(
    live: dict[str, Any] | None, spec: dict[str, Any], name: str, *, force: bool = False, now: str = NOON
) -> dict[str, Any]:
    result = TOYS.apply(live, make_toy(spec), name, now, force=force)
    return stored(result.item, result.managed_fields)


def updated(live: dict[str, Any] | None, spec: dict[str, Any], name: str) -> dict[str, Any]:
    new = make_toy(deepcopy(spec))
    if live is not None:
        new["metadata"]["managedFields"] = live["metadata"]["managedFields"]
    return stored(new, TOYS.update(live, new, name, NOON))


def owners_of(item: dict[str, Any]) -> Owners:
    return read_owners(item["metadata"].get("managedFields") or [])


def fields_of(item: dict[str, Any]) -> FieldSet:
    return {element: below for element, below in field_set(item, TOYS.node).items() if element == "f:spec"}


def owned(item: dict[str, Any]) -> FieldSet:
    fields: FieldSet = {}
    for share in owners_of(item).values():
        fields = union(fields, share.fields)
    return fields


@PROPERTY
@given(st.none() | SPECS, SPECS)
def test_an_apply_said_twice_changes_nothing(before: dict[str, Any] | None, spec: dict[str, Any]) -> None:
    live = None if before is None else updated(None, before, "someone")
    assume(live is not None or fields_of(make_toy(spec)))  # what is claimed by nobody is found on the second time
    once = applied(live, spec, "me", force=True)
    assert applied(once, spec, "me", now=LATER) == once


def a_map_gives_way(old: Any, new: Any) -> bool:
    if not isinstance(old, dict) or not isinstance(new, dict):
        return isinstance(old, dict)
    return any(a_map_gives_way(old[key], new[key]) for key in new if key in old)


@PROPERTY
@given(SPECS, SPECS)
def test_the_result_is_the_object_and_the_configuration(before: dict[str, Any], spec: dict[str, Any]) -> None:
    live = updated(None, before, "someone")
    after = applied(live, spec, "me", force=True)
    changed = compare(live, after, TOYS.node)
    said = everything(make_toy(spec), TOYS.node)
    assert changed.removed == changed.displaced
    assert difference(union(everything(live, TOYS.node), said), everything(after, TOYS.node)).keys() <= {"f:spec"}
    assert not difference(difference(changed.added, said), {"f:metadata": {"f:managedFields": {}}})
    # A map without a schema gives way to a scalar with all that is in it, at any depth.
    assume("extra" not in spec or not a_map_gives_way(before.get("extra"), spec["extra"]))
    assert not difference(difference(changed.modified, said), {"f:metadata": {"f:managedFields": {}}})
    assert everything(after, TOYS.node)["f:spec"] == union(everything(live, TOYS.node), said)["f:spec"]
    assert TOYS.apply(after, make_toy(spec), "me", NOON, force=False).item == after


@PROPERTY
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "replicas": st.integers(0, 3),
            "tags": st.lists(st.sampled_from("ab"), unique=True, min_size=1),
            "ports": ports(st.integers(1, 2), 1),
            "knobs": st.fixed_dictionaries({"speed": st.integers(0, 2)}),
        },
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "paused": st.booleans(),
            "tags": st.lists(st.sampled_from("cd"), unique=True, min_size=1),
            "ports": ports(st.integers(3, 4), 1),
            "knobs": st.fixed_dictionaries({"colour": TEXT}, optional={"flags": FLAGS}),
        },
    ),
)
def test_appliers_of_different_fields_may_come_in_any_order(one: dict[str, Any], other: dict[str, Any]) -> None:
    assume(fields_of(make_toy(one)) and fields_of(make_toy(other)))  # who claims nothing leaves no trace
    first = applied(applied(None, one, "one"), other, "other")
    second = applied(applied(None, other, "other"), one, "one")
    assert first["metadata"] == second["metadata"]
    assert unordered(first) == unordered(second)
    # Each withdraws, and the other's part is as if nobody else had ever been there.
    assert unordered(applied(first, {}, "one").get("spec")) == unordered(applied(None, other, "x").get("spec"))


def unordered(value: Any) -> Any:
    if isinstance(value, list):
        return sorted((unordered(item) for item in value), key=repr)
    return {name: unordered(inner) for name, inner in sorted(value.items())} if isinstance(value, dict) else value


@PROPERTY
@given(st.lists(st.tuples(st.sampled_from("abc"), SPECS), min_size=2, max_size=5))
def test_without_force_nothing_of_another_applier_is_lost(steps: list[tuple[str, dict[str, Any]]]) -> None:
    live: dict[str, Any] | None = None
    for name, spec in steps:
        try:
            new = applied(live, spec, name)
        except ApplyConflict:
            continue
        if live is not None:
            others = {one: share for one, share in owners_of(live).items() if one.name != name}
            for one, share in others.items():
                assert owners_of(new)[one] == share
                for path in paths(share.fields):
                    assert value_at(new, path) == value_at(live, path)
        live = new


@PROPERTY
@given(st.lists(st.tuples(st.sampled_from("abc"), SPECS), min_size=1, max_size=4), SPECS)
def test_a_withdrawn_field_goes_with_its_last_owner(
    steps: list[tuple[str, dict[str, Any]]], final: dict[str, Any]
) -> None:
    live: dict[str, Any] | None = None
    for name, spec in steps:
        live = applied(live, spec, name, force=True)
    assert live is not None
    after = applied(live, final, "a", force=True)
    here = set(paths(fields_of(after)))
    for one, share in owners_of(live).items():
        if one.name != "a":
            continue
        for path in paths(difference(share.fields, owned(after))):
            assert path not in here or any(other[: len(path)] == path for other in paths(owned(after)))
    assert not difference(owned(after), everything(after, TOYS.node))


@PROPERTY
@given(
    st.lists(
        st.tuples(st.sampled_from(["apply", "force", "update"]), st.sampled_from("abc"), SPECS),
        min_size=1,
        max_size=7,
    )
)
def test_after_any_history_what_is_owned_exists(steps: list[tuple[str, str, dict[str, Any]]]) -> None:
    live: dict[str, Any] | None = None
    for verb, name, spec in steps:
        try:
            live = updated(live, spec, name) if verb == "update" else applied(live, spec, name, force=verb == "force")
        except ApplyConflict:
            continue
        assert not difference(owned(live), everything(live, TOYS.node))
        assert all(share.fields for share in owners_of(live).values())
        entries = live["metadata"].get("managedFields", [])
        assert msgspec.json.encode(written_owners(owners_of(live))) == msgspec.json.encode(entries)
        if verb != "update":
            mine = next(
                (share for one, share in owners_of(live).items() if one.operation == "Apply" and one.name == name), None
            )
            assert (mine.fields if mine else {}) == fields_of(make_toy(spec))


@PROPERTY
@given(SPECS, SPECS, SPECS)
def test_an_update_owns_what_it_changed_and_nobody_else_does(
    first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]
) -> None:
    live = updated(applied(None, first, "applier"), second, "earlier")
    assume(live["metadata"].get("managedFields"))
    new = updated(live, third, "later")
    changed = compare(live, new, TOYS.node)
    wanted = {
        element: below for element, below in union(changed.modified, changed.added).items() if element == "f:spec"
    }
    for one, share in owners_of(new).items():
        if one.name == "later":
            assert not difference(wanted, share.fields)
        else:
            assert not intersection(wanted, share.fields)


def value_at(item: Any, path: Path) -> Any:
    """Return what a path leads to, with the items of lists under their names."""
    node: Any = TOYS.node
    for element in path:
        if isinstance(node, Keyed | SetOf):
            listing = node
            item = next(one for one in item if listing.element(one) == element)
            node = node.items
        else:
            node, item = node.of(element[2:]), item[element[2:]]
    return None if isinstance(node, Keyed | SetOf) or isinstance(item, dict | list) else item


def walk(value: Any) -> Iterator[Any]:
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


@PROPERTY
@given(SPECS, SPECS, SPECS)
def test_no_write_changes_the_object_that_it_was_given(
    first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]
) -> None:
    live = updated(None, first, "someone")
    before = deepcopy(live)
    result = TOYS.apply(live, make_toy(second), "me", NOON, force=True)
    TOYS.update(live, make_toy(third), "other", NOON)
    assert live == before
    parts = {id(part) for part in walk(live.get("spec", {})) if isinstance(part, dict | list)}
    assert not [part for part in walk(result.item["spec"]) if isinstance(part, dict | list) and id(part) in parts]
