"""Deployment plans over whole objects: names, annotations, conditions in Kubernetes' words, revisions, pauses.

Not here: the arithmetic of a roll-out (test_controllers_rollout_sizes) and the writes (test_controllers_workloads).
"""

from datetime import timedelta

import msgspec
import pytest
from lightkube.models.apps_v1 import (
    DeploymentCondition,
    DeploymentStatus,
    ReplicaSetCondition,
    ReplicaSetStatus,
)
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from tests.controllers.builders import NOW, deployment, pod, replica_set, template

from skerry.cluster.controllers.deployment.plan import Plan, plan
from skerry.cluster.controllers.deployment.revisions import (
    outdated,
    present_annotations,
    sort_out,
    template_hash,
)
from skerry.cluster.controllers.ownership import meta, name_of

REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
HISTORY = "deployment.kubernetes.io/revision-history"


def scaled(desired: int, maximum: int, revision: int = 1) -> dict[str, str]:
    return {REVISION: str(revision), DESIRED: str(desired), MAXIMUM: str(maximum)}


def condition(planned: Plan, kind: str) -> tuple[str | None, str | None, str | None]:
    found = next(each for each in planned.status.conditions or [] if each.type == kind)
    return found.status, found.reason, found.message


def progressing(reason: str, *, status: str = "True", ago: float = 0) -> DeploymentStatus:
    moment = NOW - timedelta(seconds=ago)
    made = DeploymentCondition(
        type="Progressing", status=status, reason=reason, lastUpdateTime=moment, lastTransitionTime=moment
    )
    return DeploymentStatus(conditions=[made])


def test_the_first_replica_set() -> None:
    bee = deployment(replicas=3, minReadySeconds=5, meta={"annotations": {"note": "x", REVISION: "7"}})
    planned = plan(bee, [], [], NOW)
    made = planned.create
    assert made is not None
    digest = name_of(made).removeprefix("bee-")
    assert {"app": "bee", "pod-template-hash": digest} == meta(made).labels
    assert {"app": "bee", "pod-template-hash": digest} == made.spec.selector.matchLabels
    assert made.spec.template is not None
    assert made.spec.template.metadata is not None
    assert {"app": "bee", "pod-template-hash": digest} == made.spec.template.metadata.labels
    assert bee.spec.template.spec == made.spec.template.spec
    assert {"note": "x", **scaled(3, 4)} == meta(made).annotations
    assert (3, 5) == (made.spec.replicas, made.spec.minReadySeconds)
    (owner,) = meta(made).ownerReferences or []
    assert ("apps/v1", "Deployment", "bee", True, True) == (
        owner.apiVersion,
        owner.kind,
        owner.name,
        owner.controller,
        owner.blockOwnerDeletion,
    )
    assert "1" == planned.revision
    assert ("True", "NewReplicaSetCreated", f'Created new replica set "{name_of(made)}"') == condition(
        planned, "Progressing"
    )
    assert (
        "False",
        "MinimumReplicasUnavailable",
        "Deployment does not have minimum availability.",
    ) == condition(planned, "Available")
    assert (1, 3, None) == (
        planned.status.observedGeneration,
        planned.status.unavailableReplicas,
        planned.status.replicas,
    )
    assert 601.0 == planned.again


def test_a_finished_roll_out_says_so_and_asks_for_nothing() -> None:
    bee = deployment(replicas=2, meta={"annotations": {REVISION: "1"}}, status=progressing("ReplicaSetUpdated"))
    planned = plan(bee, [replica_set("bee-x", owner=bee, replicas=2, annotations=scaled(2, 3))], [], NOW)
    assert ("True", "NewReplicaSetAvailable", 'ReplicaSet "bee-x" has successfully progressed.') == condition(
        planned, "Progressing"
    )
    assert ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.") == condition(
        planned, "Available"
    )
    status = planned.status
    assert (2, 2, 2, 2, None) == (
        status.replicas,
        status.updatedReplicas,
        status.readyReplicas,
        status.availableReplicas,
        status.unavailableReplicas,
    )
    assert Plan(status) == planned


def test_a_plan_that_is_written_plans_nothing_more() -> None:
    bee = deployment(replicas=2, meta={"annotations": {REVISION: "1"}}, status=progressing("ReplicaSetUpdated"))
    sets = [replica_set("bee-x", owner=bee, replicas=2, annotations=scaled(2, 3))]
    written = msgspec.structs.replace(bee, status=plan(bee, sets, [], NOW).status)
    later = plan(written, sets, [], NOW + timedelta(hours=1))
    assert written.status == later.status


