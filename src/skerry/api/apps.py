"""apps/v1: Deployment and ReplicaSet."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from lightkube.models import apps_v1

from skerry.api.cells import AGE_COLUMN, NAME_COLUMN, WORKLOAD_WIDE, spec, status
from skerry.api.checks import Errors, non_negative, one_of, unchanged
from skerry.api.filling import branch, fill
from skerry.api.pods.defaults import default_pod_template
from skerry.api.pods.validation import validate_pod_template
from skerry.api.pods.warnings import warn_workload
from skerry.api.registry import Column, Kind, Object, ScalePaths
from skerry.api.selectors import matches, validate_selector
from skerry.machinery.fielderrors import forbidden, invalid, required

_STRATEGIES: Final = ("Recreate", "RollingUpdate")
_PERCENT: Final = re.compile(r"[0-9]+%")
_PERCENT_FORM: Final = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)


def _default_deployment(deployment: Object) -> None:
    own = branch(deployment, "spec")
    fill(own, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600)
    strategy = branch(own, "strategy")
    fill(strategy, type="RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        fill(branch(strategy, "rollingUpdate"), maxUnavailable="25%", maxSurge="25%")
    default_pod_template(branch(own, "template"))


def _default_replica_set(replica_set: Object) -> None:
    own = branch(replica_set, "spec")
    fill(own, replicas=1)
    default_pod_template(branch(own, "template"))
    fill(branch(replica_set, "status"), replicas=0)


def _validate_deployment(deployment: Object, old: Object | None) -> Errors:
    own = spec(deployment)
    errors = _workload(deployment, old)
    errors += _strategy("spec.strategy", own.get("strategy") or {})
    errors += non_negative("spec.revisionHistoryLimit", own.get("revisionHistoryLimit"))
    deadline, ready = own.get("progressDeadlineSeconds"), own.get("minReadySeconds") or 0
    errors += non_negative("spec.progressDeadlineSeconds", deadline)
    if deadline is not None and deadline <= ready:
        errors.append(invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    return errors


def _workload(obj: Object, old: Object | None) -> Errors:
    """Check what a Deployment and a ReplicaSet share."""
    own, template = spec(obj), spec(obj).get("template") or {}
    selector = own.get("selector")
    errors = non_negative("spec.replicas", own.get("replicas"))
    errors += non_negative("spec.minReadySeconds", own.get("minReadySeconds"))
    errors += validate_pod_template("spec.template", template)
    if selector is None:
        return [*errors, required("spec.selector")]
    wrong = validate_selector("spec.selector", selector)
    errors += wrong
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        # The server says "deployment" for a ReplicaSet too.
        errors.append(invalid("spec.selector", selector, "empty selector is invalid for deployment"))
    elif not wrong:
        labels = (template.get("metadata") or {}).get("labels") or {}
        if not matches(selector, labels):
            why = "`selector` does not match template `labels`"
            errors.append(invalid("spec.template.metadata.labels", labels, why))
    if old is not None:
        errors += unchanged("spec.selector", selector, spec(old).get("selector"))
    return errors


def _strategy(where: str, strategy: Mapping[str, Any]) -> Errors:
    errors = one_of(f"{where}.type", strategy.get("type"), _STRATEGIES)
    rolling = strategy.get("rollingUpdate")
    if strategy.get("type") == "Recreate" and rolling is not None:
        why = "may not be specified when strategy `type` is 'Recreate'"
        return [*errors, forbidden(f"{where}.rollingUpdate", why)]
    if strategy.get("type") != "RollingUpdate":
        return errors
    if rolling is None:
        return [*errors, required(f"{where}.rollingUpdate", "this should be defaulted and never be nil")]
    where = f"{where}.rollingUpdate"
    wrong = [
        error for field in ("maxUnavailable", "maxSurge") for error in _share(f"{where}.{field}", rolling.get(field))
    ]
    if not wrong and _is_zero(rolling.get("maxUnavailable")) and _is_zero(rolling.get("maxSurge")):
        value = rolling.get("maxUnavailable")
        wrong.append(invalid(f"{where}.maxUnavailable", value, "may not be 0 when `maxSurge` is 0"))
    if not wrong and isinstance(rolling.get("maxUnavailable"), str) and int(rolling["maxUnavailable"][:-1]) > 100:
        wrong.append(invalid(f"{where}.maxUnavailable", rolling["maxUnavailable"], "must not be greater than 100%"))
    return errors + wrong


def _share(field: str, value: Any) -> Errors:
    """Check a count or a percentage."""
    if isinstance(value, str):
        return [] if _PERCENT.fullmatch(value) else [invalid(field, value, _PERCENT_FORM)]
    return non_negative(field, value)


def _is_zero(value: Any) -> bool:
    return int(value[:-1]) == 0 if isinstance(value, str) else not value


def _deployment_ready(deployment: Object, _now: datetime) -> str:
    return f"{status(deployment).get('readyReplicas') or 0}/{spec(deployment).get('replicas') or 0}"


DEPLOYMENT: Final = Kind(
    "apps",
    "v1",
    "Deployment",
    "deployments",
    namespaced=True,
    model=apps_v1.Deployment,
    columns=(
        NAME_COLUMN,
        Column("Ready", _deployment_ready),
        Column("Up-to-date", lambda obj, _: status(obj).get("updatedReplicas") or 0, "integer"),
        Column("Available", lambda obj, _: status(obj).get("availableReplicas") or 0, "integer"),
        AGE_COLUMN,
        *WORKLOAD_WIDE,
    ),
    short_names=("deploy",),
    categories=("all",),
    subresources=("scale", "status"),
    scale=ScalePaths(),
    generation_metadata=("annotations",),
    default=_default_deployment,
    validate=_validate_deployment,
    warn=warn_workload,
)

REPLICA_SET: Final = Kind(
    "apps",
    "v1",
    "ReplicaSet",
    "replicasets",
    namespaced=True,
    model=apps_v1.ReplicaSet,
    columns=(
        NAME_COLUMN,
        Column("Desired", lambda obj, _: spec(obj).get("replicas") or 0, "integer"),
        Column("Current", lambda obj, _: status(obj).get("replicas") or 0, "integer"),
        Column("Ready", lambda obj, _: status(obj).get("readyReplicas") or 0, "integer"),
        AGE_COLUMN,
        *WORKLOAD_WIDE,
    ),
    short_names=("rs",),
    categories=("all",),
    subresources=("scale", "status"),
    scale=ScalePaths(),
    default=_default_replica_set,
    validate=_workload,
    warn=warn_workload,
)
