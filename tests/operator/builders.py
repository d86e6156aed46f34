"""Objects for the operator's tests, as they are written in YAML and decoded on the way in."""

import copy
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.core_v1 import Pod, Service

from skerry import manifests
from skerry.api.serving_types import ClusterServingRuntime, InferenceService, InferenceServiceStatus, ServingRuntime
from skerry.machinery.merge import merge_patch
from skerry.operator.config import Config, parse
from skerry.operator.events import ConfigInvalid
from skerry.operator.model_source import ServerVersion
from skerry.operator.plan import Plan, Seen, Step, plan
from skerry.operator.runtime_selection import Runtime, runtime_of
from skerry.operator.traffic import RouteSeen

Json = dict[str, Any]
T = TypeVar("T")

NOW = datetime(2026, 3, 12, 16, 1, 32, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
NAMESPACE = "ai-demo"
OVMS_IMAGE = "quay.io/opendatahub/openvino_model_server:2025.1-release"
SHIPPED = manifests.packaged()
BEFORE_IMAGE_VOLUMES: ServerVersion = (1, 34)
BEFORE_SIDECARS: ServerVersion = (1, 28)


def shipped(directory: str) -> list[Json]:
    return copy.deepcopy(_rendered(directory))


@cache
def _rendered(directory: str) -> list[Json]:
    release = manifests.load_release(SHIPPED / "release.json")
    return manifests.render(Path(SHIPPED / directory), release)


def ovms(**spec: Any) -> Json:
    """The shipped OVMS runtime, copied to the workload's namespace."""
    runtime = next(item for item in shipped("050-runtimes") if item["metadata"]["name"] == "kserve-ovms")
    runtime["metadata"]["namespace"] = NAMESPACE
    runtime["spec"].update(spec)
    return runtime


def microshift_config() -> Config:
    config_map = next(item for item in shipped("010-kserve") if item["kind"] == "ConfigMap")
    return parse("redhat-ods-applications", config_map["data"])


def isvc(name: str = "ovms-resnet50", **model: Any) -> Json:
    """The walkthrough's InferenceService; a keyword of None leaves the field out."""
    fields = {
        "protocolVersion": "v2",
        "modelFormat": {"name": "openvino_ir"},
        "storageUri": "oci://localhost/ovms-resnet50:test",
        "args": ["--layout=NHWC:NCHW"],
        **model,
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": NAMESPACE, "uid": "uid-1", "generation": 3},
        "spec": {"predictor": {"model": {key: value for key, value in fields.items() if value is not None}}},
    }


def runtime(item: Json) -> Runtime:
    kind: Any = ServingRuntime if item["kind"] == "ServingRuntime" else ClusterServingRuntime
    return runtime_of(msgspec.convert(item, kind))


def seen(
    service: Json | None = None,
    *,
    runtimes: Sequence[Json] | None = None,
    config: Config | ConfigInvalid | None = None,
    deployment: Json | None = None,
    existing_service: Json | None = None,
    autoscaler: Json | None = None,
    pods: Sequence[Json] = (),
    route: RouteSeen | None = None,
    server: ServerVersion = (1, 35),
) -> Seen:
    return Seen(
        isvc=msgspec.convert(service or isvc(), InferenceService),
        config=config or microshift_config(),
        runtimes=[runtime(item) for item in ([ovms()] if runtimes is None else runtimes)],
        deployment=msgspec.convert(deployment, Deployment) if deployment else None,
        service=msgspec.convert(existing_service, Service) if existing_service else None,
        autoscaler=msgspec.convert(autoscaler, HorizontalPodAutoscaler) if autoscaler else None,
        pods=[msgspec.convert(pod, Pod) for pod in pods],
        route=route,
        server=server,
    )


def planned(service: Json | None = None, **world: Any) -> Plan:
    return plan(seen(service, **world), NOW)


def step(of: Plan, kind: str) -> Step:
    return next(item for item in of.steps if item.kind == kind)


def body(of: Plan, kind: str) -> Json:
    return step(of, kind).body


def pod_of(of: Plan) -> Json:
    template: Json = body(of, "Deployment")["spec"]["template"]["spec"]
    return template


def status_after(of: Plan, old: Mapping[str, Any] | None = None) -> Json:
    """The status that the API holds once the plan's patch is written."""
    merged: Json = merge_patch(dict(old or {}), of.status)
    return merged


def with_status(service: Json, status: Mapping[str, Any]) -> Json:
    return {**service, "status": dict(status)}


def typed_status(status: Mapping[str, Any]) -> InferenceServiceStatus:
    return msgspec.convert(dict(status), InferenceServiceStatus)


def condition(status: Mapping[str, Any], name: str) -> Json:
    found: Json = next(item for item in status["conditions"] if item["type"] == name)
    return found


def existing(rendered: Json, **more: Any) -> Json:
    """What the API holds after a create: with a few of the server's defaults."""
    item: Json = merge_patch(rendered, {"metadata": {"generation": 1, "resourceVersion": "7"}})
    return merge_patch(item, more)  # type: ignore[no-any-return]


def deployed(of: Plan, *, replicas: int = 1, ready: int = 0, **conditions: Json) -> Json:
    """The Deployment of a plan with a status; `conditions` are such as `Available={"status": "True"}`."""
    spec = {"replicas": replicas}
    status = {
        "observedGeneration": 1,
        "replicas": replicas,
        "updatedReplicas": replicas,
        "availableReplicas": ready,
        "readyReplicas": ready,
        "conditions": [{"type": name, **condition} for name, condition in conditions.items()],
    }
    return existing(body(of, "Deployment"), spec=spec, status=status)


AVAILABLE = {"status": "True", "reason": "MinimumReplicasAvailable", "message": "Deployment has minimum availability."}
UNAVAILABLE = {
    "status": "False",
    "reason": "MinimumReplicasUnavailable",
    "message": "Deployment does not have minimum availability.",
}


def pod(
    *containers: Json, ready: bool = False, name: str = "p-1", template: str = "abc", age: int = 0, **status: Any
) -> Json:
    """A pod of the predictor; `age` seconds old."""
    conditions = [{"type": "Ready", "status": str(ready)}, *status.pop("conditions", [])]
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {"app": "isvc.ovms-resnet50-predictor", "pod-template-hash": template},
            "creationTimestamp": (NOW - timedelta(seconds=age)).isoformat(),
        },
        "spec": {"containers": []},
        "status": {"phase": "Running", "conditions": conditions, "containerStatuses": list(containers), **status},
    }


def container(state: Json, *, name: str = "kserve-container", ready: bool = False, last: Json | None = None) -> Json:
    status = {
        "name": name,
        "image": OVMS_IMAGE,
        "imageID": "",
        "ready": ready,
        "restartCount": 1 if last else 0,
        "state": state,
    }
    return {**status, "lastState": last} if last else status


RUNNING = {"running": {"startedAt": NOW.isoformat()}}


def waiting(reason: str, message: str | None = None) -> Json:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def terminated(code: int, reason: str = "Error", message: str | None = None) -> Json:
    return {"terminated": {"exitCode": code, "reason": reason, **({"message": message} if message else {})}}
