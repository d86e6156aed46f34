"""Strategic merge patch. The golden cases whose judge is kubectl were answered by kubectl in the same way."""

import copy
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightkube.models import apps_v1, core_v1
from lightkube.resources.core_v1 import Pod

from skerry.api.merge_keys import MERGE_RULES
from skerry.machinery.strategic import MergeRule, PatchError, strategic_merge

GOLDEN = Path(__file__).parent / "golden" / "strategic_merge.jsonl"
MODELS: dict[str, type[msgspec.Struct]] = {
    "Pod": core_v1.Pod,
    "Service": core_v1.Service,
    "ConfigMap": core_v1.ConfigMap,
    "Deployment": apps_v1.Deployment,
}
CASES = [json.loads(line) for line in GOLDEN.read_text().splitlines()]


@pytest.mark.parametrize("case", CASES, ids=[case["about"] for case in CASES])
def test_golden(case: dict[str, Any]) -> None:
    before = copy.deepcopy(case)
    model = MODELS[case["object"]["kind"]]
    if "error" in case:
        with pytest.raises(PatchError) as refused:
            strategic_merge(case["object"], case["patch"], model, MERGE_RULES)
        assert refused.value.message.strip() == case["error"]
    else:
        assert strategic_merge(case["object"], case["patch"], model, MERGE_RULES) == case["result"]
    assert case == before


