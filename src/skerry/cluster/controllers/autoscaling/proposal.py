"""From one metric to a number of replicas.

    replicas = ⌈ ready pods * (what they use ÷ what they should use) ⌉

unless the quotient is so near to one that it is not worth it. Pods without figures are counted against the change: as
idle when it would go up, as fully busy when it would go down; pods that are not ready yet as idle when it would go up.
If that turns the direction, nothing is done.

Facts: Kubernetes `pkg/controller/podautoscaler/{horizontal,replica_calculator}.go`, `metrics/utilization.go`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lightkube.models.autoscaling_v2 import (
    ContainerResourceMetricStatus,
    HorizontalPodAutoscalerBehavior,
    HPAScalingRules,
    MetricSpec,
    MetricStatus,
    MetricTarget,
    MetricValueStatus,
    ResourceMetricStatus,
)
from lightkube.resources.core_v1 import Pod

from skerry.cluster.controllers.autoscaling.samples import (
    Groups,
    NoFigures,
    Sample,
    grouped,
    millis_of,
    requests_of,
    values_of,
)
from skerry.machinery.quantity import NANO, Quantity

DEFAULT_TOLERANCE: Final = 0.1
_NO_CUSTOM: Final = "the server could not find the requested resource"


class Unable(Exception):
    """A metric gives no number; `reason` is the condition's and the event's."""

    def __init__(self, reason: str, message: str, metric: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.summary = f"failed to get {metric} value: {message}"


@dataclass(frozen=True)
class Tolerance:
    """How far the quotient may be from one, downwards and upwards."""

    down: float = DEFAULT_TOLERANCE
    up: float = DEFAULT_TOLERANCE

    def covers(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


@dataclass(frozen=True)
class Proposal:
    """How many replicas a metric asks for, what it is called in messages, and what it is at."""

    replicas: int
    metric: str
    status: MetricStatus


@dataclass(frozen=True)
class World:
    """What a proposal is made from."""

    replicas: int
    pods: Sequence[Pod]
    samples: Mapping[str, Sample]
    tolerance: Tolerance
    now: datetime


def tolerance_of(behavior: HorizontalPodAutoscalerBehavior | None) -> Tolerance:
    """Return the tolerances that the behavior sets, or the usual ones."""

    def own(rules: HPAScalingRules | None) -> float:
        if rules is None or rules.tolerance is None:
            return DEFAULT_TOLERANCE
        return millis_of(str(rules.tolerance)) / 1000

    return Tolerance(own(behavior.scaleDown), own(behavior.scaleUp)) if behavior is not None else Tolerance()


def propose(metric: MetricSpec, world: World) -> Proposal:
    """Compute one metric; raises `Unable`."""
    source = metric.resource or metric.containerResource
    if metric.type not in {"Resource", "ContainerResource"} or source is None:
        text = f"unable to get {metric.type} metric: {_NO_CUSTOM}"
        raise Unable(f"FailedGet{metric.type}Metric", text, f"{metric.type} metric")
    container = metric.containerResource.container if metric.containerResource is not None else None
    what = "container resource" if container is not None else "resource"
    try:
        replicas, current = _resource(source.name, container, source.target, world)
    except NoFigures as error:
        reason = "FailedGetContainerResourceMetric" if container is not None else "FailedGetResourceMetric"
        text = f"failed to get {source.name} utilization: {error}"
        raise Unable(reason, text, f"{source.name} {what} metric") from None
    utilization = source.target.averageValue is None
    called = f"{source.name} {what}" + (" utilization (percentage of request)" if utilization else "")
    return Proposal(replicas, called, _status(source.name, container, current))


def _resource(
    resource: str, container: str | None, target: MetricTarget, world: World
) -> tuple[int, MetricValueStatus]:
    try:
        values = values_of(_of_pods(world), resource, container)
    except NoFigures as error:
        raise NoFigures(f"unable to get metrics for resource {resource}: {error}") from None
    if not world.pods:
        raise NoFigures("no pods returned by selector while calculating replica count")
    groups = grouped(world.pods, world.samples, resource, world.now)
    counted = {name: value for name, value in values.items() if name in groups.ready}
    if target.averageValue is not None:
        wanted = millis_of(str(target.averageValue))
        return _by_value(counted, wanted, groups, world)
    requests = requests_of(world.pods, resource, container)
    return _by_utilization(counted, requests, target.averageUtilization or 0, groups, world)


def _of_pods(world: World) -> dict[str, Sample]:
    names = {pod.metadata.name for pod in world.pods if pod.metadata is not None}
    return {name: sample for name, sample in world.samples.items() if name in names}


def _by_utilization(
    values: Mapping[str, int], requests: Mapping[str, int], target: int, groups: Groups, world: World
) -> tuple[int, MetricValueStatus]:
    _some(values)

    def share(each: Mapping[str, int]) -> int:
        asked = sum(requests[name] for name in each)
        if not asked:
            raise NoFigures("no metrics returned matched known pods")
        return sum(each.values()) * 100 // asked

    full = max(100, target)
    replicas = _replicas(
        values, groups, world, lambda each: share(each) / target, lambda name: requests[name] * full // 100
    )
    return replicas, MetricValueStatus(averageUtilization=share(values), averageValue=_average(values))


def _by_value(values: Mapping[str, int], target: int, groups: Groups, world: World) -> tuple[int, MetricValueStatus]:
    _some(values)
    replicas = _replicas(
        values, groups, world, lambda each: sum(each.values()) // len(each) / target, lambda _name: target
    )
    return replicas, MetricValueStatus(averageValue=_average(values))


def _replicas(
    values: Mapping[str, int],
    groups: Groups,
    world: World,
    ratio_of: Callable[[Mapping[str, int]], float],
    busy: Callable[[str], int],
) -> int:
    ratio, current = ratio_of(values), world.replicas
    waits = bool(groups.unready) and ratio > 1.0
    if not waits and not groups.missing:
        return current if world.tolerance.covers(ratio) else math.ceil(ratio * len(values))
    filled = dict(values)
    if ratio < 1.0:
        filled |= {name: busy(name) for name in groups.missing}
    elif ratio > 1.0:
        filled |= dict.fromkeys(groups.missing, 0)
    if waits:
        filled |= dict.fromkeys(groups.unready, 0)
    again = ratio_of(filled)
    turned = ratio < 1.0 < again or again < 1.0 < ratio
    if world.tolerance.covers(again) or turned:
        return current
    wanted = math.ceil(again * len(filled))
    against = (again < 1.0 and wanted > current) or (again > 1.0 and wanted < current)
    return current if against else wanted


def _some(values: Mapping[str, int]) -> None:
    if not values:
        raise NoFigures("did not receive metrics for any ready pods")


def _average(values: Mapping[str, int]) -> str:
    return str(Quantity(sum(values.values()) // len(values) * (NANO // 1000)))


def _status(resource: str, container: str | None, current: MetricValueStatus) -> MetricStatus:
    if container is None:
        return MetricStatus("Resource", resource=ResourceMetricStatus(current, resource))
    own = ContainerResourceMetricStatus(container, current, resource)
    return MetricStatus("ContainerResource", containerResource=own)
