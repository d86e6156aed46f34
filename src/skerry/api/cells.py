"""Cells that the tables of several kinds share: name, age, labels, selectors, containers.

A cell is text as the server prints it: an age is `72s`, not a time, because `kubectl` shows what it is given.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from skerry.api.registry import Column, Object
from skerry.machinery.humanduration import human_duration
from skerry.machinery.selectors import SelectorError, label_selector

NONE: Final = "<none>"
UNKNOWN: Final = "<unknown>"
UNSET: Final = "<unset>"

_SHOWN: Final = 3  # the real printer names three addresses or ports and counts the rest


def moment(text: Any) -> datetime | None:
    """Read a Kubernetes time, whole seconds or microseconds; None for what is none."""
    if not isinstance(text, str) or not text:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def since(text: Any, now: datetime) -> str:
    """Say how long ago, `<unknown>` when there is no time."""
    then = moment(text)
    return UNKNOWN if then is None else human_duration(now - then)


def name(obj: Object, _now: datetime) -> str:
    """The object's name."""
    return str(obj["metadata"].get("name", ""))


def age(obj: Object, now: datetime) -> str:
    """Time since creation."""
    return since(obj["metadata"].get("creationTimestamp"), now)


NAME_COLUMN: Final = Column("Name", name, format="name")
AGE_COLUMN: Final = Column("Age", age)


def spec(obj: Object) -> dict[str, Any]:
    """The spec, empty where there is none."""
    return obj.get("spec") or {}


def status(obj: Object) -> dict[str, Any]:
    """The status, empty where there is none."""
    return obj.get("status") or {}


def shortened(items: Sequence[str], empty: str) -> str:
    """Name the first three and count the others: `a,b,c + 2 more...`."""
    shown = ",".join(items[:_SHOWN])
    if len(items) > _SHOWN:
        return f"{shown} + {len(items) - _SHOWN} more..."
    return shown or empty


def labels(pairs: Mapping[str, Any] | None) -> str:
    """Write labels as `a=1,b=2` in order of the key."""
    return ",".join(f"{key}={value}" for key, value in sorted((pairs or {}).items())) or NONE


def selector(chosen: Mapping[str, Any] | None) -> str:
    """Write a LabelSelector as `kubectl get -o wide` does."""
    try:
        return str(label_selector(chosen)) or NONE
    except SelectorError:
        return UNKNOWN


def joined(items: Iterable[Mapping[str, Any]], field: str) -> str:
    """Join one field of all items: container names, images."""
    return ",".join(str(item.get(field, "")) for item in items)


def containers_of(obj: Object) -> list[dict[str, Any]]:
    """The containers of a pod template."""
    template = spec(obj).get("template") or {}
    found: list[dict[str, Any]] = spec(template).get("containers") or []
    return found


WORKLOAD_WIDE: Final = (
    Column("Containers", lambda obj, _: joined(containers_of(obj), "name"), priority=1),
    Column("Images", lambda obj, _: joined(containers_of(obj), "image"), priority=1),
    Column("Selector", lambda obj, _: selector(spec(obj).get("selector")), priority=1),
)
