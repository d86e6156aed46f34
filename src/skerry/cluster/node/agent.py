"""The node: follows the pods that are bound to it and gives each a worker.

    run()   make the directories → find what the last daemon left → wait for the first lists → a worker for every pod
            that is here or should be, found ones first → follow changes

A pod that the API does not know any more is ended and removed. A worker that crashes is made anew from the disk, as
after a restart of the daemon, so that one strange pod cannot stop the others.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from lightkube import AsyncClient
from lightkube.models.core_v1 import Container as ContainerModel
from lightkube.models.core_v1 import PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import ConfigMap, Node, PersistentVolumeClaim, Pod, Secret

from skerry.cluster.node import hardening, node_object
from skerry.cluster.node.addresses import Addresses
from skerry.cluster.node.cgroups import Cgroups
from skerry.cluster.node.claims import ClaimData
from skerry.cluster.node.container_start import Starter
from skerry.cluster.node.containers import Container, find
from skerry.cluster.node.context import NodeContext
from skerry.cluster.node.layout import Directories, PodRecord
from skerry.cluster.node.logs import LogOptions, LogReader
from skerry.cluster.node.native import NativeTable
from skerry.cluster.node.node_lease import NodeLease
from skerry.cluster.node.node_object import NodeObject
from skerry.cluster.node.pod_streams import PodStreams
from skerry.cluster.node.pod_users import PodUsers
from skerry.cluster.node.pod_worker import PodWorker
from skerry.cluster.node.reporting import Reporter
from skerry.cluster.node.runtime import Settings
from skerry.cluster.node.usage import Measured, Meters, Running, UsageMeter, of_machine, of_processes
from skerry.cluster.node.volumes import ImageProvider
from skerry.kit.clock import Clock
from skerry.kit.log import logger
from skerry.reconcile import Caches, Change, Recorder

log = logger(__name__)

_STOP_GRACE: Final = timedelta(seconds=30)
_STOP_SECONDS: Final = 40.0
_LOOK_SECONDS: Final = 0.02
_AFTER_CRASH_SECONDS: Final = 1.0
_TOKEN_LOOK_SECONDS: Final = 30.0


@dataclass(frozen=True)
class NodeConfig:
    """Where the node keeps things and what it is called; `images_d` are the administrator's native-image tables."""

    name: str
    state: Path
    run: Path
    log: Path
    images_d: tuple[Path, ...] = ()
    host_ip: str = "127.0.0.1"
    api_address: tuple[str, int] | None = None  # where containers reach the API server
    most_pods: int = 250
    settings: Settings = field(default_factory=Settings)


class CachedObjects:
    """ConfigMaps and Secrets as the caches have them."""

    def __init__(self, caches: Caches) -> None:
        self._config_maps = caches.of(ConfigMap)
        self._secrets = caches.of(Secret)

    def config_map(self, namespace: str, name: str) -> ConfigMap | None:
        return self._config_maps.get(namespace, name)

    def secret(self, namespace: str, name: str) -> Secret | None:
        return self._secrets.get(namespace, name)


