"""The way from kubectl's client-side apply to server-side apply.

Client-side apply keeps what was applied in an annotation. When `kubectl` (by that very name) applies on the server, the
fields that the annotation has with the object's own values are no conflict: they are what the same person applied
before. The annotation is kept up to date, so that an older kubectl still finds its way.

Facts: k8s.io/apimachinery `pkg/util/managedfields/internal/lastapplied*.go`.
"""

from typing import Any, Final

import msgspec

from skerry.machinery.apply.comparing import compare
from skerry.machinery.apply.elements import ElementError
from skerry.machinery.apply.fields import field_set
from skerry.machinery.apply.schema import Node
from skerry.machinery.apply.sets import EMPTY, FieldSet, difference

ANNOTATION: Final = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER: Final = "kubectl"
# All annotations of an object together; beyond it the annotation is given up rather than the apply.
_LIMIT: Final = 256 * 1024

JsonObject = dict[str, Any]


def last_applied_fields(live: JsonObject, version: str, node: Node) -> FieldSet:
    """Return the fields that were applied by a client and still have those values; empty when nothing is known."""
    text = _annotations(live).get(ANNOTATION)
    if not isinstance(text, str) or not text:
        return EMPTY
    try:
        applied = msgspec.json.decode(text)
        if not isinstance(applied, dict) or applied.get("apiVersion") != version:
            return EMPTY
        changed = compare(applied, live, node)
        fields = field_set(applied, node)
    except (msgspec.DecodeError, ElementError):
        return EMPTY
    for other in (changed.modified, changed.added, changed.removed):
        fields = difference(fields, other)
    return fields


def with_last_applied(applied: JsonObject, config: JsonObject) -> JsonObject:
    """Return the object with its annotation, if it has one, telling the configuration that has just been applied."""
    annotations = _annotations(applied)
    if not annotations.get(ANNOTATION):
        return applied
    updated = {**annotations, ANNOTATION: _encoded(config)}
    if sum(len(key.encode()) + len(str(value).encode()) for key, value in updated.items()) > _LIMIT:
        del updated[ANNOTATION]
    return {**applied, "metadata": {**applied["metadata"], "annotations": updated}}


def _encoded(config: JsonObject) -> str:
    """Encode as kubectl does: sorted keys, a line end, and without the annotation itself."""
    meta = dict(config.get("metadata") or {})
    if isinstance(meta.get("annotations"), dict):
        meta["annotations"] = {key: value for key, value in meta["annotations"].items() if key != ANNOTATION}
    return msgspec.json.encode({**config, "metadata": meta}, order="deterministic").decode() + "\n"


def _annotations(obj: JsonObject) -> JsonObject:
    meta = obj.get("metadata")
    found = meta.get("annotations") if isinstance(meta, dict) else None
    return found if isinstance(found, dict) else {}
