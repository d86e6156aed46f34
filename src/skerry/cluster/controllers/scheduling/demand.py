"""What pods ask for and what is left, as plain numbers by resource name.

A pod asks for the larger of what its containers need together and what any init container needs alone; init containers
that keep running (sidecars) count with both. Facts: Kubernetes `component-helpers/resource`.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from lightkube.models.core_v1 import Container, PodSpec
from lightkube.resources.core_v1 import Pod
from lightkube.utils.quantity import parse_quantity

from skerry.cluster.controllers.pods import finished


def amounts(quantities: Mapping[str, str] | None) -> dict[str, Decimal]:
    """Read quantities; what cannot be read is none, as validation has let nothing else through."""
    return {name: _number(text) for name, text in (quantities or {}).items()}


def requested(spec: PodSpec) -> dict[str, Decimal]:
    """Return what the pod asks for, `pods` (one place) included."""
    sidecars: dict[str, Decimal] = {}
    peak: dict[str, Decimal] = {}
    for container in spec.initContainers or []:
        if container.restartPolicy == "Always":
            sidecars = _add(sidecars, _requests(container))
            peak = _most(peak, sidecars)
        else:
            peak = _most(peak, _add(sidecars, _requests(container)))
    together = sidecars
    for container in spec.containers:
        together = _add(together, _requests(container))
    return _add(_add(_most(peak, together), amounts(spec.overhead)), {"pods": Decimal(1)})


def in_use(pods: Iterable[Pod]) -> dict[str, Decimal]:
    """Return what the pods hold; one that has ended holds nothing, one that is ending still does."""
    total: dict[str, Decimal] = {}
    for pod in pods:
        if pod.spec is not None and not finished(pod):
            total = _add(total, requested(pod.spec))
    return total


def _requests(container: Container) -> dict[str, Decimal]:
    resources = container.resources
    if resources is None:
        return {}
    # A limit without a request is the request too; the API server fills it in for what it stores.
    return {**amounts(resources.limits), **amounts(resources.requests)}


def _add(one: Mapping[str, Decimal], other: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {name: one.get(name, Decimal(0)) + other.get(name, Decimal(0)) for name in one.keys() | other.keys()}


def _most(one: Mapping[str, Decimal], other: Mapping[str, Decimal]) -> dict[str, Decimal]:
    return {name: max(one.get(name, Decimal(0)), other.get(name, Decimal(0))) for name in one.keys() | other.keys()}


def _number(text: str) -> Decimal:
    try:
        return parse_quantity(str(text)) or Decimal(0)
    except ValueError:
        return Decimal(0)
