"""The strategic merge of what a runtime says and what an InferenceService says about one pod.

Maps are merged, lists with a key are merged by that key, all other lists are replaced, and a container's `args` are
appended, which is KServe's own rule. An empty text or list says nothing, as in Go's encoding, so it overrides nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

Json = dict[str, Any]

# List field → the member that identifies an item (Kubernetes' patchMergeKey).
_MERGE_KEYS: Final = {
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "volumes": "name",
    "imagePullSecrets": "name",
    "resourceClaims": "name",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
# A volume and an environment variable have one source each: a second one replaces the first.
_ONE_OF_MANY: Final = {"volumes"}


def merge_container(runtime: Mapping[str, Any], given: Mapping[str, Any]) -> Json:
    """Merge a container of the InferenceService over the runtime's."""
    merged = merge_pod(runtime, given)
    args = [*(runtime.get("args") or []), *(given.get("args") or [])]
    if args:
        merged["args"] = args
    return merged


def merge_pod(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> Json:
    """Merge fields of a pod spec or of a container; neither is changed."""
    merged = dict(base)
    for field, value in overlay.items():
        if value in ("", [], None):
            continue
        before = base.get(field)
        if isinstance(value, dict) and isinstance(before, dict):
            merged[field] = merge_pod(before, value)
        elif isinstance(value, list) and isinstance(before, list) and field in _MERGE_KEYS:
            merged[field] = _merge_list(field, before, value)
        else:
            merged[field] = value
    return merged


def _merge_list(field: str, base: Sequence[Json], overlay: Sequence[Json]) -> list[Json]:
    key = _MERGE_KEYS[field]
    position = {item.get(key): index for index, item in enumerate(base)}
    overlaid = {item.get(key) for item in overlay}
    rest = [index for index, item in enumerate(base) if item.get(key) not in overlaid]
    merged: list[Json] = []
    for item in overlay:
        # An item of the base goes before the next overlay item that the base also has; new items do not wait for it,
        # so a list of only new names comes out before the base's. Kubernetes' patch orders lists like this.
        at = position.get(item.get(key))
        while at is not None and rest and rest[0] < at:
            merged.append(base[rest.pop(0)])
        merged.append(_merge_item(field, base[at], item) if at is not None else item)
    return merged + [base[index] for index in rest]


def _merge_item(field: str, base: Json, overlay: Json) -> Json:
    if field in _ONE_OF_MANY:
        return overlay
    merged = merge_pod(base, overlay)
    if field == "env" and overlay.get("valueFrom"):
        merged.pop("value", None)
    elif field == "env" and overlay.get("value"):
        merged.pop("valueFrom", None)
    return merged
