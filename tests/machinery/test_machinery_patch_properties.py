import copy
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from lightkube.models import core_v1

from skerry.api.merge_keys import MERGE_RULES
from skerry.machinery.jsonpatch import PatchError, apply_json_patch
from skerry.machinery.jsonvalues import copied, equal
from skerry.machinery.merge import merge_diff, merge_patch
from skerry.machinery.strategic import strategic_merge

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


NAMES = st.sampled_from(["a", "b", "c"])
WORDS = st.sampled_from(["x", "y", "z"])


def named(fields: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """A list with the merge key `name`, each name once."""
    item = st.fixed_dictionaries({"name": NAMES}, optional=fields)
    return st.lists(item, max_size=3, unique_by=lambda one: str(one["name"]))


def pod_specs(*, patch: bool) -> st.SearchStrategy[dict[str, Any]]:
    """Containers with lists in them; as a patch with nulls, deletions and orders too."""
    scalars: st.SearchStrategy[Any] = st.one_of(WORDS, st.none()) if patch else WORDS
    directive = {"$patch": st.just("delete")} if patch else {}
    environment = named({"value": scalars, **directive})
    containers = named({"image": scalars, "command": st.lists(WORDS, max_size=2), "env": environment, **directive})
    order = st.lists(st.fixed_dictionaries({"name": NAMES}), max_size=3, unique_by=lambda one: str(one["name"]))
    optional = {"containers": containers, "nodeName": scalars, "nodeSelector": st.dictionaries(NAMES, scalars)}
    if patch:
        optional["$setElementOrder/containers"] = order
    return st.fixed_dictionaries({}, optional=optional)


def strategically(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = strategic_merge(target, patch, core_v1.PodSpec, MERGE_RULES)
    return merged


@given(pod_specs(patch=False), pod_specs(patch=True))
def test_a_strategic_merge_said_twice_changes_nothing_more(target: dict[str, Any], patch: dict[str, Any]) -> None:
    before = copy.deepcopy((target, patch))
    with suppress(PatchError):  # an order that does not name what the patch has
        once = strategically(target, patch)
        assert strategically(once, patch) == once
    assert (target, patch) == before


@given(pod_specs(patch=False), pod_specs(patch=True))
def test_a_strategic_merge_loses_nothing_that_it_does_not_name(target: dict[str, Any], patch: dict[str, Any]) -> None:
    with suppress(PatchError):
        merged = {one["name"]: one for one in strategically(target, patch).get("containers") or []}
        mentioned = {one["name"] for one in patch.get("containers", [])}
        for one in target.get("containers", []):
            assert one["name"] in mentioned or merged[one["name"]] == one


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
