"""Caches that show the past: what controllers do then must not be done twice, nor to the wrong object.

The caches are filled once and then stand still, and each reconcile is called by hand.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from lightkube import ApiError, AsyncClient
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node, Pod
from lightkube.resources.discovery_v1 import EndpointSlice
from lightkube.types import PatchType
from tests.controllers.builders import deployment, pod, replica_set, service
from tests.controllers.cluster import ROOM, api

from skerry.cluster.controllers.custom_kinds import CustomKinds
from skerry.cluster.controllers.deployment import DeploymentController
from skerry.cluster.controllers.endpointslice import EndpointSliceController
from skerry.cluster.controllers.garbage_collector import GarbageCollector
from skerry.cluster.controllers.ownership import meta, name_of
from skerry.cluster.controllers.replicaset import ReplicaSetController
from skerry.cluster.controllers.scheduling import Scheduler
from skerry.cluster.controllers.writes import delete
from skerry.kit.clock import SystemClock
from skerry.reconcile import Caches, Key, Manager

BEE = Key("ai-demo", "bee")


class Still:
    """A client, and caches that are filled when the test says so."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.clock = SystemClock()
        self.manager = Manager(Caches(client, self.clock), self.clock)

    def make(self, controller: type[Any], *more: Any) -> Any:
        return controller(self.manager, self.client, self.clock, *more)

    async def look(self) -> None:
        """Let every cache take one look at the API."""
        for cache in self.manager.caches.all():
            await cache._relist()

    async def create(self, item: Any, status: dict[str, Any] | None = None) -> Any:
        meta(item).uid = meta(item).resourceVersion = meta(item).creationTimestamp = None
        made = await self.client.create(item)
        if status is None:
            return made
        namespace = meta(item).namespace
        return await self.client.patch(type(item).Status, name_of(item), {"status": status}, namespace=namespace)

    async def live(self, kind: type[Any]) -> list[Any]:
        return [item async for item in self.client.list(kind, namespace="ai-demo")]


@pytest.fixture
async def still(tmp_path: Path) -> AsyncIterator[Still]:
    async with api(tmp_path) as client:
        await client.create(Namespace(metadata=ObjectMeta(name="ai-demo")))
        yield Still(client)


async def test_pods_are_counted_where_they_are(still: Still) -> None:
    controller = still.make(ReplicaSetController)
    await still.create(replica_set("bee-x", replicas=3))
    await still.look()
    for _ in range(3):
        await controller.reconcile(Key("ai-demo", "bee-x"))
    assert 3 == len(await still.live(Pod))


async def test_surplus_pods_are_counted_where_they_are(still: Still) -> None:
    controller = still.make(ReplicaSetController)
    owner = await still.create(replica_set("bee-x", replicas=2))
    labels = {"app": "bee", "pod-template-hash": "x"}
    for number in range(4):
        await still.create(pod(f"bee-x-{number}", owner=owner, labels=labels, node=None))
    await still.look()
    for _ in range(3):
        await controller.reconcile(Key("ai-demo", "bee-x"))
    assert 2 == len(await still.live(Pod))


async def test_a_service_gets_one_slice(still: Still) -> None:
    controller = still.make(EndpointSliceController)
    await still.create(service("bee", clusterIP=None))
    await still.look()
    for _ in range(3):
        await controller.reconcile(BEE)
    assert 1 == len(await still.live(EndpointSlice))


async def test_a_replica_set_is_scaled_only_at_the_version_that_was_seen(still: Still) -> None:
    controller = still.make(DeploymentController)
    owner = await still.create(deployment("bee", image="server:2", replicas=2, surge=0, unavailable=1))
    old = replica_set("bee-old", owner=owner, replicas=2)
    await still.create(old, {"replicas": 2, "readyReplicas": 2, "availableReplicas": 2, "observedGeneration": 1})
    await still.create(replica_set("bee-new", owner=owner, image="server:2", replicas=0))
    await still.look()
    await controller.reconcile(BEE)  # the new revision's annotations
    await still.look()
    await controller.reconcile(BEE)
    before = {name_of(item): item.spec.replicas for item in await still.live(ReplicaSet)}
    with pytest.raises(ApiError) as refused:
        await controller.reconcile(BEE)
    assert 409 == refused.value.status.code
    assert before == {name_of(item): item.spec.replicas for item in await still.live(ReplicaSet)}
    assert {"bee-old": 1, "bee-new": 0} == before


