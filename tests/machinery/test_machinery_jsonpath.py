"""JSONPath for printer columns."""

from typing import Any

import pytest

from skerry.machinery.jsonpath import JsonPath, JsonPathError, names_of

ITEM: dict[str, Any] = {
    "spec": {"replicas": 3, "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}], "empty": None},
    "metadata": {"labels": {"app.kubernetes.io/name": "x", "plain": "y"}, "annotations": {"a.b": "c"}},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.replicas", [3]),
        ("{.spec.replicas}", [3]),
        ("spec.replicas", [3]),
        (".spec.missing.deeper", []),
        (".spec.empty", [None]),
        (r".metadata.labels.app\.kubernetes\.io/name", ["x"]),
        (".metadata.annotations['a.b']", ["c"]),
        ('.metadata.annotations["a.b"]', ["c"]),
        (".spec.ports[0].name", ["a"]),
        (".spec.ports[-1].name", ["b"]),
        (".spec.ports[7].name", []),
        (".spec.ports[*].name", ["a", "b"]),
        (".spec.ports[0:1].name", ["a"]),
        (".spec.ports[:].port", [1, 2]),
        (".spec.ports[0,1].port", [1, 2]),
        (".metadata.labels.*", ["x", "y"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type=='Other')].status", ["False"]),
        (".status.conditions[?(@.type!='Other')].status", ["True"]),
        (".spec.ports[?(@.port>1)].name", ["b"]),
        (".spec.ports[?(@.port>'x')].name", []),
        (".spec.ports[?(@.missing)].name", []),
        (".spec.ports[?(@.name)].port", [1, 2]),
        (".", [ITEM]),
        ("", [ITEM]),
    ],
)
def test_what_a_path_leads_to(path: str, found: list[Any]) -> None:
    assert JsonPath(path).find(ITEM) == found


@pytest.mark.parametrize("path", [".spec[", ".spec[x]", "..name", ".a[?(@.x==)]", ".a[?x]"])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(JsonPathError):
        JsonPath(path)


def test_simple_paths() -> None:
    assert names_of(".spec.replicas") == ["spec", "replicas"]
    assert names_of(r".spec.a\.b.c") == ["spec", "a.b", "c"]
    for wrong in ("spec.replicas", ".spec.list[0]"):
        with pytest.raises(JsonPathError):
            names_of(wrong)