def test_the_environment_of_a_container_alone() -> None:
    runtime = {"name": "kserve-container", "image": "ovms", "env": [{"name": "A", "value": "1"}]}
    overlay = {"image": "ovms:2", "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "3"}]}
    assert strategic_merge(runtime, overlay, core_v1.Container, MERGE_RULES) == {
        "name": "kserve-container",
        "image": "ovms:2",
        "env": [{"name": "B", "value": "2"}, {"name": "A", "value": "3"}],
    }


class Predictor(core_v1.PodSpec):
    """A pod spec with more in it, as an InferenceService has one."""

    model: dict[str, Any] | None = None


def test_rules_hold_for_subclasses_and_resources() -> None:
    assert strategic_merge(
        {"containers": [{"name": "a", "image": "x"}], "model": {"list": [1]}},
        {"containers": [{"name": "a", "tty": True}], "model": {"list": [2]}},
        Predictor,
        MERGE_RULES,
    ) == {"containers": [{"name": "a", "image": "x", "tty": True}], "model": {"list": [2]}}
    assert strategic_merge(
        {"metadata": {"finalizers": ["a"]}}, {"metadata": {"finalizers": ["b"]}}, Pod, MERGE_RULES
    ) == {"metadata": {"finalizers": ["b", "a"]}}


def test_what_has_no_type_is_merged_like_json() -> None:
    target = {"unknown": {"map": {"a": 1, "b": 2}, "list": [{"name": "a"}]}}
    patch = {"unknown": {"map": {"b": None, "c": 3}, "list": [{"name": "b"}]}}
    assert strategic_merge(target, patch, core_v1.Pod, MERGE_RULES) == {
        "unknown": {"map": {"a": 1, "c": 3}, "list": [{"name": "b"}]}
    }


class Owner(msgspec.Struct):
    """A struct with a field of every sort of rule."""

    tags: list[str] = []
    by_number: dict[str, core_v1.PodSpec] = {}
    odd: list[dict[str, Any]] = []
    whole: dict[str, str] = {}


RULES = {
    ("Owner", "tags"): MergeRule(),
    ("Owner", "odd"): MergeRule(),
    ("Owner", "whole"): MergeRule(replace=True),
    **MERGE_RULES,
}


def test_values_of_maps_have_types_too() -> None:
    assert strategic_merge(
        {"by_number": {"1": {"containers": [{"name": "a", "image": "x"}]}}},
        {"by_number": {"1": {"containers": [{"name": "b"}]}}},
        Owner,
        RULES,
    ) == {"by_number": {"1": {"containers": [{"name": "b"}, {"name": "a", "image": "x"}]}}}


def test_a_map_can_be_replaced_by_rule() -> None:
    assert strategic_merge({"whole": {"a": "1"}}, {"whole": {"b": "2"}}, Owner, RULES) == {"whole": {"b": "2"}}


@pytest.mark.parametrize(
    ("target", "patch", "message"),
    [
        ({"odd": [{"a": 1}]}, {"odd": [{"b": 1}]}, "cannot merge lists without merge key for type struct"),
        ({"tags": [["a"]]}, {"tags": [["b"]]}, "lists of lists are not supported"),
        ({"tags": ["a"]}, {"$deleteFromPrimitiveList/tags": "a"}, "invalid patch format of primitive list"),
        ({"tags": []}, {"$setElementOrder/tags": [["a"]]}, "expected a scalar, but received a []interface {}"),
        ({"tags": "a"}, {"$setElementOrder/tags": []}, "expected a []interface {}, but received a string"),
        ({"tags": 1}, {"$setElementOrder/tags": []}, "expected a []interface {}, but received a int64"),
        ({"tags": 1.5}, {"$setElementOrder/tags": []}, "expected a []interface {}, but received a float64"),
    ],
)
def test_what_cannot_be_merged(target: dict[str, Any], patch: dict[str, Any], message: str) -> None:
    with pytest.raises(PatchError) as refused:
        strategic_merge(target, patch, Owner, RULES)
    assert refused.value.message == message


def test_a_list_without_a_type_but_with_a_key() -> None:
    with pytest.raises(PatchError, match="received a string"):
        strategic_merge({"containers": ["a"]}, {"containers": ["b"]}, core_v1.PodSpec, MERGE_RULES)


def test_lists_of_scalars_are_sets() -> None:
    target = {"tags": ["a", 1, True, "a"]}
    assert strategic_merge(target, {"tags": ["b", 1, "b"]}, Owner, RULES) == {"tags": ["b", "a", 1, True]}


def test_an_order_for_what_the_patch_removes() -> None:
    patch = {"tags": None, "$setElementOrder/tags": ["a"]}
    assert strategic_merge({"tags": ["a"]}, patch, Owner, RULES) == {}


def test_a_deletion_of_a_scalar_removes_it() -> None:
    assert strategic_merge({"hostname": "x"}, {"hostname": {"$patch": "delete"}}, core_v1.PodSpec, MERGE_RULES) == {}


NAMES = st.sampled_from(["A", "B", "C", "D", "E"])
VARIABLES = st.fixed_dictionaries({"name": NAMES, "value": st.sampled_from(["1", "2"])})
ENV = st.lists(VARIABLES, max_size=5, unique_by=lambda item: item["name"])


@given(ENV, ENV)
def test_the_order_of_a_merged_list(old: list[dict[str, str]], new: list[dict[str, str]]) -> None:
    merged = strategic_merge({"env": old}, {"env": new}, core_v1.Container, MERGE_RULES)["env"]
    names = [item["name"] for item in merged]
    patched = [item["name"] for item in new]
    others = [item["name"] for item in old if item["name"] not in patched]
    assert [name for name in names if name in patched] == patched
    assert [name for name in names if name in others] == others
    assert {item["name"]: item["value"] for item in merged} == {item["name"]: item["value"] for item in [*old, *new]}
    again = strategic_merge({"env": merged}, {"env": new}, core_v1.Container, MERGE_RULES)["env"]
    assert again == merged


@given(ENV, st.permutations(["A", "B", "C", "D", "E"]))
def test_an_order_directive_sorts_what_it_names(env: list[dict[str, str]], order: list[str]) -> None:
    patch = {"$setElementOrder/env": [{"name": name} for name in order]}
    target = {"env": env} if env else {}
    merged = strategic_merge(target, patch, core_v1.Container, MERGE_RULES)
    present = {item["name"] for item in env}
    assert [item["name"] for item in merged.get("env", [])] == [name for name in order if name in present]


@given(ENV, ENV)
def test_deleting_what_was_merged(old: list[dict[str, str]], new: list[dict[str, str]]) -> None:
    merged = strategic_merge({"env": old}, {"env": new}, core_v1.Container, MERGE_RULES)
    deletions = {"env": [{"name": item["name"], "$patch": "delete"} for item in new]}
    left = strategic_merge(merged, deletions, core_v1.Container, MERGE_RULES)["env"]
    gone = {item["name"] for item in new}
    assert left == [item for item in old if item["name"] not in gone]
