"""Endpoints, the older form of EndpointSlices, for clients that still read them (`kubectl get endpoints`).

A controller of its own, so that its writes never delay the slices. It removes only what carries its label: Endpoints
that somebody wrote for a Service without a selector are left alone. Facts: Kubernetes `pkg/controller/endpoint`.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from lightkube import AsyncClient
from lightkube.models.core_v1 import EndpointAddress, EndpointPort, EndpointSubset
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Endpoints, Pod, Service

from skerry.cluster.controllers.backends import Backend, behind, grouped, headless, selects
from skerry.cluster.controllers.endpointslice import HEADLESS, services_of
from skerry.cluster.controllers.ownership import deleting, meta, name_of
from skerry.cluster.controllers.writes import create_if_open, delete, patch
from skerry.kit.clock import Clock
from skerry.reconcile import Again, Cache, Controller, Key, Manager

_MANAGED_BY: Final = "endpoints.kubernetes.io/managed-by"
_MANAGER: Final = "endpoint-controller"


def plan(service: Service, pods: Sequence[Pod]) -> Endpoints:
    """Return the Endpoints of a Service; pods that are ending have no place in this form."""
    groups = grouped(service, (backend for backend in behind(service, pods) if not backend.terminating))
    labels = {**(meta(service).labels or {}), _MANAGED_BY: _MANAGER}
    if headless(service):
        labels[HEADLESS] = ""
    return Endpoints(
        metadata=ObjectMeta(name=name_of(service), namespace=meta(service).namespace, labels=labels),
        subsets=[
            EndpointSubset(
                addresses=[_address(service, each) for each in backends if each.ready] or None,
                notReadyAddresses=[_address(service, each) for each in backends if not each.ready] or None,
                ports=[
                    EndpointPort(
                        name=port.name or None,
                        port=port.number,
                        protocol=port.protocol,
                        appProtocol=port.app_protocol,
                    )
                    for port in ports
                ]
                or None,
            )
            for ports, backends in sorted(groups.items(), key=lambda group: str(group[0]))
        ]
        or None,
    )


def changes(present: Endpoints, wanted: Endpoints) -> dict[str, Any]:
    """Return the merge patch from one to the other, {} when they say the same."""
    found: dict[str, Any] = {}
    if (present.subsets or None) != wanted.subsets:
        found["subsets"] = msgspec.to_builtins(wanted.subsets)
    old, new = meta(present).labels or {}, meta(wanted).labels or {}
    if old != new:
        found["metadata"] = {"labels": new | dict.fromkeys(old.keys() - new.keys())}
    return found


class EndpointsController:
    """Keeps the Endpoints of every Service that has a selector."""

    def __init__(self, manager: Manager, client: AsyncClient, clock: Clock) -> None:
        del clock
        self._client = client
        self._services: Cache[Service] = manager.caches.of(Service)
        self._pods: Cache[Pod] = manager.caches.of(Pod)
        self._endpoints: Cache[Endpoints] = manager.caches.of(Endpoints)
        controller = Controller("endpoints", self.reconcile)
        controller.watch(self._services)
        controller.watch(self._pods, self._services_of)
        controller.watch(self._endpoints)
        manager.add(controller)

    async def reconcile(self, key: Key) -> Again | None:
        """Write what differs; take away what belonged to a Service that is gone."""
        service = self._services.get(key.namespace, key.name)
        present = self._endpoints.get(key.namespace, key.name)
        if service is None or deleting(service):
            if present is not None and (meta(present).labels or {}).get(_MANAGED_BY) == _MANAGER:
                await delete(self._client, present)
            return None
        if not selects(service):
            return None
        wanted = plan(service, self._pods.in_namespace(key.namespace))
        if present is None:
            await create_if_open(self._client, wanted)
        elif differences := changes(present, wanted):
            await patch(self._client, present, differences)
        return None

    def _services_of(self, pod: Pod) -> list[Key]:
        return services_of(pod, self._services)


def _address(service: Service, backend: Backend) -> EndpointAddress:
    return EndpointAddress(
        ip=backend.address,
        hostname=backend.hostname(service),
        nodeName=backend.node,
        targetRef=backend.reference(),
    )
