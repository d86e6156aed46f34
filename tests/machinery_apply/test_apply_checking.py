"""What a configuration that does not fit is told, in the words of the real server."""

from typing import Any

import pytest
from tests.machinery_apply.conftest import make_toy

from skerry.machinery.apply.checking import misfits
from skerry.machinery.apply.manager import FieldManager

OMITS = "associative list with keys has an element that omits key field"


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"replica": 1}, ".spec.replica: field not declared in schema"),
        ({"replicas": True}, ".spec.replicas: expected numeric (int or float), got bool"),
        ({"paused": 1}, ".spec.paused: expected boolean, got &{1}"),
        ({"args": [1]}, ".spec.args[0]: expected string, got &value.valueUnstructured{Value:1}"),
        ({"args": {"a": 1}}, ".spec.args: expected list, got &{map[a:1]}"),
        ({"knobs": ["x", True]}, ".spec.knobs: expected map, got &{[x true]}"),
        ({"knobs": {"flags": {"a": 1}}}, ".spec.knobs.flags.a: expected string, got &value.valueUnstructured{Value:1}"),
        ({"tags": ["a", "b", "a"]}, '.spec.tags: duplicate entries for key [="a"]'),
        (
            {"tags": [None]},
            ".spec.tags: element 0: associative list without keys has an element that's an explicit null",
        ),
        ({"tags": [{}]}, ".spec.tags: element 0: associative list without keys has an element that's a map type"),
        ({"tags": [[]]}, ".spec.tags: element 0: not supported: associative list with lists as elements"),
        ({"ports": [None]}, ".spec.ports: element 0: associative list with keys may not have a null element"),
        ({"ports": [1]}, ".spec.ports: element 0: associative list with keys may not have non-map elements"),
        (
            {"ports": [{"port": 1}, {"port": None}]},
            f'.spec.ports: element 1: {OMITS} "port" (and doesn\'t have default value)',
        ),
        (
            {"ports": [{"port": 1, "color": "x"}]},
            '.spec.ports[port=1,protocol="TCP"].color: field not declared in schema',
        ),
    ],
)
def test_the_complaint(toys: FieldManager, spec: dict[str, Any], complaint: str) -> None:
    assert misfits(make_toy(spec), toys.node) == [complaint]


def test_what_fits(toys: FieldManager) -> None:
    spec = {"replicas": None, "tags": ["a"], "ports": [{"port": 1}], "extra": {"any": [{"thing": None}]}, "knobs": {}}
    assert misfits(make_toy(spec), toys.node) == []


def test_open_fields_take_any_name_in_and_below_them(toys: FieldManager) -> None:
    config = make_toy({"new": 1, "knobs": {"new": 1}})
    assert misfits(config, toys.node, ["spec.knobs"]) == [".spec.new: field not declared in schema"]
    assert misfits(config, toys.node, ["spec"]) == []


def test_a_whole_object_of_the_wrong_sort(toys: FieldManager) -> None:
    assert misfits([], toys.node) == ["expected map, got &{[]}"]
