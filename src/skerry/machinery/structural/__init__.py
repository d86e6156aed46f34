"""Structural schemas: what the OpenAPI schema of a custom resource does to its objects. Pure functions.

    pruning      fields that the schema does not know are dropped (and named, for fieldValidation)
    defaulting   fields that are missing get their defaults, nulls that mean nothing go
    validating   values against types, limits, patterns, formats and logic, in the words of Kubernetes' errors
    shape        whether a schema has the form of one at all
    rules        whether a schema itself is structural, as a CustomResourceDefinition must have it

A schema is the JSON object that stands in the definition: megabytes of them are stored, few are looked at, so they are
walked as they are and never turned into objects of our own.

Facts: k8s.io/apiextensions-apiserver `pkg/apiserver/schema`, k8s.io/kube-openapi `pkg/validation`.
"""

from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]

PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"
LIST_TYPE = "x-kubernetes-list-type"
LIST_MAP_KEYS = "x-kubernetes-list-map-keys"
MAP_TYPE = "x-kubernetes-map-type"
RULES = "x-kubernetes-validations"
# What every object has, whatever its schema says.
TYPE_META = ("apiVersion", "kind", "metadata")


def properties_of(schema: Schema) -> Mapping[str, Any]:
    """Return the schemas of the named fields."""
    return schema.get("properties") or {}


def values_of(schema: Schema) -> Schema | None:
    """Return the schema of the values of a map, None where the schema does not say."""
    values = schema.get("additionalProperties")
    return values if isinstance(values, dict) else None


def is_map_of_anything(schema: Schema) -> bool:
    """Say whether `additionalProperties: true` lets any key in."""
    return schema.get("additionalProperties") is True


def items_of(schema: Schema) -> Schema:
    """Return the schema of the items of a list, {} where there is none."""
    items = schema.get("items")
    return items if isinstance(items, dict) else {}
