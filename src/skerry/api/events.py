"""Events: stored once as core/v1, served as v1 and as events.k8s.io/v1.

The newer group renamed fields and moved the older ones behind a `deprecated` prefix; both views carry the same facts,
so the conversion is a renaming in both directions and fields that neither side knows stay as they are.
"""

from datetime import datetime
from typing import Any, Final

from lightkube.models import core_v1, events_v1

from skerry.api.cells import UNKNOWN, since
from skerry.api.checks import Errors, unchanged
from skerry.api.registry import Column, Kind, Object
from skerry.machinery.fielderrors import invalid, required

# events.k8s.io/v1 on the left, core/v1 on the right.
_RENAMED: Final = {
    "note": "message",
    "regarding": "involvedObject",
    "reportingController": "reportingComponent",
    "deprecatedCount": "count",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedSource": "source",
}
_RENAMED_BACK: Final = {old: new for new, old in _RENAMED.items()}


def to_core(event: Object) -> Object:
    """Turn an events.k8s.io/v1 Event into the stored v1 Event."""
    stored = {_RENAMED.get(key, key): value for key, value in event.items()}
    return {**stored, "apiVersion": "v1", "kind": "Event"}


def from_core(event: Object) -> Object:
    """Turn the stored v1 Event into an events.k8s.io/v1 Event."""
    shown = {_RENAMED_BACK.get(key, key): value for key, value in event.items()}
    return {**shown, "apiVersion": "events.k8s.io/v1", "kind": "Event"}


def _core(event: Object) -> Object:
    return to_core(event) if event.get("apiVersion") == "events.k8s.io/v1" else event


def _first_seen(event: Object, now: datetime) -> str:
    found = since(event.get("firstTimestamp"), now)
    return since(event.get("eventTime"), now) if found == UNKNOWN else found


def _last_seen(event: Object, now: datetime) -> str:
    core = _core(event)
    if core.get("series"):
        return since(core["series"].get("lastObservedTime"), now)
    found = since(core.get("lastTimestamp"), now)
    return _first_seen(core, now) if found == UNKNOWN else found


def _about(event: Object) -> dict[str, Any]:
    about: dict[str, Any] = _core(event).get("involvedObject") or {}
    return about


def _object(event: Object, _now: datetime) -> str:
    kind, name = str(_about(event).get("kind", "")).lower(), _about(event).get("name")
    return f"{kind}/{name}" if name else kind


def _source(event: Object, _now: datetime) -> str:
    core = _core(event)
    source = core.get("source") or {}
    parts = (
        source.get("component") or core.get("reportingComponent"),
        source.get("host") or core.get("reportingInstance"),
    )
    return ", ".join(part for part in parts if part)


def _count(event: Object, _now: datetime) -> int:
    core = _core(event)
    return int((core.get("series") or core).get("count") or 1)


EVENT_COLUMNS: Final = (
    Column("Last Seen", _last_seen),
    Column("Type", lambda event, _: event.get("type", "")),
    Column("Reason", lambda event, _: event.get("reason", "")),
    Column("Object", _object),
    Column("Subobject", lambda event, _: _about(event).get("fieldPath", ""), priority=1),
    Column("Source", _source, priority=1),
    Column("Message", lambda event, _: str(_core(event).get("message", "")).strip()),
    Column("First Seen", lambda event, now: _first_seen(_core(event), now), priority=1),
    Column("Count", _count, "integer", priority=1),
    Column("Name", lambda event, _: event["metadata"].get("name", ""), format="name", priority=1),
)

_MESSAGE_LIMIT: Final = 1024
_FIXED: Final = (
    *("regarding", "deprecatedFirstTimestamp", "deprecatedLastTimestamp", "deprecatedCount", "reason", "type"),
    *("eventTime", "action", "related", "reportingController", "reportingInstance"),
)


def _validate_core(event: Object, _old: Object | None) -> Errors:
    where = (event.get("involvedObject") or {}).get("namespace") or "default"
    if where != event["metadata"].get("namespace"):
        return [invalid("involvedObject.namespace", where, "does not match event.namespace")]
    return []


def _validate_new(event: Object, old: Object | None) -> Errors:
    errors = [required(field) for field in ("reportingController", "reason", "action") if not event.get(field)]
    if event.get("type") not in {"Normal", "Warning"}:
        errors.append(invalid("type", event.get("type") or "", "has invalid value"))
    if len(str(event.get("note") or "").encode()) > _MESSAGE_LIMIT:
        errors.append(invalid("message", "", f"can have at most {_MESSAGE_LIMIT} characters"))
    series = event.get("series")
    if series is not None and (series.get("count") or 0) < 2:
        errors.append(invalid("series.count", "", "should be at least 2"))
    if old is None:
        return errors
    # What is told of an event that goes on is its series; the server names the fields as core/v1 does, but for one.
    fixed = {field: _RENAMED.get(field, field) for field in _FIXED} | {"reportingController": "reportingController"}
    return errors + [
        error for field, shown in fixed.items() for error in unchanged(shown, event.get(field), old.get(field))
    ]


EVENT: Final = Kind(
    "",
    "v1",
    "Event",
    "events",
    namespaced=True,
    model=core_v1.Event,
    columns=EVENT_COLUMNS,
    short_names=("ev",),
    validate=_validate_core,
)

EVENTS_EVENT: Final = Kind(
    "events.k8s.io",
    "v1",
    "Event",
    "events",
    namespaced=True,
    model=events_v1.Event,
    columns=EVENT_COLUMNS,
    # Without the short name `ev`: kubectl would warn each time that it means the other group.
    validate=_validate_new,
    stored_as=("", "events"),
    to_storage=to_core,
    from_storage=from_core,
)
