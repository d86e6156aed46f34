"""What is wrong with a HorizontalPodAutoscaler, in the words of k8s.io/kubernetes `pkg/apis/autoscaling/validation`."""

from collections.abc import Mapping
from typing import Any, Final

from skerry.api.checks import Errors, one_of
from skerry.api.quantities import validate_quantity
from skerry.api.registry import Object
from skerry.machinery.fielderrors import forbidden, invalid, not_supported, required

_LONGEST_WINDOW: Final = 3600
_LONGEST_PERIOD: Final = 1800
_SELECT: Final = ("Disabled", "Max", "Min")
_POLICIES: Final = ("Percent", "Pods")
_SOURCES: Final = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_TARGETS: Final = ("AverageValue", "Utilization", "Value")


def validate_autoscaler(autoscaler: Object, _old: Object | None) -> Errors:
    """Check an autoscaling/v2 object that has its defaults."""
    own = autoscaler.get("spec") or {}
    least, most = own.get("minReplicas"), own.get("maxReplicas") or 0
    errors: Errors = []
    if least is not None and least < 1:
        errors.append(invalid("spec.minReplicas", least, "must be greater than or equal to 1"))
    if most < 1:
        errors.append(invalid("spec.maxReplicas", most, "must be greater than 0"))
    if least is not None and most < least:
        errors.append(invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"))
    errors += _reference("spec.scaleTargetRef", own.get("scaleTargetRef") or {})
    for place, metric in enumerate(own.get("metrics") or []):
        errors += _metric(f"spec.metrics[{place}]", metric)
    behavior = own.get("behavior") or {}
    for field in ("scaleUp", "scaleDown"):
        if behavior.get(field) is not None:
            errors += _rules(f"spec.behavior.{field}", behavior[field])
    return errors


def _reference(where: str, reference: Mapping[str, Any]) -> Errors:
    errors = [required(f"{where}.{field}") for field in ("kind", "name") if not reference.get(field)]
    slashed = [field for field in ("kind", "name") if "/" in str(reference.get(field) or "")]
    return errors + [invalid(f"{where}.{field}", reference[field], "may not contain '/'") for field in slashed]


def _metric(where: str, metric: Mapping[str, Any]) -> Errors:
    kind = metric.get("type")
    if not kind:
        return [required(f"{where}.type", "must specify a metric source type")]
    if kind not in _SOURCES:
        return [not_supported(f"{where}.type", kind, _SOURCES)]
    field = _SOURCES[kind]
    others = [name for name in _SOURCES.values() if name != field and metric.get(name) is not None]
    why = "must populate the given metric source only"
    errors = [forbidden(f"{where}.{name}", why) for name in others]
    source = metric.get(field)
    if source is None:
        return [*errors, required(f"{where}.{field}", "must populate information for the given metric source")]
    where = f"{where}.{field}"
    if field in {"resource", "containerResource"}:
        if not source.get("name"):
            errors.append(required(f"{where}.name", "must specify a resource name"))
        if field == "containerResource" and not source.get("container"):
            errors.append(required(f"{where}.container", "must specify a container name"))
        return errors + _resource_target(where, source.get("target") or {})
    if not (source.get("metric") or {}).get("name"):
        errors.append(required(f"{where}.metric.name", "must specify a metric name"))
    return errors + _target(f"{where}.target", source.get("target") or {})


def _resource_target(where: str, target: Mapping[str, Any]) -> Errors:
    errors = _target(f"{where}.target", target)
    share, value = target.get("averageUtilization"), target.get("averageValue")
    if share is None and value is None:
        why = "must set either a target raw value or a target utilization"
        errors.append(required(f"{where}.target.averageUtilization", why))
    if share is not None and value is not None:
        why = "may not set both a target raw value and a target utilization"
        errors.append(forbidden(f"{where}.target.averageValue", why))
    return errors


def _target(where: str, target: Mapping[str, Any]) -> Errors:
    if not target.get("type"):
        return [required(f"{where}.type", "must specify a metric target type")]
    errors = one_of(f"{where}.type", target["type"], _TARGETS)
    share = target.get("averageUtilization")
    if share is not None and share < 1:
        errors.append(invalid(f"{where}.averageUtilization", share, "must be greater than 0"))
    for field in ("value", "averageValue"):
        if target.get(field) is not None:
            errors += validate_quantity(f"{where}.{field}", target[field], positive=True)
    return errors


def _rules(where: str, rules: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    window = rules.get("stabilizationWindowSeconds")
    if window is not None and window < 0:
        errors.append(invalid(f"{where}.stabilizationWindowSeconds", window, "must be greater than or equal to zero"))
    if window is not None and window > _LONGEST_WINDOW:
        why = f"must be less than or equal to {_LONGEST_WINDOW}"
        errors.append(invalid(f"{where}.stabilizationWindowSeconds", window, why))
    errors += one_of(f"{where}.selectPolicy", rules.get("selectPolicy"), _SELECT, optional=True)
    if rules.get("tolerance") is not None:
        errors += validate_quantity(f"{where}.tolerance", rules["tolerance"])
    policies = rules.get("policies") or []
    if not policies:
        errors.append(required(f"{where}.policies", "must specify at least one Policy"))
    for place, policy in enumerate(policies):
        errors += _policy(f"{where}.policies[{place}]", policy)
    return errors


def _policy(where: str, policy: Mapping[str, Any]) -> Errors:
    errors = one_of(f"{where}.type", policy.get("type"), _POLICIES)
    value, period = policy.get("value") or 0, policy.get("periodSeconds") or 0
    if value <= 0:
        errors.append(invalid(f"{where}.value", value, "must be greater than zero"))
    if period <= 0:
        errors.append(invalid(f"{where}.periodSeconds", period, "must be greater than zero"))
    if period > _LONGEST_PERIOD:
        errors.append(invalid(f"{where}.periodSeconds", period, f"must be less than or equal to {_LONGEST_PERIOD}"))
    return errors
