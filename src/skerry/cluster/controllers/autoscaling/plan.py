"""The plan for one HorizontalPodAutoscaler: the new size, the status, what is told. Words are Kubernetes'."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

import msgspec
from lightkube.models.autoscaling_v2 import (
    HorizontalPodAutoscalerCondition,
    HorizontalPodAutoscalerStatus,
    MetricStatus,
)
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler

from skerry.cluster.controllers.autoscaling.pace import History, bounds_of, paced
from skerry.cluster.controllers.autoscaling.proposal import Proposal, Unable, World, propose

ABLE: Final = "AbleToScale"
ACTIVE: Final = "ScalingActive"
LIMITED: Final = "ScalingLimited"
_GOT_SCALE: Final = ("SucceededGetScale", "the HPA controller was able to get the target's current scale")
_CANNOT_GET: Final = "the HPA controller was unable to get the target's current scale"

Conditions = tuple[HorizontalPodAutoscalerCondition, ...]


@dataclass(frozen=True)
class Told:
    """An event."""

    severity: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """What is to be done. `rescale`: the new size, None to leave it; `why` is for the event."""

    status: HorizontalPodAutoscalerStatus
    history: History
    rescale: int | None = None
    why: str = ""
    told: tuple[Told, ...] = ()


def plan(hpa: HorizontalPodAutoscaler, world: World, history: History) -> Plan:
    """Plan one step; `world.replicas` is the present size of the target."""
    current, now = world.replicas, world.now
    history = history.since_start(current, now)
    conditions = put(_present(hpa), ABLE, "True", *_GOT_SCALE, now)
    least, most = bounds_of(hpa.spec)
    if current == 0 and least != 0:
        text = "scaling is disabled since the replica count of the target is zero"
        conditions = put(conditions, ACTIVE, "False", "ScalingDisabled", text, now)
        return Plan(_status(hpa, 0, 0, conditions), history)
    if current > most:
        return _rescale(hpa, world, most, "Current number of replicas above Spec.MaxReplicas", conditions, history)
    if current < least:
        return _rescale(hpa, world, least, "Current number of replicas below Spec.MinReplicas", conditions, history)
    return _by_metrics(hpa, world, conditions, history)


def no_scale(hpa: HorizontalPodAutoscaler, history: History, message: str, now: datetime) -> Plan:
    """Plan to tell that the target's size cannot be read."""
    conditions = put(_present(hpa), ABLE, "False", "FailedGetScale", f"{_CANNOT_GET}: {message}", now)
    status = msgspec.structs.replace(hpa.status or HorizontalPodAutoscalerStatus(0), conditions=list(conditions))
    return Plan(status, history, told=_new(hpa, status, Told("Warning", "FailedGetScale", message), ABLE))


def no_selector(hpa: HorizontalPodAutoscaler, current: int, history: History, now: datetime) -> Plan:
    """Plan to tell that the target does not say which pods are its own."""
    conditions = put(_present(hpa), ABLE, "True", *_GOT_SCALE, now)
    text = "the HPA target's scale is missing a selector"
    conditions = put(conditions, ACTIVE, "False", "InvalidSelector", text, now)
    status = _status(hpa, current, _desired_before(hpa), conditions)
    return Plan(
        status, history, told=_new(hpa, status, Told("Warning", "SelectorRequired", "selector is required"), ACTIVE)
    )


def not_scaled(hpa: HorizontalPodAutoscaler, planned: Plan, current: int, message: str, now: datetime) -> Plan:
    """Plan to tell that the new size was refused; the next step tries again."""
    text = f"the HPA controller was unable to update the target scale: {message}"
    conditions = put(tuple(planned.status.conditions or ()), ABLE, "False", "FailedUpdateScale", text, now)
    status = _status(hpa, current, _desired_before(hpa), conditions, planned.status.currentMetrics)
    event = f"New size: {planned.rescale}; reason: {planned.why}; error: {message}"
    return Plan(status, planned.history, told=_new(hpa, status, Told("Warning", "FailedRescale", event), ABLE))


def scaled(planned: Plan, current: int, now: datetime) -> Plan:
    """Plan to tell that the target has its new size."""
    assert planned.rescale is not None
    text = f"the HPA controller was able to update the target scale to {planned.rescale}"
    conditions = put(tuple(planned.status.conditions or ()), ABLE, "True", "SucceededRescale", text, now)
    status = msgspec.structs.replace(
        planned.status, conditions=list(conditions), lastScaleTime=now.replace(microsecond=0)
    )
    event = Told("Normal", "SuccessfulRescale", f"New size: {planned.rescale}; reason: {planned.why}")
    return Plan(status, planned.history.changed(planned.rescale - current, now), told=(event,))


