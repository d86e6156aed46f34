"""The walkthrough's InferenceService, as MicroShift's KServe carries it out, and where ours is better on purpose.

Deviations that this file fixes: no ModelCar container (an image volume instead), a readiness probe that asks the model
server, a port in the URL, last log lines as the termination message.
"""

import json
from typing import Any

import pytest
from tests.operator.builders import (
    AVAILABLE,
    OVMS_IMAGE,
    RUNNING,
    body,
    condition,
    container,
    deployed,
    existing,
    isvc,
    planned,
    pod,
    status_after,
    with_status,
)

from skerry.api.autoscaling import HORIZONTAL_POD_AUTOSCALER

META_LABELS = {
    "app": "isvc.ovms-resnet50-predictor",
    "component": "predictor",
    "serving.kserve.io/inferenceservice": "ovms-resnet50",
}
META_ANNOTATIONS = {
    "opendatahub.io/kserve-runtime": "ovms",
    "prometheus.io/port": "8888",
    "prometheus.io/path": "/metrics",
    "serving.kserve.io/deploymentMode": "RawDeployment",
    "internal.serving.kserve.io/storage-initializer-sourceuri": "oci://localhost/ovms-resnet50:test",
}
RECORD = "operator.skerry.dev/last-rendered"
OWNER = {
    "apiVersion": "serving.kserve.io/v1beta1",
    "kind": "InferenceService",
    "name": "ovms-resnet50",
    "uid": "uid-1",
    "controller": True,
    "blockOwnerDeletion": True,
}


def test_service_is_kserves() -> None:
    service = body(planned(), "Service")
    annotations = service["metadata"]["annotations"]
    del annotations[RECORD]
    assert service == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "ovms-resnet50-predictor",
            "namespace": "ai-demo",
            "labels": META_LABELS,
            "annotations": {
                **META_ANNOTATIONS,
                "service.beta.openshift.io/serving-cert-secret-name": "ovms-resnet50-predictor-serving-cert",
            },
            "ownerReferences": [OWNER],
        },
        "spec": {
            "clusterIP": "None",
            "selector": {"app": "isvc.ovms-resnet50-predictor"},
            "ports": [{"name": "http", "port": 80, "targetPort": 8888, "protocol": "TCP"}],
        },
    }


def test_deployment_is_kserves() -> None:
    deployment = body(planned(), "Deployment")
    record = json.loads(deployment["metadata"]["annotations"].pop(RECORD))
    template = deployment["spec"].pop("template")
    assert deployment == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "ovms-resnet50-predictor",
            "namespace": "ai-demo",
            "labels": META_LABELS,
            "annotations": META_ANNOTATIONS,
            "ownerReferences": [OWNER],
        },
        "spec": {
            "selector": {"matchLabels": {"app": "isvc.ovms-resnet50-predictor"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
            "revisionHistoryLimit": 10,
            "progressDeadlineSeconds": 600,
        },
    }
    assert template["metadata"] == {"labels": META_LABELS, "annotations": META_ANNOTATIONS}
    assert record["spec"]["template"] == template


def test_autoscaler_is_kserves() -> None:
    scaler = body(planned(), "HorizontalPodAutoscaler")
    del scaler["metadata"]["annotations"][RECORD]
    assert scaler == {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {
            "name": "ovms-resnet50-predictor",
            "namespace": "ai-demo",
            "labels": META_LABELS,
            "annotations": META_ANNOTATIONS,
            "ownerReferences": [OWNER],
        },
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "ovms-resnet50-predictor"},
            "minReplicas": 1,
            "maxReplicas": 1,
            "metrics": [CPU_80],
            "behavior": {},
        },
    }


def utilization(name: str, percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


CPU_80 = utilization("cpu", 80)
MEMORY = {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}}


@pytest.mark.parametrize(
    ("predictor", "bounds", "metrics"),
    [
        ({"minReplicas": 0}, (1, 1), [CPU_80]),
        ({"minReplicas": 2, "maxReplicas": 5, "scaleTarget": 60}, (2, 5), [utilization("cpu", 60)]),
        ({"minReplicas": 3}, (3, 3), [CPU_80]),
        ({"scaleMetric": "memory", "scaleTarget": 70}, (1, 1), [utilization("memory", 70)]),
        ({"scaleMetric": "memory"}, (1, 1), [CPU_80]),
        ({"scaleMetric": "rps", "scaleTarget": 10}, (1, 1), [CPU_80]),
        ({"autoScaling": {"metrics": [MEMORY, utilization("cpu", 50)]}}, (1, 1), [MEMORY, utilization("cpu", 50)]),
        ({"autoScaling": {"metrics": [{"type": "External"}]}}, (1, 1), [CPU_80]),
        ({"scaleTarget": 10, "autoScaling": {"metrics": [utilization("cpu", 50)]}}, (1, 1), [utilization("cpu", 50)]),
    ],
)
def test_bounds_and_metrics(predictor: dict[str, Any], bounds: tuple[int, int], metrics: list[Any]) -> None:
    service = isvc()
    service["spec"]["predictor"].update(predictor)
    spec = body(planned(service), "HorizontalPodAutoscaler")["spec"]
    assert ((spec["minReplicas"], spec["maxReplicas"]), spec["metrics"]) == (bounds, metrics)


