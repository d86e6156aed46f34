"""How many pods a roll-out may have at most and must have at least.

Percentages are taken of the desired count; the surge is rounded up, the unavailable share down. When both come out as
zero nothing could ever move, so one pod may be unavailable then.
"""

from dataclasses import dataclass
from typing import Final

from lightkube.resources.apps_v1 import Deployment

_DEFAULT_SHARE: Final = "25%"


@dataclass(frozen=True)
class Bounds:
    """The limits of one Deployment at its present size."""

    desired: int
    surge: int
    unavailable: int

    @property
    def maximum(self) -> int:
        return self.desired + self.surge

    @property
    def minimum_available(self) -> int:
        return self.desired - self.unavailable


def desired_replicas(deployment: Deployment) -> int:
    """Return `spec.replicas`, 1 where it is not set."""
    return 1 if deployment.spec.replicas is None else deployment.spec.replicas


def recreates(deployment: Deployment) -> bool:
    """Tell whether all old pods go before the first new one comes."""
    strategy = deployment.spec.strategy
    return strategy is not None and strategy.type == "Recreate"


def bounds(deployment: Deployment) -> Bounds:
    """Work out the limits; a Recreate has neither surge nor tolerance."""
    desired = desired_replicas(deployment)
    if recreates(deployment):
        return Bounds(desired, 0, 0)
    strategy = deployment.spec.strategy
    rolling = strategy.rollingUpdate if strategy else None
    most = rolling.maxSurge if rolling and rolling.maxSurge is not None else _DEFAULT_SHARE
    fewest = rolling.maxUnavailable if rolling and rolling.maxUnavailable is not None else _DEFAULT_SHARE
    surge = resolve(most, desired, round_up=True)
    unavailable = resolve(fewest, desired, round_up=False)
    if not surge and not unavailable:
        unavailable = 1
    return Bounds(desired, surge, min(unavailable, desired))


def resolve(value: int | str, total: int, *, round_up: bool) -> int:
    """Turn `3` or `25%` into a number of pods."""
    if isinstance(value, int):
        return value
    hundredths = int(value.removesuffix("%")) * total
    return -(-hundredths // 100) if round_up else hundredths // 100
