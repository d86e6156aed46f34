"""The sub-resources of pods: `binding` (what a scheduler posts) and `log` (what the node serves)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any, Final

import msgspec

from skerry.cluster.apiserver.reading import Reader, key_of
from skerry.cluster.apiserver.replies import Reply, Stream, json_reply
from skerry.cluster.apiserver.requests import Request, Target, decode_body, write_options
from skerry.cluster.apiserver.turns import Turns
from skerry.cluster.apiserver.verbs import Handler
from skerry.cluster.store import Conflict, Missing, Store
from skerry.kit.clock import timestamp
from skerry.machinery import status
from skerry.machinery.fielderrors import not_supported, required

_ATTEMPTS: Final = 10

# (namespace, pod name, the query of the request) → lines; the node's half raises StatusError for what it cannot serve.
ReadLogs = Callable[[str, str, dict[str, str]], Awaitable[AsyncIterator[bytes]]]


class BoundTo(msgspec.Struct, frozen=True):
    """Where the pod goes."""

    name: str = ""
    kind: str = ""


class BindingMeta(msgspec.Struct, frozen=True):
    """Which pod is meant."""

    name: str | None = None
    uid: str | None = None


class Binding(msgspec.Struct, frozen=True):
    """`v1 Binding`."""

    target: BoundTo
    metadata: BindingMeta = BindingMeta()


class PodApi:
    """Sub-resources of pods over a store."""

    def __init__(
        self, store: Store, reader: Reader, now: Callable[[], datetime], turns: Turns, read_logs: ReadLogs
    ) -> None:
        self._store = store
        self._reader = reader
        self._now = now
        self._turns = turns
        self._read_logs = read_logs

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {("pods/binding", "create"): self.bind, ("pods/log", "get"): self.log}

    async def bind(self, request: Request, target: Target) -> Reply:
        """Put the pod on a node; raises 409 when it is on another one already, or is to go."""
        options = write_options(request)
        binding = _binding(request)
        success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        for _ in range(_ATTEMPTS):
            async with self._turns.of(key_of(target)):
                pod = self._reader.fetch(target)
                _check_free(pod, binding)
                bound = _bound(pod, binding.target.name, timestamp(self._now()))
                try:
                    if not options.dry_run:
                        await self._store.update(key_of(target), bound, int(pod["metadata"]["resourceVersion"]))
                except Conflict:
                    continue
                except Missing:
                    raise status.not_found("pods", target.name or "") from None
                return json_reply(success, 201)
        raise status.conflict("pods/binding", target.name or "")

    async def log(self, request: Request, target: Target) -> Stream:
        """Stream what the pod wrote."""
        self._reader.fetch(target)
        lines = await self._read_logs(target.namespace or "", target.name or "", dict(request.query))
        return Stream(lines, "text/plain")


def _binding(request: Request) -> Binding:
    try:
        binding = msgspec.convert(decode_body(request), Binding)
    except msgspec.ValidationError as error:
        raise status.bad_request(f"invalid Binding: {error}") from None
    errors = []
    if binding.target.kind not in {"", "Node"}:
        errors.append(not_supported("target.kind", binding.target.kind, ["Node", "<empty>"]))
    if not binding.target.name:
        errors.append(required("target.name"))
    if errors:
        raise status.invalid("Binding", "", binding.metadata.name or "", errors)
    return binding


def _check_free(pod: dict[str, Any], binding: Binding) -> None:
    meta = pod["metadata"]
    name, why = meta["name"], ""
    present, uid = pod["spec"].get("nodeName"), binding.metadata.uid
    if uid and uid != meta["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {meta['uid']}"
    elif meta.get("deletionTimestamp"):
        why = f"pod {name} is being deleted, cannot be assigned to a host"
    elif present and present != binding.target.name:
        why = f"pod {name} is already assigned to node {status.json_quote(present)}"
    if why:
        raise status.conflict("pods/binding", name, why)


def _bound(pod: dict[str, Any], node: str, now: str) -> dict[str, Any]:
    pod_status = dict(pod.get("status") or {})
    conditions = [item for item in pod_status.get("conditions") or [] if item["type"] != "PodScheduled"]
    conditions.append({"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now})
    pod_status["conditions"] = conditions
    pod_status.setdefault("phase", "Pending")
    return {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": pod_status}