@pytest.mark.parametrize("reason", ["NewReplicaSetCreated", "ReplicaSetUpdated"])
@pytest.mark.parametrize(
    ("before", "counts", "expected"),
    [
        ((3, 1, 1, 1), (3, 2, 1, 1), True),  # more pods of the new revision
        ((4, 2, 4, 4), (3, 2, 4, 4), True),  # fewer of the old ones
        ((3, 3, 1, 1), (3, 3, 2, 1), True),  # more that are ready
        ((3, 3, 2, 1), (3, 3, 2, 2), True),  # more that are available
        ((3, 3, 2, 2), (3, 3, 2, 2), False),
        ((3, 3, 2, 2), (3, 3, 1, 1), False),
    ],
)
def test_progress_renews_the_deadline(
    before: tuple[int, ...], counts: tuple[int, ...], reason: str, *, expected: bool
) -> None:
    status = progressing(reason, ago=60)
    status.replicas, status.updatedReplicas, status.readyReplicas, status.availableReplicas = before
    bee = deployment(replicas=3, meta={"annotations": {REVISION: "2"}}, status=status)
    present, updated, ready, available = counts
    new = replica_set(
        "bee-new",
        owner=bee,
        replicas=3,
        annotations=scaled(3, 4, 2),
        status=ReplicaSetStatus(updated, readyReplicas=ready, availableReplicas=available, observedGeneration=1),
    )
    old = replica_set(
        "bee-old",
        owner=bee,
        image="server:0",
        replicas=1,
        age=60,
        annotations=scaled(3, 4),
        status=ReplicaSetStatus(present - updated, observedGeneration=1),
    )
    planned = plan(bee, [old, new], [], NOW)
    found = next(each for each in planned.status.conditions or [] if each.type == "Progressing")
    if expected:
        assert ("ReplicaSetUpdated", 'ReplicaSet "bee-new" is progressing.') == (found.reason, found.message)
        assert (NOW, NOW - timedelta(seconds=60)) == (found.lastUpdateTime, found.lastTransitionTime)
    else:
        assert (reason, NOW - timedelta(seconds=60)) == (found.reason, found.lastUpdateTime)
        assert 541.0 == planned.again


def stuck(reason: str, ago: float, status: str = "True") -> tuple[Deployment, list[ReplicaSet]]:
    bee = deployment(
        meta={"annotations": {REVISION: "1"}}, status=progressing(reason, ago=ago, status=status), replicas=1
    )
    return bee, [replica_set("bee-x", owner=bee, available=0, annotations=scaled(1, 2))]


@pytest.mark.parametrize(
    ("reason", "ago", "expected"),
    [
        ("ReplicaSetUpdated", 599, ("True", "ReplicaSetUpdated", None)),
        (
            "ReplicaSetUpdated",
            601,
            ("False", "ProgressDeadlineExceeded", 'ReplicaSet "bee-x" has timed out progressing.'),
        ),
        (
            "FoundNewReplicaSet",
            601,
            ("False", "ProgressDeadlineExceeded", 'ReplicaSet "bee-x" has timed out progressing.'),
        ),
        # A roll-out that was done once does not time out when its pods fail later.
        ("NewReplicaSetAvailable", 6000, ("True", "NewReplicaSetAvailable", None)),
    ],
)
def test_a_roll_out_that_stands_still_times_out(reason: str, ago: float, expected: tuple[str, str, str | None]) -> None:
    bee, sets = stuck(reason, ago)
    bee.status = msgspec.structs.replace(bee.status or DeploymentStatus(), replicas=1, updatedReplicas=1)
    assert expected == condition(plan(bee, sets, [], NOW), "Progressing")


def test_a_timed_out_roll_out_recovers_when_its_pods_come_up() -> None:
    bee, sets = stuck("ProgressDeadlineExceeded", 700, status="False")
    ready = [replica_set("bee-x", owner=bee, annotations=scaled(1, 2), uid=meta(sets[0]).uid)]
    assert "NewReplicaSetAvailable" == condition(plan(bee, ready, [], NOW), "Progressing")[1]


def test_without_a_deadline_nothing_is_said_of_progress() -> None:
    bee, sets = stuck("ReplicaSetUpdated", 10_000)
    bee.spec.progressDeadlineSeconds = None
    planned = plan(bee, sets, [], NOW)
    assert ["Available"] == [each.type for each in planned.status.conditions or []]
    assert planned.again is None


