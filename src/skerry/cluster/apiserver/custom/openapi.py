"""The OpenAPI component of a custom kind: its schema as the definition has it, with what every object has.

OpenAPI 2 knows less: what it cannot say is left out there, so clients that read it refuse nothing that is right.

Facts: k8s.io/apiextensions-apiserver `pkg/controller/openapi/builder`.
"""

from collections.abc import Mapping
from typing import Any, Final

from skerry.api.registry import Kind
from skerry.api.schemas import Dialect, Schema
from skerry.machinery.structural import INT_OR_STRING, PRESERVE

_API_VERSION: Final = (
    "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized "
    "schemas to the latest internal value, and may reject unrecognized values. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"
)
_KIND: Final = (
    "Kind is a string value representing the REST resource this object represents. Servers may infer this from the "
    "endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
)
_METADATA: Final = (
    "Standard object's metadata. More info: "
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
)
_NOT_IN_V2: Final = frozenset({"nullable", "oneOf", "anyOf", "allOf", "not", "default"})


def custom_name(kind: Kind) -> str:
    """Name the component: `com.example.stable.v1.CronTab`."""
    return f"{'.'.join(reversed(kind.group.split('.')))}.{kind.version}.{kind.kind}"


def custom_component(kind: Kind, dialect: Dialect, meta: str) -> Schema:
    """Return the component; `meta` names the one of ObjectMeta."""
    assert kind.custom is not None
    schema = dict(kind.custom.schema().schema)
    if dialect.version == 2:
        schema = _in_v2(schema)
    properties = {
        **(schema.get("properties") or {}),
        "apiVersion": {"description": _API_VERSION, "type": "string"},
        "kind": {"description": _KIND, "type": "string"},
        "metadata": dialect.described(dialect.reference(meta), _METADATA),
    }
    return {**schema, "properties": properties}


def _in_v2(schema: Mapping[str, Any]) -> Schema:
    if schema.get(INT_OR_STRING) or schema.get("nullable"):
        # Neither two types nor null can be said: any value goes.
        return {name: schema[name] for name in ("description", INT_OR_STRING) if name in schema}
    found: Schema = {name: value for name, value in schema.items() if name not in _NOT_IN_V2}
    if schema.get(PRESERVE):
        found.pop("properties", None)
    if "properties" in found:
        found["properties"] = {name: _in_v2(inner) for name, inner in found["properties"].items()}
    for name in ("items", "additionalProperties"):
        if isinstance(found.get(name), Mapping):
            found[name] = _in_v2(found[name])
    return found
