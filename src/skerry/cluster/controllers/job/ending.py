"""When a job is over, and its conditions. Reasons and sentences are Kubernetes'.

A job is first marked (`SuccessCriteriaMet`, `FailureTarget`), then the pods that still run are ended, and only when
nothing is left does it become `Complete` or `Failed`: who waits for that finds the final numbers.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from lightkube.models.batch_v1 import JobCondition
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import Pod

from skerry.cluster.controllers import pods as pod_facts
from skerry.cluster.controllers.job.counting import Counts

COMPLETE: Final = "Complete"
FAILED: Final = "Failed"
SUCCESS: Final = "SuccessCriteriaMet"
FAILURE: Final = "FailureTarget"
SUSPENDED: Final = "Suspended"

_REACHED: Final = ("CompletionsReached", "Reached expected number of succeeded pods")
_LATE: Final = ("DeadlineExceeded", "Job was active longer than specified deadline")
_TOO_OFTEN: Final = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
# Which condition follows once nothing runs any more.
FINAL: Final = {SUCCESS: COMPLETE, FAILURE: FAILED}

Conditions = tuple[JobCondition, ...]


def true(conditions: Sequence[JobCondition], *kinds: str) -> JobCondition | None:
    """Return the first condition of these kinds that holds."""
    return next((each for each in conditions if each.type in kinds and each.status == "True"), None)


def put(conditions: Conditions, kind: str, truth: str, reason: str, message: str, now: datetime) -> Conditions:
    """Set a condition; nothing changes when it says so already."""
    old = next((each for each in conditions if each.type == kind), None)
    if old is not None and (old.status, old.reason, old.message) == (truth, reason, message):
        return conditions
    at = now.replace(microsecond=0)
    new = JobCondition(truth, kind, lastProbeTime=at, lastTransitionTime=at, message=message, reason=reason)
    return (*(each for each in conditions if each.type != kind), new)


def verdict(job: Job, counts: Counts, started: datetime | None, now: datetime) -> tuple[str, str, str] | None:
    """Return the mark that the job gets now, with reason and message; None while it goes on."""
    spec = job.spec
    assert spec is not None
    limit = spec.backoffLimit if spec.backoffLimit is not None else 6
    if counts.total_failed > limit or _restarted_too_often(job, counts.active, limit):
        return (FAILURE, *_TOO_OFTEN)
    left = seconds_left(job, started, now)
    if left is not None and left <= 0:
        return (FAILURE, *_LATE)
    return (SUCCESS, *_REACHED) if _reached(job, counts) else None


def seconds_left(job: Job, started: datetime | None, now: datetime) -> float | None:
    """Return how long the job may still be active, None when it has no deadline or does not run."""
    spec = job.spec
    assert spec is not None
    if spec.activeDeadlineSeconds is None or started is None or spec.suspend:
        return None
    return spec.activeDeadlineSeconds - (now - started).total_seconds()


def seconds_to_removal(job: Job, conditions: Conditions, now: datetime) -> float | None:
    """Return when a finished job is to be deleted, None when it stays."""
    over = true(conditions, COMPLETE, FAILED)
    ttl = job.spec.ttlSecondsAfterFinished if job.spec is not None else None
    if over is None or over.lastTransitionTime is None or ttl is None:
        return None
    return max(0.0, ttl - (now - over.lastTransitionTime).total_seconds())


def _reached(job: Job, counts: Counts) -> bool:
    spec = job.spec
    assert spec is not None
    done = counts.total_succeeded
    if spec.completions is None:
        # Workers share a queue: one that succeeds says that it is empty, and the others may finish.
        return done > 0 and not counts.active
    return done >= spec.completions


def _restarted_too_often(job: Job, active: Sequence[Pod], limit: int) -> bool:
    assert job.spec is not None
    template = job.spec.template.spec
    if template is None or template.restartPolicy != "OnFailure":
        return False
    restarts = sum(pod_facts.all_restarts(pod) for pod in active if pod_facts.phase(pod) in {"Running", "Pending"})
    return restarts > 0 if limit == 0 else restarts >= limit
