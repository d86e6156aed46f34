"""The operator as a program of its own, on a Kubernetes cluster that is not ours."""

import re
from pathlib import Path
from typing import Any, Final

import httpx2
from lightkube import AsyncClient
from lightkube.config.kubeconfig import KubeConfig

from skerry.kit.clock import Clock
from skerry.kit.log import logger
from skerry.operator.inferenceservice import controllers
from skerry.operator.model_source import ServerVersion
from skerry.reconcile import Caches, Manager

log = logger(__name__)

FIELD_MANAGER: Final = "skerry-operator"
_TIMEOUT_SECONDS: Final = 10.0


class ClusterUnusable(Exception):
    """The cluster cannot be worked with as it answers."""


async def run(kubeconfig: Path | None, clock: Clock, *, namespace: str) -> None:
    """Run until cancelled. `kubeconfig` None: the environment's, or the pod's own service account.

    Raises `ClusterUnusable` when the cluster does not say its version.
    """
    config = (KubeConfig.from_file(kubeconfig) if kubeconfig else KubeConfig.from_env()).get()
    assert config is not None
    client = AsyncClient(config, field_manager=FIELD_MANAGER, timeout=httpx2.Timeout(_TIMEOUT_SECONDS))
    try:
        version = await server_version(client)
        log.info("operator started", server=config.cluster.server, version=".".join(map(str, version)))
        manager = Manager(Caches(client, clock), clock)
        controllers(manager, client, clock, namespace=namespace, server_version=version)
        await manager.run()
    finally:
        await client.close()


async def server_version(client: AsyncClient) -> ServerVersion:
    """Ask the cluster for its version; managed clusters write a minor of `29+`."""
    response = await _http(client).get("/version")
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    major, minor = (re.match(r"\d+", str(answer.get(part, ""))) for part in ("major", "minor"))
    if major is None or minor is None:
        raise ClusterUnusable(f"cannot read the version of the cluster: it answers {answer}")
    return (int(major[0]), int(minor[0]))


def _http(client: AsyncClient) -> httpx2.AsyncClient:
    # lightkube has no call for /version; its own HTTP client carries address and credentials.
    http: httpx2.AsyncClient = client._client._client  # noqa: SLF001
    return http
