"""The data about our kinds: every rule names a field that exists and fits it."""

import inspect
from typing import Any

import msgspec
import pytest
from lightkube.models import (
    admissionregistration_v1,
    apiextensions_v1,
    apps_v1,
    autoscaling_v2,
    batch_v1,
    coordination_v1,
    core_v1,
    discovery_v1,
    meta_v1,
    networking_v1,
    policy_v1,
    rbac_v1,
    storage_v1,
)

from skerry.api import route_types, serving_types
from skerry.api.apply_keys import APPLY_RULES, SCHEMAS
from skerry.api.kinds import REGISTRY
from skerry.machinery.apply.manager import FieldManager
from skerry.machinery.apply.schema import Keyed, Leaf, MapOf, SetOf, Struct
from skerry.machinery.structs import fields_of

MODULES = [
    admissionregistration_v1,
    apiextensions_v1,
    apps_v1,
    autoscaling_v2,
    batch_v1,
    coordination_v1,
    core_v1,
    discovery_v1,
    meta_v1,
    networking_v1,
    policy_v1,
    rbac_v1,
    storage_v1,
    route_types,
    serving_types,
]
STRUCTS: dict[str, list[type[msgspec.Struct]]] = {}
for module in MODULES:
    for name, found in inspect.getmembers(module, inspect.isclass):
        if issubclass(found, msgspec.Struct) and found.__module__ == module.__name__:
            STRUCTS.setdefault(name, []).append(found)


@pytest.mark.parametrize(("struct", "field"), sorted(APPLY_RULES.fields))
def test_a_rule_fits_its_field(struct: str, field: str) -> None:
    rule = APPLY_RULES.fields[struct, field]
    fitting = [model for model in STRUCTS[struct] if field in fields_of(model)]
    assert fitting
    for model in fitting:
        node = SCHEMAS.of(model).of(field)
        if rule.keys:
            assert isinstance(node, Keyed)
            assert isinstance(node.items, Struct | Leaf)
            inner = node.items.inner if isinstance(node.items, Leaf) else node.items
            assert isinstance(inner, Struct)
            assert {key for key, _ in rule.keys} <= set(inner.fields)
        elif rule.a_set:
            assert isinstance(node, SetOf)
        else:
            assert isinstance(node, Leaf) == rule.atomic
            assert isinstance(node.inner if isinstance(node, Leaf) else node, Struct | MapOf)


@pytest.mark.parametrize("struct", sorted(APPLY_RULES.atomic))
def test_an_atomic_struct_exists(struct: str) -> None:
    assert STRUCTS[struct]


@pytest.mark.parametrize(("struct", "field"), sorted(APPLY_RULES.zero))
def test_a_field_of_an_empty_object_exists(struct: str, field: str) -> None:
    assert any(field in fields_of(model) for model in STRUCTS[struct])


def owned(kind: str, version: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Return what an apply of this spec owns of it."""
    found = REGISTRY.by_kind(version, kind)
    assert found is not None
    manager = FieldManager(SCHEMAS.of(found.model), version, kind, open_fields=found.open_fields)
    config = {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec}
    (entry,) = manager.apply(None, config, "me", "2026-05-01T12:00:00Z", force=False).managed_fields
    fields: dict[str, Any] = entry["fieldsV1"]["f:spec"]
    return fields


def test_ports_of_a_service() -> None:
    spec = {"selector": {"a": "b"}, "ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}, {"port": 443}]}
    assert owned("Service", "v1", spec) == {
        "f:ports": {
            'k:{"port":53,"protocol":"TCP"}': {".": {}, "f:port": {}},
            'k:{"port":53,"protocol":"UDP"}': {".": {}, "f:port": {}, "f:protocol": {}},
            'k:{"port":443,"protocol":"TCP"}': {".": {}, "f:port": {}},
        },
        "f:selector": {},
    }


def test_a_pod_with_an_image_volume_and_references() -> None:
    spec = {
        "containers": [
            {
                "name": "c",
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "envFrom": [{"configMapRef": {"name": "m"}}],
            }
        ],
        "nodeSelector": {"a": "b"},
        "volumes": [{"name": "m", "image": {"reference": "r"}}],
        "tolerations": [{"operator": "Exists"}],
        "imagePullSecrets": [{"name": "pull"}],
    }
    assert owned("Pod", "v1", spec) == {
        "f:containers": {
            'k:{"name":"c"}': {
                ".": {},
                "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:valueFrom": {"f:secretKeyRef": {}}}},
                "f:envFrom": {},
                "f:name": {},
            }
        },
        "f:imagePullSecrets": {'k:{"name":"pull"}': {}},
        "f:nodeSelector": {},
        "f:tolerations": {},
        "f:volumes": {'k:{"name":"m"}': {".": {}, "f:image": {"f:reference": {}}, "f:name": {}}},
    }


def test_a_predictor_is_owned_like_a_pod() -> None:
    spec = {
        "predictor": {
            "minReplicas": 1,
            "model": {
                "modelFormat": {"name": "onnx"},
                "storageUri": "oci://m",
                "env": [{"name": "A", "value": "b"}],
                "ports": [{"containerPort": 8888}],
                "resources": {"limits": {"cpu": "1"}},
            },
            "containers": [{"name": "kserve-container", "image": "i"}],
        }
    }
    assert owned("InferenceService", "serving.kserve.io/v1beta1", spec) == {
        "f:predictor": {
            "f:containers": {'k:{"name":"kserve-container"}': {".": {}, "f:image": {}, "f:name": {}}},
            "f:minReplicas": {},
            "f:model": {
                "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
                "f:modelFormat": {"f:name": {}},
                "f:ports": {'k:{"containerPort":8888,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                "f:resources": {"f:limits": {"f:cpu": {}}},
                "f:storageUri": {},
            },
        }
    }


def test_a_runtime_and_a_route() -> None:
    runtime = {"containers": [{"name": "c"}], "supportedModelFormats": [{"name": "onnx"}], "protocolVersions": ["v2"]}
    assert owned("ServingRuntime", "serving.kserve.io/v1alpha1", runtime) == {
        "f:containers": {'k:{"name":"c"}': {".": {}, "f:name": {}}},
        "f:protocolVersions": {},
        "f:supportedModelFormats": {},
    }
    route = {"to": {"kind": "Service", "name": "a"}, "alternateBackends": [{"kind": "Service", "name": "b"}]}
    assert owned("Route", "route.openshift.io/v1", route) == {
        "f:alternateBackends": {'k:{"name":"b"}': {".": {}, "f:kind": {}, "f:name": {}}},
        "f:to": {"f:kind": {}, "f:name": {}},
    }


@pytest.mark.parametrize("kind", list(REGISTRY), ids=lambda kind: kind.kind)
def test_every_kind_has_a_schema_all_the_way_down(kind: Any) -> None:
    seen: set[int] = set()

    def look(node: Any) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        for inner in node.fields.values() if isinstance(node, Struct) else ():
            look(inner)
        for name in ("inner", "values", "items"):
            if getattr(node, name, None) is not None:
                look(getattr(node, name))

    look(SCHEMAS.of(kind.model))
    assert len(seen) > 10
