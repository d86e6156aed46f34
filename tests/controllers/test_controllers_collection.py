"""What goes with what: owners and dependents, namespaces and their content, against the real API server."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from lightkube.resources.core_v1 import ConfigMap, Endpoints, Namespace, Pod, Secret, Service, ServiceAccount
from lightkube.resources.discovery_v1 import EndpointSlice
from lightkube.types import CascadeType, PatchType
from tests.controllers.builders import deployment, service
from tests.controllers.cluster import SETTINGS, Cluster, add_node, api, make_namespace, running

from skerry.cluster.controllers.kinds import NAMESPACED_KINDS
from skerry.cluster.controllers.ownership import deleting, meta, name_of


def config_map(name: str, *owners: Any, namespace: str = "ai-demo", blocks: bool = True, **more: Any) -> ConfigMap:
    references = [_reference(owner, blocks=blocks) for owner in owners]
    return ConfigMap(metadata=ObjectMeta(name=name, namespace=namespace, ownerReferences=references or None, **more))


def _reference(owner: Any, *, blocks: bool) -> OwnerReference:
    return OwnerReference(
        apiVersion=owner.apiVersion,
        kind=owner.kind,
        name=name_of(owner),
        uid=meta(owner).uid or "",
        blockOwnerDeletion=blocks,
    )


async def started(cluster: Cluster, replicas: int = 2) -> None:
    await cluster.create(deployment(replicas=replicas))
    await cluster.until(lambda: ["server:1"] * replicas == cluster.images())


def nothing_left(cluster: Cluster) -> bool:
    return not any(cluster.all(kind) for kind in (Deployment, ReplicaSet, Pod))


@pytest.mark.parametrize("cascade", [None, CascadeType.BACKGROUND, CascadeType.FOREGROUND])
async def test_a_deployment_takes_its_pods_along(cluster: Cluster, cascade: CascadeType | None) -> None:
    await started(cluster)
    await cluster.client.delete(Deployment, "bee", namespace="ai-demo", cascade=cascade)
    await cluster.until(partial(nothing_left, cluster))


async def test_in_the_foreground_the_owner_goes_last(cluster: Cluster) -> None:
    await started(cluster)
    order: list[str] = []
    for kind in (Deployment, ReplicaSet, Pod):
        cache = cluster.manager.caches.of(kind)
        cache.listen(lambda change: order.append(type(change.object).__name__) if change.new is None else None)
    await cluster.client.delete(Deployment, "bee", namespace="ai-demo", cascade=CascadeType.FOREGROUND)
    await cluster.until(partial(nothing_left, cluster))
    assert ["Pod", "Pod", "ReplicaSet", "Deployment"] == order


async def test_an_orphaning_delete_leaves_the_pods_at_work(cluster: Cluster) -> None:
    await started(cluster)
    before = {meta(pod).uid for pod in cluster.pods()}
    await cluster.client.delete(Deployment, "bee", namespace="ai-demo", cascade=CascadeType.ORPHAN)
    await cluster.until(lambda: not cluster.all(Deployment))
    (item,) = cluster.all(ReplicaSet)
    await cluster.until(lambda: not meta(cluster.get(ReplicaSet, name_of(item))).ownerReferences)
    await cluster.silence()
    assert before == {meta(pod).uid for pod in cluster.pods()}


async def test_a_service_takes_its_endpoints_along(cluster: Cluster) -> None:
    await cluster.create(service())
    await cluster.until(lambda: cluster.all(EndpointSlice) and cluster.all(Endpoints))
    await cluster.client.delete(Service, "bee", namespace="ai-demo")
    await cluster.until(lambda: not cluster.all(EndpointSlice) and not cluster.all(Endpoints))


async def test_endpoints_that_somebody_wrote_by_hand_are_left_alone(cluster: Cluster) -> None:
    by_hand = Endpoints(metadata=ObjectMeta(name="outside", namespace="ai-demo"))
    await cluster.client.create(by_hand)
    await cluster.create(service("outside", selector={}, clusterIP=None))
    await cluster.until(lambda: cluster.find(Service, "outside"))
    await cluster.client.delete(Service, "outside", namespace="ai-demo")
    await cluster.until(lambda: not cluster.find(Service, "outside"))
    await cluster.silence()
    assert cluster.find(Endpoints, "outside") is not None


async def test_an_object_with_two_owners_goes_with_the_last(cluster: Cluster) -> None:
    one = await cluster.client.create(config_map("one"))
    two = await cluster.client.create(config_map("two"))
    await cluster.client.create(config_map("shared", one, two))
    await cluster.client.delete(ConfigMap, "one", namespace="ai-demo")
    await cluster.until(lambda: 1 == len(meta(cluster.get(ConfigMap, "shared")).ownerReferences or []))
    await cluster.client.delete(ConfigMap, "two", namespace="ai-demo")
    await cluster.until(lambda: cluster.find(ConfigMap, "shared") is None)


async def test_a_dependent_that_comes_after_its_owner_went_goes_too(cluster: Cluster) -> None:
    owner = await cluster.client.create(config_map("owner"))
    await cluster.client.delete(ConfigMap, "owner", namespace="ai-demo")
    await cluster.until(lambda: cluster.find(ConfigMap, "owner") is None)
    await cluster.client.create(config_map("late", owner))
    await cluster.silence()
    await cluster.until(lambda: cluster.find(ConfigMap, "late") is None)


async def test_a_new_owner_of_the_same_name_does_not_keep_the_old_ones_dependents(cluster: Cluster) -> None:
    owner = await cluster.client.create(config_map("owner"))
    await cluster.client.create(config_map("dependent", owner))
    await cluster.client.delete(ConfigMap, "owner", namespace="ai-demo")
    await cluster.client.create(config_map("owner"))
    await cluster.until(lambda: cluster.find(ConfigMap, "owner") and not cluster.find(ConfigMap, "dependent"))


async def test_owners_that_cannot_be_looked_up_count_as_present(cluster: Cluster) -> None:
    item = config_map("kept")
    stranger = OwnerReference(apiVersion="example.com/v1", kind="Thing", name="x", uid="u")
    meta(item).ownerReferences = [stranger]
    await cluster.client.create(item)
    await cluster.until(lambda: cluster.find(ConfigMap, "kept"))
    await cluster.silence()
    assert cluster.find(ConfigMap, "kept") is not None


async def test_a_finalizer_holds_up_a_foreground_deletion(cluster: Cluster) -> None:
    owner = await cluster.client.create(config_map("owner"))
    held = await cluster.client.create(config_map("held", owner, finalizers=["example.com/hold"]))
    await cluster.client.create(config_map("free", owner, blocks=False, finalizers=["example.com/hold"]))
    await cluster.client.delete(ConfigMap, "owner", namespace="ai-demo", cascade=CascadeType.FOREGROUND)
    await cluster.until(lambda: deleting(cluster.get(ConfigMap, "held")) and deleting(cluster.get(ConfigMap, "free")))
    await cluster.silence()
    assert cluster.find(ConfigMap, "owner") is not None
    await cluster.patch(held, {"metadata": {"finalizers": None}})
    # The other one does not block.
    await cluster.until(lambda: cluster.find(ConfigMap, "owner") is None)
    assert cluster.find(ConfigMap, "free") is not None


async def test_garbage_is_found_by_controllers_that_start_later(tmp_path: Path) -> None:
    async with api(tmp_path) as client:
        namespace = await client.create(Namespace(metadata=ObjectMeta(name="ai-demo")))
        owner = await client.create(config_map("owner"))
        await client.create(config_map("dependent", owner))
        await client.create(config_map("of-namespace", namespace))
        await client.delete(ConfigMap, "owner", namespace="ai-demo")
        async with running(client) as cluster:
            await cluster.until(lambda: not cluster.find(ConfigMap, "dependent"))
            assert cluster.find(ConfigMap, "of-namespace") is not None


# Namespaces


async def test_every_namespace_is_furnished(cluster: Cluster) -> None:
    await make_namespace(cluster, "other")
    for namespace in ("ai-demo", "other"):
        await cluster.until(partial(cluster.find, ServiceAccount, "default", namespace))
        await cluster.until(partial(cluster.find, ConfigMap, "kube-root-ca.crt", namespace))
    assert {"ca.crt": SETTINGS.ca_certificate} == cluster.get(ConfigMap, "kube-root-ca.crt").data
    for kind, name in ((ServiceAccount, "default"), (ConfigMap, "kube-root-ca.crt")):
        before = meta(cluster.get(kind, name)).uid
        await cluster.client.delete(kind, name, namespace="ai-demo")
        await cluster.until(partial(made_again, cluster, kind, name, before))


async def test_the_certificate_of_a_namespace_is_kept_true(cluster: Cluster) -> None:
    await cluster.until(partial(cluster.find, ConfigMap, "kube-root-ca.crt"))
    body = {"data": {"ca.crt": "old"}}
    spoiled = await cluster.client.patch(ConfigMap, "kube-root-ca.crt", body, namespace="ai-demo")

    def mended() -> bool:
        found = cluster.get(ConfigMap, "kube-root-ca.crt")
        later = int(meta(found).resourceVersion or 0) > int(meta(spoiled).resourceVersion or 0)
        return later and {"ca.crt": SETTINGS.ca_certificate} == found.data

    await cluster.until(mended)


def made_again(cluster: Cluster, kind: type[Any], name: str, before: str | None) -> bool:
    found = cluster.find(kind, name)
    return found is not None and meta(found).uid != before


async def test_a_namespace_goes_with_all_that_is_in_it(cluster: Cluster) -> None:
    await started(cluster)
    await cluster.create(service(), config_map("more"))
    await cluster.client.create(Secret(metadata=ObjectMeta(name="s", namespace="ai-demo")))
    await make_namespace(cluster, "other")
    await cluster.until(partial(cluster.find, ConfigMap, "kube-root-ca.crt", "other"))
    await cluster.client.delete(Namespace, "ai-demo")
    await cluster.until(lambda: cluster.find(Namespace, "ai-demo", "") is None)
    for kind in NAMESPACED_KINDS:
        assert [] == [item async for item in cluster.client.list(kind, namespace="ai-demo")], kind
    assert cluster.find(ConfigMap, "kube-root-ca.crt", "other") is not None


async def test_a_namespace_waits_for_its_pods_before_it_takes_what_they_use(cluster: Cluster) -> None:
    await cluster.create(config_map("used"))
    held = Pod(
        metadata=ObjectMeta(name="held", namespace="ai-demo", finalizers=["example.com/hold"]),
        spec=deployment().spec.template.spec,
    )
    await cluster.client.create(held)
    await cluster.client.delete(Namespace, "ai-demo")
    await cluster.until(lambda: "SomeFinalizersRemain" in reasons(cluster))
    found = cluster.get(Namespace, "ai-demo", "")
    messages = [each.message for each in (found.status.conditions if found.status else None) or []]
    assert "Some resources are remaining: pods. has 1 resource instances" in messages
    assert (
        "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances" in messages
    )
    assert found.status is not None
    assert "Terminating" == found.status.phase
    assert cluster.find(ConfigMap, "used") is not None
    body = {"metadata": {"finalizers": None}}
    await cluster.client.patch(Pod, "held", body, namespace="ai-demo", patch_type=PatchType.MERGE)
    await cluster.until(lambda: cluster.find(Namespace, "ai-demo", "") is None)


def reasons(cluster: Cluster) -> list[str | None]:
    found = cluster.find(Namespace, "ai-demo", "")
    return [each.reason for each in (found.status.conditions if found and found.status else None) or []]


async def test_a_namespace_that_was_on_its_way_out_goes_when_the_controllers_start(tmp_path: Path) -> None:
    async with api(tmp_path) as client:
        await client.create(Namespace(metadata=ObjectMeta(name="ai-demo")))
        await client.create(config_map("left"))
        await client.delete(Namespace, "ai-demo")
        async with running(client) as cluster:
            await cluster.until(lambda: cluster.find(Namespace, "ai-demo", "") is None)
            await add_node(cluster)
