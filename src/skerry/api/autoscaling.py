"""autoscaling: HorizontalPodAutoscaler, stored as v2 and served as v2 and v1.

v1 knows one metric, the utilization of processors. The rest of a v2 object travels in annotations of the v1 form, so
that a client of the old version can write an object back without losing what it does not know.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from lightkube.models import autoscaling_v1, autoscaling_v2

from skerry.api.autoscaling_validation import validate_autoscaler
from skerry.api.cells import AGE_COLUMN, NAME_COLUMN, NONE, UNKNOWN, UNSET, spec, status
from skerry.api.checks import Errors
from skerry.api.filling import branch, fill
from skerry.api.registry import Column, Kind, Object

_GROUP: Final = "autoscaling"
_DEFAULT_UTILIZATION: Final = 80
_PERIOD: Final = 15
_SHOWN_METRICS: Final = 2
_UP: Final = ({"type": "Pods", "value": 4, "periodSeconds": _PERIOD},)
_FULLY: Final = ({"type": "Percent", "value": 100, "periodSeconds": _PERIOD},)

# Where v1 keeps what only v2 knows.
_PREFIX: Final = "autoscaling.alpha.kubernetes.io/"
_METRICS: Final = f"{_PREFIX}metrics"
_BEHAVIOR: Final = f"{_PREFIX}behavior"
_CONDITIONS: Final = f"{_PREFIX}conditions"
_CURRENT: Final = f"{_PREFIX}current-metrics"


def _default(autoscaler: Object) -> None:
    own = branch(autoscaler, "spec")
    fill(own, minReplicas=1)
    if not own.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": _DEFAULT_UTILIZATION}
        own["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    branch(autoscaler, "status").setdefault("desiredReplicas", 0)
    behavior = own.get("behavior")
    if behavior is not None:
        up, down = branch(behavior, "scaleUp"), branch(behavior, "scaleDown")
        fill(up, stabilizationWindowSeconds=0, selectPolicy="Max")
        fill(down, selectPolicy="Max")
        if up.get("policies") is None:
            up["policies"] = [dict(policy) for policy in (*_UP, *_FULLY)]
        if down.get("policies") is None:
            down["policies"] = [dict(policy) for policy in _FULLY]


def _default_v1(autoscaler: Object) -> None:
    fill(branch(autoscaler, "spec"), minReplicas=1)
    fill(branch(autoscaler, "status"), currentReplicas=0, desiredReplicas=0)


def _validate_v1(autoscaler: Object, _old: Object | None) -> Errors:
    return validate_autoscaler(to_v2(autoscaler), None)


# --- the two versions -------------------------------------------------------------------------------------------------


def to_v2(item: Object) -> Object:
    """Turn an autoscaling/v1 object into the stored one."""
    own, seen = dict(spec(item)), dict(status(item))
    meta = {**item["metadata"], "annotations": dict(item["metadata"].get("annotations") or {})}
    hidden = {name: _taken(meta["annotations"], name) for name in (_METRICS, _BEHAVIOR, _CONDITIONS, _CURRENT)}
    if not meta["annotations"]:
        meta.pop("annotations")
    wanted, current = (
        own.pop("targetCPUUtilizationPercentage", None),
        seen.pop("currentCPUUtilizationPercentage", None),
    )
    metrics = [_cpu(target={"type": "Utilization", "averageUtilization": wanted})] if wanted is not None else []
    own["metrics"] = [*metrics, *(hidden[_METRICS] or [])]
    seen["currentMetrics"] = [
        *([_cpu(current={"averageUtilization": current})] if current is not None else []),
        *(hidden[_CURRENT] or []),
    ]
    if hidden[_BEHAVIOR]:
        own["behavior"] = hidden[_BEHAVIOR]
    if hidden[_CONDITIONS]:
        seen["conditions"] = hidden[_CONDITIONS]
    seen = {key: value for key, value in seen.items() if value != []}
    new = {**item, "apiVersion": "autoscaling/v2", "metadata": meta, "spec": own, "status": seen}
    _default(new)
    return new


def to_v1(item: Object) -> Object:
    """Turn the stored object into an autoscaling/v1 one."""
    own, seen = dict(spec(item)), dict(status(item))
    metrics, current = own.pop("metrics", None) or [], seen.pop("currentMetrics", None) or []
    wanted = next((metric for metric in metrics if _cpu_share(metric, "target") is not None), None)
    found = next((metric for metric in current if _cpu_share(metric, "current") is not None), None)
    hidden = {
        _METRICS: [metric for metric in metrics if metric is not wanted],
        _CURRENT: [metric for metric in current if metric is not found],
        _BEHAVIOR: own.pop("behavior", None),
        _CONDITIONS: seen.pop("conditions", None),
    }
    if wanted is not None:
        own["targetCPUUtilizationPercentage"] = _cpu_share(wanted, "target")
    if found is not None:
        seen["currentCPUUtilizationPercentage"] = _cpu_share(found, "current")
    texts = {name: json.dumps(value, separators=(",", ":")) for name, value in hidden.items() if value}
    meta = dict(item["metadata"])
    if texts:
        meta["annotations"] = {**(meta.get("annotations") or {}), **texts}
    seen = {"currentReplicas": 0, "desiredReplicas": 0, **seen}
    return {**item, "apiVersion": "autoscaling/v1", "metadata": meta, "spec": own, "status": seen}


def _cpu(**part: Any) -> Object:
    return {"type": "Resource", "resource": {"name": "cpu", **part}}


def _cpu_share(metric: Mapping[str, Any], part: str) -> int | None:
    resource = metric.get("resource") or {}
    share: int | None = (resource.get(part) or {}).get("averageUtilization") if resource.get("name") == "cpu" else None
    return share


def _taken(annotations: dict[str, str], name: str) -> Any:
    """Take an annotation away and return what it says; one that is no JSON says nothing."""
    text = annotations.pop(name, "")
    try:
        return json.loads(text) if text else None
    except ValueError:
        return None


# --- columns ----------------------------------------------------------------------------------------------------------


def _reference(autoscaler: Object, _now: datetime) -> str:
    target = spec(autoscaler).get("scaleTargetRef") or {}
    return f"{target.get('kind', '')}/{target.get('name', '')}"


def _targets(autoscaler: Object, _now: datetime) -> str:
    wanted, found = spec(autoscaler).get("metrics") or [], status(autoscaler).get("currentMetrics") or []
    texts = [_target(metric, found[place] if place < len(found) else {}) for place, metric in enumerate(wanted)]
    shown = ", ".join(texts[:_SHOWN_METRICS])
    if len(texts) > _SHOWN_METRICS:
        return f"{shown} + {len(texts) - _SHOWN_METRICS} more..."
    return shown or NONE


def _target(metric: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    """Write one metric: `cpu: 12%/80%`, `memory: 60Mi/100Mi`."""
    field = {"Resource": "resource", "ContainerResource": "containerResource"}.get(
        metric["type"], metric["type"].lower()
    )
    source, current = metric.get(field) or {}, (found.get(field) or {}).get("current") or {}
    target = source.get("target") or {}
    if field in {"resource", "containerResource"}:
        name = source.get("name", "")
        if target.get("averageValue") is not None:
            return f"{name}: {current.get('averageValue', UNKNOWN)}/{target['averageValue']}"
        share = current.get("averageUtilization")
        wanted = target.get("averageUtilization")
        has = f"{share}%" if share is not None else UNKNOWN
        return f"{name}: {has}/{f'{wanted}%' if wanted is not None else '<auto>'}"
    if target.get("averageValue") is not None:
        average = " (avg)" if field in {"external", "object"} else ""
        return f"{current.get('averageValue', UNKNOWN)}/{target['averageValue']}{average}"
    return f"{current.get('value', UNKNOWN)}/{target.get('value', '<auto>')}"


def _targets_v1(autoscaler: Object, now: datetime) -> str:
    return _targets(to_v2(autoscaler), now)


def _columns(targets: Any) -> Iterable[Column]:
    return (
        NAME_COLUMN,
        Column("Reference", _reference),
        Column("Targets", targets),
        Column("MinPods", lambda item, _: str(spec(item).get("minReplicas") or UNSET)),
        Column("MaxPods", lambda item, _: spec(item).get("maxReplicas") or 0),
        Column("Replicas", lambda item, _: status(item).get("currentReplicas") or 0),
        AGE_COLUMN,
    )


HORIZONTAL_POD_AUTOSCALER: Final = Kind(
    _GROUP,
    "v2",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
    namespaced=True,
    model=autoscaling_v2.HorizontalPodAutoscaler,
    columns=tuple(_columns(_targets)),
    short_names=("hpa",),
    categories=("all",),
    subresources=("status",),
    generation=False,
    default=_default,
    validate=validate_autoscaler,
)
HORIZONTAL_POD_AUTOSCALER_V1: Final = Kind(
    _GROUP,
    "v1",
    "HorizontalPodAutoscaler",
    "horizontalpodautoscalers",
    namespaced=True,
    model=autoscaling_v1.HorizontalPodAutoscaler,
    columns=tuple(_columns(_targets_v1)),
    short_names=("hpa",),
    categories=("all",),
    subresources=("status",),
    generation=False,
    default=_default_v1,
    validate=_validate_v1,
    stored_as=(_GROUP, "horizontalpodautoscalers"),
    to_storage=to_v2,
    from_storage=to_v1,
)
AUTOSCALER_KINDS: Final = (HORIZONTAL_POD_AUTOSCALER, HORIZONTAL_POD_AUTOSCALER_V1)
