from typing import Any

import pytest

from skerry.machinery.jsonvalues import equal
from skerry.machinery.merge import merge_diff, merge_patch

# The table of RFC 7386, appendix A.
RFC_EXAMPLES: list[tuple[Any, Any, Any]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "patch", "result"), RFC_EXAMPLES)
def test_merge_follows_the_rfc(target: Any, patch: Any, result: Any) -> None:
    assert merge_patch(target, patch) == result


def test_the_result_shares_nothing_with_the_inputs() -> None:
    target: dict[str, Any] = {"kept": {"list": [{}]}}
    patch: dict[str, Any] = {"new": {"list": [{}]}}
    merged = merge_patch(target, patch)
    merged["kept"]["list"][0]["written"] = merged["new"]["list"][0]["written"] = True
    assert target == {"kept": {"list": [{}]}}
    assert patch == {"new": {"list": [{}]}}


def test_a_diff_is_small() -> None:
    old = {"spec": {"replicas": 1, "paused": True, "args": ["a"]}, "status": {"ready": True}}
    new = {"spec": {"replicas": 1, "args": ["a", "b"]}, "status": {"ready": True}}
    assert merge_diff(old, new) == {"spec": {"paused": None, "args": ["a", "b"]}}


def test_true_is_not_one() -> None:
    assert not equal({"a": [True]}, {"a": [1]})
    assert equal([1], [1.0])
    assert not equal({}, [])
    assert merge_diff({"a": 1}, {"a": True}) == {"a": True}


def test_null_means_absent_in_a_diff() -> None:
    assert merge_diff({}, {"a": None}) == {}
    assert merge_diff({"a": {"b": 1}}, {"a": None}) == {"a": None}
    assert merge_diff({"a": 1}, {"a": {"b": None}}) == {"a": {"b": None}}
