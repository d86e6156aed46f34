"""Namespaces: what every one is given, and how one is emptied before it may go.

Pods are deleted first and waited for, since they may use anything else that is there; then all the rest. When nothing
remains, the `kubernetes` finalizer is taken off and the API server removes the namespace. What keeps it is said in its
conditions. Facts: Kubernetes `pkg/controller/namespace`, KEP-5080 (ordered deletion).
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec
from lightkube import ApiError, AsyncClient
from lightkube.models.core_v1 import NamespaceCondition, NamespaceSpec, NamespaceStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace, Pod, ServiceAccount
from lightkube.types import CascadeType

from skerry.api.wellknown import DEFAULT_SERVICE_ACCOUNT, NAMESPACE_FINALIZER
from skerry.cluster.controllers.custom_kinds import CustomKinds
from skerry.cluster.controllers.kinds import NAMESPACED_KINDS, OWNED_KINDS, Resource, group_resource
from skerry.cluster.controllers.ownership import deleting, meta, name_of
from skerry.cluster.controllers.writes import patch, patch_status
from skerry.kit.clock import Clock
from skerry.kit.log import logger
from skerry.reconcile import Again, Cache, Controller, Key, Manager

log = logger(__name__)

ROOT_CA: Final = "kube-root-ca.crt"
_CA_DESCRIPTION: Final = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
    "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes "
    "clusters."
)


@dataclass
class Remains:
    """What is left in a namespace: objects by kind, and the finalizers that hold them."""

    objects: Counter[str] = field(default_factory=Counter)
    finalizers: Counter[str] = field(default_factory=Counter)

    def add(self, kind: Resource, item: Any) -> None:
        self.objects[group_resource(kind)] += 1
        self.finalizers.update(meta(item).finalizers or [])


def conditions(
    remains: Remains, old: Mapping[str, NamespaceCondition], failure: str | None, now: datetime
) -> list[NamespaceCondition]:
    """Return the five conditions of a namespace that is being deleted, in Kubernetes' words."""
    held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(remains.finalizers.items()))
    left = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(remains.objects.items()))
    done = "All content successfully deleted, may be waiting on finalization"
    facts = (
        ("NamespaceDeletionDiscoveryFailure", None, "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        ("NamespaceDeletionContentFailure", failure, "ContentDeletionFailed" if failure else "ContentDeleted", done),
        (
            "NamespaceContentRemaining",
            f"Some resources are remaining: {left}" if left else None,
            "SomeResourcesRemain" if left else "ContentRemoved",
            "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            f"Some content in the namespace has finalizers remaining: {held}" if held else None,
            "SomeFinalizersRemain" if held else "ContentHasNoFinalizers",
            "All content-preserving finalizers finished",
        ),
    )
    return [_condition(old.get(kind), kind, problem, reason, fine, now) for kind, problem, reason, fine in facts]


class NamespaceController:
    """Furnishes and clears namespaces."""

    def __init__(
        self, manager: Manager, client: AsyncClient, clock: Clock, custom: CustomKinds, ca_certificate: str
    ) -> None:
        self._client = client
        self._custom = custom
        self._clock = clock
        self._ca_certificate = ca_certificate
        self._namespaces: Cache[Namespace] = manager.caches.of(Namespace)
        self._accounts: Cache[ServiceAccount] = manager.caches.of(ServiceAccount)
        self._config_maps: Cache[ConfigMap] = manager.caches.of(ConfigMap)
        controller = Controller("namespace", self.reconcile)
        controller.watch(self._namespaces)
        controller.watch(self._accounts, _home_of(DEFAULT_SERVICE_ACCOUNT))
        controller.watch(self._config_maps, _home_of(ROOT_CA))
        for kind in OWNED_KINDS:
            controller.watch(manager.caches.of(kind), self._being_cleared)
        # A kind that goes takes its cache along, and so what listens to it.
        custom.listen(lambda kind: controller.watch(manager.caches.of(kind), self._being_cleared), lambda _kind: None)
        manager.add(controller)

    async def reconcile(self, key: Key) -> Again | None:
        """Furnish the namespace while it lives, clear it when it is to go."""
        namespace = self._namespaces.get("", key.name)
        if namespace is None:
            return None
        if not deleting(namespace):
            await self._furnish(key.name)
        elif NAMESPACE_FINALIZER in ((namespace.spec.finalizers if namespace.spec else None) or []):
            await self._clear(namespace)
        return None

    async def _furnish(self, name: str) -> None:
        if self._accounts.get(name, DEFAULT_SERVICE_ACCOUNT) is None:
            await self._create(ServiceAccount(metadata=ObjectMeta(name=DEFAULT_SERVICE_ACCOUNT, namespace=name)))
        wanted = {"ca.crt": self._ca_certificate}
        present = self._config_maps.get(name, ROOT_CA)
        if present is None:
            annotations = {"kubernetes.io/description": _CA_DESCRIPTION}
            metadata = ObjectMeta(name=ROOT_CA, namespace=name, annotations=annotations)
            await self._create(ConfigMap(metadata=metadata, data=wanted))
        elif present.data != wanted:
            await patch(self._client, present, {"data": wanted})

    async def _create(self, item: Any) -> None:
        try:
            await self._client.create(item)
        except ApiError as error:
            # There already, or the namespace is on its way out: both mean that nothing is missing.
            if error.status.reason not in {"AlreadyExists", "Forbidden", "NotFound"}:
                raise

    async def _clear(self, namespace: Namespace) -> None:
        name = name_of(namespace)
        try:
            remains = await self._empty(name)
        except ApiError as error:
            await self._say(namespace, Remains(), f"Failed to delete all resource types, 1 remaining: {error}")
            raise
        await self._say(namespace, remains, None)
        if not remains.objects:
            await self._finalize(namespace)

    async def _empty(self, name: str) -> Remains:
        """Delete what is there and count what stays; pods alone while there are any."""
        await self._delete_all(Pod, name)
        remains = Remains()
        await self._count(Pod, name, remains)
        if remains.objects:
            return remains
        kinds = (*NAMESPACED_KINDS, *self._custom.namespaced())
        for kind in kinds:
            await self._delete_all(kind, name)
        for kind in kinds:
            await self._count(kind, name, remains)
        return remains

    async def _delete_all(self, kind: Resource, namespace: str) -> None:
        async for item in self._client.list(kind, namespace=namespace):
            if not deleting(item):
                await self._client.deletecollection(kind, namespace=namespace, cascade=CascadeType.BACKGROUND)
                return

    async def _count(self, kind: Resource, namespace: str, remains: Remains) -> None:
        async for item in self._client.list(kind, namespace=namespace):
            remains.add(kind, item)

    async def _say(self, namespace: Namespace, remains: Remains, failure: str | None) -> None:
        status = namespace.status or NamespaceStatus()
        old = {each.type: each for each in status.conditions or []}
        found = conditions(remains, old, failure, self._clock.now())
        others = [each for kind, each in old.items() if kind not in {made.type for made in found}]
        await patch_status(self._client, namespace, msgspec.structs.replace(status, conditions=[*others, *found]))

    async def _finalize(self, namespace: Namespace) -> None:
        kept = list((namespace.spec.finalizers if namespace.spec else None) or [])
        kept.remove(NAMESPACE_FINALIZER)
        name = name_of(namespace)
        # The sub-resource is written as a whole, and the server takes nothing but spec.finalizers from it.
        final = Namespace.Finalize(metadata=ObjectMeta(name=name), spec=NamespaceSpec(finalizers=kept))
        await self._client.replace(final, name)
        log.info("namespace removed", namespace=name)

    def _being_cleared(self, item: Any) -> list[Key]:
        name = meta(item).namespace or ""
        namespace = self._namespaces.get("", name)
        return [Key("", name)] if namespace is not None and deleting(namespace) else []


def _home_of(name: str) -> Callable[[Any], list[Key]]:
    return lambda item: [Key("", meta(item).namespace or "")] if name_of(item) == name else []


def _condition(
    old: NamespaceCondition | None, kind: str, problem: str | None, reason: str, fine: str, now: datetime
) -> NamespaceCondition:
    truth = "True" if problem else "False"
    since = old.lastTransitionTime if old is not None and old.status == truth else now.replace(microsecond=0)
    return NamespaceCondition(type=kind, status=truth, reason=reason, message=problem or fine, lastTransitionTime=since)
