"""Validation of pods and pod templates, and of what may change in a pod after creation."""

import copy
from collections.abc import Mapping
from typing import Any, Final

from skerry.api import metadata
from skerry.api.checks import Errors, named, non_negative, one_of
from skerry.api.pods.containers import validate_containers
from skerry.api.pods.volumes import validate_volumes
from skerry.api.registry import Object
from skerry.machinery import names
from skerry.machinery.fielderrors import forbidden, invalid, required

_RESTART: Final = ("Always", "OnFailure", "Never")
_DNS: Final = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_MUTABLE: Final = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def validate_pod(pod: Object, old: Object | None) -> Errors:
    """Check a Pod; on update also what changed."""
    spec: dict[str, Any] = pod.get("spec") or {}
    if old is None:
        return validate_pod_spec("spec", spec)
    return _image_names(spec) + _changes(spec, old.get("spec") or {})


def validate_pod_template(where: str, template: Mapping[str, Any]) -> Errors:
    """Check the pod template of a Deployment or ReplicaSet, whose pods always restart."""
    meta: dict[str, Any] = template.get("metadata") or {}
    spec: dict[str, Any] = template.get("spec") or {}
    errors = metadata.validate_labels(f"{where}.labels", meta.get("labels"))
    errors += metadata.validate_annotations(f"{where}.annotations", meta.get("annotations"))
    errors += validate_pod_spec(f"{where}.spec", spec)
    if spec.get("restartPolicy") in {"OnFailure", "Never"}:
        errors += one_of(f"{where}.spec.restartPolicy", spec["restartPolicy"], ("Always",))
    if spec.get("activeDeadlineSeconds") is not None:
        errors.append(
            forbidden(f"{where}.spec.activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported")
        )
    return errors


def validate_pod_spec(where: str, spec: Mapping[str, Any]) -> Errors:
    """Check a pod spec that has its defaults."""
    volumes = spec.get("volumes") or []
    errors = validate_volumes(f"{where}.volumes", volumes)
    errors += validate_containers(where, spec, {volume.get("name", "") for volume in volumes})
    errors += one_of(f"{where}.restartPolicy", spec.get("restartPolicy"), _RESTART)
    errors += one_of(f"{where}.dnsPolicy", spec.get("dnsPolicy"), _DNS)
    errors += non_negative(f"{where}.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds"))
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= 2**31 - 1:
        why = "must be between 1 and 2147483647, inclusive"
        errors.append(invalid(f"{where}.activeDeadlineSeconds", deadline, why))
    for field in ("serviceAccountName", "nodeName"):
        if spec.get(field):
            errors += named(f"{where}.{field}", spec[field], names.is_dns1123_subdomain)
    for field in ("hostname", "subdomain"):
        if spec.get(field):
            errors += named(f"{where}.{field}", spec[field], names.is_dns1123_label)
    errors += metadata.validate_labels(f"{where}.nodeSelector", spec.get("nodeSelector"))
    return errors


def _image_names(spec: Mapping[str, Any]) -> Errors:
    return [
        required(f"spec.{field}[{index}].image")
        for field in ("initContainers", "containers")
        for index, container in enumerate(spec.get(field) or [])
        if not container.get("image")
    ]


def _changes(new: Mapping[str, Any], old: Mapping[str, Any]) -> Errors:
    kept = [one for one in old.get("tolerations") or [] if one in (new.get("tolerations") or [])]
    if len(kept) != len(old.get("tolerations") or []):
        return [forbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds")]
    new_deadline, old_deadline = new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds")
    if old_deadline is not None and (new_deadline is None or new_deadline > old_deadline):
        why = "must be less than or equal to previous value"
        return [invalid("spec.activeDeadlineSeconds", new_deadline, why)]
    before, after = _fixed(old), _fixed(new)
    if after.get("terminationGracePeriodSeconds") == 1 and before.get("terminationGracePeriodSeconds", 0) < 0:
        before["terminationGracePeriodSeconds"] = 1
    return [] if before == after else [forbidden("spec", _MUTABLE)]


def _fixed(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec without what may change: the rest must stay equal."""
    fixed = copy.deepcopy({key: value for key, value in spec.items() if value not in (None, [], {})})
    for field in ("activeDeadlineSeconds", "tolerations", "ephemeralContainers"):
        fixed.pop(field, None)
    for field in ("initContainers", "containers"):
        for container in fixed.get(field, []):
            container.pop("image", None)
    return fixed
