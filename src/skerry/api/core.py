"""core/v1: the kinds of the legacy group, `/api/v1`."""

from datetime import datetime
from typing import Any, Final

from lightkube.models import core_v1

from skerry.api import wellknown
from skerry.api.cells import AGE_COLUMN, NAME_COLUMN, NONE, UNKNOWN, spec, status
from skerry.api.checks import Errors, obeys, one_of
from skerry.api.claims import PERSISTENT_VOLUME_CLAIM
from skerry.api.configuration import CONFIG_MAP, SECRET
from skerry.api.events import EVENT
from skerry.api.filling import branch, fill
from skerry.api.pods.columns import POD_COLUMNS
from skerry.api.pods.defaults import admit_pod, default_pod
from skerry.api.pods.validation import validate_pod
from skerry.api.pods.warnings import warn_pod
from skerry.api.quantities import canonical_quantities
from skerry.api.registry import ALL_VERBS, Column, Kind, Object
from skerry.api.services import (
    ENDPOINTS_COLUMNS,
    SERVICE_COLUMNS,
    default_endpoints,
    default_service,
    validate_endpoints,
    validate_service,
)
from skerry.machinery import names
from skerry.machinery.fielderrors import duplicate, forbidden, invalid

_TAINT_EFFECTS: Final = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def _default_namespace(namespace: Object) -> None:
    meta, own = namespace["metadata"], branch(namespace, "spec")
    if meta.get("name"):
        branch(meta, "labels")[wellknown.NAMESPACE_NAME_LABEL] = meta["name"]
    if not meta.get("deletionTimestamp") and not own.get("finalizers"):
        own["finalizers"] = [wellknown.NAMESPACE_FINALIZER]
    fill(branch(namespace, "status"), phase="Active")


def _default_node(node: Object) -> None:
    canonical_quantities(node.get("status"), "capacity", "allocatable")


def _validate_node(node: Object, old: Object | None) -> Errors:
    own = spec(node)
    errors: Errors = []
    taken: set[tuple[str, str]] = set()
    for index, taint in enumerate(own.get("taints") or []):
        where, key = f"spec.taints[{index}]", taint.get("key") or ""
        errors += [invalid(f"{where}.key", key, text) for text in names.is_qualified_name(key)]
        if taint.get("value"):
            errors += obeys(f"{where}.value", taint["value"], names.is_label_value)
        errors += one_of(f"{where}.effect", taint.get("effect"), _TAINT_EFFECTS)
        if (key, taint.get("effect") or "") in taken:
            errors.append(duplicate(f"{where}", taint))
        taken.add((key, taint.get("effect") or ""))
    before = spec(old) if old is not None else {}
    for field, nothing in (("podCIDRs", "[]"), ("providerID", '""')):
        if before.get(field) and own.get(field) != before[field]:
            why = f"node updates may not change {field} except from {nothing} to valid"
            errors.append(forbidden(f"spec.{field}", why))
    return errors


def _node_status(node: Object, _now: datetime) -> str:
    ready = [one for one in status(node).get("conditions") or [] if one.get("type") == "Ready"]
    shown = "Unknown" if not ready else "Ready" if ready[0].get("status") == "True" else "NotReady"
    return f"{shown},SchedulingDisabled" if spec(node).get("unschedulable") else shown


def _node_roles(node: Object, _now: datetime) -> str:
    roles = set()
    for key, value in (node["metadata"].get("labels") or {}).items():
        if key.startswith(wellknown.NODE_ROLE_PREFIX):
            roles.add(key.removeprefix(wellknown.NODE_ROLE_PREFIX))
        elif key == wellknown.NODE_ROLE_LABEL:
            roles.add(value)
    return ",".join(sorted(roles - {""})) or NONE


def _address(node: Object, kind: str) -> str:
    for address in status(node).get("addresses") or []:
        if address.get("type") == kind:
            return str(address.get("address", NONE))
    return NONE


def _node_info(node: Object, field: str) -> Any:
    return (status(node).get("nodeInfo") or {}).get(field)


NAMESPACE: Final = Kind(
    "",
    "v1",
    "Namespace",
    "namespaces",
    namespaced=False,
    model=core_v1.Namespace,
    columns=(NAME_COLUMN, Column("Status", lambda obj, _: status(obj).get("phase", "")), AGE_COLUMN),
    short_names=("ns",),
    verbs=tuple(verb for verb in ALL_VERBS if verb != "deletecollection"),
    subresources=("finalize", "status"),
    generation=False,
    default=_default_namespace,
    name_rule=names.is_dns1123_label,
)

NODE: Final = Kind(
    "",
    "v1",
    "Node",
    "nodes",
    namespaced=False,
    model=core_v1.Node,
    columns=(
        NAME_COLUMN,
        Column("Status", _node_status),
        Column("Roles", _node_roles),
        AGE_COLUMN,
        Column("Version", lambda node, _: _node_info(node, "kubeletVersion") or ""),
        Column("Internal-IP", lambda node, _: _address(node, "InternalIP"), priority=1),
        Column("External-IP", lambda node, _: _address(node, "ExternalIP"), priority=1),
        Column("OS-Image", lambda node, _: _node_info(node, "osImage") or UNKNOWN, priority=1),
        Column("Kernel-Version", lambda node, _: _node_info(node, "kernelVersion") or UNKNOWN, priority=1),
        Column("Container-Runtime", lambda node, _: _node_info(node, "containerRuntimeVersion") or UNKNOWN, priority=1),
    ),
    short_names=("no",),
    subresources=("status",),
    generation=False,
    default=_default_node,
    validate=_validate_node,
)

SERVICE_ACCOUNT: Final = Kind(
    "",
    "v1",
    "ServiceAccount",
    "serviceaccounts",
    namespaced=True,
    model=core_v1.ServiceAccount,
    columns=(NAME_COLUMN, Column("Secrets", lambda obj, _: len(obj.get("secrets") or []), "integer"), AGE_COLUMN),
    short_names=("sa",),
    subresources=("token",),
)

SERVICE: Final = Kind(
    "",
    "v1",
    "Service",
    "services",
    namespaced=True,
    model=core_v1.Service,
    columns=SERVICE_COLUMNS,
    short_names=("svc",),
    categories=("all",),
    subresources=("status",),
    generation=False,
    default=default_service,
    validate=validate_service,
    name_rule=names.is_dns1035_label,
)

ENDPOINTS: Final = Kind(
    "",
    "v1",
    "Endpoints",
    "endpoints",
    namespaced=True,
    model=core_v1.Endpoints,
    columns=ENDPOINTS_COLUMNS,
    short_names=("ep",),
    deprecated="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    default=default_endpoints,
    validate=validate_endpoints,
)

POD: Final = Kind(
    "",
    "v1",
    "Pod",
    "pods",
    namespaced=True,
    model=core_v1.Pod,
    columns=POD_COLUMNS,
    short_names=("po",),
    categories=("all",),
    subresources=("attach", "binding", "eviction", "exec", "log", "portforward", "status"),
    default=default_pod,
    admit=admit_pod,
    validate=validate_pod,
    warn=warn_pod,
)

CORE_KINDS: Final = (
    CONFIG_MAP,
    ENDPOINTS,
    EVENT,
    NAMESPACE,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SECRET,
    SERVICE_ACCOUNT,
    SERVICE,
)
