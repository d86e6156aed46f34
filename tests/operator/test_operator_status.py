"""Status from pods: each way in which a pod does not serve, and the way back.

The matrix: waiting (image, start, crash loop), terminated (error, memory), scheduler, init containers, downloads,
probes; then what a rollout does to a model that serves, and when events are written.
"""

from typing import Any

import pytest
from tests.operator.builders import (
    AVAILABLE,
    LATER,
    RUNNING,
    UNAVAILABLE,
    condition,
    container,
    deployed,
    isvc,
    planned,
    pod,
    seen,
    status_after,
    terminated,
    waiting,
    with_status,
)

from skerry.operator.plan import plan

Json = dict[str, Any]
FIRST = planned()


def status_with(*pods: Json, old: Json | None = None, **conditions: Json) -> Json:
    before = old or status_after(FIRST)
    said: Any = conditions or {"Available": UNAVAILABLE}
    result = planned(with_status(isvc(), before), deployment=deployed(FIRST, **said), pods=pods)
    return status_after(result, before)


@pytest.mark.parametrize(
    ("broken", "reason", "failure", "text"),
    [
        (
            pod(container(waiting("ImagePullBackOff", "localhost/none:1: not found"))),
            "ImagePullBackOff",
            "RuntimeUnhealthy",
            "container kserve-container of pod p-1: cannot get its image: localhost/none:1: not found",
        ),
        (
            pod(container(waiting("ErrImageNeverPull"))),
            "ErrImageNeverPull",
            "RuntimeUnhealthy",
            "bring the image to this machine first, or change imagePullPolicy",
        ),
        (
            pod(container(waiting("CreateContainerConfigError", 'secret "s" not found'))),
            "CreateContainerConfigError",
            "RuntimeUnhealthy",
            'cannot be started: secret "s" not found; make the ConfigMap or Secret that it refers to',
        ),
        (
            pod(container(waiting("CrashLoopBackOff"), last=terminated(1, message="\nloading\nno model.xml\n"))),
            "CrashLoopBackOff",
            "ModelLoadFailed",
            "container kserve-container of pod p-1 ended with exit code 1: loading | no model.xml",
        ),
        (
            pod(container(waiting("CrashLoopBackOff"), last=terminated(137, "OOMKilled"))),
            "OOMKilled",
            "RuntimeUnhealthy",
            "was killed for want of memory; raise resources.limits.memory, or serve a smaller model",
        ),
        (
            pod(container(terminated(2))),
            "Error",
            "ModelLoadFailed",
            "ended with exit code 2; see its log: kubectl logs p-1 -c kserve-container",
        ),
        (
            pod(container(RUNNING, last=terminated(2))),
            "Error",
            "ModelLoadFailed",
            "ended with exit code 2; see its log: kubectl logs p-1 -c kserve-container --previous",
        ),
        (
            pod(
                conditions=[
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "reason": "Unschedulable",
                        "message": "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
                    }
                ],
                phase="Pending",
            ),
            "Unschedulable",
            "RuntimeUnhealthy",
            "pod p-1 cannot be scheduled: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu.",
        ),
        (
            pod(
                container(waiting("PodInitializing")),
                initContainerStatuses=[container(terminated(1, message="NoSuchBucket"), name="storage-initializer")],
            ),
            "Error",
            "ModelLoadFailed",
            "container storage-initializer of pod p-1 ended with exit code 1: NoSuchBucket",
        ),
        (
            pod(container(waiting("PodInitializing")), container(waiting("ErrImagePull", "no"), name="modelcar")),
            "ErrImagePull",
            "ModelLoadFailed",
            "container modelcar of pod p-1: cannot get its image: no",
        ),
        (pod(phase="Failed", reason="Evicted", message="disk full"), "Evicted", "RuntimeUnhealthy", "disk full"),
    ],
)
def test_trouble_is_named(broken: Json, reason: str, failure: str, text: str) -> None:
    status = status_with(broken)
    predictor, model = condition(status, "PredictorReady"), status["modelStatus"]
    assert (predictor["status"], predictor["reason"]) == ("False", reason)
    assert text in predictor["message"]
    assert (condition(status, "Ready")["reason"], condition(status, "Ready")["message"]) == (
        reason,
        predictor["message"],
    )
    assert model["transitionStatus"] == "BlockedByFailedLoad"
    assert model["states"] == {"activeModelState": "", "targetModelState": "FailedToLoad"}
    assert model["copies"] == {"failedCopies": 1, "totalCopies": 0}
    info = model["lastFailureInfo"]
    assert (info["location"], info["reason"], info["message"]) == ("p-1", failure, predictor["message"])


