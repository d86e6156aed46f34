"""One stored Event, two groups: nothing is lost on the way there and back."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from skerry.api.events import EVENT, EVENTS_EVENT, from_core, to_core
from skerry.machinery import strict

NEW: dict[str, Any] = {
    "apiVersion": "events.k8s.io/v1",
    "kind": "Event",
    "metadata": {"name": "x", "namespace": "a"},
    "eventTime": "2026-03-01T12:00:00.000000Z",
    "note": "started",
    "reason": "Started",
    "type": "Normal",
    "action": "Starting",
    "regarding": {"kind": "Pod", "name": "web"},
    "related": {"kind": "Node", "name": "n"},
    "reportingController": "kubelet",
    "reportingInstance": "skerry",
    "series": {"count": 2, "lastObservedTime": "2026-03-01T12:00:01.000000Z"},
    "deprecatedCount": 3,
    "deprecatedFirstTimestamp": "2026-03-01T12:00:00Z",
    "deprecatedLastTimestamp": "2026-03-01T12:00:02Z",
    "deprecatedSource": {"component": "kubelet", "host": "skerry"},
    "futureField": 1,
}


def test_there_and_back() -> None:
    core = to_core(NEW)
    assert core["apiVersion"] == "v1"
    assert core["involvedObject"] == NEW["regarding"]
    assert (core["message"], core["reportingComponent"], core["count"]) == ("started", "kubelet", 3)
    assert core["source"] == NEW["deprecatedSource"]
    assert from_core(core) == NEW


@given(st.sets(st.sampled_from(sorted(NEW))))
def test_any_part_comes_back(keys: set[str]) -> None:
    part = {key: NEW[key] for key in keys} | {"apiVersion": "events.k8s.io/v1", "kind": "Event"}
    assert from_core(to_core(part)) == part


def test_both_forms_fit_their_structs() -> None:
    new = {key: value for key, value in NEW.items() if key != "futureField"}
    assert strict.unknown_fields(new, EVENTS_EVENT.model) == []
    assert strict.unknown_fields(to_core(new), EVENT.model) == []


def test_both_are_kept_in_one_place() -> None:
    assert EVENT.storage_key == EVENTS_EVENT.storage_key
