"""What the user is told when a model cannot be served: reason, place, and what to type next."""

from typing import Any

import pytest
from tests.operator.builders import (
    AVAILABLE,
    NOW,
    RUNNING,
    UNAVAILABLE,
    body,
    condition,
    container,
    deployed,
    existing,
    isvc,
    ovms,
    planned,
    pod,
    pod_of,
    seen,
    status_after,
    with_status,
)

from skerry.operator.config import parse
from skerry.operator.events import ConfigInvalid, reconcile_failed
from skerry.operator.plan import plan_failure
from skerry.operator.traffic import RouteSeen

Json = dict[str, Any]


def failure(service: Json, **world: Any) -> tuple[str, str, str, str]:
    """Reason of the condition, of lastFailureInfo, the transition, and the message that both carry."""
    result = planned(service, **world)
    status = status_after(result)
    predictor = condition(status, "PredictorReady")
    info = status["modelStatus"]["lastFailureInfo"]
    assert result.steps == ()
    assert (predictor["status"], condition(status, "Ready")["status"]) == ("False", "False")
    assert predictor["message"] == info["message"]
    assert [(note.severity, note.reason, note.message) for note in result.events] == [
        ("Warning", predictor["reason"], predictor["message"])
    ]
    assert info["time"] == "2026-03-12T16:01:32Z"
    return predictor["reason"], info["reason"], status["modelStatus"]["transitionStatus"], info["message"]


def test_protocol_v1_is_assumed_and_ovms_does_not_speak_it() -> None:
    reason, info, transition, message = failure(isvc(protocolVersion=None))
    assert (reason, info, transition) == ("NoSupportingRuntime", "NoSupportingRuntime", "InvalidSpec")
    assert message == (
        "No runtime found to support specified framework/version: format openvino_ir, protocol v1 (assumed). "
        "Looked at kserve-ovms (speaks v2, grpc-v2, not v1, which is assumed without protocolVersion); "
        "set protocolVersion: v2 to use kserve-ovms"
    )


def test_onnx_is_not_selected_by_itself() -> None:
    reason, _, _, message = failure(isvc(modelFormat={"name": "onnx"}))
    assert reason == "NoSupportingRuntime"
    assert message.endswith(
        "Looked at kserve-ovms (does not select itself for onnx); set runtime: kserve-ovms to use kserve-ovms"
    )


def test_version_is_compared_as_text() -> None:
    assert planned(isvc(modelFormat={"name": "openvino_ir", "version": "opset13"})).steps
    reason, _, _, message = failure(isvc(modelFormat={"name": "openvino_ir", "version": "1"}))
    assert reason == "NoSupportingRuntime"
    assert "has openvino_ir in version opset13, not 1" in message
    assert message.endswith("leave out modelFormat.version to use kserve-ovms")


def test_named_runtime_that_is_not_there() -> None:
    reason, info, _, message = failure(isvc(runtime="my-ovms"))
    assert (reason, info) == ("RuntimeNotRecognized", "RuntimeNotRecognized")
    assert message == (
        "No ServingRuntimes or ClusterServingRuntimes with the name: my-ovms. "
        "Waiting for runtime to become available; namespace ai-demo can use kserve-ovms"
    )


def test_no_runtime_in_the_namespace_but_one_elsewhere() -> None:
    shipped = ovms()
    shipped["metadata"]["namespace"] = "redhat-ods-applications"
    copy = (
        "copy it with: kubectl get servingruntimes -n redhat-ods-applications kserve-ovms -o yaml "
        "| grep -v '^  namespace:' | kubectl create -n ai-demo -f -"
    )
    _, _, _, found = failure(isvc(), runtimes=[shipped])
    assert "There is no ServingRuntime in namespace ai-demo and no ClusterServingRuntime" in found
    assert found.endswith(copy)
    _, _, _, named = failure(isvc(runtime="kserve-ovms"), runtimes=[shipped])
    assert named.endswith(copy)


def test_disabled_runtime() -> None:
    reason, info, _, message = failure(isvc(runtime="kserve-ovms"), runtimes=[ovms(disabled=True)])
    assert (reason, info) == ("RuntimeDisabled", "RuntimeDisabled")
    assert message.startswith("specified runtime kserve-ovms is disabled")


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            {"protocolVersion": "v1"},
            "specified runtime kserve-ovms does not support specified protocol version v1; it speaks v2, grpc-v2",
        ),
        (
            {"modelFormat": {"name": "sklearn"}},
            "specified runtime kserve-ovms does not support specified framework/version: has no format sklearn",
        ),
        ({"storageUri": "ftp://host/model"}, "StorageURI not supported: storageUri, must be one of: [gs://, s3://, "),
        ({"storage": {"path": "x", "key": "k"}, "storageUri": None}, "spec.predictor.model.storage is not supported"),
    ],
)
def test_spec_that_the_runtime_cannot_serve(model: Json, text: str) -> None:
    _, _, transition, message = failure(isvc(runtime="kserve-ovms", **model))
    assert transition == "InvalidSpec"
    assert message.startswith(text)


def test_latest_is_pulled_always_and_only_for_the_model() -> None:
    spec = pod_of(planned(isvc(storageUri="oci://quay.io/me/model")))
    assert spec["volumes"][0]["image"]["pullPolicy"] == "Always"
    assert spec["containers"][0]["imagePullPolicy"] == "IfNotPresent"


