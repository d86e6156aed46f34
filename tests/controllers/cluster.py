"""An API server with all controllers and a pretended node, in this process.

The node is a stand-in that speaks the API only: it gives a bound pod an address and makes it ready, unless its image
says `broken`, and removes a pod that is to go. Tests wait on the caches: `until` looks again after every change.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
from lightkube import AsyncClient
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster as ClusterConfig
from lightkube.config.models import Context, User
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Event, Namespace, Node, Pod
from lightkube.types import PatchType

from skerry.api.kinds import REGISTRY
from skerry.api.registry import Kind, Object
from skerry.cluster import controllers
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens
from skerry.cluster.apiserver.metricsapi import NoUsage, Usage
from skerry.cluster.apiserver.transport import InProcessTransport
from skerry.cluster.controllers.ownership import deleting, meta, name_of
from skerry.cluster.controllers.pods import active, ready
from skerry.cluster.store import Store
from skerry.kit.clock import SystemClock, timestamp
from skerry.machinery import status
from skerry.reconcile import Again, Caches, Controller, Key, Manager

R = TypeVar("R", bound=Any)
SETTINGS = controllers.ControllerSettings(apps_domain="apps.localhost", ca_certificate="-----BEGIN CERTIFICATE-----\n")
ROOM = {"cpu": "8", "memory": "16Gi", "pods": "110"}


class SteppedClock(SystemClock):
    """The machine's clock with a wall time that can be put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


class Cluster:
    """What a test needs of a running cluster."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.clock = SteppedClock()
        self.manager = Manager(Caches(client, self.clock), self.clock)
        self.most_pods = 0
        self.fewest_ready: int | None = None
        self._changed = asyncio.Event()
        controllers.add_all(self.manager, client, self.clock, SETTINGS)
        self._node = PretendedNode(self.manager, client)
        for cache in self.manager.caches.all():
            cache.listen(lambda _: self._changed.set())

    def all(self, kind: type[R], namespace: str = "ai-demo") -> list[R]:
        return self.manager.caches.of(kind).in_namespace(namespace)

    def find(self, kind: type[R], name: str, namespace: str = "ai-demo") -> R | None:
        return self.manager.caches.of(kind).get(namespace, name)

    def get(self, kind: type[R], name: str, namespace: str = "ai-demo") -> R:
        found = self.find(kind, name, namespace)
        assert found is not None, f"no {kind.__name__} {name}"
        return found

    def pods(self, namespace: str = "ai-demo") -> list[Pod]:
        return [pod for pod in self.all(Pod, namespace) if active(pod)]

    def images(self) -> list[str]:
        """The images of the active pods that are ready."""
        return sorted(pod.spec.containers[0].image or "" for pod in self.pods() if pod.spec and ready(pod))

    def events(self, reason: str) -> list[str]:
        return sorted(event.message or "" for event in self.all(Event) if event.reason == reason)

    async def until(self, condition: Callable[[], object], seconds: float = 10) -> None:
        """Wait for a condition on the caches; the deadline's error tells what there is instead."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"never came true; there is {self._summary()}") from None

    def watch_numbers(self) -> None:
        """From now on, note the most pods and the fewest ready ones at any moment."""

        def note(_: object) -> None:
            pods = self.pods()
            count = sum(map(ready, pods))
            self.most_pods = max(self.most_pods, len(pods))
            self.fewest_ready = count if self.fewest_ready is None else min(self.fewest_ready, count)

        self.manager.caches.of(Pod).listen(note)

    async def silence(self) -> None:
        """Wait until ten marks stand in the store one after the other, with no write of a controller between them."""
        last, row = 0, 0
        for number in range(500):
            mark = await self.client.create(
                ConfigMap(metadata=ObjectMeta(generateName=f"mark-{number}-", namespace="ai-demo"))
            )
            await self.until(partial(self.find, ConfigMap, name_of(mark)))
            version = int(meta(mark).resourceVersion or 0)
            row = row + 1 if version == last + 1 else 0
            last = version
            if row == 10:
                return
        raise AssertionError("the controllers never come to rest")

    async def create(self, *items: Any) -> None:
        for item in items:
            await self.client.create(_new(item))

    async def patch(self, item: Any, body: dict[str, Any]) -> None:
        namespace = meta(item).namespace
        await self.client.patch(type(item), name_of(item), body, namespace=namespace, patch_type=PatchType.MERGE)

    async def set_image(self, item: Any, image: str) -> None:
        patch = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}
        await self.client.patch(type(item), name_of(item), patch, namespace=meta(item).namespace)

    def _summary(self) -> str:
        caches = {cache: [name_of(item) for item in cache] for cache in self.manager.caches.all()}
        named = {type(next(iter(cache))).__name__: names for cache, names in caches.items() if names}
        named.pop("Event", None)
        return str(named)


