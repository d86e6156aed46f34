"""The table of writers: reading, writing, order, tracking from the create, too many updaters, resets."""

from copy import deepcopy
from typing import Any

import pytest
from lightkube.resources.discovery_v1 import EndpointSlice
from tests.machinery_apply.conftest import make_toy, toy_status_manager

from skerry.api.apply_keys import SCHEMAS
from skerry.machinery.apply.conflicts import ApplyConflict
from skerry.machinery.apply.manager import FieldManager
from skerry.machinery.apply.owners import (
    MOST_UPDATERS,
    OwnersError,
    Share,
    capped,
    read_owners,
    same_but_times,
    writer,
    written_owners,
)

NOON = "2026-05-01T12:00:00Z"
LATER = "2026-05-01T13:00:00Z"


def entry(manager: str, operation: str = "Update", **more: Any) -> dict[str, Any]:
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": "toys/v1",
        "time": NOON,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
        **more,
    }


def tracked(toys: FieldManager, spec: dict[str, Any], manager: str = "first") -> dict[str, Any]:
    item = make_toy(spec)
    item["metadata"]["managedFields"] = toys.update(None, item, manager, NOON)
    return item


def changed(item: dict[str, Any], **spec: Any) -> dict[str, Any]:
    copy = deepcopy(item)
    copy["spec"].update(spec)
    return copy


def test_entries_come_in_the_servers_order() -> None:
    entries = [
        entry("z", "Apply"),
        entry("b", time="2026-05-01T11:00:00Z"),
        entry("z", time="2026-05-01T11:00:00Z"),
        entry("a"),
        entry("a", subresource="status"),
    ]
    assert written_owners(read_owners(entries[::-1])) == entries


def test_times_are_compared_in_whole_seconds_and_none_is_the_oldest() -> None:
    entries = [entry("c", time=None), entry("a", time="2026-05-01T12:00:00.9Z"), entry("b")]
    assert [one["manager"] for one in written_owners(read_owners(entries[::-1]))] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (entry("a", "Patch"), "operation must be `Apply` or `Update`"),
        (entry("a", apiVersion=""), "apiVersion must not be empty"),
        (entry("a", fieldsType=""), "missing fieldsType in managed fields entry 0"),
        (entry("a", fieldsType="FieldsV2"), 'invalid fieldsType "FieldsV2" in managed fields entry 0'),
        (entry("a", fieldsV1={"spec": {}}), "error decoding set: parsing key as path element: missing colon: spec"),
        ("text", "managed fields entry 0 must be a map"),
    ],
)
def test_what_cannot_be_read_says_why(bad: Any, why: str) -> None:
    with pytest.raises(OwnersError) as caught:
        read_owners([bad])
    assert str(caught.value) == why


def test_appliers_are_one_writer_in_all_versions_and_updaters_are_not() -> None:
    assert writer("a", "Apply", "v1") == writer("a", "Apply", "v2")
    assert writer("a", "Update", "v1") != writer("a", "Update", "v2")
    assert writer("a", "Update", "v1") != writer("a", "Update", "v1", "status")
    assert writer("", "Update", "v1").name == "unknown"


def test_an_update_that_changes_nothing_keeps_the_entries(toys: FieldManager) -> None:
    item = tracked(toys, {"replicas": 1})
    assert toys.update(item, deepcopy(item), "second", LATER) == item["metadata"]["managedFields"]


def test_an_update_takes_what_it_changes_and_its_time(toys: FieldManager) -> None:
    item = tracked(toys, {"replicas": 1, "args": ["a"]})
    entries = toys.update(item, changed(item, replicas=2), "second", LATER)
    assert [(one["manager"], one["time"], one["fieldsV1"]["f:spec"]) for one in entries] == [
        ("first", NOON, {".": {}, "f:args": {}}),
        ("second", LATER, {"f:replicas": {}}),
    ]


def test_a_writer_whose_last_field_is_taken_has_no_entry_any_more(toys: FieldManager) -> None:
    item = tracked(toys, {"replicas": 1})
    new = changed(item, replicas=2)
    new["metadata"]["managedFields"] = toys.update(item, new, "second", NOON)
    entries = toys.update(new, changed(new, replicas=3), "third", NOON)
    assert [one["manager"] for one in entries] == ["first", "third"]


def test_a_removed_field_is_nobodys(toys: FieldManager) -> None:
    item = tracked(toys, {"replicas": 1, "args": ["a"]})
    new = deepcopy(item)
    del new["spec"]["replicas"]
    (one,) = toys.update(item, new, "second", LATER)
    assert (one["manager"], one["time"], one["fieldsV1"]) == ("first", NOON, {"f:spec": {".": {}, "f:args": {}}})


def test_an_object_without_owners_stays_without_until_it_is_applied_to(toys: FieldManager) -> None:
    item = make_toy({"replicas": 1})
    assert toys.update(item, changed(item, replicas=2), "second", NOON) == []
    applied = toys.apply(item, make_toy({"paused": True}), "me", LATER, force=False)
    assert [(one["manager"], one["operation"]) for one in applied.managed_fields] == [
        ("me", "Apply"),
        ("before-first-apply", "Update"),
    ]
    assert applied.managed_fields[1]["fieldsV1"] == {"f:spec": {".": {}, "f:replicas": {}}}


@pytest.mark.parametrize("reset", [[], [{}]])
def test_an_empty_list_forgets_all_owners(toys: FieldManager, reset: list[Any]) -> None:
    item = tracked(toys, {"replicas": 1})
    new = deepcopy(item)
    new["metadata"]["managedFields"] = reset
    assert toys.update(item, new, "second", NOON) == []