def test_exposed_service_waits_for_its_route() -> None:
    service = isvc()
    service["metadata"]["labels"] = {"networking.kserve.io/visibility": "exposed"}
    waiting = planned(service)
    ingress = condition(status_after(waiting), "IngressReady")
    assert [step.verb for step in waiting.steps] == ["create", "create", "create"]
    assert (ingress["status"], ingress["reason"]) == ("False", "RouteNotReady")
    assert ingress["message"] == (
        "route ai-demo/ovms-resnet50 not found or not ready; "
        "make it with: oc expose svc -n ai-demo ovms-resnet50-predictor --name ovms-resnet50"
    )
    route = RouteSeen("bee.apps.localhost", "ovms-resnet50-predictor", secure=False, admitted=True)
    status = status_after(planned(service, route=route))
    assert condition(status, "IngressReady")["status"] == "True"
    assert status["url"] == "http://bee.apps.localhost"
    assert status["address"]["url"].endswith(".svc.cluster.local:8888")


def test_stop_removes_everything_and_says_so() -> None:
    first = planned()
    service = isvc()
    service["metadata"]["annotations"] = {"serving.kserve.io/stop": "True"}
    stopped = planned(
        with_status(service, status_after(first)),
        deployment=deployed(first, ready=1, Available=AVAILABLE),
        existing_service=existing(body(first, "Service")),
        autoscaler=existing(body(first, "HorizontalPodAutoscaler")),
    )
    assert [(step.verb, step.kind) for step in stopped.steps] == [
        ("delete", "Deployment"),
        ("delete", "Service"),
        ("delete", "HorizontalPodAutoscaler"),
    ]
    status = status_after(stopped, status_after(first))
    assert {item["type"]: (item["status"], item.get("reason")) for item in status["conditions"]} == {
        "IngressReady": ("False", "Stopped"),
        "PredictorReady": ("False", "Stopped"),
        "Ready": ("False", "Stopped"),
        "Stopped": ("True", None),
    }
    assert set(status) == {"conditions", "deploymentMode", "observedGeneration"}


def test_zero_replicas() -> None:
    service = isvc()
    service["metadata"]["annotations"] = {"serving.kserve.io/autoscalerClass": "none"}
    service["spec"]["predictor"]["minReplicas"] = 0
    first = planned(service)
    assert body(first, "Deployment")["spec"]["replicas"] == 0
    world = {"deployment": deployed(first, replicas=0, Available=AVAILABLE)}
    status = status_after(planned(with_status(service, status_after(first)), **world), status_after(first))
    assert condition(status, "Ready")["status"] == "True"
    assert status["modelStatus"]["states"]["targetModelState"] == "Pending"


def test_broken_configuration_is_told_and_serving_models_stay_ready() -> None:
    with pytest.raises(ConfigInvalid) as broken:
        parse("redhat-ods-applications", {"deploy": "{oops"})
    first = planned()
    running = planned(
        with_status(isvc(), status_after(first)),
        config=broken.value,
        deployment=deployed(first, ready=1, Available=AVAILABLE),
        pods=[pod(container(RUNNING, ready=True), ready=True)],
    )
    status = status_after(running, status_after(first))
    said = condition(status, "ConfigurationValid")
    assert running.steps == ()
    assert condition(status, "Ready")["status"] == "True"
    assert (
        "cannot read ConfigMap redhat-ods-applications/inferenceservice-config: the value of key 'deploy'"
        in (said["message"])
    )
    assert [note.message for note in running.events if note.severity == "Warning"] == [said["message"]]
    again = planned(
        with_status(isvc(), status),
        config=broken.value,
        deployment=deployed(first, ready=1, Available=AVAILABLE),
        pods=[pod(container(RUNNING, ready=True), ready=True)],
    )
    assert (again.status, again.events) == ({}, ())

    new = status_after(planned(config=broken.value))
    assert condition(new, "PredictorReady")["reason"] == "ReconcileFailed"
    repaired = planned(with_status(isvc(), new))
    assert "ConfigurationValid" not in {item["type"] for item in status_after(repaired, new)["conditions"]}


def test_name_that_somebody_else_has() -> None:
    foreign = deployed(planned(), Available=UNAVAILABLE)
    foreign["metadata"]["ownerReferences"] = []
    reason, _, _, message = failure(isvc(), deployment=foreign)
    assert reason == "NameTaken"
    assert message.startswith("cannot take over Deployment ovms-resnet50-predictor")


def test_serverless_is_refused_with_the_way_out() -> None:
    service = isvc()
    service["metadata"]["annotations"] = {"serving.kserve.io/deploymentMode": "Serverless"}
    reason, _, _, message = failure(service)
    assert reason == "ServerlessModeRejected"
    assert message.endswith("set the annotation serving.kserve.io/deploymentMode: RawDeployment")


def test_authentication_that_is_asked_for_is_not_left_out_silently() -> None:
    service = isvc()
    service["metadata"]["annotations"] = {"security.opendatahub.io/enable-auth": "true"}
    _, _, _, message = failure(service)
    assert "authenticating proxy" in message


def test_invalid_object_on_a_cluster_without_admission() -> None:
    service = isvc()
    service["spec"]["predictor"]["minReplicas"] = -1
    reason, _, _, message = failure(service)
    assert (reason, message) == (
        "InvalidPredictorSpec",
        "spec.predictor.minReplicas: 'MinReplicas' cannot be less than 0",
    )


def test_refusal_of_the_api_is_told() -> None:
    result = plan_failure(seen(), reconcile_failed("cannot carry out the spec: quota exceeded"), NOW)
    status = status_after(result)
    assert condition(status, "PredictorReady")["reason"] == "ReconcileFailed"
    assert [note.reason for note in result.events] == ["ReconcileFailed"]


def test_recovery_clears_the_failure() -> None:
    broken = status_after(planned(isvc(protocolVersion=None)))
    fixed = planned(with_status(isvc(), broken))
    assert "lastFailureInfo" not in status_after(fixed, broken)["modelStatus"]