@pytest.mark.parametrize("scaler", ["none", "external", "keda"])
def test_another_scaler_has_no_autoscaler_and_takes_ours_away(scaler: str) -> None:
    service = isvc()
    service["metadata"]["annotations"] = {"serving.kserve.io/autoscalerClass": scaler}
    assert not [step for step in planned(service).steps if step.kind == "HorizontalPodAutoscaler"]
    present = existing(body(planned(), "HorizontalPodAutoscaler"))
    steps = planned(service, autoscaler=present).steps
    assert [step.verb for step in steps if step.kind == "HorizontalPodAutoscaler"] == ["delete"]
    present["metadata"]["ownerReferences"] = []
    steps = planned(service, autoscaler=present).steps
    assert [step.verb for step in steps if step.kind == "HorizontalPodAutoscaler"] == []


def test_an_autoscaler_with_the_servers_defaults_is_left_alone() -> None:
    present = existing(body(planned(), "HorizontalPodAutoscaler"))
    HORIZONTAL_POD_AUTOSCALER.default(present)
    assert present["spec"]["behavior"]["scaleUp"]["policies"]
    steps = planned(autoscaler=present).steps
    assert not [step for step in steps if step.kind == "HorizontalPodAutoscaler"]
    wider = isvc()
    wider["spec"]["predictor"]["maxReplicas"] = 4
    patch = body(planned(wider, autoscaler=present), "HorizontalPodAutoscaler")
    assert patch["spec"] == {"maxReplicas": 4}


def test_pod_is_complete_without_a_webhook() -> None:
    spec = body(planned(), "Deployment")["spec"]["template"]["spec"]
    (server,) = spec.pop("containers")
    assert spec == {
        "automountServiceAccountToken": False,
        "restartPolicy": "Always",
        "dnsPolicy": "ClusterFirst",
        "terminationGracePeriodSeconds": 30,
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "volumes": [
            {
                "name": "mnt-models",
                "image": {"reference": "localhost/ovms-resnet50:test", "pullPolicy": "IfNotPresent"},
            }
        ],
    }
    assert server == {
        "name": "kserve-container",
        "image": OVMS_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "--model_name=ovms-resnet50",
            "--port=8001",
            "--rest_port=8888",
            "--model_path=/mnt/models",
            "--file_system_poll_wait_seconds=0",
            "--grpc_bind_address=0.0.0.0",
            "--rest_bind_address=0.0.0.0",
            "--target_device=AUTO",
            "--metrics_enable",
            "--layout=NHWC:NCHW",
        ],
        "ports": [{"containerPort": 8888, "protocol": "TCP"}],
        "volumeMounts": [{"name": "mnt-models", "mountPath": "/mnt/models", "subPath": "models", "readOnly": True}],
        "readinessProbe": {
            "httpGet": {"path": "/v2/health/ready", "port": 8888, "scheme": "HTTP"},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        },
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def test_first_status_says_what_is_coming() -> None:
    status = status_after(planned())
    assert {item["type"]: item["status"] for item in status["conditions"]} == {
        "IngressReady": "True",
        "PredictorReady": "Unknown",
        "Ready": "Unknown",
        "Stopped": "False",
    }
    assert condition(status, "Stopped")["severity"] == "Info"
    assert status["servingRuntimeName"] == "kserve-ovms"
    assert status["deploymentMode"] == "RawDeployment"
    assert status["modelStatus"]["transitionStatus"] == "InProgress"
    assert status["modelStatus"]["states"] == {"activeModelState": "", "targetModelState": "Pending"}


def test_status_of_a_model_that_serves() -> None:
    first = planned()
    again = planned(
        with_status(isvc(), status_after(first)),
        deployment=deployed(first, ready=1, Available=AVAILABLE),
        existing_service=existing(body(first, "Service")),
        autoscaler=existing(body(first, "HorizontalPodAutoscaler")),
        pods=[pod(container(RUNNING, ready=True), ready=True)],
    )
    status = status_after(again, status_after(first))
    assert again.steps == ()
    assert [(item["type"], item["status"], item.get("reason")) for item in status["conditions"]] == [
        ("IngressReady", "True", None),
        ("PredictorReady", "True", None),
        ("Ready", "True", None),
        ("Stopped", "False", None),
    ]
    assert status["components"] == {"predictor": {}}
    address = "http://ovms-resnet50-predictor.ai-demo.svc.cluster.local:8888"
    assert (status["url"], status["address"]) == (address, {"url": address})
    assert status["modelStatus"] == {
        "copies": {"failedCopies": 0, "totalCopies": 1},
        "states": {"activeModelState": "Loaded", "targetModelState": "Loaded"},
        "transitionStatus": "UpToDate",
    }
    assert status["observedGeneration"] == 3
    assert [(note.severity, note.reason, note.message) for note in again.events] == [
        ("Normal", "InferenceServiceReady", "InferenceService [ovms-resnet50] is Ready")
    ]


def test_nothing_is_written_when_nothing_has_changed() -> None:
    first = planned()
    world = {
        "deployment": deployed(first, ready=1, Available=AVAILABLE),
        "existing_service": existing(body(first, "Service")),
        "autoscaler": existing(body(first, "HorizontalPodAutoscaler")),
        "pods": [pod(container(RUNNING, ready=True), ready=True)],
    }
    second = planned(with_status(isvc(), status_after(first)), **world)
    status = status_after(second, status_after(first))
    third = planned(with_status(isvc(), status), **world)
    assert (third.steps, third.status, third.events) == ((), {}, ())
