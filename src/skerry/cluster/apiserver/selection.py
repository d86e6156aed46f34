"""Which objects a list or a watch wants: label and field selectors of one request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver.requests import Request
from skerry.machinery import selectors, status

_EVERY_KIND: Final = frozenset({"metadata.name", "metadata.namespace"})
# The field labels that the real server knows for these kinds; any other is a 400 there and here.
_BY_PLURAL: Final = {
    "pods": frozenset(
        {
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        }
    ),
    "events": frozenset(
        {
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "regarding.kind",
            "regarding.namespace",
            "regarding.name",
            "regarding.uid",
            "reason",
            "reportingComponent",
            "reportingController",
            "source",
            "type",
        }
    ),
    "secrets": frozenset({"type"}),
    "namespaces": frozenset({"status.phase"}),
    "nodes": frozenset({"spec.unschedulable"}),
    "services": frozenset({"spec.clusterIP", "spec.type"}),
    "replicasets": frozenset({"status.replicas"}),
}


@dataclass(frozen=True)
class Selection:
    """`matches(object)` for one request."""

    labels: selectors.LabelSelector | None
    fields: selectors.FieldSelector | None

    def matches(self, item: Object) -> bool:
        if self.labels is not None and not self.labels.matches(item["metadata"].get("labels") or {}):
            return False
        return self.fields is None or self.fields.matches(_reader(item))

    @property
    def everything(self) -> bool:
        return self.labels is None and self.fields is None


def selection_of(request: Request, kind: Kind, name: str | None = None) -> Selection:
    """Read labelSelector and fieldSelector; raises a 400 in the server's words."""
    labels = fields = None
    try:
        if text := request.query.get("labelSelector"):
            labels = selectors.parse_labels(text)
        if text := request.query.get("fieldSelector"):
            fields = selectors.parse_fields(text)
    except selectors.SelectorError as error:
        raise status.bad_request(str(error)) from None
    if fields is not None:
        known = _EVERY_KIND | _BY_PLURAL.get(kind.plural, frozenset())
        for label in fields.names():
            if label not in known:
                raise status.bad_request(f"field label not supported: {label}")
    if name is not None:
        only = selectors.parse_fields(f"metadata.name={name}")
        fields = only if fields is None else fields.also(only)
    return Selection(labels, fields)


def _reader(item: Object) -> Callable[[str], str]:
    def read(path: str) -> str:
        value: Any = item
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        return "" if value is None else ("true" if value is True else "false" if value is False else str(value))

    return read
