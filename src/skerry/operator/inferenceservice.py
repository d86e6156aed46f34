"""The InferenceService controller: sees, plans, applies. The thinking is in `plan`.

Woken by InferenceServices, by what they own, by pods with their label, by runtimes (a service that waits for a runtime
goes on at the moment when it appears), by Routes of their name and by the ConfigMap. It talks to a Kubernetes API and
knows nothing else, so the embedded API server and a real cluster are the same to it.
"""

from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Any, Final

from lightkube import ApiError, AsyncClient
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.core_v1 import ConfigMap, Pod, Service
from lightkube.types import PatchType

from skerry.api.route_types import Route
from skerry.api.serving_types import ClusterServingRuntime, InferenceService, ServingRuntime
from skerry.api.wellknown import APP_LABEL, INFERENCESERVICE_LABEL
from skerry.kit.clock import Clock
from skerry.kit.log import logger
from skerry.operator.config import CONFIG_NAME, Config, parse
from skerry.operator.events import COMPONENT, ConfigInvalid, reconcile_failed
from skerry.operator.model_source import ServerVersion
from skerry.operator.plan import Plan, Seen, Step, plan, plan_failure
from skerry.operator.runtime_selection import Runtime, runtime_of
from skerry.operator.traffic import RouteSeen
from skerry.operator.workload import app_label, predictor_name
from skerry.reconcile import Again, Change, Controller, Key, Manager, Recorder
from skerry.reconcile.controller import owner_key

log = logger(__name__)

FINALIZER: Final = "inferenceservice.finalizers"
_KINDS: Final[dict[str, Any]] = {
    "Deployment": Deployment,
    "HorizontalPodAutoscaler": HorizontalPodAutoscaler,
    "Service": Service,
}
# Answers that mean: what we asked for is wrong. All others pass, and are tried again.
_REFUSALS: Final = frozenset({400, 403, 422})


def controllers(
    manager: Manager, client: AsyncClient, clock: Clock, *, namespace: str, server_version: ServerVersion
) -> None:
    """Add the operator's controllers to the manager. `namespace` is where `inferenceservice-config` is."""
    reconciler = InferenceServiceReconciler(manager, client, clock, namespace=namespace, server_version=server_version)
    controller = Controller("inferenceservice", reconciler.reconcile)
    reconciler.watch(controller)
    manager.add(controller)


