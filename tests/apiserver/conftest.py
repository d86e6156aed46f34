"""An API server over a store in a temporary directory, reached in this process."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from lightkube import AsyncClient
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster, Context, User

from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens, token_hash
from skerry.cluster.apiserver.transport import InProcessTransport
from skerry.cluster.store import Store
from skerry.kit.clock import SystemClock
from skerry.machinery import status


async def no_logs(namespace: str, name: str, query: dict[str, str]) -> AsyncIterator[bytes]:
    raise status.not_found("pods", name)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store.open(tmp_path / "store.db")
    yield opened
    opened.close()


@pytest.fixture
def app(store: Store) -> ApiServer:
    return ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), Tokens({token_hash("secret"): "admin"}), no_logs))


@pytest.fixture
async def transport(app: ApiServer) -> AsyncIterator[InProcessTransport]:
    made = InProcessTransport(app, "admin")
    yield made
    await made.aclose()


@pytest.fixture
async def http(transport: InProcessTransport) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(transport=transport, base_url="http://api", timeout=10) as client:
        created = await client.post("/api/v1/namespaces", json={"metadata": {"name": "a"}})
        assert created.status_code == 201, created.text
        yield client


@pytest.fixture
async def kube(http: httpx2.AsyncClient, transport: InProcessTransport) -> AsyncClient:
    config = SingleConfig("test", Context(cluster="test", user="test"), Cluster(server="http://api"), User())
    return AsyncClient(config, transport=transport, trust_env=False)
