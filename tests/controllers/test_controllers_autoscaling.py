"""An autoscaler over a running API: what pods use, told by the test, moves a Deployment."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lightkube.models.core_v1 import ResourceRequirements
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.autoscaling_v1 import HorizontalPodAutoscaler as OldAutoscaler
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from tests.controllers.builders import deployment
from tests.controllers.cluster import Cluster, add_node, api, make_namespace, running

from skerry.api.metrics import Amounts, NodeUsage, PodUsage
from skerry.cluster.controllers.ownership import meta


class Figures:
    """Every pod of the cluster uses the same."""

    def __init__(self) -> None:
        self.cluster: Cluster | None = None
        self.amounts: Amounts | None = None

    def pods(self) -> dict[str, PodUsage]:
        if self.cluster is None or self.amounts is None:
            return {}
        now = self.cluster.clock.now() + timedelta(minutes=1)  # long after the pods were ready
        usage = PodUsage(now, timedelta(seconds=15), {"main": self.amounts})
        return {str(meta(pod).uid): usage for pod in self.cluster.pods()}

    def node(self) -> tuple[str, NodeUsage] | None:
        return None


@pytest.fixture
def figures() -> Figures:
    return Figures()


@pytest.fixture
async def cluster(tmp_path: Path, figures: Figures) -> AsyncIterator[Cluster]:
    async with api(tmp_path, usage=figures) as client, running(client) as made:
        figures.cluster = made
        await add_node(made)
        await make_namespace(made)
        web = deployment("web", replicas=1)
        template = web.spec.template.spec
        assert template is not None
        template.containers[0].resources = ResourceRequirements(requests={"cpu": "100m"})
        await made.create(web)
        await made.until(lambda: len(made.images()) == 1)
        yield made


async def autoscale(cluster: Cluster, kind: Any = HorizontalPodAutoscaler, target: str = "web", **spec: Any) -> None:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    item = {
        "metadata": {"name": "web", "namespace": "ai-demo"},
        "spec": {"minReplicas": 1, "maxReplicas": 5, "scaleTargetRef": reference, **spec},
    }
    await cluster.client.create(msgspec.convert(item, kind))


def reason(cluster: Cluster, kind: str) -> str | None:
    found = cluster.find(HorizontalPodAutoscaler, "web")
    conditions = (found.status.conditions if found is not None and found.status is not None else None) or []
    return next((each.reason for each in conditions if each.type == kind), None)


async def test_a_busy_deployment_grows(cluster: Cluster, figures: Figures) -> None:
    figures.amounts = Amounts(240_000_000, 1 << 20)
    await autoscale(cluster)
    await cluster.until(lambda: cluster.get(Deployment, "web").spec.replicas == 3)
    await cluster.until(lambda: len(cluster.images()) == 3)
    await cluster.until(lambda: cluster.events("SuccessfulRescale"))
    assert cluster.events("SuccessfulRescale") == [
        "New size: 3; reason: cpu resource utilization (percentage of request) above target"
    ]
    status = cluster.get(HorizontalPodAutoscaler, "web").status
    assert status is not None
    assert status.currentMetrics is not None
    assert status.currentMetrics[0].resource is not None
    assert status.currentMetrics[0].resource.current.averageUtilization == 240
    assert status.lastScaleTime is not None


async def test_bounds_are_kept_without_any_figures(cluster: Cluster) -> None:
    await autoscale(cluster, minReplicas=2)
    await cluster.until(lambda: cluster.get(Deployment, "web").spec.replicas == 2)
    await cluster.until(lambda: cluster.events("SuccessfulRescale"))
    assert cluster.events("SuccessfulRescale") == [
        "New size: 2; reason: Current number of replicas below Spec.MinReplicas"
    ]


async def test_what_is_missing_is_said_in_conditions(cluster: Cluster) -> None:
    await autoscale(cluster)
    await cluster.until(lambda: reason(cluster, "ScalingActive") == "FailedGetResourceMetric")
    await cluster.client.delete(HorizontalPodAutoscaler, "web", namespace="ai-demo")
    await cluster.until(lambda: cluster.find(HorizontalPodAutoscaler, "web") is None)
    await autoscale(cluster, target="nobody")
    await cluster.until(lambda: reason(cluster, "AbleToScale") == "FailedGetScale")
    await cluster.until(lambda: 'deployments.apps "nobody" not found' in cluster.events("FailedGetScale"))


async def test_the_old_version_is_the_same_object(cluster: Cluster, figures: Figures) -> None:
    figures.amounts = Amounts(50_000_000, 1 << 20)
    await autoscale(cluster, OldAutoscaler, targetCPUUtilizationPercentage=50)
    await cluster.until(lambda: reason(cluster, "ScalingActive") == "ValidMetricFound")
    found = await cluster.client.get(OldAutoscaler, "web", namespace="ai-demo")
    assert found.spec is not None
    assert found.status is not None
    assert found.spec.targetCPUUtilizationPercentage == 50
    assert found.status.currentCPUUtilizationPercentage == 50
    new = cluster.get(HorizontalPodAutoscaler, "web")
    assert new.spec.metrics is not None
    assert new.spec.metrics[0].resource is not None
    assert new.spec.metrics[0].resource.target.averageUtilization == 50
    assert not meta(new).annotations
    # Written back through the old version, nothing is lost and nothing changes.
    version = meta(new).resourceVersion
    await cluster.client.replace(found)
    assert (
        meta(await cluster.client.get(HorizontalPodAutoscaler, "web", namespace="ai-demo")).resourceVersion == version
    )
