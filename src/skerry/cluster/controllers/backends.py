"""The pods behind a Service, for EndpointSlices and for the older Endpoints: addresses, ports, state.

A target port may be a name, and two pods may give one name different numbers; so pods are grouped by the numbers that
the Service's ports come to. Nearly always there is one group.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from lightkube.models.core_v1 import ObjectReference, ServicePort
from lightkube.resources.core_v1 import Pod, Service

from skerry.cluster.controllers import pods as pod_facts
from skerry.cluster.controllers.ownership import deleting, labels_of, meta, name_of


class Port(NamedTuple):
    """One port of a group."""

    name: str
    protocol: str
    number: int
    app_protocol: str | None


@dataclass(frozen=True)
class Backend:
    """One pod that has an address."""

    pod: Pod
    address: str
    serving: bool
    terminating: bool
    ready: bool

    @property
    def node(self) -> str | None:
        return self.pod.spec.nodeName if self.pod.spec else None

    def reference(self) -> ObjectReference:
        """Point to the pod."""
        metadata = meta(self.pod)
        return ObjectReference(kind="Pod", namespace=metadata.namespace, name=metadata.name, uid=metadata.uid)

    def hostname(self, service: Service) -> str | None:
        """Return the name under which the pod is found below a headless Service."""
        spec = self.pod.spec
        named = spec is not None and spec.hostname and spec.subdomain == name_of(service)
        return spec.hostname if spec is not None and named else None


Groups = dict[tuple[Port, ...], list[Backend]]


def selects(service: Service) -> bool:
    """Tell whether endpoints are made for the Service; without a selector they are somebody else's to make."""
    spec = service.spec
    return spec is not None and bool(spec.selector) and spec.type != "ExternalName"


def selected(service: Service, pod: Pod) -> bool:
    """Tell whether the Service has a selector and the pod's labels match it."""
    wanted = (service.spec.selector if service.spec else None) or {}
    return bool(wanted) and wanted.items() <= labels_of(pod).items()


def behind(service: Service, pods: Iterable[Pod]) -> list[Backend]:
    """Return the selected pods that have an address and have not ended, in order of address."""
    spec = service.spec
    if spec is None:
        return []
    found: list[Backend] = []
    for pod in pods:
        address = pod.status.podIP if pod.status else None
        if address and not pod_facts.finished(pod) and selected(service, pod):
            serving, terminating = pod_facts.ready(pod), deleting(pod)
            ready = bool(spec.publishNotReadyAddresses) or (serving and not terminating)
            found.append(Backend(pod, address, serving, terminating, ready))
    return sorted(found, key=lambda backend: (backend.address, name_of(backend.pod)))


def grouped(service: Service, backends: Iterable[Backend]) -> Groups:
    """Group the pods by the numbers of the Service's ports."""
    groups: Groups = {}
    for backend in backends:
        groups.setdefault(_ports(service, backend.pod), []).append(backend)
    return groups


def headless(service: Service) -> bool:
    """Tell whether the Service has no address of its own."""
    return service.spec is not None and service.spec.clusterIP == "None"


def _ports(service: Service, pod: Pod) -> tuple[Port, ...]:
    ports = (service.spec.ports if service.spec else None) or []
    numbers = [(port, _number(port, pod)) for port in ports]
    return tuple(
        Port(port.name or "", port.protocol or "TCP", number, port.appProtocol)
        for port, number in numbers
        if number is not None
    )


def _number(port: ServicePort, pod: Pod) -> int | None:
    target = port.targetPort or port.port
    if isinstance(target, int):
        return target
    spec = pod.spec
    if spec is None:
        return None
    # A sidecar is an init container that keeps running; the others' ports answer nobody.
    sidecars = [each for each in spec.initContainers or [] if each.restartPolicy == "Always"]
    for container in [*spec.containers, *sidecars]:
        for candidate in container.ports or []:
            if candidate.name == target and (candidate.protocol or "TCP") == (port.protocol or "TCP"):
                return candidate.containerPort
    return None
