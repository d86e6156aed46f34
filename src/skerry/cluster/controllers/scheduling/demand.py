"""What pods ask for and what is left, as quantities by resource name.

A pod asks for the larger of what its containers need together and what any init container needs alone; init containers
that keep running (sidecars) count with both. Facts: Kubernetes `component-helpers/resource`.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from lightkube.models.core_v1 import Container, PodSpec
from lightkube.resources.core_v1 import Pod

from skerry.cluster.controllers.pods import finished
from skerry.machinery.quantity import Quantity, QuantityError

Amounts = dict[str, Quantity]

NOTHING: Final = Quantity(0)


def amounts(quantities: Mapping[str, str] | None) -> Amounts:
    """Read quantities; what is none counts as nothing, since validation lets no such thing through."""
    return {name: _quantity(text) for name, text in (quantities or {}).items()}


def requested(spec: PodSpec) -> Amounts:
    """Return what the pod asks for, `pods` (one place) included."""
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.initContainers or []:
        if container.restartPolicy == "Always":
            sidecars = _add(sidecars, _requests(container))
            peak = _most(peak, sidecars)
        else:
            peak = _most(peak, _add(sidecars, _requests(container)))
    together = sidecars
    for container in spec.containers:
        together = _add(together, _requests(container))
    return _add(_add(_most(peak, together), amounts(spec.overhead)), {"pods": Quantity.parse(1)})


def in_use(pods: Iterable[Pod]) -> Amounts:
    """Return what the pods hold; one that has ended holds nothing, one that is ending still does."""
    total: Amounts = {}
    for pod in pods:
        if pod.spec is not None and not finished(pod):
            total = _add(total, requested(pod.spec))
    return total


def _requests(container: Container) -> Amounts:
    resources = container.resources
    if resources is None:
        return {}
    # A limit without a request is the request too; the API server fills it in for what it stores.
    return {**amounts(resources.limits), **amounts(resources.requests)}


def _add(one: Amounts, other: Amounts) -> Amounts:
    return {name: one.get(name, NOTHING) + other.get(name, NOTHING) for name in one.keys() | other.keys()}


def _most(one: Amounts, other: Amounts) -> Amounts:
    return {name: max(one.get(name, NOTHING), other.get(name, NOTHING)) for name in one.keys() | other.keys()}


def _quantity(text: str) -> Quantity:
    try:
        return Quantity.parse(text)
    except QuantityError:
        return NOTHING
