"""Content negotiation for reads: the objects themselves, a `Table` (what kubectl prints), or their metadata alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver.replies import JSON
from skerry.cluster.apiserver.requests import Request
from skerry.machinery import status

Form = Literal["Object", "Table", "PartialObjectMetadata"]

_META: Final = "meta.k8s.io/v1"
_OFFERED: Final = (JSON, f"{JSON};as=Table;v=v1;g=meta.k8s.io", f"{JSON};as=PartialObjectMetadata;v=v1;g=meta.k8s.io")


@dataclass(frozen=True)
class Output:
    """How the client wants objects; `include` says what a table row carries beside its cells."""

    form: Form = "Object"
    include: Literal["None", "Metadata", "Object"] = "Metadata"

    @property
    def media_type(self) -> str:
        if self.form == "Object":
            return JSON
        return f"{JSON};as={self.form};v=v1;g=meta.k8s.io"


def output_of(request: Request) -> Output:
    """Choose the first form of the Accept header that is offered; raises a 406 when none is."""
    include = request.query.get("includeObject") or "Metadata"
    if include not in {"None", "Metadata", "Object"}:
        raise status.bad_request(f'unrecognized includeObject value: "{include}"')
    accept = request.headers.get("accept", "") or "*/*"
    for entry in accept.split(","):
        media, *parameters = [part.strip() for part in entry.split(";")]
        options = dict(part.split("=", 1) for part in parameters if "=" in part)
        if media not in {JSON, "application/*", "*/*"}:
            continue
        form = options.get("as", "").removesuffix("List")
        if not form:
            return Output()
        if form in {"Table", "PartialObjectMetadata"} and options.get("v", "v1") == "v1":
            return Output(form, include)  # type: ignore[arg-type]
    raise status.not_acceptable(_OFFERED)


def one(kind: Kind, item: Object, output: Output, now: datetime) -> Object:
    """Print one object."""
    if output.form == "Table":
        return table(kind, [item], {"resourceVersion": item["metadata"].get("resourceVersion", "")}, output, now)
    if output.form == "PartialObjectMetadata":
        return _partial(item)
    return item


def many(kind: Kind, items: Iterable[Object], meta: dict[str, Any], output: Output, now: datetime) -> Object:
    """Print a list."""
    if output.form == "Table":
        return table(kind, items, meta, output, now)
    if output.form == "PartialObjectMetadata":
        partial = [_partial(item) for item in items]
        return {"kind": "PartialObjectMetadataList", "apiVersion": _META, "metadata": meta, "items": partial}
    return {"kind": kind.list_kind, "apiVersion": kind.api_version, "metadata": meta, "items": list(items)}


def table(kind: Kind, items: Iterable[Object], meta: dict[str, Any], output: Output, now: datetime) -> Object:
    """Print as `meta.k8s.io/v1 Table` with the kind's columns."""
    columns = [
        {
            "name": column.name,
            "type": column.type,
            "format": column.format or ("name" if column.name == "Name" else ""),
            "description": column.description,
            "priority": column.priority,
        }
        for column in kind.columns
    ]
    rows = [_row(kind, item, output, now) for item in items]
    return {"kind": "Table", "apiVersion": _META, "metadata": meta, "columnDefinitions": columns, "rows": rows}


def _row(kind: Kind, item: Object, output: Output, now: datetime) -> Object:
    cells = [column.cell(item, now) for column in kind.columns]
    row: Object = {"cells": cells}
    if output.include == "Object":
        row["object"] = item
    elif output.include == "Metadata":
        row["object"] = _partial(item)
    return row


def _partial(item: Object) -> Object:
    return {"kind": "PartialObjectMetadata", "apiVersion": _META, "metadata": item["metadata"]}