def test_the_failure_of_a_replica_set_is_passed_on_and_taken_back() -> None:
    bee, (item,) = stuck("ReplicaSetUpdated", 1)
    assert item.status is not None
    message = 'pods "bee-x-" is forbidden: no'
    item.status.conditions = [
        ReplicaSetCondition(
            type="ReplicaFailure", status="True", reason="FailedCreate", message=message, lastTransitionTime=NOW
        )
    ]
    planned = plan(bee, [item], [], NOW)
    assert ("True", "FailedCreate", message) == condition(planned, "ReplicaFailure")
    item.status.conditions = None
    bee.status = planned.status
    kinds = [each.type for each in plan(bee, [item], [], NOW).status.conditions or []]
    assert "ReplicaFailure" not in kinds


def test_a_new_template_is_a_new_revision() -> None:
    bee = deployment(image="server:2", replicas=4, meta={"annotations": {REVISION: "1"}})
    old = replica_set("bee-old", owner=bee, replicas=4, age=60, annotations=scaled(4, 5))
    planned = plan(bee, [old], [], NOW)
    assert planned.create is not None
    assert (1, "2", ()) == (planned.create.spec.replicas, planned.revision, planned.updates)
    assert scaled(4, 5, 2) == meta(planned.create).annotations


def test_going_back_to_an_old_template_takes_its_replica_set_up_again() -> None:
    bee = deployment(image="server:1", replicas=1, meta={"annotations": {REVISION: "3"}})
    first = replica_set("bee-one", owner=bee, replicas=0, age=90, annotations={**scaled(1, 2, 1), HISTORY: "1"})
    second = replica_set("bee-two", owner=bee, image="server:2", age=60, annotations=scaled(1, 2, 3))
    meta(first).annotations = {**scaled(1, 2, 2), HISTORY: "1"}
    planned = plan(bee, [second, first], [], NOW)
    (update,) = planned.updates
    assert (first, None) == (update.replica_set, update.replicas)
    assert {REVISION: "4", HISTORY: "1,2"} == dict(update.annotations)
    meta(first).annotations = {**scaled(1, 2, 4), HISTORY: "1,2"}
    planned = plan(bee, [second, first], [], NOW)
    assert ("4", None) == (planned.revision, planned.create)
    assert [("bee-one", 1)] == [(name_of(each.replica_set), each.replicas) for each in planned.updates]


def test_the_deployments_annotations_reach_the_replica_set_but_for_its_own_book_keeping() -> None:
    last_applied = "kubectl.kubernetes.io/last-applied-configuration"
    bee = deployment(meta={"annotations": {"team": "vision", last_applied: "{}", REVISION: "9"}})
    item = replica_set("bee-x", owner=bee, annotations=scaled(1, 2))
    assert {"team": "vision"} == present_annotations(bee, sort_out(bee, [item]))


def test_min_ready_seconds_follow_without_a_new_revision() -> None:
    bee = deployment(minReadySeconds=30)
    item = replica_set("bee-x", owner=bee, annotations=scaled(1, 2))
    (update,) = plan(bee, [item], [], NOW).updates
    assert (30, None, ()) == (update.min_ready_seconds, update.replicas, update.annotations)


@pytest.mark.parametrize(
    ("limit", "sizes", "expected"),
    [
        (2, [0, 0, 0, 0], ["bee-0", "bee-1"]),
        (0, [0, 0], ["bee-0", "bee-1"]),
        (5, [0, 0], []),
        (None, [0] * 12, ["bee-0", "bee-1"]),
        (1, [2, 0, 0], ["bee-1"]),  # the oldest still has pods
    ],
)
def test_old_revisions_beyond_the_limit_go(limit: int | None, sizes: list[int], expected: list[str]) -> None:
    bee = deployment(revisionHistoryLimit=limit)
    old = [
        replica_set(
            f"bee-{place}", owner=bee, image=f"old:{place}", replicas=size, annotations={REVISION: f"{place + 1}"}
        )
        for place, size in enumerate(sizes)
    ]
    assert expected == [name_of(item) for item in outdated(bee, old)]


def test_old_revisions_are_kept_while_a_roll_out_goes_on() -> None:
    bee = deployment(replicas=1, revisionHistoryLimit=0, meta={"annotations": {REVISION: "2"}})
    old = replica_set("bee-old", owner=bee, image="server:0", replicas=0, age=60, annotations=scaled(1, 2))
    new = replica_set("bee-new", owner=bee, available=0, annotations=scaled(1, 2, 2))
    assert () == plan(bee, [old, new], [], NOW).delete
    done = replica_set("bee-new", owner=bee, annotations=scaled(1, 2, 2))
    assert (old,) == plan(bee, [old, done], [], NOW).delete


