"""Ownership of a Deployment, field by field as a real API server writes it.

The expected `fieldsV1` are those that `kubectl create deployment` and `kubectl apply --server-side` leave behind on
Kubernetes: which containers of fields have a `.`, which are atomic, which keys name an item.
"""

from copy import deepcopy
from typing import Any

import pytest
import yaml

from skerry.api.kinds import REGISTRY
from skerry.machinery.apply.conflicts import ApplyConflict
from skerry.machinery.apply.manager import FieldManager
from skerry.machinery.status import StatusError

NOON = "2026-05-01T12:00:00Z"
LATER = "2026-05-01T13:00:00Z"

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  namespace: shop
  creationTimestamp: null
  labels: {app: web}
spec:
  replicas: 1
  selector:
    matchLabels: {app: web}
  strategy: {}
  template:
    metadata:
      creationTimestamp: null
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: web:1
        ports: [{containerPort: 8080}]
        resources: {}
status: {}
"""


def manifest(**spec: Any) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(MANIFEST)
    loaded["spec"].update(spec)
    return loaded


def defaulted(item: dict[str, Any]) -> dict[str, Any]:
    kind = REGISTRY.by_kind("apps/v1", "Deployment")
    assert kind is not None
    filled = deepcopy(item)
    filled.pop("status", None)
    kind.default(filled)
    return filled


def created(deployments: FieldManager, manager: str = "kubectl-create") -> dict[str, Any]:
    item = defaulted(manifest())
    item["metadata"]["managedFields"] = deployments.update(None, item, manager, NOON)
    return item


def test_a_create_owns_the_object_with_its_defaults(deployments: FieldManager) -> None:
    (entry,) = created(deployments)["metadata"]["managedFields"]
    fields = entry.pop("fieldsV1")
    assert entry == {
        "manager": "kubectl-create",
        "operation": "Update",
        "apiVersion": "apps/v1",
        "time": NOON,
        "fieldsType": "FieldsV1",
    }
    assert fields == {
        "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
        "f:spec": {
            "f:progressDeadlineSeconds": {},
            "f:replicas": {},
            "f:revisionHistoryLimit": {},
            "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"web"}': {
                            ".": {},
                            "f:image": {},
                            "f:imagePullPolicy": {},
                            "f:name": {},
                            "f:ports": {
                                ".": {},
                                'k:{"containerPort":8080,"protocol":"TCP"}': {
                                    ".": {},
                                    "f:containerPort": {},
                                    "f:protocol": {},
                                },
                            },
                            "f:resources": {},
                            "f:terminationMessagePath": {},
                            "f:terminationMessagePolicy": {},
                        }
                    },
                    "f:dnsPolicy": {},
                    "f:restartPolicy": {},
                    "f:schedulerName": {},
                    "f:securityContext": {},
                    "f:terminationGracePeriodSeconds": {},
                },
            },
        },
    }


def test_an_apply_owns_what_it_says_and_no_default(deployments: FieldManager) -> None:
    applied = deployments.apply(None, manifest(), "kubectl", NOON, force=False)
    (entry,) = applied.managed_fields
    assert entry["operation"] == "Apply"
    assert entry["fieldsV1"] == {
        "f:metadata": {"f:labels": {"f:app": {}}},
        "f:spec": {
            "f:replicas": {},
            "f:selector": {},
            "f:strategy": {},
            "f:template": {
                "f:metadata": {"f:creationTimestamp": {}, "f:labels": {"f:app": {}}},
                "f:spec": {
                    "f:containers": {
                        'k:{"name":"web"}': {
                            ".": {},
                            "f:image": {},
                            "f:name": {},
                            "f:ports": {'k:{"containerPort":8080,"protocol":"TCP"}': {".": {}, "f:containerPort": {}}},
                            "f:resources": {},
                        }
                    }
                },
            },
        },
    }
    assert "creationTimestamp" not in applied.item["spec"]["template"]["metadata"]


def test_a_value_of_another_owner_is_a_conflict(deployments: FieldManager) -> None:
    live = created(deployments, "kubectl")
    with pytest.raises(ApplyConflict) as caught:
        deployments.apply(live, manifest(replicas=3), "me", NOON, force=False)
    assert caught.value.message == (
        'Apply failed with 1 conflict: conflict with "kubectl" using apps/v1: .spec.replicas'
    )
    assert caught.value.body() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": caught.value.message,
        "reason": "Conflict",
        "details": {
            "causes": [
                {
                    "reason": "FieldManagerConflict",
                    "message": 'conflict with "kubectl" using apps/v1',
                    "field": ".spec.replicas",
                }
            ]
        },
        "code": 409,
    }


def test_conflicts_are_listed_by_owner(deployments: FieldManager) -> None:
    live = created(deployments, "kubectl")
    scaled = deepcopy(live)
    scaled["spec"]["replicas"] = 2
    scaler = FieldManager(deployments.node, "apps/v1", "Deployment", "scale")
    scaled["metadata"]["managedFields"] = scaler.update(live, scaled, "kubectl", NOON)
    config = manifest(replicas=3, revisionHistoryLimit=1)
    config["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
    with pytest.raises(ApplyConflict) as caught:
        deployments.apply(scaled, config, "me", NOON, force=False)
    assert caught.value.message == (
        'Apply failed with 3 conflicts: conflicts with "kubectl" using apps/v1:\n'
        "- .spec.revisionHistoryLimit\n"
        '- .spec.template.spec.containers[name="web"].image\n'
        'conflicts with "kubectl" with subresource "scale" using apps/v1:\n'
        "- .spec.replicas"
    )


def test_a_conflict_with_an_applier_names_no_version(deployments: FieldManager) -> None:
    applied = deployments.apply(None, manifest(), "ci", NOON, force=False)
    live = {**applied.item, "metadata": {**applied.item["metadata"], "managedFields": applied.managed_fields}}
    with pytest.raises(ApplyConflict, match=r'^Apply failed with 1 conflict: conflict with "ci": \.spec\.replicas$'):
        deployments.apply(live, manifest(replicas=2), "me", NOON, force=False)


def test_force_takes_the_field_and_nothing_else(deployments: FieldManager) -> None:
    live = created(deployments)
    applied = deployments.apply(live, manifest(replicas=3), "me", LATER, force=True)
    assert applied.item["spec"]["replicas"] == 3
    mine, theirs = applied.managed_fields
    assert (mine["manager"], mine["operation"], mine["time"]) == ("me", "Apply", LATER)
    assert "f:replicas" in mine["fieldsV1"]["f:spec"]
    assert (theirs["manager"], theirs["time"]) == ("kubectl-create", NOON)
    assert "f:replicas" not in theirs["fieldsV1"]["f:spec"]
    # The same value is no conflict: both have it.
    assert "f:selector" in theirs["fieldsV1"]["f:spec"]


def test_ports_are_told_apart_by_number_and_protocol(deployments: FieldManager) -> None:
    config = manifest()
    container = config["spec"]["template"]["spec"]["containers"][0]
    container["ports"] = [{"containerPort": 53}, {"containerPort": 53, "protocol": "UDP"}]
    applied = deployments.apply(created(deployments), config, "dns", NOON, force=False)
    ports = applied.item["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert [(port["containerPort"], port.get("protocol", "TCP")) for port in ports] == [
        (8080, "TCP"),
        (53, "TCP"),
        (53, "UDP"),
    ]


def test_the_same_port_twice_is_refused(deployments: FieldManager) -> None:
    config = manifest()
    container = config["spec"]["template"]["spec"]["containers"][0]
    container["ports"] = [{"containerPort": 53}, {"containerPort": 53, "protocol": "TCP"}]
    with pytest.raises(StatusError) as caught:
        deployments.apply(None, config, "dns", NOON, force=False)
    assert caught.value.code == 500
    assert caught.value.message == (
        "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): "
        '.spec.template.spec.containers[name="web"].ports: '
        'duplicate entries for key [containerPort=53,protocol="TCP"]'
    )


def test_an_injected_container_survives_an_apply_and_keeps_its_place(deployments: FieldManager) -> None:
    live = created(deployments)
    injected = deepcopy(live)
    injected["spec"]["template"]["spec"]["containers"].insert(0, {"name": "proxy", "image": "proxy:1"})
    injected["metadata"]["managedFields"] = deployments.update(live, injected, "injector", NOON)
    config = manifest()
    config["spec"]["template"]["spec"]["containers"][0]["image"] = "web:2"
    applied = deployments.apply(injected, config, "me", NOON, force=True)
    containers = applied.item["spec"]["template"]["spec"]["containers"]
    assert [container["image"] for container in containers] == ["proxy:1", "web:2"]


def test_a_dropped_container_goes_whole_with_its_defaults(deployments: FieldManager) -> None:
    config = manifest()
    config["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "side:1"})
    applied = deployments.apply(None, config, "me", NOON, force=False)
    live = defaulted({**applied.item, "metadata": {**applied.item["metadata"]}})
    live["metadata"]["managedFields"] = applied.managed_fields
    again = deployments.apply(live, manifest(), "me", NOON, force=False)
    assert [container["name"] for container in again.item["spec"]["template"]["spec"]["containers"]] == ["web"]


def test_a_dropped_probe_goes_with_its_defaults_unless_somebody_has_a_part_of_it(deployments: FieldManager) -> None:
    config = manifest()
    config["spec"]["template"]["spec"]["containers"][0]["livenessProbe"] = {"httpGet": {"path": "/", "port": 80}}
    applied = deployments.apply(None, config, "me", NOON, force=False)
    live = defaulted(applied.item)
    live["metadata"]["managedFields"] = applied.managed_fields
    probe = live["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
    assert probe["periodSeconds"] == 10
    gone = deployments.apply(live, manifest(), "me", NOON, force=False)
    assert "livenessProbe" not in gone.item["spec"]["template"]["spec"]["containers"][0]

    slower = deepcopy(live)
    slower["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["periodSeconds"] = 60
    slower["metadata"]["managedFields"] = deployments.update(live, slower, "tuner", NOON)
    left = deployments.apply(slower, manifest(), "me", NOON, force=False)
    kept = left.item["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]
    assert kept["periodSeconds"] == 60
    assert "httpGet" not in kept


def test_the_autoscaler_can_take_replicas_over(deployments: FieldManager) -> None:
    """The hand-over that the documentation of server-side apply describes."""
    applied = deployments.apply(None, manifest(replicas=3), "me", NOON, force=False)
    live = {**applied.item, "metadata": {**applied.item["metadata"], "managedFields": applied.managed_fields}}
    scaled = deepcopy(live)
    scaled["spec"]["replicas"] = 5
    scaler = FieldManager(deployments.node, "apps/v1", "Deployment", "scale")
    scaled["metadata"]["managedFields"] = scaler.update(live, scaled, "autoscaler", NOON)
    config = manifest()
    del config["spec"]["replicas"]
    after = deployments.apply(scaled, config, "me", NOON, force=False)
    assert after.item["spec"]["replicas"] == 5


def test_status_is_owned_through_its_own_path_only(deployments: FieldManager) -> None:
    live = created(deployments)
    statuses = FieldManager(deployments.node, "apps/v1", "Deployment", "status", ignored=lambda name: name != "status")
    ready = {**deepcopy(live), "status": {"conditions": [{"type": "Available", "status": "True"}], "replicas": 1}}
    entries = statuses.update(live, ready, "deployment-controller", LATER)
    assert [entry["manager"] for entry in entries] == ["kubectl-create", "deployment-controller"]
    assert entries[1]["subresource"] == "status"
    assert entries[1]["fieldsV1"] == {
        "f:status": {
            "f:conditions": {".": {}, 'k:{"type":"Available"}': {".": {}, "f:status": {}, "f:type": {}}},
            "f:replicas": {},
        }
    }
    ready["metadata"]["managedFields"] = entries
    assert deployments.update(ready, {**ready, "status": {"replicas": 7}}, "kubectl", LATER) == entries


def test_unknown_fields_and_wrong_types_are_named(deployments: FieldManager) -> None:
    config = manifest(replicas="3", minReadySecond=1, paused="yes")
    with pytest.raises(StatusError) as caught:
        deployments.apply(None, config, "me", NOON, force=False)
    assert caught.value.message == (
        "failed to create typed patch object (shop/web; apps/v1, Kind=Deployment): errors:\n"
        "  .spec.replicas: expected numeric (int or float), got string\n"
        "  .spec.minReadySecond: field not declared in schema\n"
        "  .spec.paused: expected boolean, got &{yes}"
    )


def test_another_version_and_managed_fields_are_refused(deployments: FieldManager) -> None:
    with pytest.raises(StatusError) as caught:
        deployments.apply(None, {**manifest(), "apiVersion": "apps/v1beta1"}, "me", NOON, force=False)
    assert (caught.value.code, caught.value.message) == (
        400,
        "Incorrect version specified in apply patch. Specified patch version: apps/v1beta1, expected: apps/v1",
    )
    config = manifest()
    config["metadata"]["managedFields"] = []
    with pytest.raises(StatusError, match=r"^metadata\.managedFields must be nil$"):
        deployments.apply(None, config, "me", NOON, force=False)