def _by_metrics(hpa: HorizontalPodAutoscaler, world: World, conditions: Conditions, history: History) -> Plan:
    current, now = world.replicas, world.now
    found, failed = _proposals(hpa, world)
    statuses = [each.status if isinstance(each, Proposal) else MetricStatus("") for each in found]
    best = max((each for each in found if isinstance(each, Proposal)), key=lambda each: each.replicas, default=None)
    if best is None or (failed and best.replicas < current):
        return _unable(hpa, current, failed, conditions, statuses, history, now)
    text = f"the HPA was able to successfully calculate a replica count from {best.metric}"
    conditions = put(conditions, ACTIVE, "True", "ValidMetricFound", text, now)
    pace = paced(hpa.spec, current, best.replicas, history, now)
    history = history.proposed(best.replicas, now)
    conditions = put(conditions, ABLE, "True", *pace.able, now)
    conditions = put(conditions, LIMITED, "True" if pace.limited else "False", *pace.limit, now)
    if pace.replicas == current:
        return Plan(_status(hpa, current, current, conditions, statuses), history)
    why = f"{best.metric} above target" if best.replicas > current else "All metrics below target"
    return _rescale(hpa, world, pace.replicas, why, conditions, history, statuses)


def _proposals(hpa: HorizontalPodAutoscaler, world: World) -> tuple[list[Proposal | Unable], list[Unable]]:
    found: list[Proposal | Unable] = []
    for metric in hpa.spec.metrics or []:
        try:
            found.append(propose(metric, world))
        except Unable as error:
            found.append(error)
    return found, [each for each in found if isinstance(each, Unable)]


def _unable(
    hpa: HorizontalPodAutoscaler,
    current: int,
    failed: list[Unable],
    conditions: Conditions,
    statuses: list[MetricStatus],
    history: History,
    now: datetime,
) -> Plan:
    first = failed[0] if failed else Unable("InvalidMetricSourceType", "no metrics are specified", "metrics")
    text = f"the HPA was unable to compute the replica count: {first}"
    conditions = put(conditions, ACTIVE, "False", first.reason, text, now)
    status = _status(hpa, current, _desired_before(hpa), conditions, statuses)
    summary = f"invalid metrics ({len(failed)} invalid out of {len(statuses)}), first error is: {first.summary}"
    told = _new(hpa, status, Told("Warning", first.reason, str(first)), ACTIVE)
    more = (Told("Warning", "FailedComputeMetricsReplicas", summary),) if told else ()
    return Plan(status, history, told=(*told, *more))


def _rescale(
    hpa: HorizontalPodAutoscaler,
    world: World,
    replicas: int,
    why: str,
    conditions: Conditions,
    history: History,
    statuses: list[MetricStatus] | None = None,
) -> Plan:
    return Plan(_status(hpa, world.replicas, replicas, conditions, statuses), history, replicas, why)


def _status(
    hpa: HorizontalPodAutoscaler,
    current: int,
    desired: int,
    conditions: Conditions,
    metrics: list[MetricStatus] | None = None,
) -> HorizontalPodAutoscalerStatus:
    before = hpa.status
    return HorizontalPodAutoscalerStatus(
        desiredReplicas=desired,
        conditions=list(conditions),
        currentMetrics=metrics or None,
        currentReplicas=current,
        lastScaleTime=before.lastScaleTime if before is not None else None,
    )


def _desired_before(hpa: HorizontalPodAutoscaler) -> int:
    return hpa.status.desiredReplicas if hpa.status is not None else 0


def _present(hpa: HorizontalPodAutoscaler) -> Conditions:
    return tuple((hpa.status.conditions if hpa.status is not None else None) or ())


def put(conditions: Conditions, kind: str, truth: str, reason: str, message: str, now: datetime) -> Conditions:
    """Set a condition; its time moves only when its truth does."""
    old = next((each for each in conditions if each.type == kind), None)
    since = old.lastTransitionTime if old is not None and old.status == truth else now.replace(microsecond=0)
    new = HorizontalPodAutoscalerCondition(truth, kind, lastTransitionTime=since, message=message, reason=reason)
    if old is None:
        return (*conditions, new)
    return tuple(new if each is old else each for each in conditions)


def _new(
    hpa: HorizontalPodAutoscaler, status: HorizontalPodAutoscalerStatus, told: Told, kind: str
) -> tuple[Told, ...]:
    """Tell of a failure that is not in the conditions yet: the same every fifteen seconds would only wear the disk."""

    def said(conditions: Conditions) -> tuple[str | None, str | None]:
        found = next((each for each in conditions if each.type == kind), None)
        return (found.reason, found.message) if found is not None else (None, None)

    return () if said(_present(hpa)) == said(tuple(status.conditions or ())) else (told,)
