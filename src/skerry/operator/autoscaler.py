"""The HorizontalPodAutoscaler of a predictor, as KServe makes it: for every InferenceService, even for one replica.

The annotation `serving.kserve.io/autoscalerClass` says who keeps the size: `hpa` (or nothing) this object, `none`
nobody (`minReplicas` pods are run), `external` and `keda` somebody else.

Facts: KServe `pkg/controller/v1beta1/inferenceservice/reconcilers/hpa`; the behavior is empty there too, and the server
fills it in.
"""

from typing import Any, Final

from lightkube.models.meta_v1 import ObjectMeta

from skerry.api.serving_admission import AUTOSCALER_CLASS_ANNOTATION
from skerry.api.serving_types import PredictorSpec

Json = dict[str, Any]

DEFAULT_UTILIZATION: Final = 80


def scaler_of(meta: ObjectMeta) -> str:
    """Return who keeps the size."""
    chosen: str = (meta.annotations or {}).get(AUTOSCALER_CLASS_ANNOTATION, "hpa")
    return chosen


def autoscaler(metadata: Json, predictor: PredictorSpec) -> Json:
    """Render the object for the Deployment of the same name."""
    least = max(1, predictor.minReplicas or 1)
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata,
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"]},
            "minReplicas": least,
            "maxReplicas": max(least, predictor.maxReplicas or 0),
            "metrics": _metrics(predictor) or [_utilization("cpu", DEFAULT_UTILIZATION)],
            "behavior": {},
        },
    }


def _metrics(predictor: PredictorSpec) -> list[Json]:
    declared = (predictor.autoScaling or {}).get("metrics") or []
    if declared:
        found = [_resource(metric.get("resource") or {}) for metric in declared if metric.get("type") == "Resource"]
        return [metric for metric in found if metric is not None]
    match predictor.scaleMetric or "cpu", predictor.scaleTarget:
        case "cpu", target:
            return [_utilization("cpu", target or DEFAULT_UTILIZATION)]
        case "memory", int(target):
            return [_utilization("memory", target)]
    return []


def _resource(resource: Json) -> Json | None:
    name, target = resource.get("name"), resource.get("target") or {}
    if name not in {"cpu", "memory"}:
        return None
    if name == "memory" and target.get("type") == "AverageValue" and target.get("averageValue") is not None:
        value = {"type": "AverageValue", "averageValue": target["averageValue"]}
        return {"type": "Resource", "resource": {"name": name, "target": value}}
    share = target.get("averageUtilization") or (DEFAULT_UTILIZATION if name == "cpu" else None)
    return None if share is None else _utilization(name, share)


def _utilization(name: str, percent: int) -> Json:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": name, "target": target}}
