"""From kubectl's client-side apply to server-side apply: no conflict with oneself, and a fresh annotation."""

import json
from typing import Any

import pytest
from tests.machinery_apply.conftest import make_toy

from skerry.machinery.apply.conflicts import ApplyConflict
from skerry.machinery.apply.lastapplied import ANNOTATION
from skerry.machinery.apply.manager import FieldManager

NOON = "2026-05-01T12:00:00Z"


def client_applied(toys: FieldManager, spec: dict[str, Any], remembered: Any = None) -> dict[str, Any]:
    """Return an object as `kubectl apply` without --server-side leaves it behind."""
    config = make_toy(spec, annotations={})
    text = json.dumps(config if remembered is None else remembered) + "\n"
    item = make_toy(spec, annotations={ANNOTATION: text})
    item["metadata"]["managedFields"] = toys.update(None, item, "kubectl-client-side-apply", NOON)
    return item


def test_kubectl_takes_over_what_it_applied_as_a_client(toys: FieldManager) -> None:
    live = client_applied(toys, {"replicas": 1, "args": ["a"]})
    applied = toys.apply(live, make_toy({"replicas": 2, "args": ["b"]}), "kubectl", NOON, force=False)
    assert applied.item["spec"] == {"replicas": 2, "args": ["b"]}
    assert [one["manager"] for one in applied.managed_fields] == ["kubectl", "kubectl-client-side-apply"]


def test_any_other_name_meets_a_conflict(toys: FieldManager) -> None:
    live = client_applied(toys, {"replicas": 1})
    with pytest.raises(ApplyConflict, match="kubectl-client-side-apply"):
        toys.apply(live, make_toy({"replicas": 2}), "ci", NOON, force=False)


def test_what_somebody_else_changed_since_is_still_a_conflict(toys: FieldManager) -> None:
    live = client_applied(toys, {"replicas": 1, "paused": True})
    scaled = {**live, "spec": {"replicas": 5, "paused": True}}
    scaled["metadata"] = {**live["metadata"], "managedFields": toys.update(live, scaled, "autoscaler", NOON)}
    with pytest.raises(ApplyConflict) as caught:
        toys.apply(scaled, make_toy({"replicas": 2, "paused": False}), "kubectl", NOON, force=False)
    assert caught.value.message == (
        'Apply failed with 1 conflict: conflict with "autoscaler" using toys/v1: .spec.replicas'
    )


@pytest.mark.parametrize("remembered", ["text", [], {"apiVersion": "toys/v0"}])
def test_an_annotation_that_says_nothing_allows_nothing(toys: FieldManager, remembered: Any) -> None:
    live = client_applied(toys, {"replicas": 1}, remembered)
    with pytest.raises(ApplyConflict):
        toys.apply(live, make_toy({"replicas": 2}), "kubectl", NOON, force=False)


def test_the_annotation_follows_for_kubectl_only(toys: FieldManager) -> None:
    live = client_applied(toys, {"replicas": 1})
    config = make_toy({"replicas": 2}, annotations={"a": "b", ANNOTATION: "old"})
    applied = toys.apply(live, config, "kubectl", NOON, force=True)
    text = applied.item["metadata"]["annotations"][ANNOTATION]
    assert text == (
        '{"apiVersion":"toys/v1","kind":"Toy","metadata":{"annotations":{"a":"b"},"name":"toy"},"spec":{"replicas":2}}\n'
    )
    other = toys.apply(live, make_toy({"replicas": 2}), "ci", NOON, force=True)
    assert other.item["metadata"]["annotations"] == live["metadata"]["annotations"]


def test_an_object_without_the_annotation_gets_none(toys: FieldManager) -> None:
    applied = toys.apply(None, make_toy({"replicas": 2}), "kubectl", NOON, force=False)
    assert "annotations" not in applied.item["metadata"]


def test_an_annotation_that_would_be_too_long_is_given_up(toys: FieldManager) -> None:
    live = client_applied(toys, {"replicas": 1})
    config = make_toy({"replicas": 1, "args": ["x" * (256 * 1024)]})
    applied = toys.apply(live, config, "kubectl", NOON, force=False)
    assert ANNOTATION not in applied.item["metadata"]["annotations"]
