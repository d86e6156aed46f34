"""How a configuration lands in an object: orders of lists, nulls, atomic parts, twins, withdrawn fields."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.machinery_apply.conftest import PROPERTY, make_toy, toy_manager

from skerry.machinery.apply.manager import FieldManager
from skerry.machinery.apply.merging import merge, without_nulls

NOW = "2026-05-01T12:00:00Z"


def merged(toys: FieldManager, live: dict[str, Any], applied: dict[str, Any]) -> Any:
    return without_nulls(merge(make_toy(live), make_toy(applied), toys.node))["spec"]


def numbers(ports: list[dict[str, Any]]) -> list[int]:
    return [port["port"] for port in ports]


def ports(*wanted: int) -> list[dict[str, Any]]:
    return [{"port": number} for number in wanted]


@pytest.mark.parametrize(
    ("live", "applied", "result"),
    [
        ([1, 2, 3], [2], [1, 2, 3]),
        ([1, 2, 3], [3, 1], [2, 3, 1]),
        ([1, 2, 3], [4], [1, 2, 3, 4]),
        ([1, 2, 3], [4, 1], [4, 1, 2, 3]),
        ([1, 2, 3], [1, 4, 3], [1, 2, 4, 3]),
        ([], [2, 1], [2, 1]),
        ([1], [], [1]),
        ([5, 1, 6, 2, 7], [2, 9, 1], [5, 6, 2, 7, 9, 1]),
    ],
)
def test_items_come_in_the_order_of_the_configuration_and_others_keep_their_place(
    toys: FieldManager, live: list[int], applied: list[int], result: list[int]
) -> None:
    assert numbers(merged(toys, {"ports": ports(*live)}, {"ports": ports(*applied)})["ports"]) == result
    tags = merged(toys, {"tags": [str(tag) for tag in live]}, {"tags": [str(tag) for tag in applied]})["tags"]
    assert tags == [str(tag) for tag in result]


@PROPERTY
@given(
    live=st.lists(st.integers(0, 9), unique=True, max_size=8),
    applied=st.lists(st.integers(0, 9), unique=True, max_size=8),
)
def test_the_order_of_any_two_lists(live: list[int], applied: list[int]) -> None:
    result = numbers(merged(toy_manager(), {"ports": ports(*live)}, {"ports": ports(*applied)}).get("ports", []))
    assert sorted(result) == sorted({*live, *applied})
    assert [number for number in result if number in applied] == applied
    assert [number for number in result if number not in applied] == [one for one in live if one not in applied]


def test_items_are_merged_by_all_their_keys(toys: FieldManager) -> None:
    live = {"ports": [{"port": 53, "protocol": "TCP", "name": "a"}, {"port": 53, "protocol": "UDP"}]}
    applied = {"ports": [{"port": 53, "protocol": "UDP", "name": "b"}, {"port": 53, "name": "c"}]}
    assert merged(toys, live, applied)["ports"] == [
        {"port": 53, "protocol": "UDP", "name": "b"},
        {"port": 53, "protocol": "TCP", "name": "c"},
    ]


def test_atomic_values_are_replaced_and_maps_are_merged(toys: FieldManager) -> None:
    live = {"args": ["a", "b"], "selector": {"x": "1"}, "knobs": {"flags": {"x": "1"}, "speed": 3}}
    applied = {"args": ["c"], "selector": {"y": "2"}, "knobs": {"flags": {"y": "2"}}}
    assert merged(toys, live, applied) == {
        "args": ["c"],
        "selector": {"y": "2"},
        "knobs": {"flags": {"x": "1", "y": "2"}, "speed": 3},
    }


def test_empty_containers_take_nothing_away(toys: FieldManager) -> None:
    live = {"ports": ports(1), "knobs": {"flags": {"x": "1"}}, "args": ["a"]}
    assert merged(toys, live, {"ports": [], "knobs": {"flags": {}}, "args": []}) == {**live, "args": []}


def test_null_removes_a_leaf_and_adds_nothing_to_a_container(toys: FieldManager) -> None:
    live = {"replicas": 1, "knobs": {"speed": 1}, "ports": ports(1)}
    assert merged(toys, live, {"replicas": None, "knobs": None, "ports": None, "paused": None}) == {
        "knobs": {"speed": 1},
        "ports": ports(1),
    }


def test_twins_in_the_object_are_replaced_by_the_one_that_is_applied(toys: FieldManager) -> None:
    live = {"ports": [{"port": 1, "name": "a"}, {"port": 2}, {"port": 1, "name": "b"}]}
    assert merged(toys, live, {"ports": [{"port": 1}]})["ports"] == [{"port": 1}, {"port": 2}]
    assert merged(toys, live, {"ports": [{"port": 2}]}) == live


def test_without_a_schema_maps_merge_and_lists_do_not(toys: FieldManager) -> None:
    live = {"extra": {"a": {"b": 1}, "l": [1, 2]}}
    assert merged(toys, live, {"extra": {"a": {"c": 2}, "l": [3]}})["extra"] == {"a": {"b": 1, "c": 2}, "l": [3]}
    assert merged(toys, live, {"extra": "text"})["extra"] == "text"
    assert merged(toys, {"extra": [1]}, {"extra": {"a": 1}})["extra"] == {"a": 1}


def test_the_inputs_stay_as_they_are(toys: FieldManager) -> None:
    live, applied = make_toy({"ports": ports(1)}), make_toy({"ports": ports(2), "replicas": None})
    result = without_nulls(merge(live, applied, toys.node))
    result["spec"]["ports"][0]["name"] = "changed"
    result["spec"]["ports"][1]["name"] = "changed"
    assert live == make_toy({"ports": ports(1)})
    assert applied == make_toy({"ports": ports(2), "replicas": None})
