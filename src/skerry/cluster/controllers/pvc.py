"""Volume claims: every one is bound at once, since the node backs each with a directory of its own.

There are no PersistentVolume objects; `spec.volumeName` carries the name that one would have (`pvc-UID`).
"""

from dataclasses import dataclass

from lightkube import AsyncClient
from lightkube.models.core_v1 import PersistentVolumeClaimStatus
from lightkube.resources.core_v1 import PersistentVolumeClaim

from skerry.cluster.controllers.ownership import deleting, meta
from skerry.cluster.controllers.writes import patch, patch_status
from skerry.kit.clock import Clock
from skerry.reconcile import Again, Cache, Controller, Key, Manager


@dataclass(frozen=True)
class Plan:
    """The name of the volume and the status of a bound claim."""

    volume: str
    status: PersistentVolumeClaimStatus


def plan(claim: PersistentVolumeClaim) -> Plan | None:
    """Bind the claim, None when it is bound or going; a volume that the user has named is kept."""
    spec = claim.spec
    bound = claim.status is not None and claim.status.phase == "Bound"
    if spec is None or deleting(claim) or (bound and spec.volumeName):
        return None
    requests = (spec.resources.requests if spec.resources else None) or {}
    capacity = {"storage": requests["storage"]} if "storage" in requests else None
    status = PersistentVolumeClaimStatus(phase="Bound", accessModes=spec.accessModes, capacity=capacity)
    return Plan(spec.volumeName or f"pvc-{meta(claim).uid}", status)


class VolumeClaimController:
    """Binds claims."""

    def __init__(self, manager: Manager, client: AsyncClient, clock: Clock) -> None:
        del clock
        self._client = client
        self._claims: Cache[PersistentVolumeClaim] = manager.caches.of(PersistentVolumeClaim)
        manager.add(Controller("volume-claim", self.reconcile, workers=1)).watch(self._claims)

    async def reconcile(self, key: Key) -> Again | None:
        """Bind the claim."""
        claim = self._claims.get(key.namespace, key.name)
        planned = plan(claim) if claim is not None else None
        if claim is None or planned is None:
            return None
        if claim.spec is not None and not claim.spec.volumeName:
            body = {"spec": {"volumeName": planned.volume}}
            await patch(self._client, claim, body)
        await patch_status(self._client, claim, planned.status)
        return None
