"""The composition root: builds every room and runs them in one task group.

Order matters in three places only, and says so: the port is bound before anything is started (a busy port must end
`skerry up` at once), clients are answered when the API says nothing that was true in an earlier life only, and the
daemon's facts are written when a client can use what they say.
"""

import asyncio
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
import msgspec
from lightkube import AsyncClient
from lightkube.config.kubeconfig import SingleConfig
from lightkube.config.models import Cluster, Context, User

from skerry import manifests, operator
from skerry.api import crd
from skerry.api.coordination import NODE_LEASES
from skerry.api.crd import native
from skerry.api.kinds import REGISTRY
from skerry.api.registry import Registry
from skerry.api.route import ROUTE
from skerry.cluster import controllers
from skerry.cluster.apiserver.access import bootstrap, keys
from skerry.cluster.apiserver.app import ApiServer, ApiServerParts
from skerry.cluster.apiserver.auth import Tokens, token_hash
from skerry.cluster.apiserver.documents import KUBERNETES_VERSION
from skerry.cluster.apiserver.transport import InProcessTransport
from skerry.cluster.controllers.route import assign_host
from skerry.cluster.gateway.process import GatewayFailed, GatewayProcess
from skerry.cluster.gateway.publisher import Publisher
from skerry.cluster.node.agent import NodeAgent, NodeConfig
from skerry.cluster.store import Store
from skerry.daemon import certificates
from skerry.daemon.certificate_renewal import Certificates
from skerry.daemon.config import Config
from skerry.daemon.first_sight import FirstSight
from skerry.daemon.health import note_start
from skerry.daemon.https import HttpsServer, PortBusy, bind
from skerry.daemon.lock import DaemonFacts
from skerry.daemon.manifests import ManifestApplier
from skerry.daemon.node_seams import NodeSeams
from skerry.daemon.paths import Paths
from skerry.daemon.reserve import Reserve
from skerry.daemon.stores import StoreRoom
from skerry.images.credentials import auth_files
from skerry.images.provider import ImageProvider, RegistrySettings
from skerry.images.store import ImageStore
from skerry.kit import files
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.log import logger
from skerry.kit.processes import identify
from skerry.reconcile import Caches, Manager

log = logger(__name__)

ADMIN: Final = certificates.ADMIN
OPERATOR_NAMESPACE: Final = "redhat-ods-applications"
PACKAGED: Final = manifests.packaged()
_SHUTDOWN_SECONDS: Final = 45.0


@dataclass(frozen=True)
class _Rooms:
    store: Store
    client: AsyncClient
    server: HttpsServer
    registry: Registry
    transport: InProcessTransport
    manager: Manager
    node: NodeAgent
    gateway: GatewayProcess


