"""Definitions and objects for tests."""

from copy import deepcopy
from typing import Any

GROUP = "stable.example.com"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

SPEC_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "What is wanted.",
    "required": ["cron"],
    "properties": {
        "cron": {"type": "string", "pattern": r"^(\d+|\*)(/\d+)?(\s+(\d+|\*)(/\d+)?){4}$", "description": "When."},
        "image": {"type": "string", "default": "example.com/cron:1"},
        "replicas": {"type": "integer", "minimum": 1, "maximum": 10},
        "port": {"x-kubernetes-int-or-string": True},
        "policy": {"type": "string", "enum": ["Allow", "Forbid"]},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "env": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
            },
        },
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
    },
}
STATUS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "replicas": {"type": "integer"},
        "selector": {"type": "string"},
        "phase": {"type": "string"},
        "lastRun": {"type": "string", "format": "date-time"},
    },
}
COLUMNS = [
    {"name": "Spec", "type": "string", "description": "The cron spec", "jsonPath": ".spec.cron"},
    {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
    {"name": "Image", "type": "string", "jsonPath": ".spec.image", "priority": 1},
    {"name": "Last", "type": "date", "jsonPath": ".status.lastRun"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]


def version(name: str = "v1", *, storage: bool = True, **more: Any) -> dict[str, Any]:
    schema = {
        "type": "object",
        "description": "A job that runs now and then.",
        "properties": {"spec": deepcopy(SPEC_SCHEMA), "status": deepcopy(STATUS_SCHEMA)},
    }
    return {
        "name": name,
        "served": True,
        "storage": storage,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": deepcopy(COLUMNS),
        **more,
    }


def definition(
    *versions: dict[str, Any], plural: str = "crontabs", kind: str = "CronTab", **spec: Any
) -> dict[str, Any]:
    names = {"plural": plural, "singular": kind.lower(), "kind": kind, "shortNames": ["ct"], "categories": ["all"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{spec.get('group', GROUP)}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": names,
            "versions": list(versions) or [version()],
            **spec,
        },
    }


def simple(plural: str, kind: str, schema: dict[str, Any] | None = None, **names: Any) -> dict[str, Any]:
    """A definition with nothing but a schema, open unless one is given."""
    open_schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    made = definition(
        {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema or open_schema}}
    )
    made["metadata"]["name"] = f"{plural}.{GROUP}"
    made["spec"]["names"] = {"plural": plural, "kind": kind, **names}
    return made


def crontab(name: str = "my", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "CronTab",
        "metadata": {"name": name},
        "spec": {"cron": "* * * * */5", **spec},
    }


def path(name: str = "", *, version: str = "v1", namespace: str = "a", plural: str = "crontabs") -> str:
    base = f"/apis/{GROUP}/{version}/namespaces/{namespace}/{plural}"
    return f"{base}/{name}" if name else base
