"""The node's Lease: made when there is a Node, made again when it was taken away, and beats that nobody writes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from lightkube import AsyncClient
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import Namespace, Node
from tests.node.cluster import api

from skerry.cluster.node.node_lease import NodeLease
from skerry.kit.clock import SystemClock

BEGAN = datetime(2026, 3, 1, tzinfo=UTC)


class TurnedClock(SystemClock):
    """Time moves when somebody sleeps; `steps` says what happens meanwhile, and the last one ends it."""

    def __init__(self, *steps: Any) -> None:
        self.slept: list[float] = []
        self._steps = list(steps)

    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=sum(self.slept))

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if not self._steps:
            raise asyncio.CancelledError
        await self._steps.pop(0)()


class Objects(dict[tuple[str, str], Any]):
    """What a cache would hold."""

    def get(self, namespace: str, name: str) -> Any:  # type: ignore[override]
        return super().get((namespace, name))


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    async with api(tmp_path) as client:
        await client.create(Namespace(metadata=ObjectMeta(name="kube-node-lease")))
        yield client


async def test_a_lease_is_made_and_made_again_and_renewed_in_memory_alone(client: AsyncClient) -> None:
    nodes, leases = Objects(), Objects()
    versions = []

    async def register() -> None:
        nodes["", "skerry"] = await client.create(Node(metadata=ObjectMeta(name="skerry")))

    async def seen() -> None:
        leases["kube-node-lease", "skerry"] = found = await client.get(Lease, "skerry", namespace="kube-node-lease")
        assert found.metadata is not None
        versions.append(found.metadata.resourceVersion)

    async def taken_away() -> None:
        await client.delete(Lease, "skerry", namespace="kube-node-lease")
        leases.clear()

    clock = TurnedClock(register, seen, seen, taken_away, seen)
    lease = NodeLease(client, clock, "skerry", nodes, leases)  # type: ignore[arg-type]
    assert lease.alive("skerry") is None, "not before it runs"
    with pytest.raises(asyncio.CancelledError):
        await lease.run()
    assert clock.slept == [1.0, 10.0, 10.0, 10.0, 10.0, 10.0]
    assert versions[0] == versions[1] != versions[2]
    assert lease.alive("skerry") == BEGAN + timedelta(seconds=41)
    assert lease.alive("another") is None
    made = await client.get(Lease, "skerry", namespace="kube-node-lease")
    assert made.metadata is not None
    assert made.metadata.ownerReferences is not None
    assert [(owner.kind, owner.uid) for owner in made.metadata.ownerReferences] == [
        ("Node", nodes["", "skerry"].metadata.uid)
    ]
    assert made.spec is not None
    assert (made.spec.holderIdentity, made.spec.leaseDurationSeconds) == ("skerry", 40)
