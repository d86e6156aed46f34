"""A node under test: the agent against the real API server in this process, with real containers.

The agent can be dropped and made anew over the same API and directories, which is what a restart of the daemon is.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from lightkube import ApiError, AsyncClient
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster as ClusterConfig
from lightkube.config.models import Context, User
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Event, Namespace, Pod, Secret

from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens
from skerry.cluster.apiserver.transport import InProcessTransport
from skerry.cluster.node.agent import NodeAgent, NodeConfig
from skerry.cluster.node.runtime import Settings
from skerry.cluster.store import Store
from skerry.images.errors import ImageError
from skerry.kit.clock import SystemClock
from skerry.reconcile import Caches, Manager

NAMESPACE = "ai-demo"
FAST = Settings(
    first_back_off=timedelta(milliseconds=300), longest_back_off=timedelta(seconds=2), fast_probe_seconds=0.02
)


class Shelf:
    """Images as directories; what is not on the shelf is refused as the image store would."""

    def __init__(self) -> None:
        self.images: dict[str, Path] = {}
        self.held: dict[str, set[str]] = {}
        self.slow = 0.0

    async def ensure(
        self, reference: str, pull_policy: str, secrets: Sequence[Mapping[str, Any]], *, holder: str = ""
    ) -> Path:
        await asyncio.sleep(self.slow)
        if reference not in self.images:
            raise ImageError("ErrImagePull", f"{reference} is not in the local store")
        self.held.setdefault(holder, set()).add(reference)
        return self.images[reference]

    async def release(self, holder: str) -> None:
        self.held.pop(holder, None)

    async def release_all_but(self, holders: frozenset[str]) -> None:
        self.held = {holder: images for holder, images in self.held.items() if holder in holders}


class NodeUnderTest:
    """One agent and the API that it works for."""

    def __init__(self, root: Path, client: AsyncClient, shelf: Shelf, agent: NodeAgent, caches: Caches) -> None:
        self.root = root
        self.client = client
        self.shelf = shelf
        self.agent = agent
        self._caches = caches
        self._changed = asyncio.Event()
        for cache in caches.all():
            cache.listen(lambda _: self._changed.set())

    async def create(self, manifest: dict[str, Any]) -> Pod:
        manifest["metadata"].setdefault("namespace", NAMESPACE)
        return await self.client.create(msgspec.convert(manifest, type=Pod))

    async def config_map(self, name: str, **data: str) -> None:
        with contextlib.suppress(ApiError):
            await self.client.delete(ConfigMap, name, namespace=NAMESPACE)
        await self.client.create(ConfigMap(metadata=ObjectMeta(name=name, namespace=NAMESPACE), data=data))

    async def secret(self, name: str, **data: str) -> None:
        await self.client.create(Secret(metadata=ObjectMeta(name=name, namespace=NAMESPACE), stringData=data))

    async def delete(self, name: str, grace: int | None = None) -> None:
        await self.client.delete(Pod, name, namespace=NAMESPACE, grace_period=grace)

    def pod(self, name: str) -> Any:
        return self._caches.of(Pod).get(NAMESPACE, name)

    def status(self, name: str) -> Any:
        pod = self.pod(name)
        return pod.status if pod else None

    def container(self, name: str, container: str = "main") -> Any:
        status = self.status(name)
        known = [*(status.initContainerStatuses or []), *(status.containerStatuses or [])] if status else []
        return next((each for each in known if each.name == container), None)

    def waiting(self, name: str, container: str = "main") -> str:
        found = self.container(name, container)
        waiting = found.state.waiting if found else None
        return waiting.reason or "" if waiting else ""

    def ready(self, name: str) -> bool:
        status = self.status(name)
        conditions = (status.conditions or []) if status else []
        return any(each.type == "Ready" and each.status == "True" for each in conditions)

    def phase(self, name: str) -> str:
        status = self.status(name)
        return status.phase or "" if status else ""

    async def until(self, condition: Callable[[], object], seconds: float = 15) -> None:
        """Wait for a condition on the caches."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            shown = [msgspec.to_builtins(pod.status) for pod in self._caches.of(Pod)]
            raise AssertionError(f"never came true; there is {msgspec.json.encode(shown).decode()}") from None

    async def events(self, name: str) -> list[tuple[str, str]]:
        found = [event async for event in self.client.list(Event, namespace=NAMESPACE)]
        mine = [event for event in found if event.involvedObject.name == name]
        return [(event.reason or "", event.message or "") for event in mine]

    async def event(self, name: str, reason: str, text: str = "", seconds: float = 10) -> str:
        """Wait for an event and return its message."""
        async with asyncio.timeout(seconds):
            while True:
                for seen, message in await self.events(name):
                    if seen == reason and text in message:
                        return message
                await asyncio.sleep(0.02)

    async def logs(self, name: str, **query: str) -> str:
        lines = await self.agent.read_logs(NAMESPACE, name, query)
        return b"".join([line async for line in lines]).decode()

    def pid(self, name: str, container: str = "main") -> int:
        """Return the pid of the newest attempt."""
        base = self.root / "state/pods" / self.pod(name).metadata.uid / "containers" / container
        newest = max(base.iterdir(), key=lambda path: int(path.name))
        return int(msgspec.json.decode((newest / "state.json").read_bytes())["child"]["pid"])


def shell(name: str, script: str, **spec: Any) -> dict[str, Any]:
    """A pod that runs a shell script natively."""
    container = {"name": "main", "image": "localhost/skerry-shell:latest", "command": ["sh", "-c", script]}
    container |= spec.pop("container", {})
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": "skerry", "containers": [container], "terminationGracePeriodSeconds": 2, **spec},
    }


@asynccontextmanager
async def api(root: Path) -> AsyncIterator[AsyncClient]:
    """Serve the API over a store in the directory."""
    store = Store.open(root / "store.db")

    async def no_logs(namespace: str, name: str, query: dict[str, str]) -> AsyncIterator[bytes]:
        raise AssertionError("logs are read from the agent")

    app = ApiServer(ApiServerParts(store, REGISTRY, SystemClock(), Tokens({}), no_logs))
    transport = InProcessTransport(app, "admin")
    config = SingleConfig("test", Context(cluster="test", user="test"), ClusterConfig(server="http://api"), User())
    client = AsyncClient(config, transport=transport, trust_env=False)
    await client.create(Namespace(metadata=ObjectMeta(name=NAMESPACE)))
    try:
        yield client
    finally:
        await transport.aclose()
        store.close()


@asynccontextmanager
async def running(root: Path, client: AsyncClient, shelf: Shelf, *, keep: bool = False) -> AsyncIterator[NodeUnderTest]:
    """Run an agent until the end of the block; `keep`: its containers go on, as after a crash of the daemon."""
    clock = SystemClock()
    caches = Caches(client, clock)
    config = NodeConfig("skerry", root / "state", root / "run", root / "log", (root / "images.d",), settings=FAST)
    agent = NodeAgent(client, caches, clock, config, shelf)
    node = NodeUnderTest(root, client, shelf, agent, caches)
    async with asyncio.TaskGroup() as group:
        manager = group.create_task(Manager(caches, clock).run())
        task = group.create_task(agent.run())
        try:
            yield node
        finally:
            if not keep:
                await agent.stop_all()
            task.cancel()
            manager.cancel()
