"""The plan for one job: pods to make and to end, the status, what is told.

A pod that fails is replaced after a delay that doubles with each failure since the last success, from ten seconds to
ten minutes. The delay comes from when the failed pods ended, so a restart of the daemon does not shorten it.

Facts: Kubernetes `pkg/controller/job/{job_controller,backoff_utils}.go`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from lightkube.models.batch_v1 import JobSpec, JobStatus
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from skerry.cluster.controllers import pods as pod_facts
from skerry.cluster.controllers.job import ending
from skerry.cluster.controllers.job.counting import (
    Counts,
    count,
    failed,
    finished_at,
    index_of,
    indexed,
    succeeded,
)
from skerry.cluster.controllers.job.ending import COMPLETE, FAILED, FAILURE, FINAL, SUCCESS, SUSPENDED, Conditions
from skerry.cluster.controllers.job.indexes import format_indexes
from skerry.cluster.controllers.ownership import deleting, name_of

_FIRST_DELAY: Final = 10.0
_LONGEST_DELAY: Final = 600.0


@dataclass(frozen=True)
class Told:
    """An event."""

    severity: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    `end`: pods to delete, which counts as a failure; `drop`: pods to delete that nobody wants any more, uncounted.
    `release`: pods whose finalizer goes once the status is stored. `again`: when to look without being called.
    """

    status: JobStatus
    create: tuple[int | None, ...] = ()
    end: tuple[Pod, ...] = ()
    drop: tuple[Pod, ...] = ()
    release: tuple[Pod, ...] = ()
    told: tuple[Told, ...] = ()
    again: float | None = None
    remove: bool = False


def plan(job: Job, pods: Sequence[Pod], now: datetime) -> Plan:
    """Plan one step; `pods` are those that the job controls."""
    counts, conditions = count(job, pods), tuple((job.status.conditions if job.status else None) or ())
    if ending.true(conditions, COMPLETE, FAILED) is not None:
        wait = ending.seconds_to_removal(job, conditions, now)
        status = _status(job, counts, conditions, _started(job))
        return Plan(status, release=counts.release, again=wait or None, remove=wait == 0)
    if deleting(job):
        return Plan(_status(job, counts, conditions, _started(job)), release=counts.release)
    conditions, started, told = _suspension(job, conditions, now)
    mark = ending.true(conditions, SUCCESS, FAILURE)
    if mark is None and (found := ending.verdict(job, counts, started, now)) is not None:
        kind, reason, message = found
        conditions = ending.put(conditions, kind, "True", reason, message, now)
        mark = ending.true(conditions, kind)
    if mark is not None:
        return _finishing(job, counts, conditions, started, told, now)
    return _going_on(job, pods, counts, conditions, started, told, now)


def _suspension(
    job: Job, conditions: Conditions, now: datetime
) -> tuple[Conditions, datetime | None, tuple[Told, ...]]:
    """Note a pause or its end. The clock of the deadline runs anew after a pause."""
    started, paused = _started(job), ending.true(conditions, SUSPENDED) is not None
    known = any(each.type == SUSPENDED for each in conditions)
    if _spec(job).suspend:
        if paused:
            return conditions, None, ()
        conditions = ending.put(conditions, SUSPENDED, "True", "JobSuspended", "Job suspended", now)
        return conditions, None, (Told("Normal", "Suspended", "Job suspended"),)
    told: tuple[Told, ...] = ()
    if known and paused:
        conditions = ending.put(conditions, SUSPENDED, "False", "JobResumed", "Job resumed", now)
        told, started = (Told("Normal", "Resumed", "Job resumed"),), None
    return conditions, started or now.replace(microsecond=0), told


