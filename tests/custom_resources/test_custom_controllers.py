"""Controllers and custom resources: what goes with a definition, with an owner, with a namespace."""

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference
from lightkube.resources.core_v1 import ConfigMap, Namespace
from lightkube.types import CascadeType
from tests.controllers.cluster import Cluster, api, make_namespace, running
from tests.custom_resources.builders import DEFINITIONS, GROUP, crontab, definition, path, simple

from skerry.api.crd.resource import CustomResourceDefinition, resource_of
from skerry.api.serving_types import InferenceService
from skerry.cluster.controllers.ownership import deleting, meta

MERGE = {"content-type": "application/merge-patch+json"}


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with api(tmp_path) as client, running(client) as made:
        await make_namespace(made, "a")
        yield made


@pytest.fixture
def http(cluster: Cluster) -> httpx2.AsyncClient:
    transport = cluster.client._client._client._transport
    return httpx2.AsyncClient(transport=transport, base_url="http://api", timeout=10)


async def create(http: httpx2.AsyncClient, item: dict[str, Any], where: str = DEFINITIONS) -> dict[str, Any]:
    reply = await http.post(where, json=item)
    assert reply.status_code == 201, reply.text
    made: dict[str, Any] = reply.json()
    return made


async def until(condition: Callable[[], object]) -> None:
    """Poll: the caches of custom kinds come and go, so there is none to listen to."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def found(cluster: Cluster, name: str = f"crontabs.{GROUP}") -> CustomResourceDefinition | None:
    return cluster.find(CustomResourceDefinition, name, "")


def objects(cluster: Cluster) -> list[str]:
    """The names of all objects of the one custom kind that is followed."""
    caches = [cache for cache in cluster.manager.caches.all() if cache._kind.__name__ == "CronTab"]
    return [item.metadata.name for cache in caches for item in cache]


async def crontabs(cluster: Cluster, http: httpx2.AsyncClient, **more: Any) -> dict[str, Any]:
    await create(http, definition())
    item = crontab()
    item["metadata"].update(more)
    made = await create(http, item, path())
    await until(lambda: objects(cluster) == ["my"])
    return made


async def test_a_definition_takes_its_objects_along(cluster: Cluster, http: httpx2.AsyncClient) -> None:
    await crontabs(cluster, http)
    await http.delete(f"{DEFINITIONS}/crontabs.{GROUP}")
    await until(lambda: found(cluster) is None)
    assert (await http.get(path())).status_code == 404
    # The name is free: what comes next begins with nothing.
    await create(http, definition())
    assert (await http.get(path())).json()["items"] == []


async def test_a_definition_waits_for_finalizers(cluster: Cluster, http: httpx2.AsyncClient) -> None:
    await crontabs(cluster, http, finalizers=["example.com/hold"])
    await http.delete(f"{DEFINITIONS}/crontabs.{GROUP}")

    def terminating() -> bool:
        item = found(cluster)
        conditions = (item.status.conditions if item and item.status else None) or []
        return any(each.type == "Terminating" and each.reason == "InstanceDeletionInProgress" for each in conditions)

    await until(terminating)
    assert (await http.get(path("my"))).json()["metadata"]["deletionTimestamp"]
    await http.patch(path("my"), json={"metadata": {"finalizers": None}}, headers=MERGE)
    await until(lambda: found(cluster) is None)


async def test_a_definition_that_was_on_its_way_out_goes_when_the_controllers_start(tmp_path: Path) -> None:
    async with api(tmp_path) as client:
        http = httpx2.AsyncClient(transport=client._client._client._transport, base_url="http://api", timeout=10)
        await http.post("/api/v1/namespaces", json={"metadata": {"name": "a"}})
        await create(http, definition())
        await create(http, crontab(), path())
        await http.delete(f"{DEFINITIONS}/crontabs.{GROUP}")
        async with running(client) as cluster:
            await until(lambda: found(cluster) is None)


async def test_owners_and_dependents(cluster: Cluster, http: httpx2.AsyncClient) -> None:
    made = await crontabs(cluster, http)
    owner = OwnerReference(
        apiVersion=f"{GROUP}/v1", kind="CronTab", name="my", uid=made["metadata"]["uid"], blockOwnerDeletion=True
    )
    for name in ("one", "two"):
        await cluster.client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace="a", ownerReferences=[owner])))
    config = await cluster.client.create(ConfigMap(metadata=ObjectMeta(name="owner", namespace="a")))
    owned = crontab("owned")
    owned["metadata"]["ownerReferences"] = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": meta(config).uid}
    ]
    await create(http, owned, path())
    await until(lambda: sorted(objects(cluster)) == ["my", "owned"])
    order: list[str] = []
    for kind in cluster.manager.caches.all():
        kind.listen(lambda change: order.append(meta(change.object).name or "") if change.new is None else None)
    await http.delete(f"{path('my')}?propagationPolicy={CascadeType.FOREGROUND.value}")
    await until(lambda: objects(cluster) == ["owned"])
    assert sorted(order[:2]) == ["one", "two"]
    assert order[2] == "my"
    await cluster.client.delete(ConfigMap, "owner", namespace="a")
    await until(lambda: objects(cluster) == [])


async def test_an_owner_that_was_never_there_takes_the_object_along(cluster: Cluster, http: httpx2.AsyncClient) -> None:
    await create(http, definition())
    gone = [{"apiVersion": f"{GROUP}/v1", "kind": "CronTab", "name": "nobody", "uid": "no-such-uid"}]
    item = crontab()
    item["metadata"]["ownerReferences"] = gone
    await create(http, item, path())
    await until(partial(empty, cluster))
    assert (await http.get(path("my"))).status_code == 404


def empty(cluster: Cluster) -> bool:
    caches = [cache for cache in cluster.manager.caches.all() if cache._kind.__name__ == "CronTab"]
    return any(cache.is_synced and not len(cache) for cache in caches)


async def test_a_namespace_takes_custom_resources_along(cluster: Cluster, http: httpx2.AsyncClient) -> None:
    await crontabs(cluster, http, finalizers=["example.com/hold"])
    await cluster.client.delete(Namespace, "a")
    await until(partial(being_deleted, cluster))

    def remains() -> bool:
        namespace = cluster.find(Namespace, "a", "")
        conditions = (namespace.status.conditions if namespace and namespace.status else None) or []
        return any(f"crontabs.{GROUP} has 1 resource instances" in (each.message or "") for each in conditions)

    await until(remains)
    await http.patch(path("my"), json={"metadata": {"finalizers": None}}, headers=MERGE)
    await until(lambda: cluster.find(Namespace, "a", "") is None)


def being_deleted(cluster: Cluster) -> bool:
    caches = [cache for cache in cluster.manager.caches.all() if cache._kind.__name__ == "CronTab"]
    return any(deleting(item) for cache in caches for item in cache)


async def test_a_definition_of_a_built_in_kind_takes_its_objects_along_and_the_kind_stays(
    cluster: Cluster, http: httpx2.AsyncClient
) -> None:
    item = simple("inferenceservices", "InferenceService")
    item["metadata"]["name"] = "inferenceservices.serving.kserve.io"
    item["spec"]["group"] = "serving.kserve.io"
    item["spec"]["versions"][0]["name"] = "v1beta1"
    await create(http, item)
    model = {"modelFormat": {"name": "onnx"}, "storageUri": "oci://example.com/m:1"}
    isvc = {"metadata": {"name": "demo"}, "spec": {"predictor": {"model": model}}}
    where = "/apis/serving.kserve.io/v1beta1/namespaces/a/inferenceservices"
    await create(http, isvc, where)
    await until(lambda: cluster.all(InferenceService, "a"))
    await http.delete(f"{DEFINITIONS}/inferenceservices.serving.kserve.io")
    await until(lambda: found(cluster, "inferenceservices.serving.kserve.io") is None)
    assert (await http.get(where)).json()["items"] == []


def test_a_definition_without_a_served_version_has_no_objects() -> None:
    made = msgspec.convert(simple("things", "Thing"), CustomResourceDefinition)
    made.spec.versions[0].served = False
    assert resource_of(made) is None