@pytest.mark.parametrize("sent", [None, [entry("x", "Patch")], "text"])
def test_entries_that_are_missing_or_bad_are_taken_from_the_stored_object(toys: FieldManager, sent: Any) -> None:
    item = tracked(toys, {"replicas": 1})
    new = deepcopy(item)
    new["metadata"]["managedFields"] = sent
    assert toys.update(item, new, "second", NOON) == item["metadata"]["managedFields"]


def test_a_client_may_rewrite_the_entries(toys: FieldManager) -> None:
    """As kubectl does when it moves the fields of client-side apply to server-side apply."""
    item = tracked(toys, {"replicas": 1}, "kubectl-client-side-apply")
    new = deepcopy(item)
    new["metadata"]["managedFields"] = [entry("kubectl", "Apply", fieldsV1={'k:{"b":1, "a":2}': {}, "f:spec": {}})]
    (one,) = toys.update(item, new, "kubectl", NOON)
    assert (one["manager"], one["operation"]) == ("kubectl", "Apply")
    assert one["fieldsV1"] == {"f:spec": {}, 'k:{"a":2,"b":1}': {}}


def test_a_status_cannot_bring_entries_along(toys: FieldManager) -> None:
    item = tracked(toys, {"replicas": 1})
    new = {**deepcopy(item), "status": {"ready": 1}}
    new["metadata"]["managedFields"] = []
    entries = toy_status_manager().update(item, new, "kubelet", LATER)
    assert [(one["manager"], one.get("subresource")) for one in entries] == [("first", None), ("kubelet", "status")]


def test_entries_of_a_version_that_is_not_served_are_dropped(toys: FieldManager) -> None:
    item = make_toy({"replicas": 1})
    item["metadata"]["managedFields"] = [entry("old", apiVersion="toys/v1alpha1"), entry("new")]
    assert toys.update(item, deepcopy(item), "me", NOON) == [entry("new")]


def test_the_oldest_of_too_many_updaters_share_an_entry(toys: FieldManager) -> None:
    item = tracked(toys, {"knobs": {"flags": {}}}, "creator")
    for number in range(MOST_UPDATERS + 5):
        new = deepcopy(item)
        new["spec"]["knobs"]["flags"][f"f{number}"] = "x"
        new["metadata"]["managedFields"] = toys.update(
            item, new, f"writer{number:02}", f"2026-05-02T12:00:{number:02}Z"
        )
        item = new
    entries = item["metadata"]["managedFields"]
    assert len(entries) == MOST_UPDATERS
    assert [one["manager"] for one in entries] == [
        "ancient-changes",
        *(f"writer{number:02}" for number in range(6, 15)),
    ]
    assert entries[0]["time"] == "2026-05-02T12:00:05Z"
    flags = entries[0]["fieldsV1"]["f:spec"]["f:knobs"]["f:flags"]
    assert set(flags) == {".", *(f"f:f{number}" for number in range(6))}


def test_only_updaters_of_one_version_are_thrown_together() -> None:
    owners = {
        writer(f"w{number}", "Update", f"v{number}"): Share({"f:a": {}}, f"v{number}", None)
        for number in range(MOST_UPDATERS + 3)
    }
    assert capped(owners) == owners


def test_a_second_apply_keeps_the_time_unless_it_changes_something(toys: FieldManager) -> None:
    applied = toys.apply(None, make_toy({"replicas": 1}), "me", NOON, force=False)
    live = {**applied.item, "metadata": {**applied.item["metadata"], "managedFields": applied.managed_fields}}
    again = toys.apply(live, make_toy({"replicas": 1}), "me", LATER, force=False)
    assert again.managed_fields[0]["time"] == NOON
    more = toys.apply(live, make_toy({"replicas": 1, "paused": True}), "me", LATER, force=False)
    assert more.managed_fields[0]["time"] == LATER


def test_times_alone_make_no_difference() -> None:
    assert same_but_times([entry("a")], [entry("a", time=LATER)])
    assert not same_but_times([entry("a")], [entry("b")])
    assert not same_but_times([entry("a")], [])


def test_who_has_a_part_of_what_becomes_a_scalar_is_asked(toys: FieldManager) -> None:
    """Here we are stricter than the real server, which lets the part go without a word."""
    applied = toys.apply(None, make_toy({"extra": {"x": 1}}), "one", NOON, force=False)
    live = {**applied.item, "metadata": {**applied.item["metadata"], "managedFields": applied.managed_fields}}
    with pytest.raises(ApplyConflict) as caught:
        toys.apply(live, make_toy({"extra": "text"}), "other", NOON, force=False)
    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "one": .spec.extra.x'
    forced = toys.apply(live, make_toy({"extra": "text"}), "other", NOON, force=True)
    assert [one["manager"] for one in forced.managed_fields] == ["other"]


def test_what_fills_an_always_present_field_stands_in_order() -> None:
    slices = FieldManager(SCHEMAS.of(EndpointSlice), "discovery.k8s.io/v1", "EndpointSlice")
    item: dict[str, Any] = {"metadata": {"name": "e"}, "addressType": "IPv4", "ports": [{"port": 1}]}
    item["metadata"]["managedFields"] = slices.update(None, item, "first", NOON)
    new = {**item, "ports": [{"port": 2}], "endpoints": [{"addresses": ["127.0.0.1"]}]}
    later = slices.update(item, new, "second", NOON)[1]
    assert list(later["fieldsV1"]) == ["f:endpoints", "f:ports"]
