"""Where the API server asks the node: logs, streams, usage, and whether it lives.

The rooms of the cluster know nothing of each other. The API server is built first and given these; the node fills them
when it is built, and until then each says that it is not there yet.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime

from skerry.api.coordination import Heartbeat
from skerry.api.metrics import NodeUsage, PodUsage
from skerry.cluster.apiserver.metricsapi import NoUsage, Usage
from skerry.cluster.apiserver.podapi import ReadLogs
from skerry.cluster.apiserver.podstreams import LateNode
from skerry.cluster.node.agent import NodeAgent
from skerry.machinery import status


class NodeSeams:
    """All four."""

    def __init__(self) -> None:
        self.logs = _Logs()
        self.streams = LateNode()
        self.usage = _Usage()
        self.heartbeat = _Heartbeat()

    def fill(self, agent: NodeAgent) -> None:
        """Let the node answer from now on."""
        self.logs.read = agent.read_logs
        self.streams.node = agent.streams
        self.usage.meter = agent.usage
        self.heartbeat.of = agent.lease.alive


class _Logs:
    def __init__(self) -> None:
        self.read: ReadLogs | None = None

    async def __call__(self, namespace: str, name: str, query: dict[str, str]) -> AsyncIterator[bytes]:
        if self.read is None:
            raise status.unavailable("the node is not started yet; try again")
        return await self.read(namespace, name, query)


class _Usage:
    def __init__(self) -> None:
        self.meter: Usage = NoUsage()

    def pods(self) -> Mapping[str, PodUsage]:
        return self.meter.pods()

    def node(self) -> tuple[str, NodeUsage] | None:
        return self.meter.node()


class _Heartbeat:
    def __init__(self) -> None:
        self.of: Heartbeat | None = None

    def __call__(self, node: str) -> datetime | None:
        return self.of(node) if self.of is not None else None
