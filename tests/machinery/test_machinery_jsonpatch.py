import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from skerry.machinery.jsonpatch import COPY_LIMIT, MAX_OPERATIONS, PatchError, apply_json_patch

# RFC 6902, appendix A, and our own corners of it.
APPLIED: list[tuple[Any, list[dict[str, Any]], Any]] = [
    ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"foo": "bar", "baz": "qux"}),
    ({"foo": ["a", "c"]}, [{"op": "add", "path": "/foo/1", "value": "b"}], {"foo": ["a", "b", "c"]}),
    ({"foo": ["a"]}, [{"op": "add", "path": "/foo/1", "value": "b"}], {"foo": ["a", "b"]}),
    ({"foo": ["a"]}, [{"op": "add", "path": "/foo/-", "value": ["b"]}], {"foo": ["a", ["b"]]}),
    ({"baz": "q", "foo": "b"}, [{"op": "remove", "path": "/baz"}], {"foo": "b"}),
    ({"foo": ["a", "b"]}, [{"op": "remove", "path": "/foo/0"}], {"foo": ["b"]}),
    ({"baz": "q"}, [{"op": "replace", "path": "/baz", "value": "b"}], {"baz": "b"}),
    ({"foo": [1, 2]}, [{"op": "replace", "path": "/foo/1", "value": 3}], {"foo": [1, 3]}),
    ({"foo": {"a": 1}, "b": {}}, [{"op": "move", "from": "/foo/a", "path": "/b/c"}], {"foo": {}, "b": {"c": 1}}),
    ({"foo": [1, 2, 3]}, [{"op": "move", "from": "/foo/0", "path": "/foo/2"}], {"foo": [2, 3, 1]}),
    ({"foo": {"a": [1]}}, [{"op": "copy", "from": "/foo/a/0", "path": "/b"}], {"foo": {"a": [1]}, "b": 1}),
    (
        {"foo": "bar"},
        [{"op": "add", "path": "/child", "value": {"x": {}}, "xyz": 1}],
        {"foo": "bar", "child": {"x": {}}},
    ),
    ({"a/b": 1, "m~n": 2}, [{"op": "remove", "path": "/a~1b"}, {"op": "remove", "path": "/m~0n"}], {}),
    ({"~1": 1}, [{"op": "test", "path": "/~01", "value": 1}], {"~1": 1}),
    ({"": 1}, [{"op": "replace", "path": "/", "value": 2}], {"": 2}),
    ({"a": 1}, [{"op": "replace", "path": "", "value": [2]}], [2]),
    (
        {"a": 1},
        [{"op": "test", "path": "", "value": {"a": 1}}, {"op": "copy", "from": "", "path": "/b"}],
        {"a": 1, "b": {"a": 1}},
    ),
    # the two liberties of the API server
    ({}, [{"op": "replace", "path": "/new", "value": 2}], {"new": 2}),
    ({}, [{"op": "test", "path": "/absent", "value": None}], {}),
]

POD = {
    "metadata": {"name": "a", "labels": {"a/b": "1"}},
    "spec": {"containers": [{"name": "a", "args": ["x", "y"]}]},
}

GOLDEN = Path(__file__).parent / "golden" / "jsonpatch_refused.txt"


def refused() -> list[tuple[str, str]]:
    """Read the patches that do not apply to `POD`, each with its complaint."""
    return re.findall(r"^(?:kubectl|skerry) (.*)\n    (.*)$", GOLDEN.read_text(), re.MULTILINE)


@pytest.mark.parametrize(("target", "operations", "result"), APPLIED)
def test_operations_apply(target: Any, operations: list[dict[str, Any]], result: Any) -> None:
    before = copy.deepcopy((target, operations))
    assert apply_json_patch(target, operations) == result
    assert (target, operations) == before


@pytest.mark.parametrize(("operations", "message"), refused())
def test_what_does_not_apply_is_said_in_kubernetes_words(operations: str, message: str) -> None:
    before = copy.deepcopy(POD)
    with pytest.raises(PatchError) as complaint:
        apply_json_patch(POD, json.loads(operations))
    assert complaint.value.message == message
    assert before == POD


def test_a_patch_has_a_limited_length() -> None:
    with pytest.raises(PatchError, match="The allowed maximum operations in a JSON patch is 10000, got 10001"):
        apply_json_patch({}, [{"op": "add", "path": "/a", "value": 1}] * (MAX_OPERATIONS + 1))


def test_copies_cannot_blow_the_document_up() -> None:
    doubling = [{"op": "copy", "from": "", "path": f"/{number}"} for number in range(60)]
    with pytest.raises(PatchError, match=f"exceeding the limit {COPY_LIMIT}"):
        apply_json_patch({"seed": "x" * 100}, doubling)


def test_a_copy_is_not_shared_with_its_source() -> None:
    operations = [
        {"op": "copy", "from": "/a", "path": "/b"},
        {"op": "add", "path": "/b/c", "value": 1},
    ]
    assert apply_json_patch({"a": {}}, operations) == {"a": {}, "b": {"c": 1}}