def test_exit_code_is_kept() -> None:
    status = status_with(pod(container(terminated(3))))
    assert status["modelStatus"]["lastFailureInfo"]["exitCode"] == 3


@pytest.mark.parametrize(
    ("starting", "text", "target"),
    [
        (pod(phase="Pending"), "pod p-1 is waiting for a node", "Pending"),
        (
            pod(container(waiting("ContainerCreating"))),
            "container kserve-container of pod p-1 is waiting: ContainerCreating",
            "Pending",
        ),
        (
            pod(container(RUNNING)),
            "container kserve-container of pod p-1 is running, its readiness probe does not pass yet",
            "Loading",
        ),
    ],
)
def test_starting_is_explained_and_is_no_failure(starting: Json, text: str, target: str) -> None:
    status = status_with(starting)
    predictor = condition(status, "PredictorReady")
    assert (predictor["status"], predictor["reason"]) == ("False", "ContainersNotReady")
    assert predictor["message"] == text
    assert status["modelStatus"]["transitionStatus"] == "InProgress"
    assert status["modelStatus"]["states"]["targetModelState"] == target
    assert "lastFailureInfo" not in status["modelStatus"]


def test_failure_is_told_once_and_cleared_on_recovery() -> None:
    broken = pod(container(waiting("CrashLoopBackOff"), last=terminated(1, message="no model.xml")))
    world: Json = {"deployment": deployed(FIRST, Available=UNAVAILABLE), "pods": [broken]}
    failed = planned(with_status(isvc(), status_after(FIRST)), **world)
    assert [note.reason for note in failed.events] == ["CrashLoopBackOff"]
    status = status_after(failed, status_after(FIRST))
    later = plan(seen(with_status(isvc(), status), **world), LATER)
    assert (later.events, later.status) == ((), {})
    recovered = planned(
        with_status(isvc(), status),
        deployment=deployed(FIRST, ready=1, Available=AVAILABLE),
        pods=[pod(container(RUNNING, ready=True), ready=True)],
    )
    model = status_after(recovered, status)["modelStatus"]
    assert (model["transitionStatus"], "lastFailureInfo" in model) == ("UpToDate", False)
    assert [note.reason for note in recovered.events] == ["InferenceServiceReady"]


