"""metrics.k8s.io/v1beta1: what pods and nodes use. Asked of the node, never stored.

`PodUsage` and `NodeUsage` are what the node knows; the API server makes objects of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from lightkube.core import resource
from lightkube.models.meta_v1 import ObjectMeta

from skerry.api.cells import NAME_COLUMN
from skerry.api.registry import ASK_VERBS, Column, Kind, Object
from skerry.kit.clock import timestamp
from skerry.machinery.humanduration import go_duration
from skerry.machinery.quantity import NANO, Quantity

GROUP: Final = "metrics.k8s.io"
VERSION: Final = "v1beta1"


@dataclass(frozen=True)
class Amounts:
    """Processors' time used in each second, in nanoseconds, and memory that cannot be taken back, in bytes."""

    cpu_nanocores: int
    memory_bytes: int


@dataclass(frozen=True)
class PodUsage:
    """What the containers of a pod used in the `window` before `at`."""

    at: datetime
    window: timedelta
    containers: Mapping[str, Amounts]


@dataclass(frozen=True)
class NodeUsage:
    """What everything on the machine used."""

    at: datetime
    window: timedelta
    amounts: Amounts


class ContainerMetrics(msgspec.Struct):
    """The resource usage of one container."""

    name: str
    usage: dict[str, str]


class PodMetrics(msgspec.Struct):
    """The resource usage of the containers of a pod."""

    timestamp: datetime
    window: str
    containers: list[ContainerMetrics]
    apiVersion: str | None = None  # noqa: N815 - the wire's name
    kind: str | None = None
    metadata: ObjectMeta | None = None


class NodeMetrics(msgspec.Struct):
    """The resource usage of a node."""

    timestamp: datetime
    window: str
    usage: dict[str, str]
    apiVersion: str | None = None  # noqa: N815
    kind: str | None = None
    metadata: ObjectMeta | None = None


class PodMetricsResource(resource.NamespacedResourceG, PodMetrics):
    """`PodMetrics` as lightkube reaches it."""

    _api_info = resource.ApiInfo(
        resource=resource.ResourceDef(GROUP, VERSION, "PodMetrics"), plural="pods", verbs=["get", "list", "global_list"]
    )


def pod_metrics(pod: Object, usage: PodUsage) -> Object:
    """Make the object of a pod, with the pod's labels: clients select by them."""
    meta = pod["metadata"]
    containers = [{"name": name, "usage": _amounts(amounts)} for name, amounts in usage.containers.items()]
    return {
        "kind": "PodMetrics",
        "apiVersion": f"{GROUP}/{VERSION}",
        "metadata": _metadata(meta, usage.at),
        **_when(usage.at, usage.window),
        "containers": containers,
    }


def node_metrics(node: Object, usage: NodeUsage) -> Object:
    """Make the object of a node."""
    return {
        "kind": "NodeMetrics",
        "apiVersion": f"{GROUP}/{VERSION}",
        "metadata": _metadata(node["metadata"], usage.at),
        **_when(usage.at, usage.window),
        "usage": _amounts(usage.amounts),
    }


def _metadata(meta: Mapping[str, Any], at: datetime) -> Object:
    shown = {key: meta[key] for key in ("name", "namespace", "labels") if meta.get(key)}
    return {**shown, "creationTimestamp": timestamp(at)}


def _when(at: datetime, window: timedelta) -> Object:
    return {"timestamp": timestamp(at), "window": go_duration(window)}


def _amounts(amounts: Amounts) -> dict[str, str]:
    # Whole Ki, as the kubelet's figures come.
    memory = Quantity(amounts.memory_bytes // 1024 * 1024 * NANO, "BinarySI")
    return {"cpu": f"{amounts.cpu_nanocores}n" if amounts.cpu_nanocores else "0", "memory": _in_ki(memory)}


def _in_ki(memory: Quantity) -> str:
    number = memory.to_int() // 1024
    return f"{number}Ki" if number else "0"


def _summed(containers: Sequence[Mapping[str, Any]], name: str) -> str:
    """Add up what the containers use; a node is its own only one."""
    total = Quantity(0, "DecimalSI" if name == "cpu" else "BinarySI")
    for container in containers:
        total += Quantity.parse((container.get("usage") or {}).get(name, "0"))
    return str(total)


_POD_COLUMNS: Final = (
    NAME_COLUMN,
    Column("cpu", lambda item, _: _summed(item.get("containers") or (), "cpu")),
    Column("memory", lambda item, _: _summed(item.get("containers") or (), "memory")),
    Column("Window", lambda item, _: item.get("window", "")),
)
_NODE_COLUMNS: Final = (
    NAME_COLUMN,
    Column("cpu", lambda item, _: _summed((item,), "cpu")),
    Column("memory", lambda item, _: _summed((item,), "memory")),
    Column("Window", lambda item, _: item.get("window", "")),
)

POD_METRICS: Final = Kind(
    GROUP, VERSION, "PodMetrics", "pods", namespaced=True, model=PodMetrics, columns=_POD_COLUMNS, verbs=ASK_VERBS
)
NODE_METRICS: Final = Kind(
    GROUP, VERSION, "NodeMetrics", "nodes", namespaced=False, model=NodeMetrics, columns=_NODE_COLUMNS, verbs=ASK_VERBS
)
METRICS_KINDS: Final = (POD_METRICS, NODE_METRICS)
