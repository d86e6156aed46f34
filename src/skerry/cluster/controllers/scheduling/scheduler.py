"""The loop that puts pods on the node.

Pods are looked at one at a time, since each takes from what the next may have. A pod that has just been bound is
remembered until the cache shows it on its node, or two pods could be given the same free memory. A pod that does not
fit waits without any timer: it is looked at again when a node, a volume claim or another pod's hold on resources
changes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec
from lightkube import AsyncClient
from lightkube.models.core_v1 import ObjectReference, PodCondition
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node, PersistentVolumeClaim, Pod, PodBinding
from lightkube.types import PatchType

from skerry.api.wellknown import DEFAULT_SCHEDULER
from skerry.cluster.controllers import pods as pod_facts
from skerry.cluster.controllers.ownership import deleting, meta, name_of
from skerry.cluster.controllers.scheduling.demand import in_use
from skerry.cluster.controllers.scheduling.filters import Place, Refusal, ready, refusal, rejected, unschedulable
from skerry.cluster.controllers.writes import patch
from skerry.kit.clock import Clock, timestamp
from skerry.reconcile import Again, Cache, Change, Controller, Key, Manager, Recorder

_SCHEDULED: Final = "PodScheduled"


class Binding(PodBinding):
    """A binding whose answer can be read: it is a Status, without a target, and lightkube decodes it as a Binding."""

    target: ObjectReference | None = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Bind:
    """The pod goes to this node."""

    node: str


@dataclass(frozen=True)
class Wait:
    """The pod cannot run now."""

    reason: str
    message: str


def plan(pod: Pod, nodes: Sequence[Node], pods: Sequence[Pod], missing_claims: Sequence[str] = ()) -> Bind | Wait:
    """Find a place for the pod among nodes on which the `pods` run already."""
    spec = pod.spec
    assert spec is not None
    if spec.schedulingGates:
        return Wait("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")
    if missing_claims:
        return Wait("Unschedulable", rejected(f'persistentvolumeclaim "{missing_claims[0]}" not found', len(nodes)))
    refusals: list[Refusal] = []
    for node in nodes:
        used = in_use(each for each in pods if each.spec and each.spec.nodeName == name_of(node))
        found = refusal(spec, Place(node, used))
        if found is None:
            return Bind(name_of(node))
        refusals.append(found)
    return Wait("Unschedulable", unschedulable(refusals))


def claims_of(pod: Pod) -> list[str]:
    """Return the names of the volume claims that the pod uses."""
    volumes = (pod.spec.volumes if pod.spec else None) or []
    return [each.persistentVolumeClaim.claimName for each in volumes if each.persistentVolumeClaim is not None]


def pending(pod: Pod) -> bool:
    """Tell whether the pod waits for this scheduler."""
    spec = pod.spec
    if spec is None or spec.nodeName or deleting(pod) or pod_facts.finished(pod):
        return False
    return (spec.schedulerName or DEFAULT_SCHEDULER) == DEFAULT_SCHEDULER


class Scheduler:
    """Binds pending pods."""

    def __init__(self, manager: Manager, client: AsyncClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._events = Recorder(client, clock, DEFAULT_SCHEDULER)
        self._pods: Cache[Pod] = manager.caches.of(Pod)
        self._nodes: Cache[Node] = manager.caches.of(Node)
        self._claims: Cache[PersistentVolumeClaim] = manager.caches.of(PersistentVolumeClaim)
        self._bound: dict[str, tuple[Pod, str]] = {}
        self._controller = manager.add(Controller("scheduler", self.reconcile, workers=1))
        self._controller.watch(self._pods, lambda pod: [_key(pod)] if pending(pod) else [])
        self._pods.listen(self._pod_changed)
        self._nodes.listen(self._node_changed)
        self._claims.listen(lambda _: self._wake_pending())

    async def reconcile(self, key: Key) -> Again | None:
        """Bind the pod or say why not."""
        pod = self._pods.get(key.namespace, key.name)
        if pod is None or not pending(pod) or (meta(pod).uid or "") in self._bound:
            return None
        missing = [name for name in claims_of(pod) if self._claims.get(key.namespace, name) is None]
        decision = plan(pod, list(self._nodes), self._placed(), missing)
        match decision:
            case Bind(node):
                await self._bind(pod, node)
            case Wait(reason, message):
                await self._refuse(pod, reason, message)
        return None

    async def _bind(self, pod: Pod, node: str) -> None:
        metadata = meta(pod)
        binding = Binding(
            metadata=ObjectMeta(name=metadata.name, namespace=metadata.namespace),
            target=ObjectReference(apiVersion="v1", kind="Node", name=node),
        )
        await self._client.create(binding, name_of(pod), namespace=metadata.namespace)
        self._bound[metadata.uid or ""] = (pod, node)
        message = f"Successfully assigned {metadata.namespace}/{metadata.name} to {node}"
        await self._events.normal(pod, "Scheduled", message)

    async def _refuse(self, pod: Pod, reason: str, message: str) -> None:
        present = pod_facts.condition(pod, _SCHEDULED)
        if present is not None and (present.status, present.reason, present.message) == ("False", reason, message):
            return
        body = {"status": {"conditions": [_not_scheduled(present, reason, message, self._clock.now())]}}
        # Strategic: the list is merged by type, so that the node's conditions stay.
        await patch(self._client, pod, body, kind=Pod.Status, patch_type=PatchType.STRATEGIC)
        if reason == "Unschedulable":
            await self._events.warning(pod, "FailedScheduling", message)

    def _placed(self) -> list[Pod]:
        """Return all pods, those just bound as if they were on their nodes already."""
        placed = [pod for pod in self._pods if meta(pod).uid not in self._bound]
        for pod, node in self._bound.values():
            assert pod.spec is not None
            placed.append(msgspec.structs.replace(pod, spec=msgspec.structs.replace(pod.spec, nodeName=node)))
        return placed

    def _pod_changed(self, change: Change[Pod]) -> None:
        if change.old is not None and (change.new is None or meta(change.old).uid != meta(change.new).uid):
            self._bound.pop(meta(change.old).uid or "", None)
        if change.new is not None and change.new.spec and change.new.spec.nodeName:
            self._bound.pop(meta(change.new).uid or "", None)
        if _holds(change.old) and not _holds(change.new):
            self._wake_pending()

    def _node_changed(self, change: Change[Node]) -> None:
        if _offer(change.old) != _offer(change.new):
            self._wake_pending()

    def _wake_pending(self) -> None:
        for pod in self._pods:
            if pending(pod):
                self._controller.wake(_key(pod))


def _key(pod: Pod) -> Key:
    return Key(meta(pod).namespace or "", name_of(pod))


def _holds(pod: Pod | None) -> bool:
    """Tell whether the pod holds resources of a node."""
    return pod is not None and bool(pod.spec and pod.spec.nodeName) and not pod_facts.finished(pod)


def _offer(node: Node | None) -> object:
    """What of a node matters to a waiting pod; its heartbeats do not."""
    if node is None:
        return None
    spec, status = node.spec, node.status
    return (
        meta(node).labels,
        (spec.taints, spec.unschedulable) if spec else None,
        status.allocatable if status else None,
        ready(node),
    )


def _not_scheduled(present: PodCondition | None, reason: str, message: str, now: datetime) -> dict[str, Any]:
    since = present.lastTransitionTime if present is not None and present.status == "False" else None
    return {
        "type": _SCHEDULED,
        "status": "False",
        "reason": reason,
        "message": message,
        "lastProbeTime": None,
        "lastTransitionTime": timestamp(since or now),
    }