def test_old_pods_serve_while_new_ones_fail() -> None:
    good = pod(container(RUNNING, ready=True), ready=True, name="old", template="a", age=60)
    bad = pod(container(waiting("ImagePullBackOff", "no")), name="new", template="b")
    deployment = deployed(FIRST, ready=1, Available=AVAILABLE)
    deployment["status"]["updatedReplicas"] = 1
    deployment["metadata"]["generation"] = 2
    result = planned(with_status(isvc(), status_after(FIRST)), deployment=deployment, pods=[good, bad])
    status = status_after(result, status_after(FIRST))
    assert condition(status, "Ready")["status"] == "True"
    assert status["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad"
    assert status["modelStatus"]["states"] == {"activeModelState": "Loaded", "targetModelState": "FailedToLoad"}
    again = planned(with_status(isvc(), status), deployment=deployment, pods=[good, bad])
    assert ("ImagePullBackOff" in [note.reason for note in result.events], again.events) == (True, ())


def test_rollout_is_in_progress_though_ready() -> None:
    old = pod(container(RUNNING, ready=True), ready=True, name="old", template="a", age=60)
    new = pod(container(RUNNING), name="new", template="b")
    deployment = deployed(FIRST, ready=1, Available=AVAILABLE)
    deployment["metadata"]["generation"] = 2
    result = planned(with_status(isvc(), status_after(FIRST)), deployment=deployment, pods=[old, new])
    model = status_after(result, status_after(FIRST))["modelStatus"]
    assert model["transitionStatus"] == "InProgress"
    assert model["states"] == {"activeModelState": "Loaded", "targetModelState": "Loading"}


def test_pods_on_their_way_out_do_not_count() -> None:
    dying = pod(container(terminated(1)), name="dying", template="b")
    dying["metadata"]["deletionTimestamp"] = "2026-03-12T16:01:00Z"
    status = status_with(dying, pod(container(RUNNING), name="fresh", template="c", age=10))
    assert condition(status, "PredictorReady")["reason"] == "ContainersNotReady"


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"Available": AVAILABLE}, ("True", None)),
        ({"Available": AVAILABLE, "Progressing": {"status": "True", "reason": "ReplicaSetUpdated"}}, ("True", None)),
        (
            {
                "Available": UNAVAILABLE,
                "Progressing": {"status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out"},
            },
            ("False", "ProgressDeadlineExceeded"),
        ),
        (
            {
                "Available": AVAILABLE,
                "ReplicaFailure": {"status": "True", "reason": "FailedCreate", "message": "exceeded quota"},
            },
            ("False", "FailedCreate"),
        ),
        ({"Available": UNAVAILABLE}, ("False", "MinimumReplicasUnavailable")),
        ({"Progressing": {"status": "True", "reason": "NewReplicaSetCreated"}}, ("Unknown", None)),
    ],
)
def test_deployment_conditions(conditions: Json, expected: tuple[str, str | None]) -> None:
    predictor = condition(status_with(**conditions), "PredictorReady")
    assert (predictor["status"], predictor.get("reason")) == expected


def test_time_of_a_condition_changes_with_it_and_only_then() -> None:
    first = status_after(FIRST)
    later = plan(
        seen(with_status(isvc(), first), deployment=deployed(FIRST, Available=UNAVAILABLE)),
        LATER,
    )
    status = status_after(later, first)
    assert condition(status, "PredictorReady")["lastTransitionTime"] == "2026-03-12T16:06:32Z"
    assert condition(status, "IngressReady")["lastTransitionTime"] == "2026-03-12T16:01:32Z"


def test_conditions_of_others_are_kept() -> None:
    first = status_after(FIRST)
    first["conditions"].append({"type": "Audited", "status": "True", "severity": "Info"})
    status = status_with(pod(container(RUNNING)), old=first)
    assert condition(status, "Audited")["status"] == "True"
    assert [item["type"] for item in status["conditions"]] == sorted(item["type"] for item in status["conditions"])


def test_loss_of_readiness_is_told() -> None:
    ready = status_with(pod(container(RUNNING, ready=True), ready=True), Available=AVAILABLE)
    lost = planned(with_status(isvc(), ready), deployment=deployed(FIRST, Available=UNAVAILABLE))
    assert [(note.severity, note.reason, note.message) for note in lost.events] == [
        (
            "Warning",
            "InferenceServiceNotReady",
            "InferenceService [ovms-resnet50] is no longer Ready because of: PredictorReady",
        )
    ]


def test_transformer_is_not_ignored_silently() -> None:
    service = isvc()
    service["spec"]["transformer"] = {"containers": [{"name": "t", "image": "x"}]}
    said = condition(status_after(planned(service)), "TransformerReady")
    assert (said["status"], said["severity"], said["reason"]) == ("False", "Info", "NotServed")
