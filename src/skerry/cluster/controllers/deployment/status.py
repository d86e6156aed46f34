"""A Deployment's status: the counts, and whether it is available and getting on. Reasons and sentences are Kubernetes'.

Facts: Kubernetes `pkg/controller/deployment/{progress,sync}.go`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec
from lightkube.models.apps_v1 import DeploymentCondition, DeploymentStatus
from lightkube.resources.apps_v1 import Deployment

from skerry.cluster.controllers.deployment.conditions import Conditions, Truth, find, make, put, renew, without
from skerry.cluster.controllers.deployment.fenceposts import bounds, desired_replicas
from skerry.cluster.controllers.deployment.revisions import Revisions, replicas_of
from skerry.cluster.controllers.ownership import meta, name_of

AVAILABLE: Final = "Available"
PROGRESSING: Final = "Progressing"
FAILURE: Final = "ReplicaFailure"
# Kubernetes takes the largest 32-bit number for "no deadline".
_NO_DEADLINE: Final = 2**31 - 1


@dataclass(frozen=True)
class Counts:
    """Pods of all revisions, as their ReplicaSets last reported them."""

    wanted: int
    present: int
    updated: int
    ready: int
    available: int


def present_conditions(deployment: Deployment) -> Conditions:
    """Return the conditions that are written now."""
    return tuple((deployment.status.conditions if deployment.status else None) or ())


def count(revisions: Revisions) -> Counts:
    """Add up what the ReplicaSets report."""
    statuses = [item.status for item in revisions.all if item.status]
    new = revisions.new.status if revisions.new is not None else None
    return Counts(
        wanted=sum(replicas_of(item) for item in revisions.all),
        present=sum(status.replicas for status in statuses),
        updated=new.replicas if new is not None else 0,
        ready=sum(status.readyReplicas or 0 for status in statuses),
        available=sum(status.availableReplicas or 0 for status in statuses),
    )


def summary(deployment: Deployment, counts: Counts, conditions: Conditions, now: datetime) -> DeploymentStatus:
    """Return the status with its counts and the Available condition; zeroes are left out, as Kubernetes does."""
    enough = counts.available >= bounds(deployment).minimum_available
    condition = (
        make(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now)
        if enough
        else make(
            AVAILABLE, "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.", now
        )
    )
    return DeploymentStatus(
        observedGeneration=meta(deployment).generation,
        replicas=counts.present or None,
        updatedReplicas=counts.updated or None,
        readyReplicas=counts.ready or None,
        availableReplicas=counts.available or None,
        unavailableReplicas=max(0, counts.wanted - counts.available) or None,
        collisionCount=deployment.status.collisionCount if deployment.status else None,
        conditions=list(put(conditions, condition)),
    )


def complete(deployment: Deployment, counts: Counts) -> bool:
    """Tell whether exactly the wanted pods run, all of the present revision and all available."""
    desired = desired_replicas(deployment)
    return counts.updated == counts.present == counts.available == desired


def paused(deployment: Deployment, conditions: Conditions, now: datetime) -> Conditions:
    """Note a pause or its end, so that the time of the pause is not taken for a lack of progress."""
    found = find(conditions, PROGRESSING)
    if deadline(deployment) is None or (found is not None and found.reason == "ProgressDeadlineExceeded"):
        return conditions
    wanted = bool(deployment.spec.paused)
    noted = found is not None and found.reason == "DeploymentPaused"
    if wanted and not noted:
        return put(conditions, make(PROGRESSING, "Unknown", "DeploymentPaused", "Deployment is paused", now))
    if noted and not wanted:
        return put(conditions, make(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed", now))
    return conditions


def progressing(
    deployment: Deployment, revisions: Revisions, counts: Counts, conditions: Conditions, now: datetime
) -> Conditions:
    """Say whether the roll-out is done, moves, or has stood still for too long; and pass on the pods' failures."""
    if deadline(deployment) is None:
        conditions = without(conditions, PROGRESSING)
    elif not _finished_before(counts, conditions):
        conditions = _judge(deployment, revisions, counts, conditions, now)
    failed = _first_failure(revisions)
    if failed is None:
        return without(conditions, FAILURE)
    return put(conditions, failed)


