"""How fast a proposal is followed.

Proposals are kept for a while. Going down takes the highest of the last five minutes, so that a short lull removes
nothing; `behavior` sets this window and one for going up. Then the policies say how much may change in how many
seconds, which needs the changes of the last minutes; and the bounds of the spec come last.

Facts: Kubernetes `pkg/controller/podautoscaler/horizontal.go` (normalizeDesiredReplicas and its variants).
"""

import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from lightkube.models.autoscaling_v2 import HorizontalPodAutoscalerSpec, HPAScalingRules

_WINDOW: Final = 300
_LONGEST: Final = timedelta(seconds=3600)
_FACTOR: Final = 2
_LEAST_LIMIT: Final = 4

_WITHIN: Final = ("DesiredWithinRange", "the desired count is within the acceptable range")
_TOO_MANY: Final = ("TooManyReplicas", "the desired replica count is more than the maximum replica count")
_TOO_FEW: Final = ("TooFewReplicas", "the desired replica count is less than the minimum replica count")
_UP_LIMIT: Final = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_DOWN_LIMIT: Final = ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")
_READY: Final = ("ReadyForNewScale", "recommended size matches current size")
_HIGHER: Final = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)
_LOWER: Final = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
)

Said = tuple[str, str]  # reason and message of a condition


@dataclass(frozen=True)
class Noted:
    """A number of replicas at a time: proposed, or by how many they changed."""

    replicas: int
    at: datetime


@dataclass(frozen=True)
class History:
    """What was proposed and done lately; it lives in memory, as it does on a cluster."""

    proposals: tuple[Noted, ...] = ()
    changes: tuple[Noted, ...] = ()

    def since_start(self, current: int, now: datetime) -> "History":
        """A controller that starts takes what it finds for a proposal, so that it removes nothing for five minutes."""
        return self if self.proposals else replace(self, proposals=(Noted(current, now),))

    def proposed(self, replicas: int, now: datetime) -> "History":
        kept = tuple(each for each in self.proposals if each.at > now - _LONGEST)
        return replace(self, proposals=(*kept, Noted(replicas, now)))

    def changed(self, by: int, now: datetime) -> "History":
        kept = tuple(each for each in self.changes if each.at > now - _LONGEST)
        return replace(self, changes=(*kept, Noted(by, now)))


@dataclass(frozen=True)
class Paced:
    """The size to go to, and the conditions AbleToScale and ScalingLimited."""

    replicas: int
    able: Said
    limited: bool
    limit: Said


def bounds_of(spec: HorizontalPodAutoscalerSpec) -> tuple[int, int]:
    """Return the least and the most replicas."""
    return (1 if spec.minReplicas is None else spec.minReplicas), spec.maxReplicas


def paced(spec: HorizontalPodAutoscalerSpec, current: int, wanted: int, history: History, now: datetime) -> Paced:
    """Bring a proposal within what is allowed now; `history` is what was before it."""
    behavior = spec.behavior
    up = behavior.scaleUp if behavior is not None else None
    down = behavior.scaleDown if behavior is not None else None
    windows = (_window(up, 0), _window(down, _WINDOW))
    stable, able = _stabilized(current, wanted, history, windows, now)
    least, most = bounds_of(spec)
    if behavior is None:
        limit = max(_FACTOR * current, _LEAST_LIMIT)
        replicas, said = _bounded(stable, (least, _TOO_FEW), _lower((most, _TOO_MANY), (limit, _UP_LIMIT)))
    elif stable > current:
        limit = max(current, _up_limit(up or HPAScalingRules(), current, history, now))
        replicas, said = _bounded(stable, None, _lower((most, _TOO_MANY), (limit, _UP_LIMIT)))
    elif stable < current:
        limit = min(current, _down_limit(down or HPAScalingRules(), current, history, now))
        floor = (limit, _DOWN_LIMIT) if limit > least else (least, _TOO_FEW)
        replicas, said = _bounded(stable, floor, None)
    else:
        replicas, said = stable, _WITHIN
    return Paced(replicas, able, replicas != stable, said)


def _stabilized(
    current: int, wanted: int, history: History, windows: tuple[int, int], now: datetime
) -> tuple[int, Said]:
    rises = wanted >= current
    cutoff = now - timedelta(seconds=windows[0] if rises else windows[1])
    recent = [each.replicas for each in history.proposals if each.at > cutoff]
    stable = min([wanted, *recent]) if rises else max([wanted, *recent])
    if stable == wanted:
        return stable, _READY
    return stable, _LOWER if rises else _HIGHER


def _window(rules: HPAScalingRules | None, default: int) -> int:
    seconds = rules.stabilizationWindowSeconds if rules is not None else None
    return default if seconds is None else seconds


Bound = tuple[int, Said]


def _lower(bound: Bound, limit: Bound) -> Bound:
    return limit if limit[0] < bound[0] else bound


def _bounded(replicas: int, floor: Bound | None, ceiling: Bound | None) -> Bound:
    if floor is not None and replicas < floor[0]:
        return floor
    if ceiling is not None and replicas > ceiling[0]:
        return ceiling
    return replicas, _WITHIN


def _up_limit(rules: HPAScalingRules, current: int, history: History, now: datetime) -> int:
    if rules.selectPolicy == "Disabled":
        return current
    limits = []
    for policy in rules.policies or []:
        begun = current - _sum(history, policy.periodSeconds, now, sign=1)
        share = math.ceil(begun * (1 + policy.value / 100))
        limits.append(begun + policy.value if policy.type == "Pods" else share)
    choose = min if rules.selectPolicy == "Min" else max
    return choose(limits, default=current)


def _down_limit(rules: HPAScalingRules, current: int, history: History, now: datetime) -> int:
    if rules.selectPolicy == "Disabled":
        return current
    limits = []
    for policy in rules.policies or []:
        begun = current + _sum(history, policy.periodSeconds, now, sign=-1)
        share = int(begun * (1 - policy.value / 100))
        limits.append(begun - policy.value if policy.type == "Pods" else share)
    choose = max if rules.selectPolicy == "Min" else min
    return choose(limits, default=current)


def _sum(history: History, seconds: int, now: datetime, *, sign: int) -> int:
    """Add up the changes of one direction within a period."""
    cutoff = now - timedelta(seconds=seconds)
    return sum(abs(each.replicas) for each in history.changes if each.at > cutoff and each.replicas * sign > 0)
