"""Tables: the `meta.k8s.io/v1 Table` that a server renders, and the text that kubectl makes of one.

The server decides what stands in a cell (`<none>`, `<unknown>`, a blank); the client only sets columns. Columns are as
wide as their longest cell and three spaces more, six at least. The last cell of a row is not padded, so a blank last
cell leaves the padding of the one before it at the end of the line. A cell shows its first line, then `...`. Lists and
maps look as Go prints them. Facts: k8s.io/cli-runtime `pkg/printers`, text/tabwriter.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

PADDING: Final = 3
NARROWEST: Final = 6
META: Final = "meta.k8s.io/v1"

Include = Literal["None", "Metadata", "Object"]
JsonObject = dict[str, Any]


def column_definition(
    name: str, kind: str = "string", form: str = "", description: str = "", priority: int = 0
) -> JsonObject:
    """Return the definition of a column; priority 0 is always printed, more only in wide output."""
    return {"name": name, "type": kind, "format": form, "description": description, "priority": priority}


def build_table(
    columns: Iterable[JsonObject],
    rows: Iterable[tuple[Sequence[Any], JsonObject]],
    metadata: Mapping[str, Any],
    include: Include = "Metadata",
) -> JsonObject:
    """Return a Table of rows, each given as its cells and the object that they show."""
    return {
        "kind": "Table",
        "apiVersion": META,
        "metadata": dict(metadata),
        "columnDefinitions": list(columns),
        "rows": [_row(cells, shown, include) for cells, shown in rows],
    }


def partial_object(item: JsonObject) -> JsonObject:
    """Return the metadata of an object as an object of its own."""
    return {"kind": "PartialObjectMetadata", "apiVersion": META, "metadata": item["metadata"]}


def print_table(header: Sequence[str] | None, rows: Iterable[Sequence[Any]]) -> str:
    """Return the lines that kubectl prints, each with its newline; `header` is printed as given."""
    lines = [[text for cell in row for text in _text(cell).split("\t")] for row in rows]
    if header is not None:
        lines.insert(0, list(header))
    widths: dict[int, int] = {}
    for line in lines:
        for column, cell in enumerate(line[:-1]):
            widths[column] = max(widths.get(column, NARROWEST), len(cell) + PADDING)
    return "".join("".join(_padded(line, widths)) + "\n" for line in lines)


def _row(cells: Sequence[Any], shown: JsonObject, include: Include) -> JsonObject:
    row: JsonObject = {"cells": list(cells)}
    if include == "Object":
        row["object"] = shown
    elif include == "Metadata":
        row["object"] = partial_object(shown)
    return row


def _padded(line: list[str], widths: Mapping[int, int]) -> Iterable[str]:
    for column, cell in enumerate(line[:-1]):
        yield cell.ljust(widths[column])
    yield from line[-1:]


def _text(cell: Any) -> str:
    """Return what a cell shows. Control characters are spelled out: they could write anywhere on a terminal."""
    text = "" if cell is None else _printed(cell)
    first, *more = re.split(r"[\r\n\f\v]", text, maxsplit=1)
    return re.sub(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]", _spelled_out, first) + ("..." if more else "")


def _spelled_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return "^" + chr(code ^ 64) if code < 128 else f"\\x{code:02x}"


def _printed(value: Any) -> str:
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_printed(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_printed, value))}]"
    if value is None:
        return "<nil>"
    return value if isinstance(value, str) else json.dumps(value)