class Platform:
    """Everything that one daemon runs."""

    def __init__(self, config: Config, paths: Paths, clock: Clock | None = None) -> None:
        self._config = config
        self._paths = paths
        self._clock = clock or SystemClock()
        self._certificates = Certificates(config.api_server, paths.pki, self._clock)
        self._reserve = Reserve(paths.state / "reserve")
        self._store_room = StoreRoom(paths, config.node.hostname_override, self._clock)

    async def run(self, ready: Callable[[DaemonFacts], None], stop: asyncio.Event) -> None:
        """Run until `stop` is set, then end the pods and the gateway too.

        Raises `PortBusy`, `StoreFailed`, `OSError` when the platform cannot start.
        """
        self._make_directories()
        api = self._config.api_server
        listening = bind(api.listen_address, api.port, "apiServer.port")
        gateway = self._gateway()
        try:
            await gateway.check_address()
        except GatewayFailed as error:
            raise PortBusy(f"{error} with --set ingress.ports.http=PORT") from error
        pki = await self._certificates.ensure()
        store = await self._store_room.open()
        try:
            await self._run_rooms(self._build(store, pki, listening, gateway), ready, stop)
        finally:
            store.close()
            self._paths.daemon_facts.unlink(missing_ok=True)

    def _build(
        self, store: Store, pki: certificates.Pki, listening: socket.socket, gateway: GatewayProcess
    ) -> "_Rooms":
        seams = NodeSeams()
        app = self._api_server(store, pki, seams)
        server = HttpsServer(app, listening, pki.server_certificate, pki.server_key, pki.ca_certificate)
        transport = InProcessTransport(app, ADMIN)
        client = _client(transport)
        caches = Caches(client, self._clock)
        app.health.add("informer-sync", caches.unsynced, live=False)
        manager = Manager(caches, self._clock)
        node = self._node(client, caches, seams, server.port)
        self._add_controllers(manager, client, gateway)
        return _Rooms(store, client, server, app.registry, transport, manager, node, gateway)

    def _make_directories(self) -> None:
        for directory in (self._paths.state, self._paths.run, self._paths.log, self._paths.store.parent):
            files.private_directory(directory)
        self._reserve.keep()

    def _api_server(self, store: Store, pki: certificates.Pki, seams: NodeSeams) -> ApiServer:
        tokens = Tokens({token_hash(pki.admin_token.read_text()): ADMIN})
        apps_domain = self._config.apps_domain

        def route_host(kind: object, new: dict[str, object], old: object) -> None:
            if getattr(kind, "group_resource", "") == ROUTE.group_resource and old is None:
                assign_host(new, apps_domain)

        parts = ApiServerParts(
            store,
            REGISTRY,
            self._clock,
            tokens,
            seams.logs,
            hooks=(route_host,),
            node=seams.streams,
            keys=keys.load(pki.token_keys, self._clock.now()),
            usage=seams.usage,
            heartbeat=seams.heartbeat,
        )
        return ApiServer(parts)

    def _gateway(self) -> GatewayProcess:
        ingress = self._config.ingress
        return GatewayProcess(
            run_dir=self._paths.run / "gateway",
            log_dir=self._paths.log,
            listen=f"{ingress.listen_address}:{ingress.ports.http}",
        )

    async def _run_rooms(self, rooms: "_Rooms", ready: Callable[[DaemonFacts], None], stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            running = group.create_task(self._keep_running(rooms, ready))
            await stop.wait()
            log.info("stopping", at_most_seconds=_SHUTDOWN_SECONDS)
            async with asyncio.timeout(_SHUTDOWN_SECONDS):
                await rooms.gateway.stop()
                await rooms.node.stop_all()
            running.cancel()

    async def _keep_running(self, rooms: "_Rooms", ready: Callable[[DaemonFacts], None]) -> None:
        async with asyncio.TaskGroup() as group:
            await self._first_objects(rooms.transport)
            group.create_task(rooms.manager.run())  # fills its caches while the gateway starts
            await rooms.gateway.ensure()
            group.create_task(rooms.gateway.run())
            group.create_task(rooms.node.run())
            group.create_task(self._manifests(rooms.transport, rooms.registry))
            group.create_task(self._store_room.run(rooms.store, rooms.client))
            await self._first_sight(rooms)
            group.create_task(rooms.server.run())
            await rooms.server.started()
            group.create_task(self._certificates.keep(rooms.server, lambda: self._write_kubeconfig(rooms)))
            facts = self._facts(rooms)
            self._write_kubeconfig(rooms)
            self._reserve.replace(self._paths.daemon_facts, msgspec.json.encode(facts))
            note_start(self._paths.health)
            ready(facts)

    async def _first_sight(self, rooms: "_Rooms") -> None:
        # Not closed: that would end every request that goes through the transport, the controllers' watches too.
        await FirstSight(_http(rooms.transport), rooms.node.looked, self._clock).wait()

    def _node(self, client: AsyncClient, caches: Caches, seams: NodeSeams, api_port: int) -> NodeAgent:
        registries = RegistrySettings(
            auth_files=auth_files(os.environ), insecure_hosts=frozenset(self._config.images.insecure_registries)
        )
        images = ImageProvider(ImageStore(self._paths.images), registries, self._clock)
        config = NodeConfig(
            name=self._config.node.hostname_override,
            state=self._paths.state / "node",
            run=self._paths.run / "node",
            log=self._paths.log / "pods",
            images_d=(self._paths.etc / "images.d",),
            api_address=(_reachable(self._config.api_server.listen_address), api_port),
        )
        agent = NodeAgent(client, caches, self._clock, config, images)
        seams.fill(agent)
        return agent

    def _add_controllers(self, manager: Manager, client: AsyncClient, gateway: GatewayProcess) -> None:
        settings = controllers.ControllerSettings(
            apps_domain=self._config.apps_domain,
            ca_certificate=certificates.Pki(self._paths.pki).ca_certificate.read_text(),
        )
        controllers.add_all(manager, client, self._clock, settings)
        operator.controllers(
            manager, client, self._clock, namespace=OPERATOR_NAMESPACE, server_version=KUBERNETES_VERSION
        )
        Publisher(manager, gateway.table_file, gateway.notify, self._clock)

    async def _first_objects(self, transport: InProcessTransport) -> None:
        """Make what a cluster has from the beginning; whatever is there already stays as it is."""
        async with _http(transport) as http:
            await bootstrap.ensure(http)
            for name in ("default", "kube-system", NODE_LEASES):
                await http.post("/api/v1/namespaces", json={"metadata": {"name": name}})
            for definition in native.definitions(REGISTRY):
                await http.post(f"/apis/{crd.GROUP}/{crd.VERSION}/{crd.PLURAL}", json=definition)

    async def _manifests(self, transport: InProcessTransport, registry: Registry) -> None:
        release = manifests.load_release(PACKAGED / "release.json")
        applier = ManifestApplier(
            _http(transport), registry, lambda directory: manifests.render(directory, release), self._clock
        )
        await applier.run(self._manifest_directories())
        log.info("manifests applied", count=applier.progress.applied)

    def _manifest_directories(self) -> list[Path]:
        configured = self._config.manifests.kustomize_paths
        patterns = configured if configured is not None else [f"{PACKAGED}/*", f"{self._paths.etc}/manifests.d/*"]
        found: list[Path] = []
        for pattern in patterns:
            paths = sorted(Path("/").glob(pattern.lstrip("/")))
            found += [path for path in paths if (path / "kustomization.yaml").exists()]
        return found

    def _write_kubeconfig(self, rooms: "_Rooms") -> None:
        content = certificates.kubeconfig(certificates.Pki(self._paths.pki), self._api_url(rooms))
        path = self._paths.kubeconfig
        if not path.exists() or path.read_bytes() != content:
            self._reserve.replace(path, content)

    def _api_url(self, rooms: "_Rooms") -> str:
        return f"https://{_reachable(self._config.api_server.listen_address)}:{rooms.server.port}"

    def _facts(self, rooms: "_Rooms") -> DaemonFacts:
        me = identify(os.getpid())
        return DaemonFacts(
            pid=me.pid,
            start_time=me.start_time,
            boot_id=me.boot_id,
            api_url=self._api_url(rooms),
            gateway_url=f"http://{_reachable(self._config.ingress.listen_address)}:{rooms.gateway.port}",
            kubeconfig=str(self._paths.kubeconfig),
            apps_domain=self._config.apps_domain,
        )


def _client(transport: InProcessTransport) -> AsyncClient:
    cluster = Cluster(server="http://in-process")
    config = SingleConfig("in-process", Context(cluster="in-process", user="admin"), cluster, User())
    return AsyncClient(config, transport=transport, trust_env=False, field_manager="skerry")


def _http(transport: InProcessTransport) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=transport, base_url="http://in-process", timeout=10.0)


def _reachable(address: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(address, address)  # noqa: S104
