"""The condition list of a Deployment's status, as values: every change makes a new tuple."""

from datetime import datetime
from typing import Literal

import msgspec
from lightkube.models.apps_v1 import DeploymentCondition

Conditions = tuple[DeploymentCondition, ...]
Truth = Literal["True", "False", "Unknown"]


def find(conditions: Conditions, kind: str) -> DeploymentCondition | None:
    """Return the condition of this type."""
    return next((each for each in conditions if each.type == kind), None)


def without(conditions: Conditions, kind: str) -> Conditions:
    """Leave out the condition of this type."""
    return tuple(each for each in conditions if each.type != kind)


def make(kind: str, truth: Truth, reason: str, message: str, now: datetime) -> DeploymentCondition:
    """Make a condition that changed just now."""
    moment = now.replace(microsecond=0)
    return DeploymentCondition(
        type=kind, status=truth, reason=reason, message=message, lastUpdateTime=moment, lastTransitionTime=moment
    )


def put(conditions: Conditions, condition: DeploymentCondition) -> Conditions:
    """Put in the condition unless it says nothing new; a transition is a change of status, not of reason."""
    present = find(conditions, condition.type or "")
    if present is not None and (present.status, present.reason) == (condition.status, condition.reason):
        return conditions
    return renew(conditions, condition)


def renew(conditions: Conditions, condition: DeploymentCondition) -> Conditions:
    """Put in the condition with its new update time even if only that changed."""
    kind = condition.type or ""
    present = find(conditions, kind)
    if present is not None and present.status == condition.status:
        condition = msgspec.structs.replace(condition, lastTransitionTime=present.lastTransitionTime)
    return (*without(conditions, kind), condition)
