"""The scheduler, Routes, volume claims and old events against the real API server."""

from datetime import timedelta
from functools import partial
from pathlib import Path

from lightkube.models.core_v1 import (
    PersistentVolumeClaimSpec,
    PersistentVolumeClaimVolumeSource,
    ResourceRequirements,
    Volume,
    VolumeResourceRequirements,
)
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Event, Node, PersistentVolumeClaim, Pod
from lightkube.types import PatchType
from tests.controllers.builders import pod
from tests.controllers.cluster import Cluster, add_node, api, make_namespace, running

from skerry.api.route_types import Route, RouteSpec, RouteTargetReference
from skerry.cluster.controllers.ownership import meta
from skerry.cluster.controllers.pods import condition
from skerry.reconcile import Recorder


def waiting(name: str, requests: dict[str, str] | None = None, **spec: object) -> Pod:
    made = pod(name, node=None, spec=dict(spec))
    made.status = None
    assert made.spec is not None
    # Devices cannot be overcommitted: their limit is their request.
    made.spec.containers[0].resources = ResourceRequirements(requests=requests, limits=requests)
    return made


def node_of(cluster: Cluster, name: str) -> str | None:
    found = cluster.find(Pod, name)
    return found.spec.nodeName if found and found.spec else None


def why(cluster: Cluster, name: str) -> tuple[str, str | None, str]:
    found = cluster.find(Pod, name)
    scheduled = condition(found, "PodScheduled") if found else None
    return (scheduled.status, scheduled.reason, scheduled.message or "") if scheduled else ("", None, "")


async def test_pods_wait_for_a_node(tmp_path: Path) -> None:
    async with api(tmp_path) as client, running(client) as cluster:
        await make_namespace(cluster)
        await cluster.create(waiting("bee"))
        await cluster.until(lambda: "Unschedulable" == why(cluster, "bee")[1])
        assert ("False", "Unschedulable", "no nodes available to schedule pods") == why(cluster, "bee")
        await cluster.silence()
        await add_node(cluster)
        await cluster.until(lambda: "skerry" == node_of(cluster, "bee"))


async def test_a_pod_that_does_not_fit_waits_until_another_goes(cluster: Cluster) -> None:
    await cluster.create(waiting("first", {"cpu": "6"}))
    await cluster.until(lambda: node_of(cluster, "first"))
    await cluster.create(waiting("second", {"cpu": "6"}))
    await cluster.until(lambda: "False" == why(cluster, "second")[0])
    message = why(cluster, "second")[2]
    assert message.startswith("0/1 nodes are available: 1 Insufficient cpu. ")
    await cluster.until(lambda: [message] == cluster.events("FailedScheduling"))
    await cluster.silence()
    assert node_of(cluster, "second") is None
    await cluster.client.delete(Pod, "first", namespace="ai-demo", grace_period=0)
    await cluster.until(lambda: "skerry" == node_of(cluster, "second"))
    assert "True" == why(cluster, "second")[0]


async def test_a_device_that_appears_lets_its_pod_run(cluster: Cluster) -> None:
    await cluster.create(waiting("gpu", {"nvidia.com/gpu": "1"}))
    await cluster.until(lambda: "1 Insufficient nvidia.com/gpu." in why(cluster, "gpu")[2])
    await cluster.silence()
    room = {"status": {"allocatable": {"cpu": "8", "memory": "16Gi", "pods": "110", "nvidia.com/gpu": "1"}}}
    await cluster.client.patch(Node.Status, "skerry", room, patch_type=PatchType.MERGE)
    await cluster.until(lambda: "skerry" == node_of(cluster, "gpu"))


async def test_many_pods_at_once_are_not_given_more_than_there_is(cluster: Cluster) -> None:
    await cluster.create(*(waiting(f"p{place}", {"cpu": "3"}) for place in range(6)))
    await cluster.until(lambda: 4 == sum("False" == why(cluster, f"p{place}")[0] for place in range(6)))
    assert 2 == sum(node_of(cluster, f"p{place}") is not None for place in range(6))


