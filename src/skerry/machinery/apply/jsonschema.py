"""The ownership schema of a custom resource, from its structural OpenAPI schema.

`x-kubernetes-list-type` (atomic, set, map) with `x-kubernetes-list-map-keys`, and `x-kubernetes-map-type` (granular,
atomic) say how lists and maps are owned; a list without one is atomic, a map is not. Where unknown fields are
preserved, what is there decides.

Facts: k8s.io/kube-openapi `pkg/schemaconv`.
"""

from collections.abc import Mapping
from typing import Any, Final

from skerry.machinery.apply.schema import ANYTHING, Keyed, Leaf, ListOf, MapOf, Node, SetOf, Struct
from skerry.machinery.structs import Scalar

_SCALARS: Final[Mapping[str, tuple[Scalar, ...]]] = {
    "string": ("string",),
    "integer": ("integer",),
    "number": ("number",),
    "boolean": ("boolean",),
}
_INT_OR_STRING: Final = Leaf(("integer", "string"))


def schema_of(schema: Mapping[str, Any], common: Mapping[str, Node] | None = None) -> Struct:
    """Return the node of a whole object; `common` has the fields that no such schema lists, `metadata` first of all."""
    properties: Mapping[str, Any] = schema.get("properties") or {}
    others = ANYTHING if _is_open(schema) else None
    return Struct(lambda: {**_fields(properties), **(common or {})}, others)


def _fields(properties: Mapping[str, Any]) -> dict[str, Node]:
    return {name: _node(inner) for name, inner in properties.items()}


def _node(schema: Any) -> Node:
    if not isinstance(schema, Mapping):
        return ANYTHING
    if schema.get("x-kubernetes-int-or-string"):
        return _INT_OR_STRING
    kind = schema.get("type")
    if isinstance(kind, str) and kind in _SCALARS:
        return Leaf(_SCALARS[kind])
    if kind == "array":
        return _list(schema)
    inner = _map(schema)
    return Leaf(inner=inner) if schema.get("x-kubernetes-map-type") == "atomic" else inner


def _list(schema: Mapping[str, Any]) -> Node:
    items = schema.get("items")
    node = _node(items)
    match schema.get("x-kubernetes-list-type"):
        case "set":
            return SetOf(node)
        case "map":
            fields = items.get("properties", {}) if isinstance(items, Mapping) else {}
            names = schema.get("x-kubernetes-list-map-keys") or []
            return Keyed(node, tuple((name, fields.get(name, {}).get("default")) for name in names))
    return Leaf(inner=ListOf(node))


def _map(schema: Mapping[str, Any]) -> Node:
    if schema.get("x-kubernetes-embedded-resource") and not schema.get("properties"):
        return ANYTHING
    properties, values = schema.get("properties"), schema.get("additionalProperties")
    if not properties and isinstance(values, Mapping):
        return MapOf(_node(values))
    if not properties:
        return ANYTHING if _is_open(schema) or values is True or schema.get("type") != "object" else MapOf(ANYTHING)
    return Struct(lambda: _fields(properties), ANYTHING if _is_open(schema) else None)


def _is_open(schema: Mapping[str, Any]) -> bool:
    return bool(schema.get("x-kubernetes-preserve-unknown-fields"))