def test_a_paused_deployment_makes_no_new_revision_but_can_be_scaled() -> None:
    bee = deployment(image="server:2", replicas=5, paused=True, status=progressing("NewReplicaSetAvailable"))
    old = replica_set("bee-old", owner=bee, replicas=3, annotations=scaled(3, 4))
    planned = plan(bee, [old], [], NOW)
    assert planned.create is None
    assert [(old, 5)] == [(each.replica_set, each.replicas) for each in planned.updates]
    assert ("Unknown", "DeploymentPaused", "Deployment is paused") == condition(planned, "Progressing")


def test_a_long_pause_is_no_lack_of_progress() -> None:
    bee = deployment(paused=True, status=progressing("DeploymentPaused", ago=9000, status="Unknown"))
    for annotations in ({}, scaled(1, 2)):
        item = replica_set("bee-x", owner=bee, available=0, annotations=annotations)
        planned = plan(bee, [item], [], NOW)
        assert ("DeploymentPaused", None) == (condition(planned, "Progressing")[1], planned.again)


def test_a_resumed_deployment_starts_its_deadline_anew() -> None:
    bee = deployment(
        replicas=1,
        meta={"annotations": {REVISION: "1"}},
        status=progressing("DeploymentPaused", ago=9000, status="Unknown"),
    )
    item = replica_set("bee-x", owner=bee, available=0, annotations=scaled(1, 2), status=ReplicaSetStatus(0))
    planned = plan(bee, [item], [], NOW)
    assert ("Unknown", "DeploymentResumed", "Deployment is resumed") == condition(planned, "Progressing")
    assert 601.0 == planned.again


def test_a_change_of_size_in_the_middle_of_a_roll_out_is_recorded_on_every_active_replica_set() -> None:
    bee = deployment(replicas=15, surge=3, unavailable=2, status=DeploymentStatus(replicas=13))
    old = replica_set("bee-old", owner=bee, image="server:0", replicas=8, age=60, annotations=scaled(10, 13))
    new = replica_set("bee-new", owner=bee, replicas=5, annotations=scaled(10, 13, 2))
    updates = plan(bee, [old, new], [], NOW).updates
    assert {"bee-old": 11, "bee-new": 7} == {name_of(each.replica_set): each.replicas for each in updates}
    assert all({DESIRED: "15", MAXIMUM: "18"} == dict(each.annotations) for each in updates)


def test_a_stale_record_of_the_size_is_corrected_even_if_no_size_changes() -> None:
    bee = deployment(replicas=3)
    item = replica_set("bee-x", owner=bee, replicas=3, annotations=scaled(2, 3))
    (update,) = plan(bee, [item], [], NOW).updates
    assert (None, {DESIRED: "3", MAXIMUM: "4"}) == (update.replicas, dict(update.annotations))


def test_a_recreate_waits_until_the_last_old_pod_is_gone() -> None:
    bee = deployment(image="server:2", recreate=True, replicas=2)
    old = replica_set("bee-old", owner=bee, replicas=2, annotations=scaled(2, 2))
    first = plan(bee, [old], [pod(owner=old)], NOW)
    assert (None, [0]) == (first.create, [each.replicas for each in first.updates])
    # Scaled down; one pod is still ending, which its ReplicaSet does not count any more.
    empty = replica_set("bee-old", owner=bee, replicas=0, annotations=scaled(2, 2), uid=meta(old).uid)
    ending = pod(owner=empty, deletionTimestamp=NOW)
    waiting = plan(bee, [empty], [ending], NOW)
    assert (None, ()) == (waiting.create, waiting.updates)
    gone = plan(bee, [empty], [pod(owner=empty, phase="Succeeded")], NOW)
    assert gone.create is not None
    assert 2 == gone.create.spec.replicas


def test_a_deployment_that_is_being_deleted_only_reports() -> None:
    bee = deployment(image="server:2", replicas=3, meta={"deletionTimestamp": NOW})
    old = replica_set("bee-old", owner=bee, replicas=3)
    planned = plan(bee, [old], [], NOW)
    assert Plan(planned.status) == planned


def test_the_present_revision_is_found_by_its_template_whatever_its_hash() -> None:
    bee = deployment()
    odd = replica_set("bee-made-elsewhere", owner=bee)
    assert sort_out(bee, [odd]).new is odd
    assert sort_out(bee, [replica_set("bee-x", owner=bee, image="server:9")]).new is None


def test_the_hash_depends_on_template_and_collisions_and_spells_nothing() -> None:
    hashes = {template_hash(template(image), collisions) for image in ("a:1", "a:2") for collisions in (None, 1, 2)}
    assert 6 == len(hashes)
    assert all(set(text) <= set("bcdfghjklmnpqrstvwxz2456789") and 1 <= len(text) <= 10 for text in hashes)
    assert template_hash(template(labels={"app": "bee"}), None) == template_hash(
        template(labels={"app": "bee", "pod-template-hash": "x"}), None
    )
