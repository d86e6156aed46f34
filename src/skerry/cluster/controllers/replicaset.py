"""ReplicaSets: as many pods as wanted, no more.

Pods have random names, so a creation cannot be repeated safely: whenever pods are missing or too many, they are listed
from the API itself before anything is done, and one ReplicaSet is never worked on twice at once. Together that rules
out doubled pods, however far the cache lags. Facts: Kubernetes `pkg/controller/replicaset`, `controller_utils.go`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from lightkube import ApiError, AsyncClient
from lightkube.models.apps_v1 import ReplicaSetCondition, ReplicaSetStatus
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import ReplicaSet
from lightkube.resources.core_v1 import Pod

from skerry.cluster.controllers import pods as pod_facts
from skerry.cluster.controllers.adoption import settle
from skerry.cluster.controllers.ownership import (
    Claim,
    claim,
    controller_of,
    controller_reference,
    deleting,
    labels_of,
    meta,
    name_of,
)
from skerry.cluster.controllers.writes import delete, message_of, namespace_ends, patch_status
from skerry.kit.clock import Clock
from skerry.machinery.selectors import EVERYTHING, label_selector
from skerry.reconcile import Again, Cache, Controller, Key, Manager, Recorder
from skerry.reconcile.controller import owner_key

_FAILURE: Final = "ReplicaFailure"
_PHASES: Final = {"Pending": 0, "Unknown": 1, "Running": 2}


@dataclass(frozen=True)
class Plan:
    """How many pods to make, or which ones to delete; never both."""

    create: int = 0
    delete: tuple[Pod, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.create or self.delete)


@dataclass
class Outcome:
    """What came of a plan: the pods that are there now and the error that stopped it."""

    pods: list[Pod]
    reason: str = ""
    error: ApiError | None = None
    done: list[tuple[str, str]] = field(default_factory=list)  # reasons and messages of events


def plan(replica_set: ReplicaSet, pods: Sequence[Pod]) -> Plan:
    """Compare the active pods with what is wanted; one that is being deleted itself makes and deletes nothing."""
    if deleting(replica_set):
        return Plan()
    surplus = len(pods) - _wanted(replica_set)
    if surplus <= 0:
        return Plan(create=-surplus)
    return Plan(delete=tuple(sorted(pods, key=_worth)[:surplus]))


def new_status(
    replica_set: ReplicaSet, pods: Sequence[Pod], failure: tuple[str, str] | None, now: datetime
) -> ReplicaSetStatus:
    """Count the active pods; `failure` is the reason and message of what could not be created or deleted."""
    template = replica_set.spec.template
    labels = (template.metadata.labels if template and template.metadata else None) or {}
    minimum = replica_set.spec.minReadySeconds or 0
    available = [pod for pod in pods if pod_facts.seconds_to_available(pod, minimum, now) == 0]
    conditions = _conditions(replica_set.status, failure, now)
    return ReplicaSetStatus(
        replicas=len(pods),
        fullyLabeledReplicas=sum(labels.items() <= labels_of(pod).items() for pod in pods) or None,
        readyReplicas=sum(map(pod_facts.ready, pods)) or None,
        availableReplicas=len(available) or None,
        observedGeneration=meta(replica_set).generation,
        conditions=conditions or None,
    )


def seconds_to_next(replica_set: ReplicaSet, pods: Sequence[Pod], now: datetime) -> float | None:
    """Return when the next ready pod becomes available only by time passing."""
    minimum = replica_set.spec.minReadySeconds or 0
    waits = [pod_facts.seconds_to_available(pod, minimum, now) for pod in pods]
    return min((wait for wait in waits if wait), default=None)


def new_pod(replica_set: ReplicaSet) -> Pod:
    """Make the pod of the template; the API server completes its name."""
    template = replica_set.spec.template
    assert template is not None
    metadata = template.metadata or ObjectMeta()
    return Pod(
        metadata=ObjectMeta(
            generateName=f"{name_of(replica_set)}-",
            namespace=meta(replica_set).namespace,
            labels=metadata.labels,
            annotations=metadata.annotations,
            finalizers=metadata.finalizers,
            ownerReferences=[controller_reference(replica_set)],
        ),
        spec=template.spec,
    )


class ReplicaSetController:
    """Keeps the number of pods."""

    def __init__(self, manager: Manager, client: AsyncClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._events = Recorder(client, clock, "replicaset-controller")
        self._replica_sets: Cache[ReplicaSet] = manager.caches.of(ReplicaSet)
        self._pods: Cache[Pod] = manager.caches.of(Pod)
        controller = Controller("replicaset", self.reconcile)
        controller.watch(self._replica_sets)
        controller.watch(self._pods, owner_key("ReplicaSet"))
        controller.watch(self._pods, self._of_orphan)
        manager.add(controller)

    async def reconcile(self, key: Key) -> Again | None:
        """Create or delete what is missing or too many, then say what there is."""
        replica_set = self._replica_sets.get(key.namespace, key.name)
        if replica_set is None or label_selector(replica_set.spec.selector) == EVERYTHING:
            return None
        claimed = _claim(replica_set, self._pods.in_namespace(key.namespace))
        if plan(replica_set, (*claimed.owned, *claimed.adopt)):
            live = [pod async for pod in self._client.list(Pod, namespace=key.namespace)]
            claimed = _claim(replica_set, live)
        await settle(self._client, replica_set, claimed)
        present = [*claimed.owned, *claimed.adopt]
        outcome = await self._apply(replica_set, plan(replica_set, present), present)
        return await self._finish(replica_set, outcome)

    async def _finish(self, replica_set: ReplicaSet, outcome: Outcome) -> Again | None:
        now = self._clock.now()
        failure = (outcome.reason, message_of(outcome.error)) if outcome.error is not None else None
        await patch_status(self._client, replica_set, new_status(replica_set, outcome.pods, failure, now))
        # Events come last: nobody waits for them.
        for reason, message in outcome.done:
            await self._events.normal(replica_set, reason, message)
        if failure is not None:
            verb = "creating" if outcome.reason == "FailedCreate" else "deleting"
            await self._events.warning(replica_set, outcome.reason, f"Error {verb}: {failure[1]}")
        if outcome.error is not None:
            raise outcome.error  # tried again after a growing delay
        wait = seconds_to_next(replica_set, outcome.pods, now)
        return Again(wait) if wait is not None else None

    async def _apply(self, replica_set: ReplicaSet, planned: Plan, present: list[Pod]) -> Outcome:
        outcome = Outcome(present)
        try:
            for _ in range(planned.create):
                outcome.reason = "FailedCreate"
                pod = await self._client.create(new_pod(replica_set))
                outcome.pods.append(pod)
                outcome.done.append(("SuccessfulCreate", f"Created pod: {name_of(pod)}"))
            for pod in planned.delete:
                outcome.reason = "FailedDelete"
                await delete(self._client, pod)
                outcome.pods.remove(pod)
                outcome.done.append(("SuccessfulDelete", f"Deleted pod: {name_of(pod)}"))
        except ApiError as error:
            # A namespace that is being emptied takes no new pods; its ReplicaSets go as well, soon.
            if not namespace_ends(error):
                outcome.error = error
        return outcome

    def _of_orphan(self, pod: Pod) -> list[Key]:
        if controller_of(pod) is not None:
            return []
        namespace = meta(pod).namespace or ""
        return [
            Key(namespace, name_of(each))
            for each in self._replica_sets.in_namespace(namespace)
            if label_selector(each.spec.selector).matches(labels_of(pod))
        ]


def _claim(replica_set: ReplicaSet, pods: Sequence[Pod]) -> Claim[Pod]:
    return claim(replica_set, label_selector(replica_set.spec.selector), filter(pod_facts.active, pods))


def _wanted(replica_set: ReplicaSet) -> int:
    return 1 if replica_set.spec.replicas is None else replica_set.spec.replicas


def _worth(pod: Pod) -> tuple[Any, ...]:
    """Order pods by what is lost with them, least first: no node, not running, not ready, cheap, young, restarting."""
    annotations = meta(pod).annotations or {}
    cost = annotations.get("controller.kubernetes.io/pod-deletion-cost", "0")
    ready = pod_facts.condition(pod, "Ready") if pod_facts.ready(pod) else None
    since = ready.lastTransitionTime.timestamp() if ready and ready.lastTransitionTime else 0.0
    created = meta(pod).creationTimestamp
    return (
        bool(pod.spec and pod.spec.nodeName),
        _PHASES.get(pod_facts.phase(pod), 0),
        pod_facts.ready(pod),
        int(cost) if cost.lstrip("+-").isdigit() else 0,
        -since,
        -pod_facts.restarts(pod),
        -(created.timestamp() if created else 0.0),
        name_of(pod),
    )


def _conditions(
    old: ReplicaSetStatus | None, failure: tuple[str, str] | None, now: datetime
) -> list[ReplicaSetCondition]:
    present = (old.conditions if old else None) or []
    others = [each for each in present if each.type != _FAILURE]
    if failure is None:
        return others
    found = next((each for each in present if each.type == _FAILURE and each.status == "True"), None)
    made = ReplicaSetCondition(
        type=_FAILURE,
        status="True",
        reason=failure[0],
        message=failure[1],
        lastTransitionTime=found.lastTransitionTime if found else now.replace(microsecond=0),
    )
    return [*others, made]
