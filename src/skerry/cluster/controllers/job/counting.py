"""Each pod that has ended is counted exactly once, however often anything crashes in between.

A job's pods have a finalizer, so that none vanishes before it was counted. Counting takes three writes: its uid is
noted in the status (`uncountedTerminatedPods`), the finalizer goes, and with the next status the uid becomes a number.
A status is only written over the one that was read, and pods are read from the API itself: a stale cache counts
nothing twice.

Facts: Kubernetes `pkg/controller/job/job_controller.go` (trackJobStatusAndRemoveFinalizers).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lightkube.models.batch_v1 import JobSpec, UncountedTerminatedPods
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from skerry.cluster.controllers import pods as pod_facts
from skerry.cluster.controllers.job.indexes import parse_indexes
from skerry.cluster.controllers.ownership import deleting, meta

FINALIZER: Final = "batch.kubernetes.io/job-tracking"
INDEX: Final = "batch.kubernetes.io/job-completion-index"


@dataclass(frozen=True)
class Counts:
    """What is known of a job's pods. `release`: ended, noted, and still held by the finalizer."""

    succeeded: int
    failed: int
    noted: UncountedTerminatedPods
    completed: frozenset[int]
    active: tuple[Pod, ...]
    terminating: int
    release: tuple[Pod, ...]

    @property
    def total_succeeded(self) -> int:
        return self.succeeded + len(self.noted.succeeded or [])

    @property
    def total_failed(self) -> int:
        return self.failed + len(self.noted.failed or [])

    @property
    def settled(self) -> bool:
        """Nothing runs or ends, and every end is a number."""
        return not (self.active or self.terminating or self.release or self.noted.succeeded or self.noted.failed)


def held(pod: Pod) -> bool:
    """Tell whether the pod waits to be counted."""
    return FINALIZER in (meta(pod).finalizers or [])


def indexed(job: Job) -> bool:
    """Tell whether each completion has a number."""
    return _spec(job).completionMode == "Indexed"


def index_of(pod: Pod) -> int | None:
    """Return the completion index of a pod."""
    text = (meta(pod).annotations or {}).get(INDEX, "")
    return int(text) if text.isdigit() else None


def succeeded(pod: Pod) -> bool:
    """Tell whether the pod did what it was for."""
    return pod_facts.phase(pod) == "Succeeded"


def failed(job: Job, pod: Pod) -> bool:
    """Tell whether the pod counts as a failure; one that is being deleted does, unless its replacement waits."""
    if pod_facts.phase(pod) == "Failed":
        return True
    waits = _spec(job).podReplacementPolicy == "Failed"
    return deleting(pod) and not succeeded(pod) and not waits


def finished_at(pod: Pod, now: datetime) -> datetime:
    """Return when the pod ended."""
    statuses = (pod.status.containerStatuses if pod.status else None) or []
    ends = [each.state.terminated.finishedAt for each in statuses if each.state and each.state.terminated]
    known = [end for end in ends if end is not None]
    return max(known, default=meta(pod).deletionTimestamp or now)


def count(job: Job, pods: Sequence[Pod]) -> Counts:
    """Count the pods; what the status has noted and nothing holds any more becomes a number."""
    before = job.status
    noted = (before.uncountedTerminatedPods if before else None) or UncountedTerminatedPods()
    waiting = {meta(pod).uid or "" for pod in pods if held(pod)}
    gone_well, wait_well = _split(noted.succeeded, waiting)
    gone_badly, wait_badly = _split(noted.failed, waiting)
    well = {meta(pod).uid or "": pod for pod in pods if held(pod) and succeeded(pod)}
    badly = {meta(pod).uid or "": pod for pod in pods if held(pod) and failed(job, pod)}
    completed = _completed(job, well.values())
    total = (before.succeeded if before else None) or 0
    return Counts(
        # Indexes count themselves.
        succeeded=len(completed) if indexed(job) else total + len(gone_well),
        failed=((before.failed if before else None) or 0) + len(gone_badly),
        noted=UncountedTerminatedPods(
            failed=_joined(wait_badly, badly) or None,
            succeeded=None if indexed(job) else _joined(wait_well, well) or None,
        ),
        completed=completed,
        active=tuple(pod for pod in pods if pod_facts.active(pod)),
        terminating=sum(deleting(pod) and not pod_facts.finished(pod) for pod in pods),
        release=tuple((well | badly).values()),
    )


def _completed(job: Job, pods: Iterable[Pod]) -> frozenset[int]:
    if not indexed(job):
        return frozenset()
    size = _spec(job).completions or 0
    known = parse_indexes(job.status.completedIndexes if job.status else None, size)
    new = {index for index in map(index_of, pods) if index is not None and index < size}
    return known | new


def _split(uids: Sequence[str] | None, waiting: set[str]) -> tuple[list[str], list[str]]:
    gone = [uid for uid in uids or [] if uid not in waiting]
    return gone, [uid for uid in uids or [] if uid in waiting]


def _joined(noted: list[str], found: Iterable[str]) -> list[str]:
    return [*noted, *(uid for uid in found if uid not in noted)]


def _spec(job: Job) -> JobSpec:
    assert job.spec is not None
    return job.spec