class InferenceServiceReconciler:
    """Brings InferenceServices about."""

    def __init__(
        self, manager: Manager, client: AsyncClient, clock: Clock, *, namespace: str, server_version: ServerVersion
    ) -> None:
        self._client = client
        self._clock = clock
        self._namespace = namespace
        self._server = server_version
        caches = manager.caches
        self._services_served = caches.of(InferenceService)
        self._deployments = caches.of(Deployment)
        self._services = caches.of(Service)
        self._autoscalers = caches.of(HorizontalPodAutoscaler)
        self._pods = caches.of(Pod)
        self._runtimes = caches.of(ServingRuntime)
        self._cluster_runtimes = caches.of(ClusterServingRuntime, optional=True)
        self._config_maps = caches.of(ConfigMap)
        self._routes = caches.of(Route, optional=True)
        self._recorder = Recorder(client, clock, COMPONENT)
        self.findings: Counter[str] = Counter()  # reason → how often it was told, for the metrics

    def watch(self, controller: Controller) -> None:
        """Let the controller be woken by everything that a plan depends on."""
        controller.watch(self._services_served)
        controller.watch(self._deployments, owner_key("InferenceService"))
        controller.watch(self._services, owner_key("InferenceService"))
        self._autoscalers.listen(partial(_autoscaler_changed, controller))
        controller.watch(self._pods, _by_label)
        controller.watch(self._runtimes, self._by_runtime)
        controller.watch(self._cluster_runtimes, self._by_runtime)
        controller.watch(self._config_maps, self._by_config)
        controller.watch(self._routes, _by_name)

    async def reconcile(self, key: Key) -> Again | None:
        """Take one step for one InferenceService."""
        isvc = await self._read(key)
        if isvc is None or isvc.metadata is None:
            return None
        if isvc.metadata.deletionTimestamp is not None:
            # What it owns is removed by the garbage collector.
            await self._set_finalizer(isvc, present=False)
            return None
        await self._set_finalizer(isvc, present=True)
        seen = self._see(key, isvc)
        planned = plan(seen, self._clock.now())
        try:
            for step in planned.steps:
                await self._take(step, key.namespace)
        except ApiError as error:
            if error.status.code not in _REFUSALS:
                raise
            finding = reconcile_failed(f"cannot carry out the spec: {error.status.message}")
            await self._tell(seen, plan_failure(seen, finding, self._clock.now()))
            raise
        await self._tell(seen, planned)
        return None

    async def _read(self, key: Key) -> InferenceService | None:
        # Asked of the API and not of the cache: a status that is a moment old would be written, and told of, twice.
        try:
            return await self._client.get(InferenceService, key.name, namespace=key.namespace)
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise

    async def _set_finalizer(self, isvc: InferenceService, *, present: bool) -> None:
        meta = isvc.metadata
        assert meta is not None
        finalizers = meta.finalizers or []
        if (FINALIZER in finalizers) == present:
            return
        wanted = [*finalizers, FINALIZER] if present else [item for item in finalizers if item != FINALIZER]
        # The version makes the API refuse when somebody else changed the list meanwhile.
        patch = {"metadata": {"finalizers": wanted, "resourceVersion": meta.resourceVersion}}
        assert meta.name is not None
        await self._client.patch(
            InferenceService, meta.name, patch, namespace=meta.namespace, patch_type=PatchType.MERGE
        )

    def _see(self, key: Key, isvc: InferenceService) -> Seen:
        name = predictor_name(key.name)
        app = app_label(key.name)
        route = self._routes.get(key.namespace, key.name)
        return Seen(
            isvc=isvc,
            config=self._config(),
            runtimes=[runtime_of(item) for item in self._all_runtimes()],
            deployment=self._deployments.get(key.namespace, name),
            service=self._services.get(key.namespace, name),
            autoscaler=self._autoscalers.get(key.namespace, name),
            pods=[
                pod
                for pod in self._pods.in_namespace(key.namespace)
                if pod.metadata and (pod.metadata.labels or {}).get(APP_LABEL) == app
            ],
            route=_route_seen(route) if route is not None else None,
            server=self._server,
        )

    def _config(self) -> Config | ConfigInvalid:
        found = self._config_maps.get(self._namespace, CONFIG_NAME)
        try:
            return parse(self._namespace, found.data if found is not None else None)
        except ConfigInvalid as invalid:
            return invalid

    def _all_runtimes(self) -> Iterable[ServingRuntime | ClusterServingRuntime]:
        yield from self._runtimes
        yield from self._cluster_runtimes

    async def _take(self, step: Step, namespace: str) -> None:
        kind = _KINDS[step.kind]
        client: Any = self._client  # lightkube's overloads cannot follow a kind from a table
        if step.verb == "create":
            await client.create(kind.from_dict(step.body), namespace=namespace)
        elif step.verb == "patch":
            await client.patch(kind, step.name, step.body, namespace=namespace, patch_type=PatchType.MERGE)
        else:
            await self._delete(kind, step.name, namespace)
        log.info("workload changed", verb=step.verb, kind=step.kind, namespace=namespace, name=step.name)

    async def _delete(self, kind: Any, name: str, namespace: str) -> None:
        client: Any = self._client
        try:
            await client.delete(kind, name, namespace=namespace)
        except ApiError as error:
            if error.status.code != 404:
                raise

    async def _tell(self, seen: Seen, planned: Plan) -> None:
        """Write the status, then the events that say what is new in it."""
        meta = seen.meta
        assert meta.name is not None
        if planned.status:
            await self._client.patch(
                InferenceService.Status,
                meta.name,
                {"status": planned.status},
                namespace=meta.namespace,
                patch_type=PatchType.MERGE,
            )
        for note in planned.events:
            self.findings[note.reason] += 1
            record = self._recorder.warning if note.severity == "Warning" else self._recorder.normal
            await record(seen.isvc, note.reason, note.message)

    # --- who is concerned by a change -------------------------------------------------------------------------------

    def _by_runtime(self, runtime: ServingRuntime | ClusterServingRuntime) -> list[Key]:
        """Services that name the runtime, and those that choose by themselves: it may be the one they wait for."""
        changed: Runtime = runtime_of(runtime)
        keys = []
        for isvc in self._services_served:
            meta, predictor = isvc.metadata, isvc.spec.predictor if isvc.spec else None
            if meta is None or predictor is None or (changed.namespace and changed.namespace != meta.namespace):
                continue
            named = predictor.model.runtime if predictor.model else None
            if named is None or named == changed.name:
                keys.append(Key(meta.namespace or "", meta.name or ""))
        return keys

    def _by_config(self, config_map: ConfigMap) -> list[Key]:
        meta = config_map.metadata
        if meta is None or (meta.namespace, meta.name) != (self._namespace, CONFIG_NAME):
            return []
        return [
            Key(isvc.metadata.namespace or "", isvc.metadata.name or "")
            for isvc in self._services_served
            if isvc.metadata is not None
        ]


def _autoscaler_changed(controller: Controller, change: Change[HorizontalPodAutoscaler]) -> None:
    """Wake for what somebody wants of an autoscaler; its status, which changes with every load, concerns nobody."""
    old, new = (item.metadata if item is not None else None for item in (change.old, change.new))
    if old is None or new is None or old.generation != new.generation or old.annotations != new.annotations:
        for key in owner_key("InferenceService")(change.object):
            controller.wake(key)


def _by_label(pod: Pod) -> list[Key]:
    labels = (pod.metadata.labels if pod.metadata else None) or {}
    name = labels.get(INFERENCESERVICE_LABEL)
    return [Key(pod.metadata.namespace or "", name)] if name and pod.metadata else []


def _by_name(route: Route) -> list[Key]:
    # A Route serves an InferenceService when it has its name. Other names find nothing, which costs one question.
    meta = route.metadata
    return [Key(meta.namespace or "", meta.name or "")] if meta is not None else []


def _route_seen(route: Route) -> RouteSeen:
    admissions = (route.status.ingress if route.status else None) or []
    admitted = [
        ingress
        for ingress in admissions
        if any(condition.type == "Admitted" and condition.status == "True" for condition in ingress.conditions or [])
    ]
    host = (admitted[0].host if admitted else None) or route.spec.host or ""
    return RouteSeen(host, route.spec.to.name, secure=route.spec.tls is not None, admitted=bool(admitted))
