"""The Deployment and the Service of a predictor, as KServe names, labels and shapes them.

Both are rendered as JSON values and brought to the cluster by `ownership`, which changes an existing object only where
we own it.

Replicas are not part of the rendering: they belong to the autoscaler or to `kubectl scale`. A new Deployment begins
with `minReplicas`, so that nobody waits for the autoscaler; with `autoscalerClass: none` that is an exact wish.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from lightkube.models.meta_v1 import ObjectMeta

from skerry.api.serving_admission import AUTOSCALER_CLASS_ANNOTATION
from skerry.api.serving_types import GROUP, INFERENCE_SERVICE_VERSION, PredictorSpec, ServingRuntimeSpec
from skerry.api.wellknown import (
    APP_LABEL,
    CHANGE_CAUSE_ANNOTATION,
    COMPONENT_LABEL,
    HEADLESS,
    INFERENCESERVICE_LABEL,
)
from skerry.operator.autoscaler import scaler_of
from skerry.operator.model_source import ModelSource
from skerry.operator.pod_template import DEFAULT_PORT, main_container

Json = dict[str, Any]

SOURCE_URI_ANNOTATION: Final = "internal.serving.kserve.io/storage-initializer-sourceuri"
SERVING_CERT_ANNOTATION: Final = "service.beta.openshift.io/serving-cert-secret-name"
STOP_ANNOTATION: Final = "serving.kserve.io/stop"
_H2C: Final = "kubernetes.io/h2c"

# Annotations of an InferenceService that steer the operator or other tools and mean nothing to a pod. KServe copies
# them to the pod template, so that a change of a display name restarts the model.
_NOT_FOR_PODS: Final = frozenset(
    {
        STOP_ANNOTATION,
        AUTOSCALER_CLASS_ANNOTATION,
        CHANGE_CAUSE_ANNOTATION,
        "serving.kserve.io/metrics",
        "serving.kserve.io/targetUtilizationPercentage",
        "openshift.io/display-name",
        "openshift.io/description",
        "description",
    }
)
_NOT_FOR_PODS_PREFIXES: Final = ("argocd.argoproj.io/", "meta.helm.sh/", "kustomize.toolkit.fluxcd.io/")


@dataclass(frozen=True)
class ComponentMeta:
    """The labels and annotations that all objects of a predictor carry."""

    name: str  # of the Deployment and the Service
    namespace: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    owner: Mapping[str, Any]

    @property
    def selector(self) -> dict[str, str]:
        return {APP_LABEL: self.labels[APP_LABEL]}

    @property
    def pod_annotations(self) -> dict[str, str]:
        return {
            key: value
            for key, value in self.annotations.items()
            if key not in _NOT_FOR_PODS and not key.startswith(_NOT_FOR_PODS_PREFIXES)
        }


def predictor_name(isvc: str) -> str:
    """Name of the predictor's Deployment and Service."""
    return f"{isvc}-predictor"


def app_label(isvc: str) -> str:
    """The value by which Deployment and Service select the pods."""
    return f"isvc.{predictor_name(isvc)}"


def component_meta(
    meta: ObjectMeta,
    predictor: PredictorSpec,
    runtime: ServingRuntimeSpec | None,
    sources: list[ModelSource],
    not_copied: frozenset[str],
) -> ComponentMeta:
    """Gather labels and annotations: the runtime's, the InferenceService's, the predictor's, then our own."""
    name, namespace = meta.name or "", meta.namespace or ""
    levels = (runtime.annotations if runtime else None, meta.annotations, predictor.annotations)
    annotations = {key: value for level in levels for key, value in (level or {}).items() if key not in not_copied}
    if sources:
        annotations[SOURCE_URI_ANNOTATION] = sources[0].uri
    labels = {
        **((runtime.labels if runtime else None) or {}),
        **(meta.labels or {}),
        **(predictor.labels or {}),
        INFERENCESERVICE_LABEL: name,
        COMPONENT_LABEL: "predictor",
        APP_LABEL: app_label(name),
    }
    return ComponentMeta(predictor_name(name), namespace, labels, annotations, owner_reference(meta))


def owner_reference(meta: ObjectMeta) -> Json:
    """Refer to the InferenceService as the controlling owner."""
    return {
        "apiVersion": f"{GROUP}/{INFERENCE_SERVICE_VERSION}",
        "kind": "InferenceService",
        "name": meta.name,
        "uid": meta.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def deployment(component: ComponentMeta, predictor: PredictorSpec, pod: Json) -> Json:
    """Render the Deployment, without replicas."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(component, component.annotations),
        "spec": {
            "selector": {"matchLabels": component.selector},
            "template": {
                "metadata": {"labels": dict(component.labels), "annotations": component.pod_annotations},
                "spec": pod,
            },
            **_strategy(predictor),
        },
    }


def metadata(component: ComponentMeta, annotations: Mapping[str, str]) -> Json:
    """Render the metadata that all objects of a predictor share."""
    return {
        "name": component.name,
        "namespace": component.namespace,
        "labels": dict(component.labels),
        "annotations": dict(annotations),
        "ownerReferences": [dict(component.owner)],
    }


def _strategy(predictor: PredictorSpec) -> Json:
    if predictor.deploymentStrategy is not None:
        return {"strategy": msgspec.to_builtins(predictor.deploymentStrategy)}
    rolling = {"maxUnavailable": "25%", "maxSurge": "25%"}
    return {
        "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling},
        "revisionHistoryLimit": 10,
        "progressDeadlineSeconds": 600,
    }


def service(component: ComponentMeta, pod: Json, *, headless: bool) -> Json:
    """Render the Service."""
    certificate = {SERVING_CERT_ANNOTATION: f"{component.name}-serving-cert"}
    spec: Json = {"selector": component.selector, "ports": _service_ports(component.name, pod)}
    if headless:
        spec["clusterIP"] = HEADLESS
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(component, {**component.annotations, **certificate}),
        "spec": spec,
    }


def _service_ports(name: str, pod: Json) -> list[Json]:
    ports = main_container(pod["containers"]).get("ports") or []
    if not ports:
        return [{"name": name, "port": 80, "targetPort": DEFAULT_PORT, "protocol": "TCP"}]
    rendered = []
    for index, port in enumerate(ports):
        number, called = port["containerPort"], port.get("name") or ("http" if index == 0 else f"port-{index}")
        entry: Json = {"name": called, "port": number if index else 80, "targetPort": number}
        entry["protocol"] = port.get("protocol") or "TCP"
        if _is_grpc(called):
            entry["appProtocol"] = _H2C
        rendered.append(entry)
    return rendered


def _is_grpc(name: str) -> bool:
    return "grpc" in name or "h2c" in name


def replicas_to_set(meta: ObjectMeta, predictor: PredictorSpec, current: int | None) -> int | None:
    """Return the replicas to write, None to leave them alone; `current` is None for a Deployment that is not there."""
    scaler, least = scaler_of(meta), predictor.minReplicas
    if scaler == "none":
        return least if least is not None and least != current else None
    if scaler == "external" or current is not None or least is None:
        return None
    return max(1, least)
