"""The platform answers others when nothing that it says is left over from an earlier life.

The store remembers pods as they were: after a power cut, a restored backup or `skerry down` it says Ready of processes
that are gone. So before the first client is answered, the node compares every pod with what runs, and the controllers
take back what followed from it: the counts of ReplicaSets and Deployments, then the InferenceService. Where every
process is still there, nothing has to be taken back and nothing is written.

All of it is read from the API itself, because a cache may still hold the old state. Nobody waits for ever: a store that
takes no writes cannot be put right, and has to be read all the same.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import httpx2

from skerry.kit.clock import Clock
from skerry.kit.log import logger

log = logger(__name__)

Item = dict[str, Any]

LISTS: Final = (
    "/api/v1/pods",
    "/apis/apps/v1/replicasets",
    "/apis/apps/v1/deployments",
    "/apis/serving.kserve.io/v1beta1/inferenceservices",
)
_AT_MOST_SECONDS: Final = 5.0
_LOOK_SECONDS: Final = 0.02


class FirstSight:
    """Waits until the API says what is."""

    def __init__(self, http: httpx2.AsyncClient, node_looked: Callable[[], Awaitable[None]], clock: Clock) -> None:
        """`node_looked` returns when the status of each pod has been compared with its processes."""
        self._http = http
        self._node_looked = node_looked
        self._clock = clock

    async def wait(self) -> None:
        """Return when nothing claims too much, at the latest after five seconds."""
        left: list[str] = []
        try:
            async with asyncio.timeout(_AT_MOST_SECONDS):
                await self._node_looked()
                while left := overstated(*[await self._items(path) for path in LISTS]):
                    await self._clock.sleep(_LOOK_SECONDS)
        except TimeoutError:
            log.warning("answering with what may be old", objects=left)

    async def _items(self, path: str) -> list[Item]:
        answer = await self._http.get(path)
        items: list[Item] = answer.json().get("items") or []
        return items


def overstated(
    pods: Sequence[Item], sets: Sequence[Item], deployments: Sequence[Item], services: Sequence[Item]
) -> list[str]:
    """Name the objects that say that more is ready than what they are made of."""
    ready = Counter(_owner(pod) for pod in pods if _condition(pod, "Ready") == "True")
    found = [f"replicasets {_name(each)}" for each in sets if _claimed(each) > ready[_uid(each)]]
    behind = Counter[str]()
    for each in sets:
        behind[_owner(each)] += ready[_uid(each)]
    found += [f"deployments {_name(each)}" for each in deployments if _claimed(each) > behind[_uid(each)]]
    down = {_owner(each) for each in deployments if _condition(each, "Available") == "False"}
    serving = [each for each in services if _condition(each, "Ready") == "True"]
    return found + [f"inferenceservices {_name(each)}" for each in serving if _uid(each) in down]


def _claimed(item: Item) -> int:
    count: int = (item.get("status") or {}).get("readyReplicas") or 0
    return count


def _condition(item: Item, kind: str) -> str:
    conditions = (item.get("status") or {}).get("conditions") or []
    return next((str(each["status"]) for each in conditions if each["type"] == kind), "Unknown")


def _owner(item: Item) -> str:
    owners = item["metadata"].get("ownerReferences") or []
    return next((str(owner["uid"]) for owner in owners if owner.get("controller")), "")


def _uid(item: Item) -> str:
    return str(item["metadata"]["uid"])


def _name(item: Item) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"
