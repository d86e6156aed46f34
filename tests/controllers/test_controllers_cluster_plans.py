"""Plans of the small controllers: garbage collection, namespaces, volume claims, old events."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from lightkube.models.core_v1 import (
    EventSeries,
    NamespaceCondition,
    ObjectReference,
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimStatus,
    VolumeResourceRequirements,
)
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference
from lightkube.resources.core_v1 import Event, PersistentVolumeClaim, Pod
from lightkube.types import CascadeType
from tests.controllers.builders import NOW, metadata, pod, replica_set

from skerry.api.kinds import REGISTRY
from skerry.cluster.controllers import event_ttl, garbage_collector, pvc
from skerry.cluster.controllers.garbage_collector import Delete, Keep, Standing
from skerry.cluster.controllers.kinds import GLOBAL_KINDS, NAMESPACED_KINDS, group_kind
from skerry.cluster.controllers.namespace import Remains, conditions
from skerry.cluster.controllers.ownership import meta
from skerry.cluster.controllers.writes import status_changes

HERE, WAITING, GONE, UNKNOWN = Standing.HERE, Standing.WAITING, Standing.GONE, Standing.UNKNOWN


def test_the_lists_of_kinds_are_those_that_are_served() -> None:
    served = {(kind.group, kind.kind): kind.namespaced for kind in REGISTRY if kind.stored and not kind.stored_as}
    assert {key for key, inside in served.items() if inside} == {group_kind(kind) for kind in NAMESPACED_KINDS}
    assert {key for key, inside in served.items() if not inside} == {group_kind(kind) for kind in GLOBAL_KINDS}


# Garbage collection


def owned(*uids: str, finalizers: list[str] | None = None) -> Pod:
    owners = [OwnerReference(apiVersion="v1", kind="Thing", name=uid, uid=uid) for uid in uids]
    return Pod(metadata=ObjectMeta(name="bee", namespace="ai-demo", ownerReferences=owners, finalizers=finalizers))


BACKGROUND, FOREGROUND, ORPHAN = CascadeType.BACKGROUND, CascadeType.FOREGROUND, CascadeType.ORPHAN


@pytest.mark.parametrize(
    ("standings", "has_dependents", "expected"),
    [
        ([], False, Keep()),
        ([HERE], False, Keep()),
        ([UNKNOWN], False, Keep()),
        ([GONE], False, Delete(BACKGROUND)),
        ([GONE, GONE], True, Delete(BACKGROUND)),
        ([WAITING], False, Delete(BACKGROUND)),
        ([WAITING], True, Delete(FOREGROUND)),
        ([WAITING, GONE], True, Delete(FOREGROUND)),
        ([UNKNOWN, HERE], True, Keep()),
    ],
)
def test_what_becomes_of_a_dependent(standings: list[Standing], expected: object, *, has_dependents: bool) -> None:
    uids = [str(place) for place in range(len(standings))]
    known = dict(zip(uids, standings, strict=True))
    assert expected == garbage_collector.plan(owned(*uids), known, has_dependents=has_dependents)


@pytest.mark.parametrize("other", [GONE, WAITING])
def test_an_object_with_one_owner_left_stays_and_forgets_the_others(other: Standing) -> None:
    item = owned("a", "b")
    decision = garbage_collector.plan(item, {"a": other, "b": HERE}, has_dependents=True)
    assert Keep(((meta(item).ownerReferences or [])[1],)) == decision


@pytest.mark.parametrize(
    ("finalizers", "cascade"),
    [(None, BACKGROUND), (["orphan"], ORPHAN), (["foregroundDeletion"], FOREGROUND), (["mine"], BACKGROUND)],
)
def test_a_dependents_own_finalizers_decide_how_it_goes(finalizers: list[str] | None, cascade: CascadeType) -> None:
    item = owned("a", finalizers=finalizers)
    assert Delete(cascade) == garbage_collector.plan(item, {"a": GONE}, has_dependents=False)


def test_only_blocking_dependents_hold_up_a_foreground_deletion() -> None:
    owner = replica_set()
    blocks, free = pod("blocks", owner=owner), pod("free", owner=owner)
    (meta(free).ownerReferences or [])[0].blockOwnerDeletion = False
    assert [blocks] == garbage_collector.blocking(owner, [blocks, free, pod("stranger")])


# Namespaces


def said(found: list[NamespaceCondition]) -> dict[str, tuple[str, str | None, str | None]]:
    return {each.type: (each.status, each.reason, each.message) for each in found}


def test_what_keeps_a_namespace() -> None:
    remains = Remains()
    remains.add(Pod, pod())
    remains.add(Pod, pod(finalizers=["example.com/a", "b"]))
    found = said(conditions(remains, {}, None, NOW))
    assert (
        "True",
        "SomeResourcesRemain",
        "Some resources are remaining: pods. has 2 resource instances",
    ) == found["NamespaceContentRemaining"]
    held = "b in 1 resource instances, example.com/a in 1 resource instances"
    assert (
        "True",
        "SomeFinalizersRemain",
        f"Some content in the namespace has finalizers remaining: {held}",
    ) == found["NamespaceFinalizersRemaining"]
    assert "False" == found["NamespaceDeletionContentFailure"][0]


def test_an_empty_namespace() -> None:
    found = said(conditions(Remains(), {}, None, NOW))
    assert {
        "NamespaceDeletionDiscoveryFailure": ("ResourcesDiscovered", "All resources successfully discovered"),
        "NamespaceDeletionGroupVersionParsingFailure": (
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        "NamespaceDeletionContentFailure": (
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
        "NamespaceFinalizersRemaining": ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
    } == {kind: (reason, message) for kind, (status, reason, message) in found.items() if status == "False"}


def test_a_namespaces_conditions_keep_their_times() -> None:
    first = conditions(Remains(), {}, "disk full", NOW)
    later = conditions(Remains(), {each.type: each for each in first}, None, NOW + timedelta(minutes=1))
    times = {each.type: each.lastTransitionTime for each in later}
    assert NOW + timedelta(minutes=1) == times.pop("NamespaceDeletionContentFailure")
    assert {NOW} == set(times.values())


# Volume claims


def claim(**more: Any) -> PersistentVolumeClaim:
    spec = PersistentVolumeClaimSpec(
        accessModes=["ReadWriteOnce"], resources=VolumeResourceRequirements(requests={"storage": "1Gi"})
    )
    return PersistentVolumeClaim(metadata=metadata("models", uid="u-1"), spec=spec, **more)


HELD = ("kubernetes.io/pvc-protection", "skerry.dev/local-data")


def test_a_claim_is_bound() -> None:
    bound = PersistentVolumeClaimStatus(phase="Bound", accessModes=["ReadWriteOnce"], capacity={"storage": "1Gi"})
    assert pvc.Plan("pvc-u-1", bound, HELD) == pvc.plan(claim(status=PersistentVolumeClaimStatus(phase="Pending")))


def test_a_bound_claim_is_left_alone_until_it_asks_for_more() -> None:
    item = claim(status=PersistentVolumeClaimStatus(phase="Bound", capacity={"storage": "1Gi"}))
    assert item.spec is not None
    item.spec.volumeName = "pvc-u-1"
    meta(item).finalizers = ["other", *HELD]
    assert pvc.plan(item) is None
    item.spec.resources = VolumeResourceRequirements(requests={"storage": "2Gi"})
    grown = pvc.plan(item)
    assert grown is not None
    assert grown.status.capacity == {"storage": "2Gi"}


def test_a_claim_that_goes_waits_for_its_pods() -> None:
    item = claim()
    meta(item).deletionTimestamp = NOW
    assert pvc.plan(item) is None
    meta(item).finalizers = list(HELD)
    assert pvc.plan(item, used=True) is None
    let_go = pvc.plan(item)
    assert let_go is not None
    assert let_go.finalizers == ("skerry.dev/local-data",)


# Events


def event(
    name: str, *, created: int, last: int | None = None, micro: int | None = None, series: int | None = None
) -> Event:
    def ago(seconds: int | None) -> datetime | None:
        return None if seconds is None else NOW - timedelta(seconds=seconds)

    return Event(
        metadata=metadata(name, creationTimestamp=ago(created)),
        involvedObject=ObjectReference(name="bee"),
        lastTimestamp=ago(last),
        eventTime=ago(micro),
        series=EventSeries(lastObservedTime=ago(series)) if series is not None else None,
    )


def test_events_go_an_hour_after_their_last_time() -> None:
    old, young = event("old", created=3601), event("young", created=3590)
    renewed = [
        event("counted", created=9000, last=60),
        event("new-api", created=9000, micro=50),
        event("series", created=9000, micro=9000, series=10),
    ]
    planned = event_ttl.plan([young, old, *renewed], timedelta(hours=1), NOW)
    assert event_ttl.Plan((old,), 11.0) == planned


def test_without_events_there_is_nothing_to_wait_for() -> None:
    assert event_ttl.Plan((), None) == event_ttl.plan([], timedelta(hours=1), NOW)


# Status patches


def test_a_status_patch_holds_what_changed_and_nulls_what_goes() -> None:
    old = PersistentVolumeClaimStatus(phase="Pending", accessModes=["A"])
    new = PersistentVolumeClaimStatus(phase="Bound", capacity={"storage": "1Gi"})
    assert {"phase": "Bound", "accessModes": None, "capacity": {"storage": "1Gi"}} == status_changes(old, new)
    assert {} == status_changes(new, new)
    assert {"phase": "Bound", "capacity": {"storage": "1Gi"}} == status_changes(None, new)
