"""Deployments, ReplicaSets, pods and endpoints against the real API server.

Covered: creation, roll-outs, a bad version and the way back, scaling, Recreate, pauses, lost pods, chaos, restarts of
the controllers, silence when nothing is to do. Not here: the arithmetic and the words (the plan tests).
"""

import asyncio
import random
from functools import partial
from pathlib import Path

import msgspec
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from lightkube.resources.core_v1 import Endpoints, Pod
from lightkube.resources.discovery_v1 import EndpointSlice
from lightkube.types import CascadeType
from tests.controllers.builders import NOW, deployment, replica_set, service
from tests.controllers.cluster import Cluster, add_node, api, make_namespace, running

from skerry.cluster.controllers.deployment.plan import plan
from skerry.cluster.controllers.deployment.revisions import replicas_of
from skerry.cluster.controllers.ownership import controlled_by, meta, name_of
from skerry.cluster.controllers.pods import ready

REVISION = "deployment.kubernetes.io/revision"


def available(cluster: Cluster, wanted: int) -> bool:
    found = cluster.find(Deployment, "bee")
    counted = (found.status.availableReplicas if found and found.status else None) or 0
    return counted == wanted == len(cluster.pods())


def rolled_out(cluster: Cluster, image: str, wanted: int) -> bool:
    """What `kubectl rollout status` waits for."""
    found = cluster.find(Deployment, "bee")
    status = found.status if found else None
    return bool(
        found
        and status
        and (status.observedGeneration or 0) >= (meta(found).generation or 0)
        and [image] * wanted == cluster.images()
        and (status.updatedReplicas or 0) == (status.replicas or 0) == (status.availableReplicas or 0) == wanted
        and not status.unavailableReplicas
    )


def said(item: Deployment | ReplicaSet, kind: str) -> tuple[str | None, str | None, str | None]:
    conditions = (item.status.conditions if item.status else None) or []
    found = next((each for each in conditions if each.type == kind), None)
    return (found.status, found.reason, found.message) if found else (None, None, None)


async def test_from_a_deployment_to_addresses(cluster: Cluster) -> None:
    await cluster.create(service(), deployment())
    await cluster.until(lambda: rolled_out(cluster, "server:1", 1))
    (made,) = cluster.all(ReplicaSet)
    (pod,) = cluster.pods()
    assert name_of(pod).startswith(f"{name_of(made)}-")
    assert len(name_of(pod)) == len(name_of(made)) + 6
    assert controlled_by(pod, made)
    assert controlled_by(made, cluster.get(Deployment, "bee"))
    assert pod.spec is not None
    assert pod.status is not None
    assert "skerry" == pod.spec.nodeName
    found = cluster.get(Deployment, "bee")
    assert "1" == (meta(found).annotations or {})["deployment.kubernetes.io/revision"]

    def served() -> bool:
        slices = cluster.all(EndpointSlice)
        endpoints = [endpoint for each in slices for endpoint in each.endpoints or []]
        return [True] == [bool(endpoint.conditions and endpoint.conditions.ready) for endpoint in endpoints]

    await cluster.until(served)
    (slice_,) = cluster.all(EndpointSlice)
    assert [pod.status.podIP] == (slice_.endpoints or [])[0].addresses
    await cluster.until(lambda: cluster.get(Endpoints, "bee").subsets)
    (subset,) = cluster.get(Endpoints, "bee").subsets or []
    assert [pod.status.podIP] == [address.ip for address in subset.addresses or []]
    await cluster.until(lambda: cluster.events("Scheduled"))
    assert [f"Scaled up replica set {name_of(made)} from 0 to 1"] == cluster.events("ScalingReplicaSet")
    assert [f"Created pod: {name_of(pod)}"] == cluster.events("SuccessfulCreate")
    assert [f"Successfully assigned ai-demo/{name_of(pod)} to skerry"] == cluster.events("Scheduled")


async def test_a_roll_out_keeps_its_limits(cluster: Cluster) -> None:
    bee = deployment(replicas=4, surge=1, unavailable=1)
    await cluster.create(bee)
    await cluster.until(lambda: rolled_out(cluster, "server:1", 4))
    cluster.watch_numbers()
    await cluster.set_image(bee, "server:2")
    await cluster.until(lambda: rolled_out(cluster, "server:2", 4))
    assert cluster.most_pods <= 5
    assert cluster.fewest_ready is not None
    assert cluster.fewest_ready >= 3
    await cluster.until(lambda: "2" == (meta(cluster.get(Deployment, "bee")).annotations or {}).get(REVISION))
    assert ("True", "NewReplicaSetAvailable") == said(cluster.get(Deployment, "bee"), "Progressing")[:2]
    assert [0, 4] == sorted(replicas_of(item) for item in cluster.all(ReplicaSet))


