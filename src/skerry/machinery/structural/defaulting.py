"""Defaulting: what is missing gets the default of its schema, and defaults of what is in it.

A null is a value only where it is allowed (`nullable`). Elsewhere it gives way to the default, or goes. The metadata of
an object is the server's business and takes no defaults.
"""

from collections.abc import Mapping
from typing import Any

from skerry.machinery.jsonvalues import copied
from skerry.machinery.structural import Schema, items_of, properties_of, values_of


def defaulted(value: Any, schema: Schema, *, root: bool = True) -> Any:
    """Return the value with its defaults; the given one is not changed."""
    if isinstance(value, list):
        items = items_of(schema)
        return [_element(item, items) for item in value] if items else value
    if not isinstance(value, dict):
        return value
    named = properties_of(schema)
    found = {}
    for name, inner in value.items():
        known = _schema_of(name, schema, named)
        if known is None or (root and name == "metadata"):
            found[name] = inner
        elif inner is not None or known.get("nullable"):
            found[name] = defaulted(inner, known, root=False)
        elif "default" not in known and name in named:
            continue  # a null that may not be one
        elif "default" not in known:
            found[name] = inner
    for name, known in named.items():
        if name not in found and isinstance(known, dict) and "default" in known:
            found[name] = defaulted(copied(known["default"]), known, root=False)
    for name, inner in value.items():
        if name not in found and inner is None and (known := values_of(schema)) is not None and "default" in known:
            found[name] = defaulted(copied(known["default"]), known, root=False)
    return found


def _element(item: Any, schema: Schema) -> Any:
    if item is None and not schema.get("nullable") and "default" in schema:
        item = copied(schema["default"])
    return defaulted(item, schema, root=False)


def _schema_of(name: str, schema: Schema, named: Mapping[str, Any]) -> Schema | None:
    found = named.get(name)
    if found is None:
        found = values_of(schema)
    return found if isinstance(found, dict) else None
