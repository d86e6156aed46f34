from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from skerry.machinery.conditions import Status, find, is_true, with_condition, without_condition

THEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = THEN + timedelta(minutes=5)


def test_a_new_condition() -> None:
    conditions = with_condition(None, "Ready", "False", THEN, reason="Waiting", message="soon", observed_generation=3)
    assert conditions == [
        {
            "type": "Ready",
            "status": "False",
            "lastTransitionTime": "2026-01-02T03:04:05Z",
            "reason": "Waiting",
            "message": "soon",
            "observedGeneration": 3,
        }
    ]
    assert not is_true(conditions, "Ready")


def test_only_another_status_is_a_transition() -> None:
    first = with_condition([], "Ready", "False", THEN, reason="Waiting")
    second = with_condition(first, "Ready", "False", LATER, reason="StillWaiting")
    assert second[0]["lastTransitionTime"] == "2026-01-02T03:04:05Z"
    assert second[0]["reason"] == "StillWaiting"
    third = with_condition(second, "Ready", "True", LATER)
    assert third == [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-02T03:09:05Z"}]
    assert is_true(third, "Ready")
    assert first[0]["reason"] == "Waiting"


def test_a_transition_can_be_forced() -> None:
    first = with_condition([], "Ready", "True", THEN)
    again = with_condition(first, "Ready", "True", LATER, lastTransitionTime="2030-01-01T00:00:00Z", severity="Info")
    assert again[0]["lastTransitionTime"] == "2030-01-01T00:00:00Z"
    assert again[0]["severity"] == "Info"


def test_a_condition_without_a_time_gets_one() -> None:
    conditions = with_condition([{"type": "Ready", "status": "True"}], "Ready", "True", THEN)
    assert conditions[0]["lastTransitionTime"] == "2026-01-02T03:04:05Z"


def test_a_condition_keeps_its_place_and_twins_go() -> None:
    before = [{"type": "A", "status": "True"}, {"type": "B", "status": "True"}, {"type": "A", "status": "False"}]
    after = with_condition(before, "A", "True", THEN)
    assert [condition["type"] for condition in after] == ["A", "B"]
    assert [condition["type"] for condition in without_condition(before, "A")] == ["B"]
    assert without_condition(None, "A") == []


def test_finding() -> None:
    conditions = [{"type": "A", "status": "Unknown"}]
    assert find(conditions, "A") == conditions[0]
    assert find(conditions, "B") is None
    assert find(None, "A") is None
    assert not is_true(None, "A")


STATUS = st.sampled_from(["True", "False", "Unknown"])
CONDITIONS = st.lists(st.fixed_dictionaries({"type": st.sampled_from("AB"), "status": STATUS}), max_size=3)


@given(CONDITIONS, STATUS)
def test_setting_twice_is_setting_once(conditions: list[dict[str, Any]], status: Status) -> None:
    once = with_condition(conditions, "A", status, THEN, reason="R")
    assert with_condition(once, "A", status, LATER, reason="R") == once
    assert [dict(other) for other in once if other["type"] == "B"] == [
        other for other in conditions if other["type"] == "B"
    ]