def _finishing(
    job: Job,
    counts: Counts,
    conditions: Conditions,
    started: datetime | None,
    told: tuple[Told, ...],
    now: datetime,
) -> Plan:
    """End what still runs; when nothing is left, say how it went."""
    mark = ending.true(conditions, SUCCESS, FAILURE)
    assert mark is not None
    reason, message = mark.reason or "", mark.message or ""
    if not counts.settled:
        status = _status(job, counts, conditions, started)
        return Plan(status, end=counts.active, release=counts.release, told=told)
    conditions = ending.put(conditions, FINAL[mark.type], "True", reason, message, now)
    status = _status(job, counts, conditions, started)
    if mark.type == SUCCESS:
        status.completionTime = now.replace(microsecond=0)
        told = (*told, Told("Normal", "Completed", "Job completed"))
    else:
        told = (*told, Told("Warning", reason, message))
    return Plan(status, told=told, again=ending.seconds_to_removal(job, conditions, now))


def _going_on(
    job: Job,
    pods: Sequence[Pod],
    counts: Counts,
    conditions: Conditions,
    started: datetime | None,
    told: tuple[Told, ...],
    now: datetime,
) -> Plan:
    status, left = _status(job, counts, conditions, started), ending.seconds_left(job, started, now)
    waits = [left] if left is not None else []
    surplus = len(counts.active) - _wanted(job, counts)
    if surplus > 0:
        drop = tuple(sorted(counts.active, key=_worth)[:surplus])
        return Plan(status, drop=drop, release=counts.release, told=told, again=min(waits, default=None))
    delay = seconds_of_back_off(job, pods, now)
    create: tuple[int | None, ...] = ()
    if surplus < 0 and delay > 0:
        waits.append(delay)
    elif surplus < 0:
        create = _places(job, counts, -surplus)
    return Plan(status, create, release=counts.release, told=told, again=min(waits, default=None))


def seconds_of_back_off(job: Job, pods: Sequence[Pod], now: datetime) -> float:
    """Return how long no pod may be made, after the failures since the last success."""
    successes = [finished_at(pod, now) for pod in pods if succeeded(pod)]
    since = max(successes, default=None)
    failures = [finished_at(pod, now) for pod in pods if failed(job, pod)]
    failures = [end for end in failures if since is None or end > since]
    if not failures:
        return 0.0
    delay: float = min(_FIRST_DELAY * 2 ** min(len(failures) - 1, 10), _LONGEST_DELAY)
    return max(0.0, delay - (now - max(failures)).total_seconds())


def _wanted(job: Job, counts: Counts) -> int:
    spec = _spec(job)
    width = 1 if spec.parallelism is None else spec.parallelism
    if spec.suspend:
        return 0
    waiting = counts.terminating if spec.podReplacementPolicy == "Failed" else 0
    if spec.completions is None:
        wanted = len(counts.active) if counts.total_succeeded else width
    else:
        wanted = min(width, max(0, spec.completions - counts.total_succeeded))
    return max(0, wanted - waiting)


def _places(job: Job, counts: Counts, number: int) -> tuple[int | None, ...]:
    """Return the completion indexes of the pods to make, the lowest that are free; None for each without."""
    if not indexed(job):
        return (None,) * number
    busy = {index_of(pod) for pod in counts.active} | counts.completed
    free = (index for index in range(_spec(job).completions or 0) if index not in busy)
    return tuple(index for index, _ in zip(free, range(number), strict=False))


def _status(job: Job, counts: Counts, conditions: Conditions, started: datetime | None) -> JobStatus:
    before = job.status
    return JobStatus(
        active=len(counts.active) or None,
        completedIndexes=format_indexes(counts.completed) or None,
        completionTime=before.completionTime if before else None,
        conditions=list(conditions) or None,
        failed=counts.failed or None,
        ready=sum(map(pod_facts.ready, counts.active)),
        startTime=started,
        succeeded=counts.succeeded or None,
        terminating=counts.terminating,
        uncountedTerminatedPods=counts.noted,
    )


def _worth(pod: Pod) -> tuple[bool, bool, str]:
    """Order pods by what is lost with them, least first."""
    return pod_facts.phase(pod) == "Running", pod_facts.ready(pod), name_of(pod)


def _started(job: Job) -> datetime | None:
    return job.status.startTime if job.status else None


def _spec(job: Job) -> JobSpec:
    assert job.spec is not None
    return job.spec