def creation_failed(deployment: Deployment, name: str, message: str, now: datetime) -> DeploymentStatus:
    """Return the present status with the word that the new ReplicaSet could not be created."""
    conditions = present_conditions(deployment)
    if deadline(deployment) is not None:
        message = f'Failed to create new replica set "{name}": {message}'
        conditions = put(conditions, make(PROGRESSING, "False", "ReplicaSetCreateError", message, now))
    return msgspec.structs.replace(deployment.status or DeploymentStatus(), conditions=list(conditions) or None)


def seconds_to_deadline(deployment: Deployment, counts: Counts, conditions: Conditions, now: datetime) -> float | None:
    """Return when to look again for a roll-out that stands still; None when nothing can run out."""
    limit = deadline(deployment)
    found = find(conditions, PROGRESSING)
    if limit is None or found is None or found.lastUpdateTime is None or complete(deployment, counts):
        return None
    if found.reason in {"ProgressDeadlineExceeded", "NewReplicaSetAvailable"}:
        return None
    # One second more: the times in conditions have no fractions.
    return max(0.0, limit - (now - found.lastUpdateTime).total_seconds()) + 1.0


def deadline(deployment: Deployment) -> int | None:
    """Return `progressDeadlineSeconds`, None when there is no deadline."""
    seconds = deployment.spec.progressDeadlineSeconds
    return None if seconds is None or seconds == _NO_DEADLINE else seconds


def _finished_before(counts: Counts, conditions: Conditions) -> bool:
    found = find(conditions, PROGRESSING)
    return counts.present == counts.updated and found is not None and found.reason == "NewReplicaSetAvailable"


def _judge(
    deployment: Deployment, revisions: Revisions, counts: Counts, conditions: Conditions, now: datetime
) -> Conditions:
    subject = (
        f'ReplicaSet "{name_of(revisions.new)}"' if revisions.new is not None else f'Deployment "{name_of(deployment)}"'
    )

    def say(truth: Truth, reason: str, what: str) -> Conditions:
        change = renew if reason == "ReplicaSetUpdated" else put
        return change(conditions, make(PROGRESSING, truth, reason, f"{subject} {what}", now))

    if complete(deployment, counts):
        return say("True", "NewReplicaSetAvailable", "has successfully progressed.")
    if _moved(deployment, counts):
        return say("True", "ReplicaSetUpdated", "is progressing.")
    if _timed_out(deployment, conditions, now):
        return say("False", "ProgressDeadlineExceeded", "has timed out progressing.")
    return conditions


def _moved(deployment: Deployment, counts: Counts) -> bool:
    old = deployment.status
    if old is None:
        return counts.updated > 0
    old_rest = (old.replicas or 0) - (old.updatedReplicas or 0)
    return (
        counts.updated > (old.updatedReplicas or 0)
        or counts.present - counts.updated < old_rest
        or counts.ready > (old.readyReplicas or 0)
        or counts.available > (old.availableReplicas or 0)
    )


def _timed_out(deployment: Deployment, conditions: Conditions, now: datetime) -> bool:
    found = find(conditions, PROGRESSING)
    limit = deadline(deployment)
    if found is None or limit is None or found.reason == "NewReplicaSetAvailable":
        return False
    if found.reason == "ProgressDeadlineExceeded":
        return True
    return found.lastUpdateTime is not None and (now - found.lastUpdateTime).total_seconds() > limit


def _first_failure(revisions: Revisions) -> DeploymentCondition | None:
    for item in reversed(revisions.all):
        for each in (item.status.conditions if item.status else None) or []:
            if each.type == FAILURE:
                return DeploymentCondition(
                    type=FAILURE,
                    status=each.status,
                    reason=each.reason,
                    message=each.message,
                    lastUpdateTime=each.lastTransitionTime,
                    lastTransitionTime=each.lastTransitionTime,
                )
    return None
