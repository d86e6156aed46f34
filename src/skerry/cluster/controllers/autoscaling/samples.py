"""What pods use, and which pods' figures count for what.

A pod that is being deleted or has failed counts for nothing. One that is pending, or whose figure for processors is
from before it was ready, is *unready*: it will take load, but its figure says nothing. One without is *missing*.

Facts: Kubernetes `pkg/controller/podautoscaler/replica_calculator.go` (groupPods).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from lightkube.resources.core_v1 import Pod

from skerry.api.metrics import PodMetricsResource
from skerry.cluster.controllers import pods as pod_facts
from skerry.cluster.controllers.ownership import deleting, name_of
from skerry.machinery.humanduration import parse_go_duration
from skerry.machinery.quantity import Quantity, QuantityError

_STARTING: Final = timedelta(minutes=5)  # so long the processors of a young pod may be busy with its start
_FIRST_READINESS: Final = timedelta(seconds=30)


class NoFigures(Exception):
    """The replicas cannot be computed; the text says why."""


@dataclass(frozen=True)
class Sample:
    """Thousandths of what each container used, by container and resource."""

    at: datetime
    window: timedelta
    containers: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Groups:
    """Names of pods by what their figures are good for."""

    ready: frozenset[str]
    unready: frozenset[str]
    missing: frozenset[str]


def samples_of(items: Iterable[PodMetricsResource]) -> dict[str, Sample]:
    """Read PodMetrics, by the names of the pods."""
    return {
        name_of(item): Sample(
            item.timestamp,
            parse_go_duration(item.window),
            {each.name: {name: millis_of(text) for name, text in each.usage.items()} for each in item.containers},
        )
        for item in items
    }


def values_of(samples: Mapping[str, Sample], resource: str, container: str | None) -> dict[str, int]:
    """Add up a resource over the containers of each pod, or read it of the one container."""
    values = {}
    for name, sample in samples.items():
        if container is not None and container not in sample.containers:
            raise NoFigures(f"container {container} not present in metrics for pod {name}")
        chosen = [own for own_name, own in sample.containers.items() if container in {None, own_name}]
        if chosen and all(resource in own for own in chosen):
            values[name] = sum(own[resource] for own in chosen)
    if not values:
        raise NoFigures("no metrics returned from resource metrics API")
    return values


def grouped(pods: Sequence[Pod], samples: Mapping[str, Sample], resource: str, now: datetime) -> Groups:
    """Sort the pods."""
    ready, unready, missing = set(), set(), set()
    for pod in pods:
        name = name_of(pod)
        if deleting(pod) or pod_facts.phase(pod) == "Failed":
            continue
        if pod_facts.phase(pod) == "Pending":
            unready.add(name)
        elif name not in samples:
            missing.add(name)
        elif resource == "cpu" and _starts(pod, samples[name], now):
            unready.add(name)
        else:
            ready.add(name)
    return Groups(frozenset(ready), frozenset(unready), frozenset(missing))


def requests_of(pods: Sequence[Pod], resource: str, container: str | None) -> dict[str, int]:
    """Return what each pod requests, in thousandths; raises for one that requests nothing."""
    requests = {}
    for pod in pods:
        spec = pod.spec
        sidecars = [each for each in (spec.initContainers if spec else None) or [] if each.restartPolicy == "Always"]
        total = 0
        for each in [*(spec.containers if spec else []), *sidecars]:
            if container is not None and each.name != container:
                continue
            amounts = (each.resources.requests if each.resources else None) or {}
            if resource not in amounts:
                raise NoFigures(f"missing request for {resource} in container {each.name} of Pod {name_of(pod)}")
            total += millis_of(str(amounts[resource]))
        requests[name_of(pod)] = total
    return requests


def millis_of(text: str) -> int:
    """Read a quantity in thousandths."""
    try:
        return Quantity.parse(text).millis()
    except QuantityError:
        return 0


def _starts(pod: Pod, sample: Sample, now: datetime) -> bool:
    found, begun = pod_facts.condition(pod, "Ready"), pod.status.startTime if pod.status else None
    if found is None or begun is None or found.lastTransitionTime is None:
        return True
    if begun + _STARTING > now:
        return found.status == "False" or sample.at < found.lastTransitionTime + sample.window
    # Unready now, and it never was ready.
    return found.status == "False" and begun + _FIRST_READINESS > found.lastTransitionTime
