import copy
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from skerry.machinery.jsonpatch import PatchError, apply_json_patch
from skerry.machinery.jsonvalues import copied, equal
from skerry.machinery.merge import merge_diff, merge_patch

KEYS = st.sampled_from(["a", "b", "c", "a/b", "m~n", ""])
SCALARS = st.one_of(st.booleans(), st.integers(-3, 3), st.sampled_from(["", "x", "y"]), st.just(1.5))


def values(*, null: bool = True) -> st.SearchStrategy[Any]:
    """Any JSON value, from a small alphabet so that keys collide."""
    scalars = st.one_of(SCALARS, st.none()) if null else SCALARS
    return st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
        max_leaves=8,
    )


def objects(*, null: bool = True) -> st.SearchStrategy[dict[str, Any]]:
    """Any JSON object."""
    return st.dictionaries(KEYS, values(null=null), max_size=4)


@given(values())
def test_a_copy_is_equal(value: Any) -> None:
    assert equal(copied(value), value)


@given(values(), values())
def test_merge_is_idempotent_and_leaves_its_inputs_alone(target: Any, patch: Any) -> None:
    before = copy.deepcopy((target, patch))
    once = merge_patch(target, patch)
    assert equal(merge_patch(once, patch), once)
    assert (target, patch) == before


@given(objects(null=False), objects(null=False))
def test_a_diff_is_the_patch_that_makes_the_new_object(old: dict[str, Any], new: dict[str, Any]) -> None:
    diff = merge_diff(old, new)
    assert equal(merge_patch(old, diff), new)
    assert (diff == {}) == equal(old, new)


@given(values(), values())
def test_what_was_added_can_be_tested_and_removed(target: Any, value: Any) -> None:
    document = {"root": target}
    operations = [
        {"op": "add", "path": "/new~0~1", "value": value},
        {"op": "test", "path": "/new~0~1", "value": value},
        {"op": "remove", "path": "/new~0~1"},
    ]
    assert apply_json_patch(document, operations) == document


PATHS = st.sampled_from(["", "/a", "/b", "/a/0", "/a/-", "/a/b", "/b/1", "/~0", "/b/a/c"])
OPERATIONS = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])},
    optional={"path": PATHS, "from": PATHS, "value": values()},
)


@given(values(), st.lists(OPERATIONS, max_size=5))
def test_any_json_patch_applies_or_is_refused(target: Any, operations: list[dict[str, Any]]) -> None:
    before = copy.deepcopy((target, operations))
    with suppress(PatchError):
        apply_json_patch(target, operations)
    assert (target, operations) == before
