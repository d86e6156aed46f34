"""Jobs over a running API: pods end as the test says, everything else is the real thing."""

from pathlib import Path
from typing import Any

import msgspec
from lightkube.models.batch_v1 import JobStatus
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Namespace, Pod
from lightkube.types import CascadeType, PatchType
from tests.controllers.cluster import Cluster, add_node, api, make_namespace, running

from skerry.cluster.controllers.job.counting import FINALIZER
from skerry.cluster.controllers.ownership import controller_of, meta, name_of
from skerry.cluster.controllers.pods import ready


def job(name: str = "j", **spec: Any) -> Job:
    container = {"name": "main", "image": "worker:1"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    item = {"metadata": {"name": name, "namespace": "ai-demo"}, "spec": {"template": template, **spec}}
    return msgspec.convert(item, Job)


async def finish(cluster: Cluster, phase: str, number: int = 1) -> None:
    """Let so many running pods end."""
    await cluster.until(lambda: len([pod for pod in cluster.pods() if ready(pod)]) >= number)
    for pod in [pod for pod in cluster.pods() if ready(pod)][:number]:
        status = {"status": {"phase": phase, "conditions": [{"type": "Ready", "status": "False"}]}}
        await cluster.client.patch(Pod.Status, name_of(pod), status, namespace="ai-demo", patch_type=PatchType.MERGE)


def status_of(cluster: Cluster, name: str = "j") -> JobStatus:
    found = cluster.find(Job, name)
    return (found.status if found is not None else None) or JobStatus()


def over(cluster: Cluster, kind: str) -> bool:
    return any(each.type == kind and each.status == "True" for each in status_of(cluster).conditions or [])


def held(cluster: Cluster) -> list[Pod]:
    return [pod for pod in cluster.all(Pod) if FINALIZER in (meta(pod).finalizers or [])]


async def test_completions_one_after_the_other(cluster: Cluster) -> None:
    await cluster.client.create(job(completions=3, parallelism=2))
    await finish(cluster, "Succeeded", 2)
    await cluster.until(lambda: status_of(cluster).succeeded == 2)
    await finish(cluster, "Succeeded")
    await cluster.until(lambda: over(cluster, "Complete"))
    status = status_of(cluster)
    assert (status.succeeded, status.failed, status.active) == (3, None, None)
    assert len(cluster.all(Pod)) == 3
    assert held(cluster) == []
    await cluster.until(lambda: cluster.events("Completed"))
    assert len(cluster.events("SuccessfulCreate")) == 3
    await cluster.silence()
    assert status_of(cluster) == status


async def test_a_failure_without_retries(cluster: Cluster) -> None:
    await cluster.client.create(job(backoffLimit=0, parallelism=2, completions=2))
    await finish(cluster, "Failed")
    await cluster.until(lambda: over(cluster, "Failed"))
    assert status_of(cluster).failed == 2, "the one that was ended counts"
    await cluster.until(lambda: cluster.events("BackoffLimitExceeded"))
    await cluster.silence()
    assert [pod for pod in cluster.pods() if ready(pod)] == []


async def test_a_retry_waits(cluster: Cluster) -> None:
    await cluster.client.create(job())
    await finish(cluster, "Failed")
    await cluster.until(lambda: status_of(cluster).failed == 1)
    await cluster.silence()
    assert cluster.pods() == []


async def test_suspending_and_going_on(cluster: Cluster) -> None:
    await cluster.client.create(job())
    await cluster.until(lambda: status_of(cluster).active == 1)
    await cluster.patch(cluster.get(Job, "j"), {"spec": {"suspend": True}})
    await cluster.until(lambda: not cluster.all(Pod) and over(cluster, "Suspended"))
    assert (status_of(cluster).failed, status_of(cluster).startTime) == (None, None)
    await cluster.patch(cluster.get(Job, "j"), {"spec": {"suspend": False}})
    await finish(cluster, "Succeeded")
    await cluster.until(lambda: over(cluster, "Complete"))


async def test_pods_go_with_their_job_or_stay_and_are_let_go(cluster: Cluster) -> None:
    for cascade in (CascadeType.BACKGROUND, CascadeType.FOREGROUND):
        await cluster.client.create(job())
        await cluster.until(lambda: status_of(cluster).active == 1)
        await cluster.client.delete(Job, "j", namespace="ai-demo", cascade=cascade)
        await cluster.until(lambda: cluster.find(Job, "j") is None and not cluster.all(Pod))
    await cluster.client.create(job())
    await cluster.until(lambda: status_of(cluster).active == 1)
    await cluster.client.delete(Job, "j", namespace="ai-demo", cascade=CascadeType.ORPHAN)
    await cluster.until(lambda: cluster.find(Job, "j") is None and not held(cluster))
    (left,) = cluster.all(Pod)
    assert controller_of(left) is None
    await cluster.client.delete(Pod, name_of(left), namespace="ai-demo")
    await cluster.until(lambda: not cluster.all(Pod))


async def test_a_namespace_is_emptied(cluster: Cluster) -> None:
    await cluster.client.create(job(parallelism=2, completions=9))
    await finish(cluster, "Succeeded")
    await cluster.client.delete(Namespace, "ai-demo")
    await cluster.until(lambda: cluster.find(Namespace, "ai-demo", "") is None)


async def test_a_refused_pod_is_told(tmp_path: Path) -> None:
    async with api(tmp_path, {"pods": "exceeded quota"}) as client, running(client) as cluster:
        await add_node(cluster)
        await make_namespace(cluster)
        await cluster.client.create(job())
        await cluster.until(lambda: cluster.events("FailedCreate"))
        assert "exceeded quota" in cluster.events("FailedCreate")[0]
        assert status_of(cluster).active is None


async def test_counting_goes_on_after_a_restart(tmp_path: Path) -> None:
    """The controllers stop whenever; others over the same API finish what they began."""
    async with api(tmp_path) as client:
        async with running(client) as cluster:
            await add_node(cluster)
            await make_namespace(cluster)
            await cluster.client.create(job(completions=2, parallelism=2))
            await finish(cluster, "Succeeded", 2)
        async with running(client) as cluster:
            await cluster.until(lambda: over(cluster, "Complete"))
            assert status_of(cluster).succeeded == 2
