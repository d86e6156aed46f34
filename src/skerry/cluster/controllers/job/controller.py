"""The loop of the jobs.

Pods have random names and each end is counted once, so whenever there is something to do, the job and its pods are
read from the API itself, and one job is never worked on twice at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec
from lightkube import ApiError, AsyncClient
from lightkube.models.batch_v1 import JobStatus
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod
from lightkube.types import CascadeType

from skerry.cluster.controllers.job.counting import FINALIZER, held
from skerry.cluster.controllers.job.plan import Plan, plan
from skerry.cluster.controllers.job.pods import new_pod
from skerry.cluster.controllers.ownership import controlled_by, controller_of, meta, name_of
from skerry.cluster.controllers.writes import delete, message_of, namespace_ends, patch, status_changes
from skerry.kit.clock import Clock
from skerry.kit.log import logger
from skerry.reconcile import Again, Cache, Controller, Key, Manager, Recorder
from skerry.reconcile.controller import owner_key

log = logger(__name__)

_OURS: Final = "kubernetes.io/job-controller"


@dataclass
class _Outcome:
    created: int = 0
    dropped: int = 0
    told: list[tuple[str, str]] = field(default_factory=list)
    error: ApiError | None = None


class JobController:
    """Runs jobs."""

    def __init__(self, manager: Manager, client: AsyncClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._events = Recorder(client, clock, "job-controller")
        self._jobs: Cache[Job] = manager.caches.of(Job)
        self._pods: Cache[Pod] = manager.caches.of(Pod)
        controller = Controller("job", self.reconcile)
        controller.watch(self._jobs)
        controller.watch(self._pods, owner_key("Job"))
        manager.add(controller)

    async def reconcile(self, key: Key) -> Again | None:
        """Take one step with a job; pods whose job is gone are let go."""
        job = self._jobs.get(key.namespace, key.name)
        await self._release_strangers(key, job)
        if job is None or not _is_ours(job):
            return None
        planned = self._plan(job, self._pods.in_namespace(key.namespace))
        if _nothing(job, planned):
            return _again(planned)
        try:
            job = await self._client.get(Job, key.name, namespace=key.namespace)
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise
        live = [pod async for pod in self._client.list(Pod, namespace=key.namespace)]
        planned = self._plan(job, live)
        if planned.remove:
            log.info("finished job removed", namespace=key.namespace, job=key.name)
            await delete(self._client, job, cascade=CascadeType.FOREGROUND)
            return None
        return await self._apply(job, planned)

    def _plan(self, job: Job, pods: Sequence[Pod]) -> Plan:
        return plan(job, [pod for pod in pods if controlled_by(pod, job)], self._clock.now())

    async def _apply(self, job: Job, planned: Plan) -> Again | None:
        outcome = await self._change_pods(job, planned)
        active = (planned.status.active or 0) + outcome.created - outcome.dropped
        await self._write(job, msgspec.structs.replace(planned.status, active=active or None))
        # The status knows of them now, so nothing is lost when they go.
        for pod in planned.release:
            await self._release(pod)
        for reason, message in outcome.told:
            await self._events.normal(job, reason, message)
        for told in planned.told:
            record = self._events.normal if told.severity == "Normal" else self._events.warning
            await record(job, told.reason, told.message)
        if outcome.error is not None:
            await self._events.warning(job, "FailedCreate", f"Error creating: {message_of(outcome.error)}")
            raise outcome.error  # tried again after a growing delay
        return _again(planned)

    async def _change_pods(self, job: Job, planned: Plan) -> _Outcome:
        outcome = _Outcome()
        for pod in (*planned.end, *planned.drop):
            if pod in planned.drop:
                await self._release(pod)
            await delete(self._client, pod)
            outcome.dropped += 1
            outcome.told.append(("SuccessfulDelete", f"Deleted pod: {name_of(pod)}"))
        try:
            for index in planned.create:
                made = await self._client.create(new_pod(job, index))
                outcome.created += 1
                outcome.told.append(("SuccessfulCreate", f"Created pod: {name_of(made)}"))
        except ApiError as error:
            # A namespace that is being emptied takes no new pods; its jobs go as well, soon.
            if not namespace_ends(error):
                outcome.error = error
        return outcome

    async def _write(self, job: Job, status: JobStatus) -> None:
        changes = status_changes(job.status, status)
        if "uncountedTerminatedPods" in changes:
            # A merge patch leaves what it does not name.
            changes["uncountedTerminatedPods"] = {
                "failed": None,
                "succeeded": None,
                **changes["uncountedTerminatedPods"],
            }
        if changes:
            await patch(self._client, job, {"status": changes}, kind=Job.Status, only_if_unchanged=True)

    async def _release(self, pod: Pod) -> None:
        """Take the finalizer off; a pod that is gone has none."""
        if not held(pod):
            return
        kept = [name for name in meta(pod).finalizers or [] if name != FINALIZER]
        body = {"metadata": {"finalizers": kept or None}}
        try:
            await patch(self._client, pod, body)
        except ApiError as error:
            if error.status.code not in {404, 409}:
                raise

    async def _release_strangers(self, key: Key, job: Job | None) -> None:
        """Let pods go that are held for a job which is not there any more, which had the same name, or gave them up."""
        for pod in self._pods.in_namespace(key.namespace):
            owner = controller_of(pod)
            if not held(pod) or (owner is not None and (owner.kind, owner.name) != ("Job", key.name)):
                continue
            if owner is None or job is None or owner.uid != meta(job).uid:
                await self._release(pod)


def _is_ours(job: Job) -> bool:
    return job.spec is not None and job.spec.managedBy in {None, _OURS}


def _nothing(job: Job, planned: Plan) -> bool:
    work = (*planned.create, *planned.end, *planned.drop, *planned.release, *planned.told)
    return not work and not planned.remove and not status_changes(job.status, planned.status)


def _again(planned: Plan) -> Again | None:
    # A moment more: times in conditions have no fractions.
    return Again(planned.again + 0.05) if planned.again is not None else None
