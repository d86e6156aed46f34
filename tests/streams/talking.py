"""A node with real containers behind a real HTTPS server, and the clients that stream from it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from lightkube import AsyncClient
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster as ClusterConfig
from lightkube.config.models import Context, User
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace
from tests.apiserver.kubectl import Kubectl, kubectls, serving
from tests.node.cluster import NAMESPACE, NodeUnderTest, Shelf, running, shell

from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens, token_hash
from skerry.cluster.apiserver.podstreams import LateNode
from skerry.cluster.apiserver.transport import InProcessTransport
from skerry.cluster.store import Store
from skerry.daemon.certificates import Pki
from skerry.kit.clock import SystemClock

PROGRAMS = kubectls()
SLEEP = "trap 'exit 0' TERM; sleep 300 & wait"


@dataclass(frozen=True)
class Streaming:
    """A server with a node, and how it is reached."""

    node: NodeUnderTest
    home: Path
    port: int
    token: str
    pki: Pki

    @property
    def kubeconfig(self) -> Path:
        return self.home / "kubeconfig"

    def kubectl(self, name: str = min(PROGRAMS, default="")) -> Kubectl:
        return Kubectl(PROGRAMS[name], self.home, self.kubeconfig)

    async def pod(self, name: str = "bee", script: str = SLEEP, **container: object) -> None:
        """Start a pod and wait until its container runs."""
        await self.node.create(shell(name, script, container=container))
        await self.node.until(lambda: (found := self.node.container(name)) and found.state.running)


class _NodeLogs:
    node: NodeUnderTest

    async def __call__(self, namespace: str, name: str, query: dict[str, str]) -> AsyncIterator[bytes]:
        return await self.node.agent.read_logs(namespace, name, query)


@asynccontextmanager
async def streaming(root: Path, pki: Pki) -> AsyncIterator[Streaming]:
    """Serve the API with one node until the end of the block."""
    token = pki.admin_token.read_text()
    logs, late = _NodeLogs(), LateNode()
    store = Store.open(root / "store.db")
    parts = ApiServerParts(store, REGISTRY, SystemClock(), Tokens({token_hash(token): "system:admin"}), logs, (), late)
    app = ApiServer(parts)
    transport = InProcessTransport(app, "system:admin")
    config = SingleConfig("test", Context(cluster="test", user="test"), ClusterConfig(server="http://api"), User())
    client = AsyncClient(config, transport=transport, trust_env=False)
    await client.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
    async with AsyncExitStack() as stack:
        stack.callback(store.close)
        stack.push_async_callback(transport.aclose)
        node = await stack.enter_async_context(running(root, client, Shelf()))
        port = await stack.enter_async_context(serving(app, pki, root / "kubeconfig"))
        logs.node, late.node = node, node.agent.streams
        yield Streaming(node, root, port, token.strip(), pki)


async def read_until(stream: asyncio.StreamReader, text: bytes, seconds: float = 15) -> bytes:
    """Read until the text has come; returns all that was read."""
    seen = b""
    async with asyncio.timeout(seconds):
        while text not in seen:
            chunk = await stream.read(4096)
            assert chunk, seen
            seen += chunk
    return seen
