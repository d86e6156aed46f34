"""What the agent has to say of its pods before anybody else is answered: only what it has seen alive."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lightkube import AsyncClient
from lightkube.resources.core_v1 import Pod
from tests.node.bench import eventually
from tests.node.cluster import NAMESPACE, NodeUnderTest, Shelf, api, running, shell

from skerry.cluster.node.agent import stop_leftovers
from skerry.kit.processes import identify


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[AsyncClient]:
    async with api(tmp_path) as client:
        yield client


async def told(client: AsyncClient, name: str) -> dict[str, str]:
    """The conditions of a pod in the API itself, not in a cache."""
    pod = await client.get(Pod, name, namespace=NAMESPACE)
    assert pod.status is not None
    return {each.type: each.status for each in pod.status.conditions or []}


async def left_behind(root: Path, client: AsyncClient, name: str) -> int:
    """Leave a ready pod to the next agent; returns the pid of its container."""
    async with running(root, client, Shelf(), keep=True) as first:
        await first.create(shell(name, "exec sleep 100"))
        await first.until(lambda: first.ready(name))
        return first.pid(name)


async def looked(node: NodeUnderTest, client: AsyncClient, name: str) -> dict[str, str]:
    await node.agent.looked()
    return await told(client, name)


async def test_a_pod_that_died_meanwhile_is_not_ready(tmp_path: Path, client: AsyncClient) -> None:
    pid = await left_behind(tmp_path, client, "dead")
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: _gone(pid))
    async with running(tmp_path, client, Shelf()) as second:
        assert (await looked(second, client, "dead"))["Ready"] == "False"


async def test_a_pod_of_a_restored_database_is_not_ready(tmp_path: Path, client: AsyncClient) -> None:
    """Its object is there, and nothing that this machine has ever started."""
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    await left_behind(elsewhere, client, "restored")
    async with running(here, client, Shelf()) as second:
        seen = await looked(second, client, "restored")
        assert (seen["Ready"], seen["ContainersReady"]) == ("False", "False")
    # What the other machine ran; it may have ended with its namesake, whose control group has the same name here.
    await stop_leftovers(elsewhere / "state", elsewhere / "run", elsewhere / "log", 2.0)


async def test_a_pod_that_still_runs_stays_ready_all_the_time(tmp_path: Path, client: AsyncClient) -> None:
    await left_behind(tmp_path, client, "alive")
    before = await client.get(Pod, "alive", namespace=NAMESPACE)
    async with running(tmp_path, client, Shelf()) as second:
        await second.agent.looked()
        after = await client.get(Pod, "alive", namespace=NAMESPACE)
        assert (after.status, after.metadata) == (before.status, before.metadata), "not one write"


async def test_a_node_without_pods_has_looked_at_once(tmp_path: Path, client: AsyncClient) -> None:
    async with running(tmp_path, client, Shelf()) as node:
        await node.agent.looked()


def _gone(pid: int) -> bool:
    try:
        return not identify(pid).alive()
    except ProcessLookupError:
        return True
