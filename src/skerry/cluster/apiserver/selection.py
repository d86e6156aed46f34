"""Which objects a list or a watch wants: label and field selectors of one request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver.requests import Request
from skerry.machinery import selectors, status

_EVERY_KIND: Final = frozenset({"metadata.name", "metadata.namespace"})
_ABOUT: Final = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
# The field labels that the real server knows for these kinds; any other is a 400 there and here.
_BY_KIND: Final = {
    ("", "pods"): frozenset(
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
    ("", "events"): frozenset(
        {"reason", "reportingComponent", "source", "type", *(f"involvedObject.{field}" for field in _ABOUT)}
    ),
    ("events.k8s.io", "events"): frozenset(
        {"reason", "reportingController", "type", *(f"regarding.{field}" for field in _ABOUT)}
    ),
    ("", "secrets"): frozenset({"type"}),
    ("", "namespaces"): frozenset({"status.phase"}),
    ("", "nodes"): frozenset({"spec.unschedulable"}),
    ("", "services"): frozenset({"spec.clusterIP", "spec.type"}),
    ("apps", "replicasets"): frozenset({"status.replicas"}),
}
# What stands for a field that an object leaves out, where that is not the empty text.
_LEFT_OUT: Final = {"spec.hostNetwork": "false", "spec.unschedulable": "false", "status.replicas": "0"}


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

    @property
    def name(self) -> str | None:
        """The one name that can match, None when many can: kubectl and controllers follow single objects like this."""
        for term in self.fields.terms if self.fields is not None else ():
            if term.field == "metadata.name" and term.equal:
                return term.value
        return None


def selection_of(request: Request, kind: Kind) -> Selection:
    """Read labelSelector and fieldSelector; raises a 400 in the server's words."""
    labels = fields = None
    label_text, field_text = request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
    try:
        if label_text:
            labels = selectors.parse_labels(label_text)
        if field_text:
            fields = selectors.parse_fields(field_text)
    except selectors.SelectorError as error:
        raise status.bad_request(str(error)) from None
    known = _EVERY_KIND | (
        kind.custom.selectable if kind.custom else _BY_KIND.get((kind.group, kind.plural), frozenset())
    )
    for label in fields.names() if fields is not None else ():
        if label not in known:
            version = f"{kind.group}/{kind.version}"
            raise status.bad_request(
                f'Unable to find "{version}, Resource={kind.plural}" that match label selector "{label_text}", '
                f'field selector "{field_text}": field label not supported: {label}'
            )
    return Selection(labels, fields)


def _reader(item: Object) -> Callable[[str], str]:
    def read(path: str) -> str:
        if path == "source":  # an event's; the one field label that is no path
            return read("source.component") or read("reportingComponent")
        value: Any = item
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is None:
            return _LEFT_OUT.get(path, "")
        return "true" if value is True else "false" if value is False else str(value)

    return read
