"""The loop of the autoscalers: every fifteen seconds, and at once when a spec changes."""

from typing import Any, Final

from lightkube import AsyncClient
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.core_v1 import Pod

from skerry.api.metrics import PodMetricsResource
from skerry.cluster.controllers.autoscaling import plan as planning
from skerry.cluster.controllers.autoscaling.pace import History
from skerry.cluster.controllers.autoscaling.plan import Plan
from skerry.cluster.controllers.autoscaling.proposal import World, tolerance_of
from skerry.cluster.controllers.autoscaling.samples import samples_of
from skerry.cluster.controllers.autoscaling.scales import NoScale, Scale, Scales
from skerry.cluster.controllers.ownership import deleting, labels_of, meta
from skerry.cluster.controllers.writes import patch_status
from skerry.kit.clock import Clock
from skerry.kit.log import logger
from skerry.machinery.selectors import SelectorError, parse_labels
from skerry.reconcile import Again, Cache, Change, Controller, Key, Manager, Recorder
from skerry.reconcile.controller import own_key

log = logger(__name__)

_PERIOD: Final = 15.0


class AutoscalerController:
    """Keeps sizes."""

    def __init__(self, manager: Manager, client: AsyncClient, clock: Clock) -> None:
        self._client: Any = client
        self._clock = clock
        self._events = Recorder(client, clock, "horizontal-pod-autoscaler")
        self._scales = Scales(client)
        self._autoscalers: Cache[HorizontalPodAutoscaler] = manager.caches.of(HorizontalPodAutoscaler)
        self._pods: Cache[Pod] = manager.caches.of(Pod)
        self._histories: dict[str, History] = {}
        self._controller = Controller("autoscaler", self.reconcile, workers=1)
        # Its own status is no reason to look again.
        self._autoscalers.listen(self._changed)
        manager.add(self._controller)

    async def reconcile(self, key: Key) -> Again | None:
        """Take one step for one autoscaler."""
        hpa = self._autoscalers.get(key.namespace, key.name)
        if hpa is None or deleting(hpa):
            return None
        uid = meta(hpa).uid or ""
        history = self._histories.get(uid, History())
        try:
            scale = await self._scales.get(key.namespace, hpa.spec.scaleTargetRef)
        except NoScale as error:
            planned = planning.no_scale(hpa, history, str(error), self._clock.now())
        else:
            planned = await self._step(hpa, scale, history)
        self._histories[uid] = planned.history
        await patch_status(self._client, hpa, planned.status)
        for told in planned.told:
            record = self._events.normal if told.severity == "Normal" else self._events.warning
            await record(hpa, told.reason, told.message)
        return Again(_PERIOD)

    async def _step(self, hpa: HorizontalPodAutoscaler, scale: Scale, history: History) -> Plan:
        now = self._clock.now()
        if not scale.selector:
            return planning.no_selector(hpa, scale.replicas, history, now)
        world = await self._world(hpa, scale)
        planned = planning.plan(hpa, world, history)
        if planned.rescale is None:
            return planned
        try:
            await self._scales.put(scale, planned.rescale)
        except NoScale as error:
            return planning.not_scaled(hpa, planned, scale.replicas, str(error), now)
        names = {"namespace": meta(hpa).namespace, "autoscaler": meta(hpa).name}
        log.info("rescaled", **names, before=scale.replicas, after=planned.rescale, why=planned.why)
        return planning.scaled(planned, scale.replicas, now)

    async def _world(self, hpa: HorizontalPodAutoscaler, scale: Scale) -> World:
        namespace = meta(hpa).namespace or ""
        try:
            selector = parse_labels(scale.selector)
            pods = [pod for pod in self._pods.in_namespace(namespace) if selector.matches(labels_of(pod))]
        except SelectorError:
            pods = []
        listed = [item async for item in self._client.list(PodMetricsResource, namespace=namespace)]
        return World(scale.replicas, pods, samples_of(listed), tolerance_of(hpa.spec.behavior), self._clock.now())

    def _changed(self, change: Change[HorizontalPodAutoscaler]) -> None:
        old, new = change.old, change.new
        if new is None:
            self._histories.pop(meta(change.object).uid or "", None)
        elif old is None or meta(old).generation != meta(new).generation or meta(old).uid != meta(new).uid:
            for key in own_key(new):
                self._controller.wake(key)
