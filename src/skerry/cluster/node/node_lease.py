"""The node's Lease: the object once, the heartbeat in memory (`api.coordination` says why).

As a kubelet's, it belongs to the Node and goes with it; then it is made again.
"""

from datetime import datetime
from typing import Final

import httpx2
from lightkube import AsyncClient
from lightkube.models.coordination_v1 import LeaseSpec
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Node

from skerry.api.coordination import NODE_LEASE_SECONDS, NODE_LEASES
from skerry.kit.clock import Clock
from skerry.kit.log import logger
from skerry.reconcile import Cache

log = logger(__name__)

_BEAT_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 1.0


class NodeLease:
    """Shows that the node lives."""

    def __init__(self, client: AsyncClient, clock: Clock, name: str, nodes: Cache[Node], leases: Cache[Lease]) -> None:
        self._client = client
        self._clock = clock
        self._name = name
        self._nodes = nodes
        self._leases = leases
        self._alive: datetime | None = None

    def alive(self, node: str) -> datetime | None:
        """Return when the node was last alive; None for any other."""
        return self._alive if node == self._name else None

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._alive = self._clock.now()
            present = self._leases.get(NODE_LEASES, self._name) is not None or await self._made()
            await self._clock.sleep(_BEAT_SECONDS if present else _RETRY_SECONDS)

    async def _made(self) -> bool:
        node = self._nodes.get("", self._name)
        if node is None or node.metadata is None:
            return False  # it is being registered
        owner = OwnerReference("v1", "Node", self._name, str(node.metadata.uid))
        meta = ObjectMeta(name=self._name, namespace=NODE_LEASES, ownerReferences=[owner])
        spec = LeaseSpec(holderIdentity=self._name, leaseDurationSeconds=NODE_LEASE_SECONDS, renewTime=self._alive)
        try:
            await self._client.create(Lease(metadata=meta, spec=spec))
        except (httpx2.HTTPError, OSError) as error:
            log.debug("node lease not made", node=self._name, error=f"{type(error).__name__}: {error}")
            return False
        return True
