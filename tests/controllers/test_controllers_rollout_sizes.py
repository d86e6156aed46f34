"""Roll-outs played through in numbers.

A small world stands in for the ReplicaSet controller and the node: pods of a size appear, become available one by one
in a random order, and fail at random for a while. In every state of the world the steps must respect the limits, and
once failures end every roll-out must end with exactly the wanted pods of the new revision.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.controllers.builders import deployment

from skerry.cluster.controllers.deployment.fenceposts import Bounds, bounds, resolve
from skerry.cluster.controllers.deployment.sizes import Size, first_size, recreate_step, rescale, rolling_step


@pytest.mark.parametrize(
    ("value", "total", "up", "down"),
    [
        ("25%", 1, 1, 0),
        ("25%", 3, 1, 0),
        ("25%", 4, 1, 1),
        ("25%", 5, 2, 1),
        ("25%", 10, 3, 2),
        ("100%", 7, 7, 7),
        ("0%", 7, 0, 0),
        ("1%", 100, 1, 1),
        ("33%", 3, 1, 0),
        (2, 10, 2, 2),
        (0, 10, 0, 0),
        ("50%", 0, 0, 0),
    ],
)
def test_percentages_round_up_for_surge_and_down_for_unavailable(
    value: int | str, total: int, up: int, down: int
) -> None:
    assert (up, down) == (resolve(value, total, round_up=True), resolve(value, total, round_up=False))


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (1, "25%", "25%", Bounds(1, 1, 0)),
        (10, "25%", "25%", Bounds(10, 3, 2)),
        (4, 0, 0, Bounds(4, 0, 1)),  # nothing could ever move
        (4, "0%", "10%", Bounds(4, 0, 1)),  # 10 % of 4 is 0, rounded down
        (2, 0, 5, Bounds(2, 0, 2)),
        (0, 0, 0, Bounds(0, 0, 0)),
        (None, "25%", "25%", Bounds(1, 1, 0)),
    ],
)
def test_bounds_of_a_deployment(
    replicas: int | None, surge: int | str, unavailable: int | str, expected: Bounds
) -> None:
    assert expected == bounds(deployment(replicas=replicas, surge=surge, unavailable=unavailable))


def test_a_recreate_has_no_leeway() -> None:
    assert Bounds(5, 0, 0) == bounds(deployment(replicas=5, recreate=True))


@pytest.mark.parametrize(
    ("limits", "new", "old", "expected"),
    [
        # From the documentation of Deployments: 3 replicas, 25 % each way.
        (Bounds(3, 1, 0), (0, 0), [(3, 3)], {"new": 1}),
        (Bounds(3, 1, 0), (1, 0), [(3, 3)], {}),
        (Bounds(3, 1, 0), (1, 1), [(3, 3)], {"old0": 2}),
        (Bounds(3, 1, 0), (1, 1), [(2, 2)], {"new": 2}),
        (Bounds(3, 1, 0), (3, 3), [(1, 1)], {"old0": 0}),
        (Bounds(3, 1, 0), (3, 3), [(0, 0)], {}),
        # Pods of the old revision that are broken anyway go first, and free the way for the new one.
        (Bounds(4, 0, 1), (0, 0), [(4, 0)], {"old0": 3}),
        (Bounds(4, 1, 1), (1, 0), [(4, 0)], {"old0": 3}),
        (Bounds(4, 1, 1), (1, 0), [(2, 0), (2, 2)], {"old0": 1}),
        # A new revision that never becomes available takes no more from the old one than was allowed.
        (Bounds(4, 1, 1), (2, 0), [(3, 3)], {}),
        (Bounds(10, 3, 2), (5, 0), [(8, 8)], {}),
        # More than wanted, after spec.replicas was lowered.
        (Bounds(2, 1, 0), (5, 5), [(1, 1)], {"new": 2}),
        # Several old revisions: the oldest shrinks first.
        (Bounds(4, 2, 0), (2, 2), [(2, 2), (2, 2)], {"old0": 0}),
        (Bounds(4, 3, 0), (3, 3), [(2, 2), (2, 2)], {"old0": 0, "old1": 1}),
    ],
)
def test_one_step_of_a_rolling_update(
    limits: Bounds, new: tuple[int, int], old: list[tuple[int, int]], expected: dict[str, int]
) -> None:
    olds = [Size(f"old{place}", place, replicas, available) for place, (replicas, available) in enumerate(old)]
    assert expected == rolling_step(limits, Size("new", len(old), *new), olds)


@pytest.mark.parametrize(
    ("new", "old", "old_pods_run", "expected"),
    [
        (None, [3], True, {"old0": 0}),
        (None, [0], True, {}),
        (None, [0], False, {}),  # the new one is created by the plan, at full size
        (0, [0], True, {}),
        (0, [0], False, {"new": 3}),
        (3, [0], False, {}),
        (5, [0], False, {"new": 3}),
        (0, [2, 1], True, {"old0": 0, "old1": 0}),
    ],
)
def test_one_step_of_a_recreate(
    new: int | None, old: list[int], expected: dict[str, int], *, old_pods_run: bool
) -> None:
    olds = [Size(f"old{place}", place, replicas) for place, replicas in enumerate(old)]
    fresh = Size("new", len(old), new) if new is not None else None
    assert expected == recreate_step(Bounds(3, 0, 0), fresh, olds, old_pods_run=old_pods_run)


@pytest.mark.parametrize(
    ("limits", "new", "old", "expected"),
    [
        (Bounds(5, 2, 1), ("new", 3), [], {"new": 5}),
        (Bounds(0, 0, 0), ("new", 3), [], {"new": 0}),
        (Bounds(5, 2, 1), None, [3], {"old0": 5}),
        (Bounds(5, 2, 1), ("new", 5), [], {}),
        # In the middle of a roll-out both get their share: from 10 to 15, as the documentation has it.
        (Bounds(15, 3, 2), ("new", 5), [8], {"new": 7, "old0": 11}),
        (Bounds(5, 3, 2), ("new", 5), [8], {"new": 3, "old0": 5}),
        (Bounds(0, 0, 0), ("new", 5), [8], {"new": 0, "old0": 0}),
    ],
)
def test_a_change_of_size_is_shared_out(
    limits: Bounds, new: tuple[str, int] | None, old: list[int], expected: dict[str, int]
) -> None:
    olds = [
        Size(f"old{place}", place, size, size, recorded_maximum=13, recorded_desired=10)
        for place, size in enumerate(old)
    ]
    fresh = Size(*(new[0], 9, new[1], new[1]), recorded_maximum=13, recorded_desired=10) if new else None
    assert expected == rescale(limits, fresh, olds, 13, proportional=True)


def test_a_new_revision_that_is_complete_takes_the_old_ones_away_on_a_change_of_size() -> None:
    done = Size("new", 1, 3, 3, recorded_maximum=4, recorded_desired=3)
    assert {"old": 0} == rescale(Bounds(3, 1, 0), done, [Size("old", 0, 2, 2)], 5, proportional=True)


def test_without_records_the_share_follows_the_present_size() -> None:
    sizes = rescale(Bounds(8, 0, 0), Size("new", 1, 2, 2), [Size("old", 0, 2, 2)], 4, proportional=True)
    assert {"new": 4, "old": 4} == sizes


@given(
    sizes=st.lists(st.integers(1, 30), min_size=2, max_size=5),
    desired=st.integers(0, 60),
    surge=st.integers(0, 20),
    before=st.integers(0, 80),
)
def test_shares_add_up_to_what_is_allowed(sizes: list[int], desired: int, surge: int, before: int) -> None:
    limits = Bounds(desired, surge, 1)
    olds = [Size(f"old{place}", place, size, recorded_maximum=before) for place, size in enumerate(sizes)]
    changed = rescale(limits, None, olds, sum(sizes), proportional=True)
    total = sum(changed.get(size.name, size.replicas) for size in olds)
    assert total == (limits.maximum if desired else 0)
    assert all(size >= 0 for size in changed.values())


@dataclass
class World:
    """What the ReplicaSet controller and the node make of the sizes."""

    replicas: dict[str, int] = field(default_factory=dict)
    available: dict[str, int] = field(default_factory=dict)

    def sizes(self) -> tuple[Size, list[Size]]:
        made = {
            name: Size(name, rank, count, min(count, self.available[name]))
            for rank, (name, count) in enumerate(self.replicas.items())
        }
        return made["new"], [size for name, size in made.items() if name != "new"]

    def resize(self, sizes: dict[str, int]) -> None:
        for name, size in sizes.items():
            # Pods that are not available are the first to go.
            self.replicas[name] = size
            self.available[name] = min(self.available[name], size)

    def total_available(self) -> int:
        return sum(self.available.values())


Start = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=4)


@settings(deadline=None)
@given(
    desired=st.integers(0, 12),
    surge=st.integers(0, 6),
    unavailable=st.integers(0, 6),
    start=Start,
    luck=st.lists(st.tuples(st.sampled_from(["heal", "fail"]), st.integers(0, 3)), max_size=60),
)
def test_every_roll_out_keeps_its_limits_and_ends(
    desired: int, surge: int, unavailable: int, start: list[tuple[int, int]], luck: list[tuple[str, int]]
) -> None:
    leeway = unavailable if surge or unavailable else 1
    limits = Bounds(desired, surge, min(leeway, desired))
    world = World()
    for place, (replicas, available) in enumerate(start):
        world.replicas[f"old{place}"], world.available[f"old{place}"] = replicas, min(replicas, available)
    old = [Size(name, rank, size) for rank, (name, size) in enumerate(world.replicas.items())]
    world.replicas["new"] = first_size(limits, old, recreate=False)
    world.available["new"] = 0
    for what, which in luck:
        _step(world, limits)
        _happen(world, what, which)
    for _ in range(200):
        _step(world, limits)
        for name, count in world.replicas.items():
            world.available[name] = count
    assert desired == world.replicas.pop("new")
    assert not any(world.replicas.values())


def _step(world: World, limits: Bounds) -> None:
    pods, ready = sum(world.replicas.values()), world.total_available()
    world.resize(rolling_step(limits, *world.sizes()))
    assert sum(world.replicas.values()) <= max(pods, limits.maximum)
    # What failed before stays failed; the step itself takes nothing below the minimum.
    assert world.total_available() >= min(ready, limits.minimum_available)


def _happen(world: World, what: str, which: int) -> None:
    name = list(world.replicas)[which % len(world.replicas)]
    if what == "fail":
        world.available[name] = max(0, world.available[name] - 1)
    else:
        world.available[name] = min(world.replicas[name], world.available[name] + 1)
