"""Field numbers of Kubernetes' protobuf messages.

The tables (`protobuf_tables`) hold one line a message, one part a field: `NUMBER NAME[:TYPE][MARK]`, parts separated by
slashes or line ends. The type is text when left out; `map<TYPE>` is a map from text. The marks:

    *   repeated
    !   an embedded struct: its fields stand in the parent
    ?   keeps its zero: a pointer in Go, where zero is something else than nothing, or a field that JSON always shows

All other zeros are on the wire whether the client meant them or not, and are left out, as Go's JSON leaves them out.

Facts: the field tags of k8s.io/api and k8s.io/apimachinery v0.37, which are those of their `generated.proto` files.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from skerry.cluster.apiserver.protobuf_tables import (
    access,
    apps,
    autoscaling,
    batch,
    coordination,
    core,
    discovery,
    events,
    meta,
    nodes,
    pods,
    volumes,
)

_TABLES: Final[Mapping[str, str]] = {
    **meta.MESSAGES,
    **core.MESSAGES,
    **pods.MESSAGES,
    **volumes.MESSAGES,
    **nodes.MESSAGES,
    **apps.MESSAGES,
    **batch.MESSAGES,
    **autoscaling.MESSAGES,
    **coordination.MESSAGES,
    **discovery.MESSAGES,
    **events.MESSAGES,
    **access.MESSAGES,
}
_PART: Final = re.compile(r"(\d+) (\w+)(?::(?:map<([\w.]+)>|([\w.]+)))?([*!?]?)")

# Message names by apiVersion and kind.
KINDS: Final[Mapping[tuple[str, str], str]] = {
    **{
        ("v1", kind): kind
        for kind in (
            "Binding",
            "ConfigMap",
            "Endpoints",
            "Event",
            "Namespace",
            "Node",
            "PersistentVolumeClaim",
            "Pod",
            "Secret",
            "Service",
            "ServiceAccount",
        )
    },
    ("apps/v1", "Deployment"): "Deployment",
    ("apps/v1", "ReplicaSet"): "ReplicaSet",
    ("autoscaling/v1", "HorizontalPodAutoscaler"): "autoscaling.v1.HorizontalPodAutoscaler",
    ("autoscaling/v1", "Scale"): "Scale",
    ("autoscaling/v2", "HorizontalPodAutoscaler"): "HorizontalPodAutoscaler",
    ("batch/v1", "Job"): "Job",
    ("policy/v1", "Eviction"): "Eviction",
    ("coordination.k8s.io/v1", "Lease"): "Lease",
    ("discovery.k8s.io/v1", "EndpointSlice"): "EndpointSlice",
    ("events.k8s.io/v1", "Event"): "events.Event",
    **{
        ("rbac.authorization.k8s.io/v1", kind): kind
        for kind in ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
    },
    **{("authentication.k8s.io/v1", kind): kind for kind in ("SelfSubjectReview", "TokenRequest", "TokenReview")},
    **{
        ("authorization.k8s.io/v1", kind): kind
        for kind in (
            "LocalSubjectAccessReview",
            "SelfSubjectAccessReview",
            "SelfSubjectRulesReview",
            "SubjectAccessReview",
        )
    },
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `type` is a message name, or one of the words for what is no message."""

    name: str
    type: str
    repeated: bool = False
    is_map: bool = False
    inline: bool = False
    keeps_zero: bool = False


def message_of(api_version: str, kind: str) -> str | None:
    """Return the name of the message of a kind; options are sent in every group."""
    return "DeleteOptions" if kind == "DeleteOptions" else KINDS.get((api_version, kind))


@cache
def fields_of(message: str) -> Mapping[int, Field]:
    """Return the fields of a message by number."""
    fields: dict[int, Field] = {}
    for part in re.split(r"/|\n", _TABLES[message]):
        if text := part.strip():
            match = _PART.fullmatch(text)
            assert match is not None, f"{message}: {text}"
            number, name, values, type_, mark = match.groups()
            fields[int(number)] = Field(
                name, values or type_ or "string", mark == "*", values is not None, mark == "!", mark == "?"
            )
    return fields


def messages() -> list[str]:
    """Return the names of all messages."""
    return list(_TABLES)
