"""The queue of a controller, in virtual time: once at a time, never too few, later after errors."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from lightkube import ApiError
from lightkube.models.meta_v1 import ObjectMeta, OwnerReference, Status
from tests.reconcile.virtual_time import run

from skerry.reconcile import Again, Controller, Key
from skerry.reconcile.cache import Change
from skerry.reconcile.controller import own_key, owner_key

A, B = Key("ns", "a"), Key("ns", "b")
Script = Callable[[Key], Awaitable[Again | None]]


def conflict(code: int = 409) -> ApiError:
    return ApiError(status=Status(code=code, message="no", reason="Conflict"))


class Runs:
    """Records when which key ran; `script` says what a run does."""

    def __init__(self, script: Script | None = None) -> None:
        self.script = script
        self.runs: list[tuple[float, Key]] = []
        self.at_once = 0
        self.most_at_once = 0
        self.running: set[Key] = set()

    async def reconcile(self, key: Key) -> Again | None:
        assert key not in self.running, "one key ran twice at once"
        self.running.add(key)
        self.most_at_once = max(self.most_at_once, len(self.running))
        self.runs.append((round(asyncio.get_running_loop().time(), 3), key))
        try:
            return await self.script(key) if self.script else None
        finally:
            self.running.discard(key)

    @property
    def times(self) -> list[float]:
        return [moment for moment, _ in self.runs]

    @property
    def gaps(self) -> list[float]:
        return [round(after - before, 3) for before, after in zip(self.times, self.times[1:], strict=False)]


async def during(controller: Controller, what: Awaitable[Any]) -> None:
    """Run the controller while `what` happens."""
    task = asyncio.ensure_future(controller.run())
    try:
        await what
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def test_many_wakes_before_a_run_are_one_run() -> None:
    runs = Runs()
    controller = Controller("c", runs.reconcile)

    async def main() -> None:
        for _ in range(100):
            controller.wake(A)
            controller.wake(B)
        await during(controller, asyncio.sleep(1))

    run(main())
    assert sorted(key for _, key in runs.runs) == [A, B]


def test_keys_run_beside_each_other_but_no_key_beside_itself() -> None:
    async def slow(_: Key) -> None:
        await asyncio.sleep(1)

    runs = Runs(slow)
    controller = Controller("c", runs.reconcile, workers=3)

    async def wake_often() -> None:
        for _ in range(40):
            for name in "abcde":
                controller.wake(Key("ns", name))
            await asyncio.sleep(0.1)
        await asyncio.sleep(10)

    run(during(controller, wake_often()))
    assert runs.most_at_once == 3


def test_a_change_during_a_run_makes_one_more_run() -> None:
    seen: list[int] = []
    world = [1]

    async def read(_: Key) -> None:
        seen.append(world[0])
        await asyncio.sleep(1)

    runs = Runs(read)
    controller = Controller("c", runs.reconcile)

    async def change() -> None:
        controller.wake(A)
        await asyncio.sleep(0.5)
        for value in (2, 3):
            world[0] = value
            controller.wake(A)
        await asyncio.sleep(10)

    run(during(controller, change()))
    assert seen == [1, 3]


def test_no_change_is_lost_whatever_the_timing() -> None:
    """A run that begins after a change sees it: the last value seen is the last value written."""
    world, seen = [0], [0]

    async def read(_: Key) -> Again | None:
        value = world[0]
        await asyncio.sleep(0.03 * (value % 4))
        if value % 5 == 1:
            raise conflict()
        seen[0] = value
        return Again(0.2) if value % 3 == 0 else None

    controller = Controller("c", Runs(read).reconcile)

    async def change() -> None:
        for value in range(1, 200):
            world[0] = value
            controller.wake(A)
            await asyncio.sleep(0.007 * (value % 11))
        await asyncio.sleep(120)

    run(during(controller, change()))
    assert seen == world


def test_errors_are_tried_again_later_and_later() -> None:
    async def fail(_: Key) -> None:
        raise conflict()

    runs = Runs(fail)
    controller = Controller("c", runs.reconcile)
    controller.wake(A)
    run(during(controller, asyncio.sleep(400)))
    assert runs.gaps[:11] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2]
    assert set(runs.gaps[11:]) == {60.0}


def test_a_key_may_fail_for_days() -> None:
    async def fail(_: Key) -> None:
        raise OSError("the disk")

    runs = Runs(fail)
    controller = Controller("c", runs.reconcile)
    controller.wake(A)
    run(during(controller, asyncio.sleep(3 * 24 * 3600)))
    assert len(runs.runs) > 4000
    assert runs.gaps[-1] == 60.0


def test_success_forgets_the_failures() -> None:
    outcomes = iter([True, True, True, False, True])

    async def sometimes(_: Key) -> None:
        if next(outcomes, False):
            raise httpx2.ConnectError("refused")

    runs = Runs(sometimes)
    controller = Controller("c", runs.reconcile)

    async def twice() -> None:
        controller.wake(A)
        await asyncio.sleep(10)
        controller.wake(A)
        await asyncio.sleep(10)

    run(during(controller, twice()))
    assert runs.times == [0.0, 0.05, 0.15, 0.35, 10.0, 10.05]


@pytest.mark.parametrize("error", [ValueError("bug"), ZeroDivisionError(), KeyError("spec"), TimeoutError()])
def test_a_bug_with_one_object_stops_no_other(error: Exception) -> None:
    async def crash(key: Key) -> None:
        if key == A:
            raise error

    runs = Runs(crash)
    controller = Controller("c", runs.reconcile, workers=1)

    async def both() -> None:
        controller.wake(A)
        await asyncio.sleep(30)
        controller.wake(B)
        await asyncio.sleep(0.01)

    run(during(controller, both()))
    assert runs.runs[-1][1] == B
    assert len(runs.runs) > 5


def test_again_calls_at_the_time_asked_for() -> None:
    async def every_seven(_: Key) -> Again:
        return Again(7)

    runs = Runs(every_seven)
    controller = Controller("c", runs.reconcile)
    controller.wake(A)
    run(during(controller, asyncio.sleep(22)))
    assert runs.times == [0, 7, 14, 21]


def test_a_change_comes_before_again_and_moves_it() -> None:
    async def every_ten(_: Key) -> Again:
        return Again(10)

    runs = Runs(every_ten)
    controller = Controller("c", runs.reconcile)

    async def change() -> None:
        controller.wake(A)
        await asyncio.sleep(4)
        controller.wake(A)
        await asyncio.sleep(11)

    run(during(controller, change()))
    assert runs.times == [0, 4, 14]


def test_a_change_while_again_is_being_answered_is_not_put_off() -> None:
    async def slow(_: Key) -> Again:
        await asyncio.sleep(1)
        return Again(100)

    runs = Runs(slow)
    controller = Controller("c", runs.reconcile)

    async def change() -> None:
        controller.wake(A)
        await asyncio.sleep(0.5)
        controller.wake(A)
        await asyncio.sleep(5)

    run(during(controller, change()))
    assert runs.times == [0, 1]


def test_a_repair_during_a_failing_run_waits_a_second_at_most() -> None:
    """Without the wait a controller that writes the object on each failure would spin; with more a user would wait."""
    broken = [True]

    async def check(_: Key) -> None:
        found = broken[0]
        await asyncio.sleep(0.5)
        if found:
            raise conflict()

    runs = Runs(check)
    controller = Controller("c", runs.reconcile)

    async def repair() -> None:
        controller.wake(A)
        while len(runs.runs) < 14 or A not in runs.running:  # by now a retry comes once a minute
            await asyncio.sleep(0.05)
        broken[0] = False
        controller.wake(A)
        await asyncio.sleep(5)

    run(during(controller, repair()))
    # The run that failed took half a second; the next one began a second after it.
    assert runs.gaps[-1] == 1.5


def test_a_controller_that_writes_on_each_failure_does_not_spin() -> None:
    async def write_and_fail(key: Key) -> None:
        controller.wake(key)
        raise conflict()

    runs = Runs(write_and_fail)
    controller = Controller("c", runs.reconcile)
    controller.wake(A)
    run(during(controller, asyncio.sleep(30)))
    assert len(runs.runs) < 40


def test_timers_end_with_the_controller() -> None:
    async def soon(_: Key) -> Again:
        return Again(1)

    runs = Runs(soon)
    controller = Controller("c", runs.reconcile)

    async def main() -> None:
        controller.wake(A)
        await during(controller, asyncio.sleep(0.5))
        before = len(runs.runs)
        await asyncio.sleep(5)
        assert len(runs.runs) == before
        assert controller._queue.empty()

    run(main())


class FakeCache:
    def __init__(self) -> None:
        self.listeners: list[Callable[[Any], None]] = []

    def listen(self, listener: Callable[[Any], None]) -> None:
        self.listeners.append(listener)

    def change(self, old: Any, new: Any) -> None:
        for listener in self.listeners:
            listener(Change(old, new))


def named(name: str, namespace: str | None = "ns", owners: list[OwnerReference] | None = None) -> Any:
    return SimpleNamespace(metadata=ObjectMeta(name=name, namespace=namespace, ownerReferences=owners))


def owner(name: str, kind: str = "ReplicaSet", *, controller: bool | None = True) -> OwnerReference:
    return OwnerReference(apiVersion="apps/v1", kind=kind, name=name, uid=name, controller=controller)


def test_the_old_and_the_new_object_are_both_mapped() -> None:
    cache: Any = FakeCache()
    runs = Runs()
    controller = Controller("c", runs.reconcile).watch(cache, owner_key("ReplicaSet"))

    async def move() -> None:
        cache.change(named("p", owners=[owner("a")]), named("p", owners=[owner("b")]))
        await asyncio.sleep(1)
        cache.change(named("p", owners=[owner("b")]), None)
        await asyncio.sleep(1)

    run(during(controller, move()))
    assert [key for _, key in runs.runs] == [A, B, B]


def test_maps() -> None:
    assert own_key(named("n", None)) == [Key("", "n")]
    assert str(Key("", "n")) == "n"
    assert str(A) == "ns/a"
    many = [owner("a"), owner("x", "Deployment"), owner("b", controller=None)]
    assert owner_key("ReplicaSet")(named("p", owners=many)) == [A]
    assert owner_key("ReplicaSet")(named("p")) == []
