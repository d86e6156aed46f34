"""PersistentVolume and StorageClass, as views: a volume is the other side of a bound claim, and there is one class.

A claim is a directory on this machine, so neither kind has anything of its own to store. They are there because people
look for them (`kubectl get pv,sc`), and because a claim names both.
"""

import uuid
from datetime import datetime
from typing import Any, Final

from lightkube.models import core_v1, storage_v1

from skerry.api.cells import AGE_COLUMN, NAME_COLUMN, UNSET, spec, status
from skerry.api.claims import short_modes
from skerry.api.registry import ASK_VERBS, Column, Kind, Object
from skerry.api.wellknown import LOCAL_CLASS, LOCAL_PROVISIONER

_DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"


def volume_of(claim: Object, node: str) -> Object | None:
    """Return the volume of a claim, None for one that is not bound."""
    own, seen, meta = spec(claim), status(claim), claim["metadata"]
    if seen.get("phase") != "Bound" or not own.get("volumeName"):
        return None
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": own["volumeName"],
            # Made of the claim's, so that the same volume has the same one each time.
            "uid": str(uuid.uuid5(uuid.NAMESPACE_OID, meta["uid"])),
            "resourceVersion": meta["resourceVersion"],
            "creationTimestamp": meta["creationTimestamp"],
            "annotations": {"pv.kubernetes.io/provisioned-by": LOCAL_PROVISIONER},
            "finalizers": ["kubernetes.io/pv-protection"],
        },
        "spec": {
            "accessModes": seen.get("accessModes") or own.get("accessModes") or [],
            "capacity": seen.get("capacity") or {},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
                "resourceVersion": meta["resourceVersion"],
            },
            "local": {"path": f"claims/{meta['namespace']}/{meta['name']}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": own.get("storageClassName") or "",
            "volumeMode": own.get("volumeMode") or "Filesystem",
        },
        "status": {"phase": "Bound"},
    }


def storage_class(born: str) -> Object:
    """Return the one class."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": LOCAL_CLASS,
            "uid": "5b7f7a0c-6c1c-4a83-9d0b-1f2d6f6a7e10",
            "resourceVersion": "1",
            "creationTimestamp": born,
            "annotations": {_DEFAULT_CLASS: "true"},
        },
        "provisioner": LOCAL_PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "Immediate",
        "allowVolumeExpansion": True,
    }


def _claim(volume: Object, _now: datetime) -> str:
    claim = spec(volume).get("claimRef") or {}
    return f"{claim['namespace']}/{claim['name']}" if claim else ""


def _class_name(item: Object, now: datetime) -> str:
    default = (item["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
    return f"{NAME_COLUMN.cell(item, now)} (default)" if default else str(NAME_COLUMN.cell(item, now))


def _policy(volume: Object, _now: datetime) -> Any:
    return spec(volume).get("persistentVolumeReclaimPolicy", "")


PERSISTENT_VOLUME: Final = Kind(
    "",
    "v1",
    "PersistentVolume",
    "persistentvolumes",
    namespaced=False,
    model=core_v1.PersistentVolume,
    columns=(
        NAME_COLUMN,
        Column("Capacity", lambda item, _: (spec(item).get("capacity") or {}).get("storage", "")),
        Column("Access Modes", lambda item, _: short_modes(spec(item).get("accessModes"))),
        Column("Reclaim Policy", _policy),
        Column("Status", lambda item, _: status(item).get("phase", "")),
        Column("Claim", _claim),
        Column("StorageClass", lambda item, _: spec(item).get("storageClassName", "")),
        Column("VolumeAttributesClass", lambda item, _: spec(item).get("volumeAttributesClassName") or UNSET),
        Column("Reason", lambda item, _: status(item).get("reason", "")),
        AGE_COLUMN,
        Column("VolumeMode", lambda item, _: spec(item).get("volumeMode") or UNSET, priority=1),
    ),
    short_names=("pv",),
    verbs=ASK_VERBS,
)
STORAGE_CLASS: Final = Kind(
    "storage.k8s.io",
    "v1",
    "StorageClass",
    "storageclasses",
    namespaced=False,
    model=storage_v1.StorageClass,
    columns=(
        Column("Name", _class_name, format="name"),
        Column("Provisioner", lambda item, _: item.get("provisioner", "")),
        Column("ReclaimPolicy", lambda item, _: item.get("reclaimPolicy") or "Delete"),
        Column("VolumeBindingMode", lambda item, _: item.get("volumeBindingMode") or UNSET),
        Column("AllowVolumeExpansion", lambda item, _: bool(item.get("allowVolumeExpansion")), "boolean"),
        AGE_COLUMN,
    ),
    short_names=("sc",),
    verbs=ASK_VERBS,
)
VOLUME_KINDS: Final = (PERSISTENT_VOLUME, STORAGE_CLASS)
