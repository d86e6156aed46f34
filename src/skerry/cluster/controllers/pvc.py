"""Volume claims: every one is bound at once, since the node backs each with a directory of its own.

`spec.volumeName` carries the name of its volume (`pvc-UID`), which the API shows as a view of the claim. A claim is
protected as on a cluster: deleted while a pod uses it, it stays until the pod is gone. What it holds on disk is then
removed by the node, which has a finalizer of its own on it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from lightkube import AsyncClient
from lightkube.models.core_v1 import PersistentVolumeClaimStatus
from lightkube.resources.core_v1 import PersistentVolumeClaim, Pod

from skerry.api.wellknown import LOCAL_DATA_FINALIZER
from skerry.cluster.controllers import pods as pod_facts
from skerry.cluster.controllers.ownership import deleting, meta
from skerry.cluster.controllers.writes import patch, patch_status
from skerry.kit.clock import Clock
from skerry.reconcile import Again, Cache, Controller, Key, Manager

PROTECTION: Final = "kubernetes.io/pvc-protection"


@dataclass(frozen=True)
class Plan:
    """The name of the volume and the status of a bound claim, and the finalizers that it should have."""

    volume: str
    status: PersistentVolumeClaimStatus
    finalizers: tuple[str, ...]


def plan(claim: PersistentVolumeClaim, *, used: bool = False) -> Plan | None:
    """Bind the claim or let it go, None when nothing is to be done; a volume that the user has named is kept."""
    spec, present = claim.spec, tuple(meta(claim).finalizers or ())
    if spec is None:
        return None
    volume = spec.volumeName or f"pvc-{meta(claim).uid}"
    if deleting(claim):
        kept = tuple(name for name in present if name != PROTECTION or used)
        return None if kept == present else Plan(volume, claim.status or PersistentVolumeClaimStatus(), kept)
    wanted = tuple(dict.fromkeys((*present, PROTECTION, LOCAL_DATA_FINALIZER)))
    requests = (spec.resources.requests if spec.resources else None) or {}
    capacity = {"storage": requests["storage"]} if "storage" in requests else None
    status = PersistentVolumeClaimStatus(phase="Bound", accessModes=spec.accessModes, capacity=capacity)
    bound = claim.status is not None and (claim.status.phase, claim.status.capacity) == ("Bound", capacity)
    return None if bound and spec.volumeName and wanted == present else Plan(volume, status, wanted)


class VolumeClaimController:
    """Binds claims."""

    def __init__(self, manager: Manager, client: AsyncClient, clock: Clock) -> None:
        del clock
        self._client = client
        self._claims: Cache[PersistentVolumeClaim] = manager.caches.of(PersistentVolumeClaim)
        self._pods: Cache[Pod] = manager.caches.of(Pod)
        controller = Controller("volume-claim", self.reconcile, workers=1)
        controller.watch(self._claims)
        controller.watch(self._pods, _claims_of)
        manager.add(controller)

    async def reconcile(self, key: Key) -> Again | None:
        """Bind the claim, or let it go."""
        claim = self._claims.get(key.namespace, key.name)
        if claim is None:
            return None
        pods = self._pods.in_namespace(key.namespace)
        if deleting(claim):
            # A pod that was made a moment ago must not lose its data to a stale cache.
            pods = [pod async for pod in self._client.list(Pod, namespace=key.namespace)]
        planned = plan(claim, used=_in_use(key, pods))
        if planned is None:
            return None
        body: dict[str, Any] = {"metadata": {"finalizers": list(planned.finalizers) or None}}
        if claim.spec is not None and not claim.spec.volumeName:
            body["spec"] = {"volumeName": planned.volume}
        await patch(self._client, claim, body, only_if_unchanged=deleting(claim))
        if not deleting(claim):
            await patch_status(self._client, claim, planned.status)
        return None


def _in_use(key: Key, pods: Iterable[Pod]) -> bool:
    return any(key in _claims_of(pod) for pod in pods if not pod_facts.finished(pod))


def _claims_of(pod: Pod) -> list[Key]:
    volumes = (pod.spec.volumes if pod.spec else None) or []
    namespace = meta(pod).namespace or ""
    return [
        Key(namespace, volume.persistentVolumeClaim.claimName)
        for volume in volumes
        if volume.persistentVolumeClaim is not None
    ]
