"""PersistentVolumeClaim."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from lightkube.models import core_v1

from skerry.api.cells import AGE_COLUMN, NAME_COLUMN, UNSET, spec, status
from skerry.api.checks import Errors, one_of
from skerry.api.filling import branch, fill
from skerry.api.quantities import canonical_quantities, validate_quantity
from skerry.api.registry import Column, Kind, Object
from skerry.api.wellknown import LOCAL_CLASS
from skerry.machinery.fielderrors import forbidden, not_supported, required

_MODES: Final = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_VOLUME_MODES: Final = ("Block", "Filesystem")
_IMMUTABLE: Final = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)


def _default(claim: Object) -> None:
    own = branch(claim, "spec")
    fill(own, volumeMode="Filesystem")
    # An empty text is a wish: no class. A bound claim keeps what it has.
    if own.get("storageClassName") is None and not own.get("volumeName"):
        own["storageClassName"] = LOCAL_CLASS
    canonical_quantities(own.get("resources"), "limits", "requests")
    fill(branch(claim, "status"), phase="Pending")


def _validate(claim: Object, old: Object | None) -> Errors:
    own = spec(claim)
    errors: Errors = []
    modes = own.get("accessModes") or []
    if not modes:
        errors.append(required("spec.accessModes", "at least 1 access mode is required"))
    errors += [not_supported("spec.accessModes", mode, _MODES) for mode in modes if mode not in _MODES]
    if len(modes) > 1 and "ReadWriteOncePod" in modes:
        why = "may not use ReadWriteOncePod with other access modes"
        errors.append(forbidden("spec.accessModes", why))
    requests = (own.get("resources") or {}).get("requests") or {}
    if "storage" in requests:
        errors += validate_quantity("spec.resources[storage]", requests["storage"], positive=True)
    else:
        errors.append(required("spec.resources[storage]"))
    errors += one_of("spec.volumeMode", own.get("volumeMode"), _VOLUME_MODES)
    return errors if old is None else errors + _update(own, old)


def _update(own: Mapping[str, Any], old: Object) -> Errors:
    before = spec(old)
    # The binder fills volumeName once.
    mutable = {"volumeAttributesClassName"} | (set() if before.get("volumeName") else {"volumeName"})
    bound = status(old).get("phase") == "Bound"

    def fixed(one: Mapping[str, Any]) -> dict[str, Any]:
        rest = {key: value for key, value in one.items() if key not in mutable and value not in (None, [], {})}
        if bound:
            rest["resources"] = {key: value for key, value in rest.get("resources", {}).items() if key != "requests"}
        return rest

    return [] if fixed(own) == fixed(before) else [forbidden("spec", _IMMUTABLE)]


def _access_modes(claim: Object, _now: datetime) -> str:
    if not spec(claim).get("volumeName"):
        return ""
    return short_modes(status(claim).get("accessModes"))


def short_modes(modes: Any) -> str:
    """Write access modes as tables do."""
    return ",".join(short for mode, short in _MODES.items() if mode in (modes or []))


def _phase(claim: Object, _now: datetime) -> str:
    return "Terminating" if claim["metadata"].get("deletionTimestamp") else status(claim).get("phase", "")


def _capacity(claim: Object, _now: datetime) -> str:
    return (status(claim).get("capacity") or {}).get("storage", "") if spec(claim).get("volumeName") else ""


PERSISTENT_VOLUME_CLAIM: Final = Kind(
    "",
    "v1",
    "PersistentVolumeClaim",
    "persistentvolumeclaims",
    namespaced=True,
    model=core_v1.PersistentVolumeClaim,
    columns=(
        NAME_COLUMN,
        Column("Status", _phase),
        Column("Volume", lambda claim, _: spec(claim).get("volumeName") or ""),
        Column("Capacity", _capacity),
        Column("Access Modes", _access_modes),
        Column("StorageClass", lambda claim, _: spec(claim).get("storageClassName") or ""),
        Column("VolumeAttributesClass", lambda claim, _: spec(claim).get("volumeAttributesClassName") or UNSET),
        AGE_COLUMN,
        Column("VolumeMode", lambda claim, _: spec(claim).get("volumeMode") or UNSET, priority=1),
    ),
    short_names=("pvc",),
    subresources=("status",),
    generation=False,
    default=_default,
    validate=_validate,
)
