"""How large each ReplicaSet should be now: one step of a roll-out, or a change of `spec.replicas` in the middle of one.

Pure arithmetic over sizes, so that whole roll-outs can be played through in tests. Each function returns only what
changes. One step moves in one direction: first the new ReplicaSet grows as far as the surge allows, and only when it
cannot are the old ones shrunk, first by pods that are not available anyway and then by what the minimum leaves free.
Facts: Kubernetes `pkg/controller/deployment/rolling.go`, `sync.go`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from skerry.cluster.controllers.deployment.fenceposts import Bounds

Sizes = dict[str, int]


@dataclass(frozen=True)
class Size:
    """What counts of a ReplicaSet.

    `rank` is its place in order of creation; `recorded_maximum` the limit that it was last scaled under, 0 if unknown.
    `available` is never more than `replicas`: after a scale-down the ReplicaSet's status still counts pods that are on
    their way out, and to count on them would take the Deployment below its minimum.
    """

    name: str
    rank: int
    replicas: int
    available: int = 0
    recorded_maximum: int = 0
    recorded_desired: int | None = None


def total(sizes: Iterable[Size]) -> int:
    """Sum the wanted replicas."""
    return sum(size.replicas for size in sizes)


def first_size(bounds: Bounds, old: Iterable[Size], *, recreate: bool) -> int:
    """Return the size with which a new ReplicaSet is created."""
    return bounds.desired if recreate else _grown(bounds, 0, total(old))


def rolling_step(bounds: Bounds, new: Size, old: Sequence[Size]) -> Sizes:
    """Return the next step of a rolling update."""
    if new.replicas > bounds.desired:
        return {new.name: bounds.desired}
    grown = _grown(bounds, new.replicas, total(old))
    if grown != new.replicas:
        return {new.name: grown}
    return _shrink(bounds, new, old)


def recreate_step(bounds: Bounds, new: Size | None, old: Iterable[Size], *, old_pods_run: bool) -> Sizes:
    """Return the next step of a Recreate: the old ones to nothing, then, when their pods are gone, the new one."""
    doomed = {size.name: 0 for size in old if size.replicas}
    if doomed:
        return doomed
    if new is None or old_pods_run or new.replicas == bounds.desired:
        return {}
    return {new.name: bounds.desired}


def rescale(bounds: Bounds, new: Size | None, old: Sequence[Size], present: int, *, proportional: bool) -> Sizes:
    """Return the sizes after a change of `spec.replicas`; `present` is the Deployment's `status.replicas`.

    In the middle of a roll-out every active ReplicaSet gets its share of the change, so that a failing new version does
    not receive all of the added pods.
    """
    everyone = [*old, new] if new is not None else list(old)
    alive = [size for size in everyone if size.replicas]
    if len(alive) <= 1:
        target = alive[0] if alive else new or max(old, key=lambda size: size.rank, default=None)
        return {target.name: bounds.desired} if target is not None and target.replicas != bounds.desired else {}
    if new is not None and _saturated(bounds, new):
        return {size.name: 0 for size in old if size.replicas}
    return _shares(bounds, alive, present) if proportional else {}


def _grown(bounds: Bounds, replicas: int, others: int) -> int:
    room = bounds.maximum - others - replicas
    return replicas if room <= 0 else min(replicas + room, bounds.desired)


def _shrink(bounds: Bounds, new: Size, old: Sequence[Size]) -> Sizes:
    budget = total(old) + new.replicas - bounds.minimum_available - (new.replicas - new.available)
    if budget <= 0:
        return {}
    by_age = sorted(old, key=lambda size: size.rank)
    left = {size.name: size.replicas for size in by_age}
    for size in by_age:
        idle = min(budget, size.replicas - size.available)
        left[size.name] -= idle
        budget -= idle
    spare = max(0, new.available + sum(size.available for size in by_age) - bounds.minimum_available)
    for size in by_age:
        taken = min(spare, left[size.name])
        left[size.name] -= taken
        spare -= taken
    return {size.name: left[size.name] for size in by_age if left[size.name] != size.replicas}


def _saturated(bounds: Bounds, new: Size) -> bool:
    return new.replicas == new.available == new.recorded_desired == bounds.desired


def _shares(bounds: Bounds, alive: Sequence[Size], present: int) -> Sizes:
    change = (bounds.maximum if bounds.desired else 0) - total(alive)
    if change == 0:
        return {}
    # Largest first; among equals, what is added goes to the newest and what is taken comes from the oldest.
    newest_first = change > 0
    ordered = sorted(alive, key=lambda size: (-size.replicas, -size.rank if newest_first else size.rank))
    sizes: Sizes = {}
    spread = 0
    for size in ordered:
        open_ = change - spread
        share = _share(bounds, size, present) if open_ else 0
        share = min(share, open_) if change > 0 else max(share, open_)
        sizes[size.name] = size.replicas + share
        spread += share
    # What rounding left over goes to the largest; no more can be taken from it than it has.
    rest = change - spread
    for size in ordered:
        settled = max(0, sizes[size.name] + rest)
        rest -= settled - sizes[size.name]
        sizes[size.name] = settled
    return {size.name: sizes[size.name] for size in alive if sizes[size.name] != size.replicas}


def _share(bounds: Bounds, size: Size, present: int) -> int:
    if not bounds.desired:
        return -size.replicas
    before = size.recorded_maximum or present
    if not before:
        return 0
    # Halves away from zero, as Kubernetes rounds; Python's round() would go to the even number.
    return int(size.replicas * bounds.maximum / before + 0.5) - size.replicas
