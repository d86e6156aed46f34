"""How many pods a ReplicaSet makes, which ones it deletes first, what it reports."""

from datetime import timedelta

import pytest
from lightkube.models.apps_v1 import ReplicaSetCondition, ReplicaSetStatus
from lightkube.models.core_v1 import ContainerStatus
from lightkube.resources.core_v1 import Pod
from tests.controllers.builders import NOW, pod, replica_set

from skerry.cluster.controllers.ownership import claim, meta, name_of
from skerry.cluster.controllers.replicaset import Plan, new_pod, new_status, plan, seconds_to_next
from skerry.machinery.selectors import label_selector


@pytest.mark.parametrize(
    ("wanted", "present", "create", "deleted"), [(3, 1, 2, 0), (1, 3, 0, 2), (2, 2, 0, 0), (0, 1, 0, 1)]
)
def test_missing_pods_are_made_and_surplus_ones_deleted(wanted: int, present: int, create: int, deleted: int) -> None:
    planned = plan(replica_set(replicas=wanted), [pod(f"p{place}") for place in range(present)])
    assert (create, deleted) == (planned.create, len(planned.delete))


def test_a_replica_set_that_is_being_deleted_leaves_its_pods_to_the_garbage_collector() -> None:
    assert not plan(replica_set(replicas=3, deletionTimestamp=NOW), [])
    assert Plan() == plan(replica_set(replicas=0, deletionTimestamp=NOW), [pod()])


def restarting(name: str, count: int) -> Pod:
    made = pod(name)
    assert made.status is not None
    made.status.containerStatuses = [ContainerStatus(name="main", image="", imageID="", ready=True, restartCount=count)]
    return made


COST = "controller.kubernetes.io/pod-deletion-cost"


@pytest.mark.parametrize(
    ("goes", "stays"),
    [
        (pod("a", node=None), pod("b")),
        (pod("a", phase="Pending", ready=False), pod("b", phase="Running", ready=False)),
        (pod("a", phase="Pending", ready=False), pod("b", phase="Unknown", ready=False)),
        (pod("a", ready=False), pod("b")),
        (pod("a", annotations={COST: "-1"}), pod("b")),
        (pod("a"), pod("b", annotations={COST: "10"})),
        (pod("a", annotations={COST: "?"}), pod("b", annotations={COST: "10"})),
        (pod("a", ready_since=NOW), pod("b", ready_since=NOW - timedelta(hours=1))),
        (restarting("a", 3), restarting("b", 0)),
        (pod("a", creationTimestamp=NOW), pod("b", creationTimestamp=NOW - timedelta(hours=1))),
        # Readiness counts more than age.
        (pod("a", ready=False, creationTimestamp=NOW - timedelta(days=9)), pod("b")),
    ],
)
def test_the_pod_with_least_to_lose_goes_first(goes: Pod, stays: Pod) -> None:
    for order in ([goes, stays], [stays, goes]):
        assert [name_of(goes)] == [name_of(each) for each in plan(replica_set(replicas=1), order).delete]


def test_a_new_pod_carries_the_template_and_its_owner() -> None:
    owner = replica_set("bee-x")
    made = new_pod(owner)
    assert ("bee-x-", None, "ai-demo") == (meta(made).generateName, meta(made).name, meta(made).namespace)
    assert {"app": "bee", "pod-template-hash": "x"} == meta(made).labels
    assert owner.spec.template is not None
    assert owner.spec.template.spec == made.spec
    (reference,) = meta(made).ownerReferences or []
    assert ("ReplicaSet", meta(owner).uid, True, True) == (
        reference.kind,
        reference.uid,
        reference.controller,
        reference.blockOwnerDeletion,
    )


def test_the_counts() -> None:
    owner = replica_set(replicas=4)
    full = {"app": "bee", "pod-template-hash": "x"}
    pods = [pod("a", labels=full), pod("b", labels=full, ready=False), pod("c")]
    assert ReplicaSetStatus(
        replicas=3, fullyLabeledReplicas=2, readyReplicas=2, availableReplicas=2, observedGeneration=1
    ) == new_status(owner, pods, None, NOW)
    assert ReplicaSetStatus(replicas=0, observedGeneration=1) == new_status(owner, [], None, NOW)


def test_a_pod_is_available_only_after_its_minimum_time() -> None:
    owner = replica_set(replicas=2)
    owner.spec.minReadySeconds = 30
    pods = [
        pod("old", ready_since=NOW - timedelta(seconds=30)),
        pod("young", ready_since=NOW - timedelta(seconds=10)),
        pod("younger", ready_since=NOW),
        pod("broken", ready=False),
    ]
    status = new_status(owner, pods, None, NOW)
    assert (3, 1) == (status.readyReplicas, status.availableReplicas)
    assert 20.0 == seconds_to_next(owner, pods, NOW)
    assert seconds_to_next(owner, pods[:1], NOW) is None


def test_a_failure_becomes_a_condition_that_keeps_its_time_and_goes_away() -> None:
    owner = replica_set()
    message = 'pods "bee-x-" is forbidden: no more'
    status = new_status(owner, [], ("FailedCreate", message), NOW)
    expected = ReplicaSetCondition(
        type="ReplicaFailure", status="True", reason="FailedCreate", message=message, lastTransitionTime=NOW
    )
    assert [expected] == status.conditions
    owner.status = status
    later = new_status(owner, [], ("FailedCreate", message), NOW + timedelta(minutes=5))
    assert status == later
    assert new_status(owner, [pod()], None, NOW).conditions is None


def test_claims() -> None:
    owner, stranger = replica_set("bee-x"), replica_set("bee-y")
    selector = label_selector(owner.spec.selector)
    full = {"app": "bee", "pod-template-hash": "x"}
    own = pod("own", owner=owner, labels=full)
    strayed = pod("strayed", owner=owner, labels={"app": "wasp"})
    orphan = pod("orphan", labels=full)
    others = [
        pod("other", owner=stranger, labels=full),
        pod("unrelated", labels={"app": "wasp"}),
        pod("ending", labels=full, deletionTimestamp=NOW),
    ]
    claimed = claim(owner, selector, [own, strayed, orphan, *others])
    assert ((own,), (orphan,), (strayed,)) == (claimed.owned, claimed.adopt, claimed.release)
    meta(owner).deletionTimestamp = NOW
    claimed = claim(owner, selector, [own, strayed, orphan, *others])
    assert ((own,), (), ()) == (claimed.owned, claimed.adopt, claimed.release)


def test_an_owner_of_the_same_name_and_another_uid_is_another_owner() -> None:
    before, after = replica_set("bee-x"), replica_set("bee-x")
    left = pod("left", owner=before, labels={"app": "bee", "pod-template-hash": "x"})
    claimed = claim(after, label_selector(after.spec.selector), [left])
    assert ((), (), ()) == (claimed.owned, claimed.adopt, claimed.release)
