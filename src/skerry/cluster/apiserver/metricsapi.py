"""metrics.k8s.io: what pods and nodes use, as metrics-server would serve it. The node is asked each time.

A pod that the node has no figures of yet is left out of a list and not found by name; `kubectl top` says so in its own
words. Objects have their pod's labels, so that selectors choose the same pods there and here.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Protocol

from skerry.api import metrics
from skerry.api.core import NODE, POD
from skerry.api.metrics import NODE_METRICS, POD_METRICS, NodeUsage, PodUsage
from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver import printing
from skerry.cluster.apiserver.reading import Reader
from skerry.cluster.apiserver.replies import Reply, json_reply
from skerry.cluster.apiserver.requests import Request, Target
from skerry.cluster.apiserver.selection import selection_of
from skerry.cluster.apiserver.verbs import Handler
from skerry.machinery import status


class Usage(Protocol):
    """What the node knows. Pods are named by their uid: a name may mean another pod a moment later."""

    def pods(self) -> Mapping[str, PodUsage]: ...

    def node(self) -> tuple[str, NodeUsage] | None: ...


class NoUsage:
    """A server without a node."""

    def pods(self) -> Mapping[str, PodUsage]:
        return {}

    def node(self) -> tuple[str, NodeUsage] | None:
        return None


class MetricsApi:
    """get and list of PodMetrics and NodeMetrics."""

    def __init__(self, reader: Reader, usage: Usage, now: Callable[[], datetime]) -> None:
        self._reader = reader
        self._usage = usage
        self._now = now

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {
            (kind.group_resource, verb): handler
            for kind in (POD_METRICS, NODE_METRICS)
            for verb, handler in (("get", self.get), ("list", self.list_metrics))
        }

    async def get(self, request: Request, target: Target) -> Reply:
        """Return the figures of one pod or node."""
        output, about = printing.output_of(request), _about(target.kind)
        found = self._reader.find(Target(about, target.namespace, target.name))
        measured = self._measured(target.kind, [found]) if found is not None else []
        if not measured:
            raise status.not_found(target.kind.group_resource, _full_name(target))
        return json_reply(printing.one(target.kind, measured[0], output, self._now()), media_type=output.media_type)

    async def list_metrics(self, request: Request, target: Target) -> Reply:
        """Return the figures of all pods or nodes that are selected."""
        output, selection = printing.output_of(request), selection_of(request, target.kind)
        items = self._reader.all_of(_about(target.kind), target.namespace)
        measured = self._measured(target.kind, [item for item in items if selection.matches(item)])
        printed = printing.many(target.kind, measured, {}, output, self._now())
        return json_reply(printed, media_type=output.media_type)

    def _measured(self, kind: Kind, items: list[Object]) -> list[Object]:
        if kind is NODE_METRICS:
            known = self._usage.node()
            return [
                metrics.node_metrics(item, known[1])
                for item in items
                if known is not None and item["metadata"]["name"] == known[0]
            ]
        usages = self._usage.pods()
        return [
            metrics.pod_metrics(item, usages[item["metadata"]["uid"]])
            for item in items
            if item["metadata"]["uid"] in usages
        ]


def _about(kind: Kind) -> Kind:
    return NODE if kind is NODE_METRICS else POD


def _full_name(target: Target) -> str:
    # metrics-server names a pod with its namespace.
    return f"{target.namespace}/{target.name}" if target.namespace else target.name or ""
