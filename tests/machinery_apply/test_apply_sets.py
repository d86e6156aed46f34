"""The algebra of sets of fields, against Python's own sets of paths."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machinery_apply.conftest import PROPERTY

from skerry.machinery.apply.elements import order
from skerry.machinery.apply.sets import (
    SELF,
    FieldSet,
    Path,
    SetError,
    decode,
    difference,
    intersection,
    paths,
    tidy,
    union,
)

ELEMENTS = ["f:a", "f:b", "f:c", 'k:{"n":1}', 'k:{"n":2}', 'k:{"n":10}', 'v:"x"', "v:2", "i:0"]
PATHS = st.lists(st.sampled_from(ELEMENTS), min_size=1, max_size=4).map(tuple)
PATH_SETS = st.frozensets(PATHS, max_size=12)


def built(members: frozenset[Path]) -> FieldSet:
    """Build a set in the form that the module promises."""

    def node(prefix: Path) -> FieldSet:
        steps = {path[len(prefix)] for path in members if len(path) > len(prefix) and path[: len(prefix)] == prefix}
        inner: FieldSet = {}
        for step in sorted(steps, key=order):
            below = node((*prefix, step))
            inner[step] = {SELF: {}, **below} if below and (*prefix, step) in members else below
        return inner

    return node(())


def is_in_form(node: FieldSet) -> bool:
    return (
        list(node) == sorted(node, key=order)
        and all(below == tidy(below) or not below for below in node.values())
        and all(is_in_form(below) for below in node.values())
    )


@PROPERTY
@given(PATH_SETS)
def test_a_set_is_its_paths(members: frozenset[Path]) -> None:
    assert frozenset(paths(built(members))) == members
    assert is_in_form(built(members))


@PROPERTY
@given(PATH_SETS, PATH_SETS)
def test_union_intersection_and_difference_are_those_of_the_paths(one: frozenset[Path], other: frozenset[Path]) -> None:
    for ours, theirs in (
        (union, frozenset.union),
        (intersection, frozenset.intersection),
        (difference, frozenset.difference),
    ):
        found = ours(built(one), built(other))
        assert found == built(theirs(one, other))
        assert is_in_form(found)


@PROPERTY
@given(PATH_SETS)
def test_json_and_back_is_the_same_set_in_the_same_order(members: frozenset[Path]) -> None:
    fields = built(members)
    text = json.dumps(fields)
    assert json.dumps(decode(json.loads(text))) == text


@PROPERTY
@given(PATH_SETS, st.randoms(use_true_random=False))
def test_a_client_may_send_the_steps_in_any_order(members: frozenset[Path], random: object) -> None:
    def shuffled(node: FieldSet) -> FieldSet:
        steps = list(node)
        random.shuffle(steps)  # type: ignore[attr-defined]
        return {step: shuffled(node[step]) for step in steps}

    fields = built(members)
    assert json.dumps(decode(shuffled(fields))) == json.dumps(fields)


@PROPERTY
@given(PATH_SETS, PATH_SETS)
def test_nothing_is_changed_in_place(one: frozenset[Path], other: frozenset[Path]) -> None:
    left, right = built(one), built(other)
    for operation in (union, intersection, difference):
        operation(left, right)
    assert (left, right) == (built(one), built(other))


def test_a_field_and_what_is_below_it_count_apart() -> None:
    parent: FieldSet = {"f:a": {}}
    child: FieldSet = {"f:a": {"f:b": {}}}
    both: FieldSet = {"f:a": {".": {}, "f:b": {}}}
    assert union(parent, child) == both
    assert difference(both, parent) == child
    assert difference(both, child) == parent
    assert difference(parent, child) == parent
    assert intersection(parent, child) == {}


def test_paths_of_a_node_come_before_what_is_below() -> None:
    fields = decode({"f:b": {}, "f:a": {".": {}, "f:x": {}}, "f:c": {"f:y": {}}})
    assert list(paths(fields)) == [("f:a",), ("f:b",), ("f:a", "f:x"), ("f:c", "f:y")]


def test_spellings_of_one_step_are_one_step() -> None:
    spelled: FieldSet = {'k:{"b":2,"a":1}': {"f:x": {}}, 'k:{"a":1, "b":2}': {".": {}}}
    assert decode(spelled) == {'k:{"a":1,"b":2}': {".": {}, "f:x": {}}}


def test_unknown_sorts_of_steps_are_dropped_and_empty_points_are_no_children() -> None:
    assert decode({"f:a": {"z:new": {}}, "y:new": {}, ".": {}}) == {"f:a": {}}
    assert decode({"f:a": {".": {}}}) == {"f:a": {}}


@pytest.mark.parametrize("bad", [None, [], "f:a", {"f:a": 1}, {"f:a": None}, {"name": {}}, {"k:{": {}}])
def test_what_is_no_set_is_refused(bad: object) -> None:
    with pytest.raises(SetError):
        decode(bad)
