"""What a pod may ask about itself: `fieldRef` and `resourceFieldRef`, in environments and in downwardAPI volumes.

FieldError      a reference that cannot be answered; the text is the kubelet's
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from skerry.machinery.quantity import NANO, Quantity

_SUBSCRIPT: Final = re.compile(r"^metadata\.(annotations|labels)\['(.+)'\]$")
_RESOURCE: Final = re.compile(r"^(limits|requests)\.(.+)$")


class FieldError(Exception):
    """A reference to a field or resource that does not exist."""


@dataclass(frozen=True)
class PodFacts:
    """What only the node knows of a pod."""

    node_name: str
    host_ip: str
    pod_ip: str
    allocatable: Mapping[str, str]


def field_value(pod: Any, path: str, facts: PodFacts) -> str:
    """Answer a `fieldRef`."""
    subscript = _SUBSCRIPT.match(path)
    if subscript:
        return str((getattr(pod.metadata, subscript[1]) or {}).get(subscript[2], ""))
    simple = {
        "metadata.name": pod.metadata.name,
        "metadata.namespace": pod.metadata.namespace,
        "metadata.uid": pod.metadata.uid,
        "spec.nodeName": facts.node_name,
        "spec.serviceAccountName": pod.spec.serviceAccountName,
        "status.hostIP": facts.host_ip,
        "status.hostIPs": facts.host_ip,
        "status.podIP": facts.pod_ip,
        "status.podIPs": facts.pod_ip,
    }
    if path in simple:
        return simple[path] or ""
    if path in {"metadata.labels", "metadata.annotations"}:
        return _map_text(getattr(pod.metadata, path.rpartition(".")[2]) or {})
    raise FieldError(f"unsupported fieldPath: {path}")


def resource_value(container: Any, selector: Any, facts: PodFacts) -> str:
    """Answer a `resourceFieldRef`; a limit that is not set is the whole node."""
    match = _RESOURCE.match(selector.resource)
    if match is None:
        raise FieldError(f"unsupported container resource : {selector.resource}")
    kind, name = match.groups()
    asked = (getattr(container.resources, kind) or {}) if container.resources else {}
    default = facts.allocatable.get(name, "0") if kind == "limits" else "0"
    amount = Quantity.parse(asked.get(name, default))
    divisor = Quantity.parse(selector.divisor or "0") or Quantity(NANO)
    return str(-(-amount.nanos // divisor.nanos))


def container_named(pod: Any, name: str) -> Any:
    """Find a container of the pod by name."""
    for container in [*(pod.spec.initContainers or []), *pod.spec.containers]:
        if container.name == name:
            return container
    raise FieldError(f"container {name} not found")


def _map_text(values: Mapping[str, str]) -> str:
    def quoted(value: str) -> str:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        return f'"{escaped}"'

    return "\n".join(f"{key}={quoted(values[key])}" for key in sorted(values))
