"""The sub-resources of pods: `binding` (what a scheduler posts) and `log` (what the node serves)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any, Final

from skerry.cluster.apiserver.reading import Reader, key_of
from skerry.cluster.apiserver.replies import Reply, Stream, json_reply
from skerry.cluster.apiserver.requests import Request, Target, decode_body
from skerry.cluster.store import Conflict, Store
from skerry.kit.clock import timestamp
from skerry.machinery import status

_ATTEMPTS: Final = 10

# (namespace, pod name, the query of the request) → lines; the node's half raises StatusError for what it cannot serve.
ReadLogs = Callable[[str, str, dict[str, str]], Awaitable[AsyncIterator[bytes]]]


class PodApi:
    """Sub-resources of pods over a store."""

    def __init__(self, store: Store, reader: Reader, now: Callable[[], datetime], read_logs: ReadLogs) -> None:
        self._store = store
        self._reader = reader
        self._now = now
        self._read_logs = read_logs

    async def bind(self, request: Request, target: Target) -> Reply:
        """Put the pod on a node; raises 409 when it is on another one already."""
        node = (decode_body(request).get("target") or {}).get("name")
        if not isinstance(node, str) or not node:
            raise status.bad_request("target.name: Required value")
        for _ in range(_ATTEMPTS):
            pod = self._reader.fetch(target)
            present = pod["spec"].get("nodeName")
            if present and present != node:
                why = f"pod {pod['metadata']['name']} is already assigned to node {status.json_quote(present)}"
                raise status.conflict("pods/binding", target.name or "", why)
            bound = _bound(pod, node, timestamp(self._now()))
            try:
                await self._store.update(key_of(target), bound, int(pod["metadata"]["resourceVersion"]))
            except Conflict:
                continue
            success = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
            return json_reply(success, 201)
        raise status.conflict("pods/binding", target.name or "")

    async def log(self, request: Request, target: Target) -> Stream:
        """Stream what the pod wrote."""
        self._reader.fetch(target)
        lines = await self._read_logs(target.namespace or "", target.name or "", dict(request.query))
        return Stream(lines, "text/plain")


def _bound(pod: dict[str, Any], node: str, now: str) -> dict[str, Any]:
    pod_status = dict(pod.get("status") or {})
    conditions = [item for item in pod_status.get("conditions") or [] if item["type"] != "PodScheduled"]
    conditions.append({"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now})
    pod_status["conditions"] = conditions
    pod_status.setdefault("phase", "Pending")
    return {**pod, "spec": {**pod["spec"], "nodeName": node}, "status": pod_status}
