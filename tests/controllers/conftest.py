"""A running cluster with one node and the namespace `ai-demo`."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.controllers.cluster import Cluster, add_node, api, make_namespace, running


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with api(tmp_path) as client, running(client) as made:
        await add_node(made)
        await make_namespace(made)
        yield made
