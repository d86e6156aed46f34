"""A definition as large as KServe's: the schema of our own InferenceService, written out without references."""

from functools import cache
from typing import Any

from tests.custom_resources.builders import GROUP

from skerry.api.schemas import INT_OR_STRING, QUANTITY, V3, Components, component_name
from skerry.api.serving_types import InferenceService

EITHER = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}


@cache
def _components() -> dict[str, Any]:
    components = Components(V3)
    components.add(InferenceService, "serving.kserve.io", "v1beta1")
    return dict(components.drain())


def _inlined(schema: Any, within: tuple[str, ...] = ()) -> Any:
    if not isinstance(schema, dict):
        return schema
    reference = schema.get("$ref") or (schema.get("allOf") or [{}])[0].get("$ref")
    if reference:
        name = reference.rpartition("/")[2]
        if name in {QUANTITY, INT_OR_STRING}:
            return dict(EITHER)
        if name in within:
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        return _inlined(_components()[name], (*within, name)) | (
            {"description": schema["description"]} if "description" in schema else {}
        )
    found = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes-patch")}
    if "properties" in found:
        found["properties"] = {name: _inlined(inner, within) for name, inner in found["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(found.get(key), dict):
            found[key] = _inlined(found[key], within)
    return found


def large_definition(*, group: str = GROUP, plural: str = "bigservices", kind: str = "BigService") -> dict[str, Any]:
    name = component_name(InferenceService, "serving.kserve.io", "v1beta1")
    schema = _inlined(_components()[name], (name,))
    schema["properties"]["metadata"] = {"type": "object"}
    del schema["properties"]["spec"]["properties"]["explainer"]  # a third of it: KServe's has a megabyte
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [
                {
                    "name": "v1beta1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "subresources": {"status": {}},
                }
            ],
        },
    }
