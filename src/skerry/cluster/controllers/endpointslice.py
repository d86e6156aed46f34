"""EndpointSlices: where a Service's pods are, and which of them take traffic.

The gateway's routing table is made from these, so a pod is served as soon as its slice says `ready`: this loop reacts
to every pod change at once and writes nothing else. Kubernetes splits at 100 endpoints a slice; one node never has
that many pods behind one Service, so there is one slice for each set of port numbers. Facts: `k8s.io/endpointslice`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from lightkube import AsyncClient
from lightkube.models.discovery_v1 import Endpoint, EndpointConditions, EndpointPort
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Pod, Service
from lightkube.resources.discovery_v1 import EndpointSlice

from skerry.api.wellknown import ENDPOINTSLICE_MANAGED_BY_LABEL as MANAGED_BY
from skerry.api.wellknown import SERVICE_NAME_LABEL as SERVICE_NAME
from skerry.cluster.controllers.backends import Backend, Groups, Port, behind, grouped, headless, selected, selects
from skerry.cluster.controllers.ownership import controlled_by, controller_reference, deleting, labels_of, meta, name_of
from skerry.cluster.controllers.writes import create_if_open, delete, patch
from skerry.kit.clock import Clock
from skerry.reconcile import Again, Cache, Controller, Key, Manager

MANAGER: Final = "endpointslice-controller.k8s.io"
HEADLESS: Final = "service.kubernetes.io/headless"


@dataclass(frozen=True)
class Plan:
    """Slices to make, patches of present ones, slices that are too many."""

    create: tuple[EndpointSlice, ...] = ()
    patch: tuple[tuple[EndpointSlice, dict[str, Any]], ...] = ()
    delete: tuple[EndpointSlice, ...] = ()


def plan(service: Service, pods: Sequence[Pod], slices: Sequence[EndpointSlice]) -> Plan:
    """Compare the slices that there are with those that there should be.

    A Service without any pod has one empty slice, so that a reader can tell "no pods" from "not looked at yet".
    """
    groups = grouped(service, behind(service, pods)) or {(): []}
    free = [item for item in slices if not deleting(item)]
    create: list[EndpointSlice] = []
    patch: list[tuple[EndpointSlice, dict[str, Any]]] = []
    for ports, wanted in _slices(service, groups):
        present = next((item for item in free if _ports_of(item) == ports), free[0] if free else None)
        if present is None:
            create.append(wanted)
            continue
        free.remove(present)
        changes = _changes(present, wanted)
        if changes:
            patch.append((present, changes))
    return Plan(tuple(create), tuple(patch), tuple(free))


class EndpointSliceController:
    """Keeps the slices of every Service that has a selector."""

    def __init__(self, manager: Manager, client: AsyncClient, clock: Clock) -> None:
        del clock  # every controller is made the same way; this one has no use for time
        self._client = client
        self._services: Cache[Service] = manager.caches.of(Service)
        self._pods: Cache[Pod] = manager.caches.of(Pod)
        self._slices: Cache[EndpointSlice] = manager.caches.of(EndpointSlice)
        controller = Controller("endpointslice", self.reconcile)
        controller.watch(self._services)
        controller.watch(self._pods, self._services_of)
        controller.watch(self._slices, _service_of_slice)
        manager.add(controller)

    async def reconcile(self, key: Key) -> Again | None:
        """Write what differs; owner references take the slices away with the Service."""
        service = self._services.get(key.namespace, key.name)
        if service is None or deleting(service) or not selects(service):
            return None
        pods = self._pods.in_namespace(key.namespace)
        planned = plan(service, pods, _own(service, self._slices.in_namespace(key.namespace)))
        if planned.create:
            # The name is random: only the API knows whether an earlier call has made the slice already.
            live = [item async for item in self._client.list(EndpointSlice, namespace=key.namespace)]
            planned = plan(service, pods, _own(service, live))
        for item, changes in planned.patch:
            await patch(self._client, item, changes)
        for item in planned.create:
            await create_if_open(self._client, item)
        for item in planned.delete:
            await delete(self._client, item)
        return None

    def _services_of(self, pod: Pod) -> list[Key]:
        return services_of(pod, self._services)


def services_of(pod: Pod, services: Cache[Service]) -> list[Key]:
    """Return the Services that select the pod."""
    namespace = meta(pod).namespace or ""
    return [Key(namespace, name_of(service)) for service in services.in_namespace(namespace) if selected(service, pod)]


def _service_of_slice(item: EndpointSlice) -> list[Key]:
    labels = meta(item).labels or {}
    if labels.get(MANAGED_BY) != MANAGER or SERVICE_NAME not in labels:
        return []
    return [Key(meta(item).namespace or "", labels[SERVICE_NAME])]


def _own(service: Service, slices: Sequence[EndpointSlice]) -> list[EndpointSlice]:
    marks = {SERVICE_NAME: name_of(service), MANAGED_BY: MANAGER}
    own = [item for item in slices if marks.items() <= labels_of(item).items() and controlled_by(item, service)]
    return sorted(own, key=name_of)


def _slices(service: Service, groups: Groups) -> list[tuple[tuple[Port, ...], EndpointSlice]]:
    own_labels = {key: text for key, text in (meta(service).labels or {}).items() if key != HEADLESS}
    labels = {**own_labels, MANAGED_BY: MANAGER, SERVICE_NAME: name_of(service)}
    if headless(service):
        labels[HEADLESS] = ""
    return [
        (
            ports,
            EndpointSlice(
                metadata=ObjectMeta(
                    generateName=f"{name_of(service)}-",
                    namespace=meta(service).namespace,
                    labels=labels,
                    ownerReferences=[controller_reference(service)],
                ),
                addressType="IPv4",
                endpoints=[_endpoint(service, backend) for backend in backends],
                ports=[
                    EndpointPort(
                        name=port.name, protocol=port.protocol, port=port.number, appProtocol=port.app_protocol
                    )
                    for port in ports
                ],
            ),
        )
        for ports, backends in sorted(groups.items(), key=lambda group: str(group[0]))
    ]


def _endpoint(service: Service, backend: Backend) -> Endpoint:
    return Endpoint(
        addresses=[backend.address],
        conditions=EndpointConditions(ready=backend.ready, serving=backend.serving, terminating=backend.terminating),
        hostname=backend.hostname(service),
        nodeName=backend.node,
        targetRef=backend.reference(),
    )


def _ports_of(item: EndpointSlice) -> tuple[Port, ...]:
    return tuple(
        Port(port.name or "", port.protocol or "TCP", port.port or 0, port.appProtocol) for port in item.ports or []
    )


def _changes(present: EndpointSlice, wanted: EndpointSlice) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if present.endpoints != wanted.endpoints:
        changes["endpoints"] = msgspec.to_builtins(wanted.endpoints)
    if (present.ports or []) != wanted.ports:
        changes["ports"] = msgspec.to_builtins(wanted.ports)
    old, new = meta(present).labels or {}, meta(wanted).labels or {}
    if old != new:
        changes["metadata"] = {"labels": new | dict.fromkeys(old.keys() - new.keys())}
    return changes
