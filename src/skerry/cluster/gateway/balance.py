"""Which pod gets the next request: the router's four algorithms over weighted targets.

A target's weight is its Service's weight shared by that Service's endpoints. A weight of 0 gets only the clients
whose cookie names it. `excluded` holds what this request has tried already.
"""

import math
import random
import zlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

from skerry.cluster.gateway.endpoint import Endpoint
from skerry.cluster.gateway.table import Balance


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """An endpoint as one route sees it."""

    endpoint: Endpoint
    weight: float
    cookie: bytes


Pick = Callable[[str, Collection[Endpoint]], Target | None]


def picker(algorithm: Balance, targets: Sequence[Target], rng: random.Random) -> Pick:
    """Return the function that chooses for a client address; it gives None when no target is left."""
    usable = [target for target in targets if target.weight > 0]
    if len(usable) == 1:
        return _Only(usable[0]).pick
    if algorithm == "roundrobin":
        return _RoundRobin(usable).pick
    if algorithm == "leastconn":
        return _LeastConnections(usable).pick
    if algorithm == "source":
        return _Source(usable).pick
    return _Random(usable, rng).pick


def _left(targets: Sequence[Target], excluded: Collection[Endpoint]) -> Sequence[Target]:
    return [target for target in targets if target.endpoint not in excluded] if excluded else targets


def _load(target: Target) -> float:
    return (target.endpoint.active + 1) / target.weight


class _Only:
    def __init__(self, target: Target) -> None:
        self._target = target

    def pick(self, _client: str, excluded: Collection[Endpoint]) -> Target | None:
        return None if self._target.endpoint in excluded else self._target


class _Random:
    """Two drawn by weight, the less busy one wins, as HAProxy's `random(2)`: slow pods do not pile up requests."""

    def __init__(self, targets: Sequence[Target], rng: random.Random) -> None:
        self._targets = targets
        self._rng = rng

    def pick(self, _client: str, excluded: Collection[Endpoint]) -> Target | None:
        targets = _left(self._targets, excluded)
        if not targets:
            return None
        first, second = self._rng.choices(targets, [target.weight for target in targets], k=2)
        return first if first.endpoint.active <= second.endpoint.active else second


class _RoundRobin:
    """Smooth weighted round robin: each turn everybody earns his weight, and the richest pays for all."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._earned: dict[Target, float] = dict.fromkeys(targets, 0.0)

    def pick(self, _client: str, excluded: Collection[Endpoint]) -> Target | None:
        targets = _left(self._targets, excluded)
        if not targets:
            return None
        for target in targets:
            self._earned[target] += target.weight
        # Rounded, or sums of thirds would decide between equals by their last bit.
        chosen = max(targets, key=lambda target: round(self._earned[target], 6))
        self._earned[chosen] -= sum(target.weight for target in targets)
        return chosen


class _LeastConnections:
    """The least busy for its weight; equals take turns."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = list(targets)

    def pick(self, _client: str, excluded: Collection[Endpoint]) -> Target | None:
        targets = _left(self._targets, excluded)
        if not targets:
            return None
        chosen = min(targets, key=_load)
        self._targets.remove(chosen)
        self._targets.append(chosen)
        return chosen


class _Source:
    """The client's address decides (weighted rendezvous hashing): few clients move when pods come and go."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets

    def pick(self, client: str, excluded: Collection[Endpoint]) -> Target | None:
        targets = _left(self._targets, excluded)
        return max(targets, key=lambda target: _score(client, target), default=None)


_HASHES: Final = 2**32


def _score(client: str, target: Target) -> float:
    hashed = _mix(zlib.crc32(f"{client} {target.endpoint}".encode()))
    return -target.weight / math.log((hashed + 1) / (_HASHES + 1))


def _mix(value: int) -> int:
    """Spread the bits (MurmurHash3's finalizer): crc32 is linear, so neighbours would all prefer the same pod."""
    value = (value ^ value >> 16) * 0x85EBCA6B % _HASHES
    value = (value ^ value >> 13) * 0xC2B2AE35 % _HASHES
    return value ^ value >> 16