class NodeAgent:
    """What the kubelet is to a cluster."""

    def __init__(
        self, client: AsyncClient, caches: Caches, clock: Clock, config: NodeConfig, images: ImageProvider
    ) -> None:
        self._client = client
        self._clock = clock
        self._config = config
        self._images = images
        self._directories = Directories(config.state, config.run, config.log)
        self._objects = CachedObjects(caches)
        self._pods = caches.of(Pod)
        self._nodes = caches.of(Node)
        self._claims = caches.of(PersistentVolumeClaim)
        self._caches = (caches.of(ConfigMap), caches.of(Secret), self._pods, self._nodes, self._claims)
        self.lease = NodeLease(client, clock, config.name, self._nodes, caches.of(Lease))
        self._report = Reporter(Recorder(client, clock, "kubelet", config.name))
        self._workers: dict[str, PodWorker] = {}
        self._done: set[str] = set()  # finished with, and still seen until the API has removed them
        self._changes: asyncio.Queue[Change[Pod]] = asyncio.Queue()
        self._begun = asyncio.Event()
        self._stopping = False
        self._claim_data = ClaimData(client, self._claims, self._directories)
        self._cgroups = Cgroups([])  # until the machine has been looked at
        self.usage = UsageMeter(clock, config.name, self._containers_running, Meters(self._measured, of_machine))
        self._reader = LogReader(config.log, self._pods.get, self._running, clock)
        self.streams = PodStreams(self._directories, self._running_container)
        self._pods.listen(self._changes.put_nowait)
        caches.of(ConfigMap).listen(lambda change: self._object_changed("ConfigMap", change))
        caches.of(Secret).listen(lambda change: self._object_changed("Secret", change))

    async def run(self) -> None:
        """Run until cancelled; the containers go on without us."""
        context, records = await asyncio.to_thread(self._prepare)
        for cache in self._caches:
            await cache.synced()
        machine = await asyncio.to_thread(node_object.look, self._config.state, self._config.most_pods)
        node = NodeObject(
            self._client, self._clock, self._config.name, self._config.host_ip, machine, self._config.state
        )
        self._nodes.listen(node.changed)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report.run())
            group.create_task(node.run())
            group.create_task(self.lease.run())
            group.create_task(self._renew_tokens())
            group.create_task(self._claim_data.run())
            group.create_task(self.usage.run(self._config.settings.usage_seconds))
            self._begin_all(group, context, records)
            self._begun.set()
            holders = frozenset(self._workers)
            group.create_task(self._images.release_all_but(holders))
            while True:
                self._changed(group, context, await self._changes.get())

    async def looked(self) -> None:
        """Return once every pod that was here at the start has the status that its processes give it."""
        await self._begun.wait()
        for worker in list(self._workers.values()):
            await worker.looked.wait()

    async def stop_all(self) -> None:
        """End all containers, gracefully, for the end of the platform; their pods stay in the API."""
        self._stopping = True
        for worker in self._workers.values():
            worker.close(_STOP_GRACE)
        try:
            async with asyncio.timeout(_STOP_SECONDS):
                while not all(worker.idle for worker in self._workers.values()):
                    await self._clock.sleep(_LOOK_SECONDS)
        except TimeoutError:
            busy = [worker.uid for worker in self._workers.values() if not worker.idle]
            log.warning("containers do not end", pods=busy)

    async def read_logs(self, namespace: str, pod: str, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        """Answer `pods/log`; raises `StatusError` before the first line."""
        options = LogOptions.from_query(query, pod)
        return await self._reader.read_logs(namespace, pod, query.get("container"), options)

    async def _renew_tokens(self) -> None:
        """Look at the pods' tokens now and then, by the wall clock that they go by."""
        while True:
            await self._clock.sleep(_TOKEN_LOOK_SECONDS)
            for worker in self._workers.values():
                worker.renew_tokens()

    # Beginning

    def _prepare(self) -> tuple[NodeContext, dict[str, PodRecord]]:
        """Make directories and look at the machine; blocks."""
        self._directories.make()
        records = {record.uid: record for record in self._directories.records()}
        isolation = hardening.mount_namespace_available()
        why = hardening.why_no_pod_users()
        if why and os.geteuid() == 0:
            log.warning("pods run as root without capabilities", why=why)
        cgroups = self._cgroups = Cgroups.detect()
        log.info("node prepared", isolation=isolation.kind, limits=sorted(cgroups.controllers), found=len(records))
        machine = node_object.look(self._config.state, self._config.most_pods)
        context = NodeContext(
            client=self._client,
            clock=self._clock,
            settings=self._config.settings,
            directories=self._directories,
            images=self._images,
            starter=Starter(
                NativeTable(self._config.images_d), cgroups, isolation, self._objects, self._config.api_address
            ),
            addresses=Addresses((record.uid, record.ip) for record in records.values()),
            users=PodUsers(self._config.state / "users.json", enabled=not why),
            report=self._report,
            node_name=self._config.name,
            host_ip=self._config.host_ip,
            allocatable=machine.resources(),
            pull_secrets=self._pull_secrets,
            claim_exists=lambda namespace, name: self._claims.get(namespace, name) is not None,
        )
        return context, records

    def _begin_all(self, group: asyncio.TaskGroup, context: NodeContext, records: dict[str, PodRecord]) -> None:
        left = dict(records)
        for pod in self._pods:
            if pod.metadata is not None and self._is_ours(pod):
                self._begin(group, context, pod, left.pop(str(pod.metadata.uid), None))
        for record in left.values():
            worker = self._begin(group, context, _remembered(self._directories, record), record)
            worker.vanish()

    def _begin(self, group: asyncio.TaskGroup, context: NodeContext, pod: Pod, record: PodRecord | None) -> PodWorker:
        worker = PodWorker(context, pod, record)
        self._workers[worker.uid] = worker
        group.create_task(self._look_after(worker, context, pod))
        return worker

    async def _look_after(self, worker: PodWorker, context: NodeContext, pod: Pod) -> None:
        while True:
            try:
                await worker.run()
            except Exception:
                log.exception("pod worker crashed", pod=pod.metadata.name if pod.metadata else "")
                await self._clock.sleep(_AFTER_CRASH_SECONDS)
                worker = self._made_anew(context, pod)
            else:
                self._workers.pop(worker.uid, None)
                if self._still_there(pod):
                    self._done.add(worker.uid)
                return

    def _made_anew(self, context: NodeContext, pod: Pod) -> PodWorker:
        assert pod.metadata is not None
        uid = str(pod.metadata.uid)
        records = {record.uid: record for record in self._directories.records()}
        present = self._pods.get(str(pod.metadata.namespace), str(pod.metadata.name))
        alive = present is not None and present.metadata is not None and present.metadata.uid == uid
        worker = PodWorker(context, present if alive and present is not None else pod, records.get(uid))
        self._workers[uid] = worker
        if not alive:
            worker.vanish()
        return worker

    # Changes

    def _changed(self, group: asyncio.TaskGroup, context: NodeContext, change: Change[Pod]) -> None:
        old, new = change.old, change.new
        old_uid = str(old.metadata.uid) if old is not None and old.metadata is not None else ""
        if new is None or (old_uid and new.metadata is not None and new.metadata.uid != old_uid):
            self._done.discard(old_uid)
            if old_uid in self._workers:
                self._workers[old_uid].vanish()
        if new is None or new.metadata is None or not self._is_ours(new):
            return
        uid = str(new.metadata.uid)
        if uid in self._workers:
            self._workers[uid].update(new)
        elif uid not in self._done and not self._stopping and self._still_there(new):
            self._begin(group, context, new, None)

    def _still_there(self, pod: Pod) -> bool:
        """Tell whether a queued change is still the truth: the pod may have been removed meanwhile."""
        assert pod.metadata is not None
        present = self._pods.get(str(pod.metadata.namespace), str(pod.metadata.name))
        return present is not None and present.metadata is not None and present.metadata.uid == pod.metadata.uid

    def _object_changed(self, kind: str, change: Change[Any]) -> None:
        metadata = change.object.metadata
        for worker in self._workers.values():
            if worker.namespace == metadata.namespace:
                worker.objects_changed(kind, metadata.name)

    def _is_ours(self, pod: Pod) -> bool:
        return pod.spec is not None and pod.spec.nodeName == self._config.name

    def _running(self, uid: str, container: str, attempt: int) -> "asyncio.Future[Any] | None":
        found = self._running_container(uid, container)
        return found[0].exited if found is not None and found[1] == attempt else None

    def _running_container(self, uid: str, container: str) -> tuple[Container, int] | None:
        worker = self._workers.get(uid)
        return worker.running(container) if worker is not None else None

    def _containers_running(self) -> list[Running]:
        return [running for worker in self._workers.values() for running in worker.containers_running()]

    def _measured(self, running: Running) -> Measured | None:
        cpu, memory = self._cgroups.usage(running.group)
        if cpu is not None and memory is not None:
            return Measured(cpu, memory)
        found = of_processes(running.pid)
        if found is None:
            return None
        return Measured(found.cpu if cpu is None else cpu, found.memory if memory is None else memory)

    def _pull_secrets(self, pod: Any) -> list[Mapping[str, Any]]:
        namespace = pod.metadata.namespace
        found = [self._objects.secret(namespace, each.name) for each in pod.spec.imagePullSecrets or []]
        return [msgspec.to_builtins(secret) for secret in found if secret is not None]


async def stop_leftovers(state: Path, run: Path, log_directory: Path, grace_seconds: float) -> int:
    """End the containers that a dead daemon has left, for `skerry down`; return how many there were."""
    directories = Directories(state, run, log_directory)
    if not (state / "pods").is_dir():
        return 0
    running = []
    for record in directories.records():
        pod = directories.of(record.namespace, record.name, record.uid)
        for name in _container_names(directories, record):
            for attempt in pod.attempts(name)[-1:]:
                found = await find(pod.attempt(name, attempt))
                if isinstance(found, Container):
                    running.append(found)
    for container in running:
        container.terminate()
    ends = {container.exited for container in running}
    if ends:
        _, late = await asyncio.wait(ends, timeout=grace_seconds)
        for container in running:
            if container.exited in late:
                container.kill()
        await asyncio.wait(ends, timeout=_STOP_SECONDS)
    return len(running)


def _container_names(directories: Directories, record: PodRecord) -> list[str]:
    base = directories.of(record.namespace, record.name, record.uid).state / "containers"
    return sorted(entry.name for entry in base.iterdir()) if base.is_dir() else []


def _remembered(directories: Directories, record: PodRecord) -> Pod:
    """Stand in for a pod that the API has forgotten: enough to end its containers."""
    names = _container_names(directories, record)
    return Pod(
        metadata=ObjectMeta(name=record.name, namespace=record.namespace, uid=record.uid),
        spec=PodSpec(containers=[ContainerModel(name=name) for name in names]),
    )