async def test_a_pod_waits_for_its_volume_claim(cluster: Cluster) -> None:
    source = PersistentVolumeClaimVolumeSource(claimName="models")
    await cluster.create(waiting("bee", volumes=[Volume(name="models", persistentVolumeClaim=source)]))
    await cluster.until(lambda: 'persistentvolumeclaim "models" not found' in why(cluster, "bee")[2])
    spec = PersistentVolumeClaimSpec(
        accessModes=["ReadWriteOnce"], resources=VolumeResourceRequirements(requests={"storage": "1Gi"})
    )
    claim = PersistentVolumeClaim(metadata=ObjectMeta(name="models", namespace="ai-demo"), spec=spec)
    await cluster.client.create(claim)
    await cluster.until(lambda: "skerry" == node_of(cluster, "bee"))

    def bound() -> bool:
        found = cluster.get(PersistentVolumeClaim, "models")
        status = found.status
        return status is not None and ("Bound", {"storage": "1Gi"}) == (status.phase, status.capacity)

    await cluster.until(bound)
    found = cluster.get(PersistentVolumeClaim, "models")
    assert found.spec is not None
    assert f"pvc-{meta(found).uid}" == found.spec.volumeName
    await cluster.silence()


# Routes


def route(name: str, host: str | None = None) -> Route:
    return Route(
        metadata=ObjectMeta(name=name, namespace="ai-demo"),
        spec=RouteSpec(to=RouteTargetReference(name="bee"), host=host),
    )


def admitted(cluster: Cluster, name: str) -> tuple[str, str | None, str | None, str | None]:
    found = cluster.find(Route, name)
    for ingress in (found.status.ingress if found and found.status else None) or []:
        for each in ingress.conditions or []:
            return each.status, each.reason, each.message, ingress.host
    return "", None, None, None


async def test_a_route_gets_its_host_and_is_admitted(cluster: Cluster) -> None:
    await cluster.client.create(route("ovms.predictor"))
    host = "ovms-predictor-ai-demo.apps.localhost"
    await cluster.until(lambda: ("True", None, None, host) == admitted(cluster, "ovms.predictor"))
    found = cluster.get(Route, "ovms.predictor")
    assert "true" == (meta(found).annotations or {})["openshift.io/host.generated"]
    await cluster.silence()


async def test_a_claimed_host_goes_to_the_next_when_its_route_goes(cluster: Cluster) -> None:
    host = "bee.example.com"
    await cluster.client.create(route("first", host))
    await cluster.client.create(route("second", host))
    names = {"first", "second"}
    await cluster.until(lambda: {"True", "False"} == {admitted(cluster, name)[0] for name in names})
    (winner,) = [name for name in names if "True" == admitted(cluster, name)[0]]
    (loser,) = names - {winner}
    assert ("False", "HostAlreadyClaimed", f"route {winner} already exposes {host} and is older", host) == admitted(
        cluster, loser
    )
    await cluster.client.delete(Route, winner, namespace="ai-demo")
    await cluster.until(lambda: "True" == admitted(cluster, loser)[0])


async def test_a_host_that_is_given_up_goes_to_the_next(cluster: Cluster) -> None:
    await cluster.client.create(route("first", "a.example.com"))
    await cluster.until(lambda: "True" == admitted(cluster, "first")[0])
    await cluster.client.create(route("second", "b.example.com"))
    await cluster.until(lambda: "True" == admitted(cluster, "second")[0])
    for name in ("first", "second"):
        await cluster.patch(cluster.get(Route, name), {"spec": {"host": "c.example.com"}})

    def states() -> list[str]:
        return sorted(admitted(cluster, name)[0] for name in ("first", "second"))

    await cluster.until(lambda: ["False", "True"] == states())
    (winner,) = [name for name in ("first", "second") if "True" == admitted(cluster, name)[0]]
    await cluster.patch(cluster.get(Route, winner), {"spec": {"host": "d.example.com"}})
    await cluster.until(lambda: ["True", "True"] == states())


# Events


async def test_events_go_after_an_hour(cluster: Cluster) -> None:
    await cluster.create(waiting("bee"))
    await cluster.until(partial(cluster.events, "Scheduled"))
    cluster.clock.ahead = timedelta(minutes=59)
    recorder = Recorder(cluster.client, cluster.clock, "test")
    await recorder.normal(cluster.get(Pod, "bee"), "Later", "written 59 minutes later")
    await cluster.until(partial(cluster.events, "Later"))
    assert cluster.events("Scheduled")
    cluster.clock.ahead = timedelta(minutes=61)
    await recorder.normal(cluster.get(Pod, "bee"), "Last", "written 61 minutes later")
    await cluster.until(lambda: not cluster.events("Scheduled"))
    assert cluster.events("Later")
    assert 2 == len([event async for event in cluster.client.list(Event, namespace="ai-demo")])