class PretendedNode:
    """Runs nothing, and says it does."""

    def __init__(self, manager: Manager, client: AsyncClient) -> None:
        self._client = client
        self._pods = manager.caches.of(Pod)
        self._addresses = itertools.count(1)
        manager.add(Controller("pretended-node", self.reconcile)).watch(self._pods)

    async def reconcile(self, key: Key) -> Again | None:
        pod = self._pods.get(*key)
        if pod is None or pod.spec is None or not pod.spec.nodeName:
            return None
        if deleting(pod):
            await self._client.delete(Pod, key.name, namespace=key.namespace, grace_period=0)
        elif pod.status is None or not pod.status.podIP:
            up = "broken" not in (pod.spec.containers[0].image or "")
            now = timestamp(SystemClock().now())
            found = {
                "phase": "Running",
                "startTime": now,
                "podIP": f"127.1.0.{next(self._addresses)}",
                "conditions": [{"type": "Ready", "status": str(up), "lastTransitionTime": now}],
            }
            await self._client.patch(Pod.Status, key.name, {"status": found}, namespace=key.namespace)
        return None


async def add_node(cluster: Cluster, allocatable: dict[str, str] | None = None, name: str = "skerry") -> None:
    """Register a node that is ready."""
    await cluster.client.create(Node(metadata=ObjectMeta(name=name)))
    found = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": allocatable or ROOM}
    await cluster.client.patch(Node.Status, name, {"status": found}, patch_type=PatchType.MERGE)


async def make_namespace(cluster: Cluster, name: str = "ai-demo") -> None:
    await cluster.client.create(Namespace(metadata=ObjectMeta(name=name)))


@asynccontextmanager
async def api(
    directory: Path, refused: Mapping[str, str] = MappingProxyType({}), usage: Usage | None = None
) -> AsyncIterator[AsyncClient]:
    """Serve the API over a store in the directory; `refused` forbids creations, by plural, as a quota would."""

    def quota(kind: Kind, new: Object, old: Object | None) -> None:
        if old is None and kind.plural in refused:
            raise status.forbidden(kind.group_resource, new["metadata"].get("name", ""), refused[kind.plural])

    store = Store.open(directory / "store.db")
    app = ApiServer(
        ApiServerParts(store, REGISTRY, SystemClock(), Tokens({}), _no_logs, (quota,), usage=usage or NoUsage())
    )
    transport = InProcessTransport(app, "admin")
    config = SingleConfig("test", Context(cluster="test", user="test"), ClusterConfig(server="http://api"), User())
    client = AsyncClient(config, transport=transport, trust_env=False)
    try:
        yield client
    finally:
        await transport.aclose()
        store.close()


@asynccontextmanager
async def running(client: AsyncClient) -> AsyncIterator[Cluster]:
    """Run all controllers, with caches of their own, until the end of the block."""
    cluster = Cluster(client)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(cluster.manager.run())
        for cache in cluster.manager.caches.all():
            await cache.synced()
        try:
            yield cluster
        finally:
            task.cancel()


def _new(item: Any) -> Any:
    """Take off what only the server may set."""
    metadata = msgspec.structs.replace(meta(item), uid=None, resourceVersion=None, creationTimestamp=None)
    return msgspec.structs.replace(item, metadata=metadata)


async def _no_logs(_namespace: str, name: str, _query: dict[str, str]) -> AsyncIterator[bytes]:
    raise status.not_found("pods", name)