async def test_a_deployment_makes_its_replica_set_once(still: Still) -> None:
    controller = still.make(DeploymentController)
    await still.create(deployment("bee"))
    await still.look()
    for _ in range(3):
        await controller.reconcile(BEE)
    assert 1 == len(await still.live(ReplicaSet))
    (found,) = await still.live(Deployment)
    assert found.status.collisionCount is None


async def test_an_owner_that_is_gone_adopts_nobody_and_speaks_for_nobody(still: Still) -> None:
    controller = still.make(ReplicaSetController)
    await still.create(replica_set("bee-x", replicas=1))
    await still.create(pod("orphan", labels={"app": "bee", "pod-template-hash": "x"}, node=None))
    await still.look()
    await still.client.delete(ReplicaSet, "bee-x", namespace="ai-demo")
    await still.create(replica_set("bee-x", replicas=1))
    with pytest.raises(ApiError) as refused:
        await controller.reconcile(Key("ai-demo", "bee-x"))
    assert 409 == refused.value.status.code
    (orphan,), (namesake,) = await still.live(Pod), await still.live(ReplicaSet)
    assert meta(orphan).ownerReferences is None
    assert not namesake.status or namesake.status.observedGeneration is None


def owned_by(owner: Any, name: str) -> ConfigMap:
    reference = OwnerReference(apiVersion="v1", kind="ConfigMap", name=name_of(owner), uid=meta(owner).uid or "")
    return ConfigMap(metadata=ObjectMeta(name=name, namespace="ai-demo", ownerReferences=[reference]))


async def test_an_owner_that_the_cache_has_not_seen_is_looked_up(still: Still) -> None:
    collector = still.make(GarbageCollector, CustomKinds(still.manager))
    owner = await still.create(ConfigMap(metadata=ObjectMeta(name="owner", namespace="ai-demo")))
    await still.create(owned_by(owner, "dependent"))
    await still.look()
    still.manager.caches.of(ConfigMap)._objects.pop(("ai-demo", "owner"))
    await collector.reconcile(ConfigMap, Key("ai-demo", "dependent"))
    assert 2 == len(await still.live(ConfigMap))


async def test_another_object_of_the_owners_name_is_not_the_owner(still: Still) -> None:
    collector = still.make(GarbageCollector, CustomKinds(still.manager))
    owner = await still.create(ConfigMap(metadata=ObjectMeta(name="owner", namespace="ai-demo")))
    await still.create(owned_by(owner, "dependent"))
    await still.client.delete(ConfigMap, "owner", namespace="ai-demo")
    await still.create(ConfigMap(metadata=ObjectMeta(name="owner", namespace="ai-demo")))
    await still.look()
    await collector.reconcile(ConfigMap, Key("ai-demo", "dependent"))
    assert ["owner"] == [name_of(item) for item in await still.live(ConfigMap)]


async def test_a_delete_never_hits_a_new_object_of_the_same_name(still: Still) -> None:
    old = await still.create(ConfigMap(metadata=ObjectMeta(name="bee", namespace="ai-demo")))
    assert await delete(still.client, old)
    assert not await delete(still.client, old)
    await still.create(ConfigMap(metadata=ObjectMeta(name="bee", namespace="ai-demo")))
    assert not await delete(still.client, old)
    assert 1 == len(await still.live(ConfigMap))


async def a_node(still: Still) -> None:
    found = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": ROOM}
    await still.client.create(Node(metadata=ObjectMeta(name="skerry")))
    await still.client.patch(Node.Status, "skerry", {"status": found}, patch_type=PatchType.MERGE)


async def test_a_pod_that_was_just_bound_counts(still: Still) -> None:
    scheduler = still.make(Scheduler)
    await a_node(still)
    for name in ("first", "second"):
        await still.create(pod(name, node=None, requests={"cpu": "6"}))
    await still.look()
    for name in ("first", "second", "first"):
        await scheduler.reconcile(Key("ai-demo", name))
    assert {"first": "skerry", "second": None} == {name_of(item): item.spec.nodeName for item in await still.live(Pod)}


async def test_what_the_node_says_of_a_pod_stays(still: Still) -> None:
    scheduler = still.make(Scheduler)
    await still.create(pod("bee", node=None), {"conditions": [{"type": "Ready", "status": "False"}]})
    await still.look()
    await scheduler.reconcile(BEE)
    (found,) = await still.live(Pod)
    assert {"Ready", "PodScheduled"} == {each.type for each in found.status.conditions}
