"""The platform answers others once nothing in the API claims more than what runs."""

import asyncio
from typing import Any

import httpx2
import pytest
from tests.reconcile.virtual_time import run

from skerry.daemon.first_sight import LISTS, FirstSight, overstated
from skerry.kit.clock import SystemClock

Item = dict[str, Any]


def item(name: str, owner: str = "", **content: Any) -> Item:
    owners = [{"uid": owner, "controller": True}] if owner else []
    return {"metadata": {"name": name, "namespace": "a", "uid": name, "ownerReferences": owners}, **content}


def pod(ready: bool, owner: str = "set") -> Item:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return item("pod", owner, status={"conditions": conditions})


def replica_set(ready: int) -> Item:
    return item("set", "deployment", status={"readyReplicas": ready})


def deployment(ready: int, *, available: bool = True) -> Item:
    conditions = [{"type": "Available", "status": str(available)}]
    return item("deployment", "isvc", status={"readyReplicas": ready, "conditions": conditions})


def isvc(ready: bool) -> Item:
    return item("isvc", status={"conditions": [{"type": "Ready", "status": str(ready)}]})


@pytest.mark.parametrize(
    ("pods", "sets", "deployments", "services", "expected"),
    [
        ([pod(True)], [replica_set(1)], [deployment(1)], [isvc(True)], []),
        (
            [pod(False)],
            [replica_set(1)],
            [deployment(1)],
            [isvc(True)],
            ["replicasets a/set", "deployments a/deployment"],
        ),
        ([pod(False)], [replica_set(0)], [deployment(1)], [isvc(True)], ["deployments a/deployment"]),
        (
            [pod(False)],
            [replica_set(0)],
            [deployment(0, available=False)],
            [isvc(True)],
            ["inferenceservices a/isvc"],
        ),
        ([pod(False)], [replica_set(0)], [deployment(0, available=False)], [isvc(False)], []),
        ([], [replica_set(0)], [deployment(0)], [isvc(True)], []),  # scaled to 0: nothing is claimed
        ([pod(True, owner="")], [], [], [], []),
        ([], [item("set")], [item("deployment")], [item("isvc")], []),  # nobody has written a status yet
    ],
)
def test_who_claims_too_much(
    pods: list[Item], sets: list[Item], deployments: list[Item], services: list[Item], expected: list[str]
) -> None:
    assert overstated(pods, sets, deployments, services) == expected


class Answers:
    """An API whose lists change while they are asked for: the controllers catch up one round after the other."""

    def __init__(self, rounds: list[list[list[Item]]]) -> None:
        self._rounds = rounds
        self.asked = 0

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        turn, which = divmod(self.asked, len(LISTS))
        assert str(request.url.path) == LISTS[which]
        self.asked += 1
        return httpx2.Response(200, json={"items": self._rounds[min(turn, len(self._rounds) - 1)][which]})


def seen(rounds: list[list[list[Item]]], looked: float = 0.0) -> tuple[float, int]:
    """Wait for the first sight in virtual time; return how long it took and how many rounds."""
    answers = Answers(rounds)

    async def main() -> float:
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(answers), base_url="http://api")
        async with client:
            await FirstSight(client, lambda: asyncio.sleep(looked), VirtualClock()).wait()
        return asyncio.get_running_loop().time()

    return run(main()), answers.asked // len(LISTS)


class VirtualClock(SystemClock):
    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def test_it_waits_until_the_controllers_have_caught_up() -> None:
    stale = [[pod(False)], [replica_set(1)], [deployment(1)], [isvc(True)]]
    half = [[pod(False)], [replica_set(0)], [deployment(0, available=False)], [isvc(True)]]
    true = [[pod(False)], [replica_set(0)], [deployment(0, available=False)], [isvc(False)]]
    took, rounds = seen([stale, half, true])
    assert (rounds, took < 0.2) == (3, True)


def test_it_asks_once_when_all_is_true() -> None:
    assert seen([[[pod(True)], [replica_set(1)], [deployment(1)], [isvc(True)]]]) == (0.0, 1)


def test_it_does_not_wait_for_ever() -> None:
    """A node that cannot look, and a claim that nobody takes back: the platform answers all the same."""
    assert seen([[[], [], [], []]], looked=1000.0)[0] == pytest.approx(5.0)
    assert seen([[[pod(False)], [replica_set(1)], [], []]])[0] == pytest.approx(5.0, abs=0.1)
