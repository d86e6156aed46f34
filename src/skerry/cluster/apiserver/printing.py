"""Content negotiation for reads: the objects themselves, a `Table` (what kubectl prints), or their metadata alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver.replies import JSON
from skerry.cluster.apiserver.requests import Request
from skerry.machinery import status
from skerry.machinery.table import META, Include, build_table, column_definition, partial_object

Form = Literal["Object", "Table", "PartialObjectMetadata"]

_OFFERED: Final = (JSON, f"{JSON};as=Table;v=v1;g=meta.k8s.io", f"{JSON};as=PartialObjectMetadata;v=v1;g=meta.k8s.io")


@dataclass(frozen=True)
class Output:
    """How the client wants objects; `include` says what a table row carries beside its cells."""

    form: Form = "Object"
    include: Include = "Metadata"

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
        return partial_object(item)
    return item


def many(kind: Kind, items: Iterable[Object], meta: dict[str, Any], output: Output, now: datetime) -> Object:
    """Print a list."""
    if output.form == "Table":
        return table(kind, items, meta, output, now)
    if output.form == "PartialObjectMetadata":
        partial = [partial_object(item) for item in items]
        return {"kind": "PartialObjectMetadataList", "apiVersion": META, "metadata": meta, "items": partial}
    return {"kind": kind.list_kind, "apiVersion": kind.api_version, "metadata": meta, "items": list(items)}


def table(kind: Kind, items: Iterable[Object], meta: dict[str, Any], output: Output, now: datetime) -> Object:
    """Print as a Table with the kind's columns."""
    columns = [
        column_definition(
            column.name,
            column.type,
            column.format or ("name" if column.name == "Name" else ""),
            column.description,
            column.priority,
        )
        for column in kind.columns
    ]
    rows = (([column.cell(item, now) for column in kind.columns], item) for item in items)
    return build_table(columns, rows, meta, output.include)
