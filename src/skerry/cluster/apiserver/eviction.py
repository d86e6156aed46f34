"""`pods/eviction`: a deletion that may be refused by a budget. There are no budgets here, so it never is.

`kubectl drain` evicts. As on a cluster, the pod is first told why it goes (condition `DisruptionTarget`), unless it has
run to its end already.
"""

from collections.abc import Callable
from datetime import datetime

import msgspec

from skerry.api.registry import Object
from skerry.cluster.apiserver.access.users import User
from skerry.cluster.apiserver.deleting import Deleter, parsed_options
from skerry.cluster.apiserver.reading import Reader
from skerry.cluster.apiserver.replies import Reply, json_reply
from skerry.cluster.apiserver.requests import Request, Target, WriteOptions, decode_body, write_options
from skerry.cluster.apiserver.verbs import Handler
from skerry.cluster.apiserver.writing import Writer
from skerry.kit.clock import timestamp
from skerry.machinery import status


class EvictionMeta(msgspec.Struct, frozen=True):
    """Which pod is meant."""

    name: str = ""


class Eviction(msgspec.Struct, frozen=True):
    """`policy/v1 Eviction`."""

    metadata: EvictionMeta = EvictionMeta()
    deleteOptions: Object | None = None  # noqa: N815 - the wire's name


class EvictionApi:
    """The one verb of `pods/eviction`."""

    def __init__(self, reader: Reader, writer: Writer, deleter: Deleter, now: Callable[[], datetime]) -> None:
        self._reader = reader
        self._writer = writer
        self._deleter = deleter
        self._now = now

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {("pods/eviction", "create"): self.evict}

    async def evict(self, request: Request, target: Target) -> Reply:
        """Delete the pod with the eviction's options."""
        eviction, dry_run = _eviction(request, target), write_options(request).dry_run
        sent = {
            key: value for key, value in (eviction.deleteOptions or {}).items() if key not in {"kind", "apiVersion"}
        }
        options = parsed_options(sent)
        dry_run = dry_run or bool(options.dryRun)
        pod = self._reader.fetch(target)
        if not dry_run and options.preconditions is None and not _over(pod):
            await self._tell(target, request.user)
        await self._deleter.delete_as(target, sent, dry_run=dry_run)
        return json_reply({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, 201)

    async def _tell(self, target: Target, user: User) -> None:
        now = timestamp(self._now())
        target = Target(target.kind, target.namespace, target.name, "status")
        options = WriteOptions(user, manager="skerry", tracked=False)
        await self._writer.rewrite(target, options, lambda pod: _marked(pod, now))


def _eviction(request: Request, target: Target) -> Eviction:
    try:
        eviction = msgspec.convert(decode_body(request), Eviction)
    except msgspec.ValidationError as error:
        raise status.bad_request(f"invalid Eviction: {error}") from None
    if eviction.metadata.name not in {"", target.name}:
        raise status.bad_request("name in URL does not match name in Eviction object: " + eviction.metadata.name)
    return eviction


def _over(pod: Object) -> bool:
    ended = (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}
    return ended or bool(pod["metadata"].get("deletionTimestamp"))


def _marked(pod: Object, now: str) -> Object:
    found = dict(pod.get("status") or {})
    others = [each for each in found.get("conditions") or [] if each["type"] != "DisruptionTarget"]
    told = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
        "lastProbeTime": None,
        "lastTransitionTime": now,
    }
    return {**pod, "status": {**found, "conditions": [*others, told]}}
