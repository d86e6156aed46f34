"""Ownership by the schema of a custom resource."""

from typing import Any

import pytest

from skerry.machinery.apply.jsonschema import schema_of
from skerry.machinery.apply.manager import FieldManager
from skerry.machinery.apply.schema import ANYTHING
from skerry.machinery.status import StatusError

NOON = "2026-05-01T12:00:00Z"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"x-kubernetes-int-or-string": True},
                "words": {"type": "array", "items": {"type": "string"}},
                "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["port", "protocol"],
                    "items": {
                        "type": "object",
                        "properties": {
                            "port": {"type": "integer"},
                            "protocol": {"type": "string", "default": "TCP"},
                            "name": {"type": "string"},
                        },
                    },
                },
                "selector": {
                    "type": "object",
                    "x-kubernetes-map-type": "atomic",
                    "additionalProperties": {"type": "string"},
                },
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                "half": {
                    "type": "object",
                    "x-kubernetes-preserve-unknown-fields": True,
                    "properties": {"known": {"type": "boolean"}},
                },
            },
        }
    },
}


@pytest.fixture
def custom() -> FieldManager:
    common = dict.fromkeys(("apiVersion", "kind", "metadata"), ANYTHING)
    return FieldManager(schema_of(SCHEMA, common), "example.com/v1", "Custom")


def config(spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Custom", "metadata": {"name": "x"}, "spec": spec}


def test_each_field_is_owned_as_the_schema_says(custom: FieldManager) -> None:
    spec = {
        "size": "10%",
        "words": ["a"],
        "tags": ["b"],
        "ports": [{"port": 80, "name": "web"}],
        "selector": {"a": "b"},
        "labels": {"a": "b"},
        "free": {"a": {"b": [1]}},
        "half": {"known": True, "other": {"x": 1}},
    }
    (entry,) = custom.apply(None, config(spec), "me", NOON, force=False).managed_fields
    assert entry["fieldsV1"] == {
        "f:spec": {
            "f:free": {"f:a": {".": {}, "f:b": {}}},
            "f:half": {"f:known": {}, "f:other": {".": {}, "f:x": {}}},
            "f:labels": {"f:a": {}},
            "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}}},
            "f:selector": {},
            "f:size": {},
            "f:tags": {'v:"b"': {}},
            "f:words": {},
        }
    }


def test_a_create_of_a_custom_resource_owns_its_spec_as_such(custom: FieldManager) -> None:
    (entry,) = custom.update(None, config({"size": 1}), "kubectl-create", NOON)
    assert entry["fieldsV1"] == {"f:spec": {".": {}, "f:size": {}}}


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ({"colour": 1}, ".spec.colour: field not declared in schema"),
        ({"size": {}}, ".spec.size: expected any scalar, got &{map[]}"),
        ({"ports": [{"name": "x"}]}, 'omits key field "port"'),
        ({"half": {"known": 1}}, ".spec.half.known: expected boolean, got &{1}"),
    ],
)
def test_what_does_not_fit(custom: FieldManager, spec: dict[str, Any], complaint: str) -> None:
    with pytest.raises(StatusError) as caught:
        custom.apply(None, config(spec), "me", NOON, force=False)
    assert complaint in caught.value.message
    assert caught.value.message.startswith("failed to create typed patch object (/x; example.com/v1, Kind=Custom): ")


def test_a_schema_that_keeps_all_fields_knows_none(custom: FieldManager) -> None:
    node = schema_of({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    manager = FieldManager(node, "example.com/v1", "Custom")
    (entry,) = manager.apply(None, config({"a": {"b": 1}}), "me", NOON, force=False).managed_fields
    assert entry["fieldsV1"] == {"f:spec": {".": {}, "f:a": {".": {}, "f:b": {}}}}
