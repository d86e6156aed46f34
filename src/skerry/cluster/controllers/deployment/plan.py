"""What to do for one Deployment now. Pure: no API, no clock, no log.

A call plans one move of the roll-out; the writes change ReplicaSets, whose change brings the next call. So a roll-out
can be broken off anywhere and goes on from what is stored.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lightkube.models.apps_v1 import DeploymentStatus
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from lightkube.resources.core_v1 import Pod

from skerry.api.wellknown import DESIRED_REPLICAS_ANNOTATION, REVISION_ANNOTATION
from skerry.cluster.controllers.deployment import sizes, status
from skerry.cluster.controllers.deployment.conditions import Conditions, find, make, put
from skerry.cluster.controllers.deployment.fenceposts import Bounds, bounds, desired_replicas, recreates
from skerry.cluster.controllers.deployment.revisions import (
    Revisions,
    new_replica_set,
    number,
    outdated,
    present_annotations,
    replicas_of,
    scale_annotations,
    sizes_of,
    sort_out,
)
from skerry.cluster.controllers.ownership import controlled_by, deleting, meta, name_of
from skerry.cluster.controllers.pods import finished


@dataclass(frozen=True)
class Update:
    """A change of one ReplicaSet; what is None or empty stays as it is."""

    replica_set: ReplicaSet
    replicas: int | None = None
    annotations: tuple[tuple[str, str], ...] = ()
    min_ready_seconds: int | None = None


@dataclass(frozen=True)
class Plan:
    """Everything that is to be written, and when to look again if nothing happens."""

    status: DeploymentStatus
    create: ReplicaSet | None = None
    updates: tuple[Update, ...] = ()
    delete: tuple[ReplicaSet, ...] = ()
    revision: str | None = None
    again: float | None = None


def plan(deployment: Deployment, replica_sets: Sequence[ReplicaSet], pods: Sequence[Pod], now: datetime) -> Plan:
    """Plan the next move; `pods` matter to a Recreate only, which waits until the old ones are really gone."""
    revisions = sort_out(deployment, replica_sets)
    conditions = status.present_conditions(deployment)
    if deleting(deployment):
        return Plan(status.summary(deployment, status.count(revisions), conditions, now))
    conditions = status.paused(deployment, conditions, now)
    if revisions.new is not None:
        lacking = _refresh(deployment, revisions, revisions.new)
        if lacking is not None:
            # The ReplicaSet's change brings the next call, which goes on and also judges the progress.
            return Plan(deployment.status or DeploymentStatus(), updates=(lacking,))
        conditions = _found(deployment, revisions.new, conditions, now)
    if _is_paused(deployment) or _size_changed(deployment, revisions):
        return _scale(deployment, revisions, conditions, now)
    return _roll(deployment, revisions, pods, conditions, now)


def _roll(
    deployment: Deployment, revisions: Revisions, pods: Sequence[Pod], conditions: Conditions, now: datetime
) -> Plan:
    limits = bounds(deployment)
    new, old = sizes_of(revisions)
    if recreates(deployment):
        old_pods_run = _old_pods_run(revisions, pods)
        step = sizes.recreate_step(limits, new, old, old_pods_run=old_pods_run)
        if new is None and not step and not old_pods_run:
            return _create(deployment, revisions, limits.desired, conditions, now)
    elif new is None:
        first = sizes.first_size(limits, old, recreate=False)
        return _create(deployment, revisions, first, conditions, now)
    else:
        step = sizes.rolling_step(limits, new, old)
    updates = tuple(_resize(item, step[name_of(item)], limits) for item in revisions.all if name_of(item) in step)
    done = not updates and status.complete(deployment, status.count(revisions))
    surplus = outdated(deployment, revisions.old) if done else ()
    return _with_status(deployment, revisions, conditions, now, updates=updates, delete=surplus)


def _create(deployment: Deployment, revisions: Revisions, replicas: int, conditions: Conditions, now: datetime) -> Plan:
    created = new_replica_set(deployment, revisions, replicas)
    if status.deadline(deployment) is not None:
        message = f'Created new replica set "{name_of(created)}"'
        conditions = put(conditions, make(status.PROGRESSING, "True", "NewReplicaSetCreated", message, now))
    counts = status.count(Revisions(created, revisions.old))
    return Plan(
        status.summary(deployment, counts, conditions, now),
        create=created,
        revision=_new_revision(deployment, created),
        again=status.seconds_to_deadline(deployment, counts, conditions, now),
    )


def _scale(deployment: Deployment, revisions: Revisions, conditions: Conditions, now: datetime) -> Plan:
    """Follow `spec.replicas` without going on with the roll-out; also all that a paused Deployment does."""
    limits = bounds(deployment)
    new, old = sizes_of(revisions)
    present = (deployment.status.replicas if deployment.status else None) or 0
    step = sizes.rescale(limits, new, old, present, proportional=not recreates(deployment))
    updates = [
        _resize(item, step.get(name_of(item), replicas_of(item)), limits)
        for item in revisions.all
        if name_of(item) in step or (replicas_of(item) and _recorded_otherwise(item, limits))
    ]
    counts = status.count(revisions)
    return Plan(
        status.summary(deployment, counts, conditions, now),
        updates=tuple(updates),
        delete=outdated(deployment, revisions.old) if _is_paused(deployment) else (),
        revision=_new_revision(deployment, revisions.new),
    )


def _with_status(
    deployment: Deployment,
    revisions: Revisions,
    conditions: Conditions,
    now: datetime,
    *,
    updates: tuple[Update, ...] = (),
    delete: tuple[ReplicaSet, ...] = (),
) -> Plan:
    counts = status.count(revisions)
    conditions = status.progressing(deployment, revisions, counts, conditions, now)
    return Plan(
        status.summary(deployment, counts, conditions, now),
        updates=updates,
        delete=delete,
        revision=_new_revision(deployment, revisions.new),
        again=status.seconds_to_deadline(deployment, counts, conditions, now),
    )


def _refresh(deployment: Deployment, revisions: Revisions, new: ReplicaSet) -> Update | None:
    annotations = tuple(present_annotations(deployment, revisions).items())
    wanted = deployment.spec.minReadySeconds or 0
    present = new.spec.minReadySeconds or 0
    if not annotations and wanted == present:
        return None
    return Update(new, annotations=annotations, min_ready_seconds=wanted if wanted != present else None)


def _found(deployment: Deployment, new: ReplicaSet, conditions: Conditions, now: datetime) -> Conditions:
    if status.deadline(deployment) is None or find(conditions, status.PROGRESSING) is not None:
        return conditions
    message = f'Found new replica set "{name_of(new)}"'
    return put(conditions, make(status.PROGRESSING, "True", "FoundNewReplicaSet", message, now))


def _resize(item: ReplicaSet, replicas: int, limits: Bounds) -> Update:
    has = meta(item).annotations or {}
    annotations = tuple((key, text) for key, text in scale_annotations(limits).items() if has.get(key) != text)
    return Update(item, replicas if replicas != replicas_of(item) else None, annotations)


def _new_revision(deployment: Deployment, new: ReplicaSet | None) -> str | None:
    revision = (meta(new).annotations or {}).get(REVISION_ANNOTATION) if new is not None else None
    return revision if revision != (meta(deployment).annotations or {}).get(REVISION_ANNOTATION) else None


def _is_paused(deployment: Deployment) -> bool:
    return bool(deployment.spec.paused)


def _size_changed(deployment: Deployment, revisions: Revisions) -> bool:
    desired = desired_replicas(deployment)
    recorded = [
        number(meta(item).annotations, DESIRED_REPLICAS_ANNOTATION) for item in revisions.all if replicas_of(item)
    ]
    return any(each is not None and each != desired for each in recorded)


def _recorded_otherwise(item: ReplicaSet, limits: Bounds) -> bool:
    has = meta(item).annotations or {}
    return any(has.get(key) != text for key, text in scale_annotations(limits).items())


def _old_pods_run(revisions: Revisions, pods: Sequence[Pod]) -> bool:
    if any(item.status and item.status.replicas for item in revisions.old):
        return True
    return any(controlled_by(pod, item) for pod in pods if not finished(pod) for item in revisions.old)
