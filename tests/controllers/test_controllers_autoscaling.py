"""An autoscaler over a running API: what pods use, told by the test, moves a Deployment."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.autoscaling_v1 import HorizontalPodAutoscaler as OldAutoscaler
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.types import PatchType
from tests.controllers.builders import deployment
from tests.controllers.cluster import Cluster, add_node, api, make_namespace, running

from skerry.api.metrics import Amounts, NodeUsage, PodUsage
from skerry.cluster.controllers.ownership import meta

MIB = 1 << 20


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
        assert web.spec.template.spec is not None
        web.spec.template.spec.containers[0].resources = msgspec.convert(
            {"requests": {"cpu": "100m", "memory": "100Mi"}}, type(web.spec.template.spec.containers[0].resources)
        ) if False else None
        yield made
