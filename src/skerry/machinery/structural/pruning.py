"""Pruning: fields that no schema names are dropped.

What stands below `x-kubernetes-preserve-unknown-fields` is kept, but for what named fields below it say of themselves.
An object inside an object (`x-kubernetes-embedded-resource`) keeps its apiVersion, kind and metadata, as every object
does at its root.
"""

from collections.abc import Iterator
from typing import Any

from skerry.machinery.structural import (
    EMBEDDED,
    PRESERVE,
    TYPE_META,
    Schema,
    is_map_of_anything,
    items_of,
    properties_of,
    values_of,
)


def pruned(value: Any, schema: Schema, *, root: bool = True) -> Any:
    """Return the value without unknown fields; it shares with the given value what is unchanged."""
    if isinstance(value, dict):
        return {
            name: inner if known is None else pruned(inner, known, root=False)
            for name, inner in value.items()
            if (known := _schema_of(name, schema, root)) is not None or _keeps(name, schema, root)
        }
    if isinstance(value, list):
        items = items_of(schema)
        if not items and schema.get(PRESERVE):
            return value
        return [pruned(item, items, root=False) for item in value]
    return value


def unknown(value: Any, schema: Schema, path: str = "", *, root: bool = True) -> Iterator[str]:
    """Yield the paths of what `pruned` drops."""
    if isinstance(value, dict):
        for name, inner in value.items():
            here = f"{path}.{name}" if path else name
            known = _schema_of(name, schema, root)
            if known is not None:
                yield from unknown(inner, known, here, root=False)
            elif not _keeps(name, schema, root):
                yield here
    elif isinstance(value, list) and (items_of(schema) or not schema.get(PRESERVE)):
        for index, item in enumerate(value):
            yield from unknown(item, items_of(schema), f"{path}[{index}]", root=False)


def _schema_of(name: str, schema: Schema, root: bool) -> Schema | None:
    """Return the schema of a field, None for one that is taken or dropped as a whole."""
    if name in TYPE_META and (root or schema.get(EMBEDDED)):
        return None
    found = properties_of(schema).get(name)
    if found is None:
        found = values_of(schema)
    return found if isinstance(found, dict) else None


def _keeps(name: str, schema: Schema, root: bool) -> bool:
    if name in TYPE_META and (root or schema.get(EMBEDDED)):
        return True
    return bool(schema.get(PRESERVE)) or is_map_of_anything(schema)