async def test_a_bad_version_leaves_the_good_one_at_work_until_it_is_taken_back(cluster: Cluster) -> None:
    bee = deployment(replicas=2)
    await cluster.create(bee)
    await cluster.until(lambda: rolled_out(cluster, "server:1", 2))
    await cluster.set_image(bee, "broken:1")
    await cluster.until(lambda: 3 == len(cluster.pods()) and [False, True, True] == sorted(map(ready, cluster.pods())))
    assert ["server:1", "server:1"] == cluster.images()
    await cluster.set_image(bee, "server:1")
    await cluster.until(lambda: rolled_out(cluster, "server:1", 2) and 2 == len(cluster.pods()))
    revisions = {(meta(item).annotations or {})[REVISION]: replicas_of(item) for item in cluster.all(ReplicaSet)}
    assert {"2": 0, "3": 2} == revisions


async def test_several_versions_in_a_row_end_with_the_last(cluster: Cluster) -> None:
    bee = deployment(replicas=3, revisionHistoryLimit=1)
    await cluster.create(bee)
    for number in range(2, 7):
        await cluster.set_image(bee, f"server:{number}")
    await cluster.until(lambda: rolled_out(cluster, "server:6", 3))
    await cluster.until(lambda: len(cluster.all(ReplicaSet)) <= 2)


async def test_scaling(cluster: Cluster) -> None:
    bee = deployment(replicas=1)
    await cluster.create(bee)
    for size in (3, 1, 0, 2):
        await cluster.patch(bee, {"spec": {"replicas": size}})
        await cluster.until(partial(available, cluster, size))
    assert 1 == len(cluster.all(ReplicaSet))
    assert any("from 3 to 1" in message for message in cluster.events("ScalingReplicaSet"))


async def test_a_recreate_never_runs_two_versions(cluster: Cluster) -> None:
    bee = deployment(replicas=2, recreate=True)
    await cluster.create(bee)
    await cluster.until(lambda: rolled_out(cluster, "server:1", 2))
    mixed: list[set[str | None]] = []

    def note(_: object) -> None:
        # Pods that are still ending count: the new version may not start beside them.
        images = {pod.spec.containers[0].image for pod in cluster.all(Pod) if pod.spec}
        if len(images) > 1:
            mixed.append(images)

    cluster.manager.caches.of(Pod).listen(note)
    await cluster.set_image(bee, "server:2")
    await cluster.until(lambda: rolled_out(cluster, "server:2", 2))
    assert [] == mixed


async def test_a_paused_deployment_waits_with_its_new_version(cluster: Cluster) -> None:
    bee = deployment(replicas=1, paused=True)
    await cluster.create(bee)

    await cluster.until(lambda: cluster.find(Deployment, "bee"))
    await cluster.until(lambda: "DeploymentPaused" == said(cluster.get(Deployment, "bee"), "Progressing")[1])
    assert [] == cluster.all(ReplicaSet)
    await cluster.patch(bee, {"spec": {"paused": None}})
    await cluster.until(lambda: rolled_out(cluster, "server:1", 1))


async def test_a_lost_pod_is_replaced(cluster: Cluster) -> None:
    await cluster.create(deployment(replicas=2))
    await cluster.until(lambda: rolled_out(cluster, "server:1", 2))
    lost = name_of(cluster.pods()[0])
    await cluster.client.delete(Pod, lost, namespace="ai-demo")
    await cluster.until(lambda: cluster.find(Pod, lost) is None and rolled_out(cluster, "server:1", 2))
    assert 2 == len(cluster.all(Pod))


async def test_a_pod_that_fails_for_good_is_replaced_and_kept_for_its_logs(cluster: Cluster) -> None:
    await cluster.create(deployment(replicas=1))
    await cluster.until(lambda: rolled_out(cluster, "server:1", 1))
    failed = cluster.pods()[0]
    await cluster.client.patch(Pod.Status, name_of(failed), {"status": {"phase": "Failed"}}, namespace="ai-demo")
    await cluster.until(lambda: 1 == len(cluster.pods()) and name_of(failed) != name_of(cluster.pods()[0]))
    assert cluster.find(Pod, name_of(failed)) is not None


async def test_a_pod_whose_label_is_changed_is_let_go_and_replaced(cluster: Cluster) -> None:
    await cluster.create(deployment(replicas=1))
    await cluster.until(lambda: rolled_out(cluster, "server:1", 1))
    pod = cluster.pods()[0]
    await cluster.patch(pod, {"metadata": {"labels": {"app": "aside"}}})
    await cluster.until(lambda: 2 == len(cluster.pods()))
    await cluster.until(lambda: not meta(cluster.get(Pod, name_of(pod))).ownerReferences)
    await cluster.patch(pod, {"metadata": {"labels": {"app": "bee"}}})
    await cluster.until(lambda: 1 == len(cluster.pods()))


async def test_a_deployment_takes_over_what_another_left_behind(cluster: Cluster) -> None:
    await cluster.create(deployment("bee", replicas=2))
    await cluster.until(lambda: rolled_out(cluster, "server:1", 2))
    before = {meta(pod).uid for pod in cluster.pods()}
    await cluster.client.delete(Deployment, "bee", namespace="ai-demo", cascade=CascadeType.ORPHAN)
    await cluster.until(lambda: cluster.find(Deployment, "bee") is None)
    await cluster.create(deployment("bee", replicas=2))
    await cluster.until(lambda: rolled_out(cluster, "server:1", 2))
    assert before == {meta(pod).uid for pod in cluster.pods()}
    (item,) = cluster.all(ReplicaSet)
    assert controlled_by(item, cluster.get(Deployment, "bee"))


async def test_pods_are_never_doubled_whatever_happens(cluster: Cluster) -> None:
    bee = deployment(replicas=5)
    await cluster.create(bee)
    dice = random.Random(5)
    for _ in range(12):
        await cluster.until(cluster.pods)
        for pod in dice.sample(cluster.pods(), k=min(2, len(cluster.pods()))):
            await asyncio.gather(
                cluster.client.delete(Pod, name_of(pod), namespace="ai-demo", grace_period=0),
                cluster.patch(bee, {"spec": {"replicas": dice.choice([5, 6, 7])}}),
                return_exceptions=True,
            )
    await cluster.patch(bee, {"spec": {"replicas": 6}})
    await cluster.until(lambda: rolled_out(cluster, "server:1", 6) and 6 == len(cluster.all(Pod)))


async def test_pods_that_are_refused_are_reported_and_tried_again(tmp_path: Path) -> None:
    refused = {"pods": "exceeded quota: small"}
    async with api(tmp_path, refused) as client, running(client) as cluster:
        await add_node(cluster)
        await make_namespace(cluster)
        await cluster.create(deployment())
        await cluster.until(lambda: "True" == said(cluster.get(Deployment, "bee"), "ReplicaFailure")[0])
        _, reason, message = said(cluster.get(Deployment, "bee"), "ReplicaFailure")
        assert "FailedCreate" == reason
        assert message is not None
        assert message.endswith("exceeded quota: small")
        await cluster.until(lambda: cluster.events("FailedCreate"))
        assert [f"Error creating: {message}"] == cluster.events("FailedCreate")
        refused.clear()
        await cluster.until(lambda: rolled_out(cluster, "server:1", 1))
        await cluster.until(lambda: said(cluster.get(Deployment, "bee"), "ReplicaFailure")[0] is None)


async def test_a_replica_set_that_is_refused_is_reported_and_tried_again(tmp_path: Path) -> None:
    refused = {"replicasets": "exceeded quota: small"}
    async with api(tmp_path, refused) as client, running(client) as cluster:
        await add_node(cluster)
        await make_namespace(cluster)
        await cluster.create(deployment())
        await cluster.until(lambda: "ReplicaSetCreateError" == said(cluster.get(Deployment, "bee"), "Progressing")[1])
        refused.clear()
        await cluster.until(lambda: rolled_out(cluster, "server:1", 1))
        assert 1 == len(cluster.events("ReplicaSetCreateError"))


async def test_a_replica_set_of_the_same_name_gets_out_of_the_way(cluster: Cluster) -> None:
    bee = deployment(paused=True)
    await cluster.create(bee)
    await cluster.until(lambda: cluster.find(Deployment, "bee"))
    stored = cluster.get(Deployment, "bee")
    unpaused = msgspec.structs.replace(stored, spec=msgspec.structs.replace(stored.spec, paused=None))
    wanted = plan(unpaused, [], [], NOW).create
    assert wanted is not None
    await cluster.create(replica_set(name_of(wanted), image="other:1", replicas=0))
    await cluster.patch(bee, {"spec": {"paused": None}})
    await cluster.until(lambda: rolled_out(cluster, "server:1", 1))
    status = cluster.get(Deployment, "bee").status
    assert status is not None
    assert 1 == status.collisionCount
    # The stranger was adopted as an old revision: its labels match and nobody owned it.
    assert 2 == len(cluster.all(ReplicaSet))


async def test_nothing_is_written_when_nothing_changes(cluster: Cluster) -> None:
    await cluster.create(service(), deployment(replicas=2))
    await cluster.until(lambda: rolled_out(cluster, "server:1", 2))
    await cluster.silence()


async def test_controllers_that_start_again_find_all_done(tmp_path: Path) -> None:
    async with api(tmp_path) as client:
        async with running(client) as first:
            await add_node(first)
            await make_namespace(first)
            await first.create(service(), deployment(replicas=2))
            await first.until(lambda: rolled_out(first, "server:1", 2))
            before = {meta(pod).uid for pod in first.pods()}
            await first.silence()
        async with running(client) as second:
            await second.silence()
            assert before == {meta(pod).uid for pod in second.pods()}


async def test_controllers_that_stop_in_the_middle_of_a_roll_out_finish_it_later(tmp_path: Path) -> None:
    bee = deployment(replicas=4)
    async with api(tmp_path) as client:
        async with running(client) as first:
            await add_node(first)
            await make_namespace(first)
            await first.create(bee)
            await first.until(lambda: rolled_out(first, "server:1", 4))
            await first.set_image(bee, "server:2")
            await first.until(lambda: "server:2" in first.images())
        async with running(client) as second:
            await second.until(lambda: rolled_out(second, "server:2", 4))
