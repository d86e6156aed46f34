"""The tables of all other kinds, cell by cell."""

from datetime import UTC, datetime
from typing import Any

import pytest

from skerry.api.kinds import REGISTRY

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
Json = dict[str, Any]


def shown(short_name: str, item: Json, *, wide: bool = False) -> dict[str, Any]:
    kind = REGISTRY.by_short_name(short_name)
    assert kind is not None
    meta = {"name": "x", "creationTimestamp": "2026-03-01T11:59:30Z", **item.get("metadata", {})}
    item = {**item, "metadata": meta}
    return {
        column.name.upper(): column.cell(item, NOW)
        for column in kind.columns
        if (column.priority == 1) is wide or column.name == "Name"
    }


def test_deployment() -> None:
    template = {"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j:2"}]}}
    spec = {
        "replicas": 2,
        "template": template,
        "selector": {
            "matchLabels": {"b": "2", "a": "1"},
            "matchExpressions": [{"key": "c", "operator": "In", "values": ["y", "x"]}],
        },
    }
    item = {"spec": spec, "status": {"readyReplicas": 1, "updatedReplicas": 2}}
    assert shown("deploy", item) == {"NAME": "x", "READY": "1/2", "UP-TO-DATE": 2, "AVAILABLE": 0, "AGE": "30s"}
    assert shown("deploy", item, wide=True) == {
        "NAME": "x",
        "CONTAINERS": "a,b",
        "IMAGES": "i:1,j:2",
        "SELECTOR": "a=1,b=2,c in (x,y)",
    }


def test_replica_set() -> None:
    item = {"spec": {"replicas": 3}, "status": {"replicas": 2, "readyReplicas": 1}}
    assert shown("rs", item) == {"NAME": "x", "DESIRED": 3, "CURRENT": 2, "READY": 1, "AGE": "30s"}


@pytest.mark.parametrize(
    ("spec", "status", "cells"),
    [
        (
            {
                "type": "ClusterIP",
                "clusterIP": "None",
                "clusterIPs": ["None"],
                "ports": [{"port": 80, "protocol": "TCP"}],
            },
            {},
            ("ClusterIP", "None", "<none>", "80/TCP"),
        ),
        ({"type": "ClusterIP"}, {}, ("ClusterIP", "<none>", "<none>", "<none>")),
        (
            {
                "type": "NodePort",
                "clusterIP": "10.43.0.1",
                "ports": [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}],
                "externalIPs": ["1.2.3.4"],
            },
            {},
            ("NodePort", "10.43.0.1", "1.2.3.4", "80:30080/TCP,53/UDP"),
        ),
        ({"type": "LoadBalancer"}, {}, ("LoadBalancer", "<none>", "<pending>", "<none>")),
        (
            {"type": "LoadBalancer"},
            {"loadBalancer": {"ingress": [{"ip": "1.1.1.1"}, {"hostname": "lb.example"}]}},
            ("LoadBalancer", "<none>", "1.1.1.1,lb.example", "<none>"),
        ),
        ({"type": "ExternalName", "externalName": "a.example"}, {}, ("ExternalName", "<none>", "a.example", "<none>")),
    ],
)
def test_service(spec: Json, status: Json, cells: tuple[str, ...]) -> None:
    found = shown("svc", {"spec": spec, "status": status})
    assert tuple(found.values()) == ("x", *cells, "30s")
    assert list(found) == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"]


def test_service_selector() -> None:
    assert shown("svc", {"spec": {"selector": {"b": "2", "a": "1"}}}, wide=True)["SELECTOR"] == "a=1,b=2"
    assert shown("svc", {"spec": {}}, wide=True)["SELECTOR"] == "<none>"


def test_endpoint_slice() -> None:
    item = {
        "addressType": "IPv4",
        "ports": [{"port": 8888}, {"name": "metrics"}, {}],
        "endpoints": [{"addresses": [f"127.1.0.{number}"]} for number in range(1, 6)],
    }
    found = shown("endpointslices", item)
    assert found["ADDRESSTYPE"] == "IPv4"
    assert found["PORTS"] == "8888,metrics,*"
    assert found["ENDPOINTS"] == "127.1.0.1,127.1.0.2,127.1.0.3 + 2 more..."
    assert shown("endpointslices", {"addressType": "IPv4"})["ENDPOINTS"] == "<unset>"


def test_endpoints() -> None:
    addresses = [{"ip": "127.1.0.1"}, {"ip": "::1"}]
    assert shown("ep", {"subsets": [{"addresses": addresses, "ports": [{"port": 80}]}]})["ENDPOINTS"] == (
        "127.1.0.1:80,[::1]:80"
    )
    assert shown("ep", {})["ENDPOINTS"] == "<none>"


def test_node() -> None:
    item = {
        "metadata": {"labels": {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "nodeInfo": {"kubeletVersion": "v1.35.0", "kernelVersion": "6.1"},
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        },
    }
    assert shown("no", item) == {
        "NAME": "x",
        "STATUS": "Ready,SchedulingDisabled",
        "ROLES": "control-plane,worker",
        "AGE": "30s",
        "VERSION": "v1.35.0",
    }
    assert shown("no", item, wide=True) == {
        "NAME": "x",
        "INTERNAL-IP": "127.0.0.1",
        "EXTERNAL-IP": "<none>",
        "OS-IMAGE": "<unknown>",
        "KERNEL-VERSION": "6.1",
        "CONTAINER-RUNTIME": "<unknown>",
    }
    assert shown("no", {})["STATUS"] == "Unknown"
    assert shown("no", {"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}})["STATUS"] == "NotReady"


def test_event_of_the_old_form() -> None:
    item = {
        "type": "Warning",
        "reason": "BackOff",
        "message": " Back-off \n",
        "count": 4,
        "firstTimestamp": "2026-03-01T11:50:00Z",
        "lastTimestamp": "2026-03-01T11:58:00Z",
        "involvedObject": {"kind": "Pod", "name": "web", "fieldPath": "spec.containers{c0}"},
        "source": {"component": "kubelet", "host": "skerry"},
    }
    assert list(shown("ev", item).values()) == ["2m", "Warning", "BackOff", "pod/web", "Back-off", "x"]
    assert shown("ev", item, wide=True) == {
        "NAME": "x",
        "SUBOBJECT": "spec.containers{c0}",
        "SOURCE": "kubelet, skerry",
        "FIRST SEEN": "10m",
        "COUNT": 4,
    }


def test_event_of_the_new_form_has_the_same_cells_in_both_groups() -> None:
    item = {
        "apiVersion": "events.k8s.io/v1",
        "type": "Normal",
        "reason": "Scheduled",
        "note": "ok",
        "eventTime": "2026-03-01T11:59:00.000000Z",
        "series": {"count": 7, "lastObservedTime": "2026-03-01T11:59:50.000000Z"},
        "regarding": {"kind": "Pod", "name": "web"},
        "reportingController": "scheduler",
        "metadata": {"name": "x", "creationTimestamp": "2026-03-01T11:59:30Z"},
    }
    kind = REGISTRY.by_plural("events.k8s.io", "v1", "events")
    assert kind is not None
    assert kind.to_storage is not None
    new = [column.cell(item, NOW) for column in kind.columns]
    old = [column.cell(kind.to_storage(item), NOW) for column in kind.columns]
    assert new == old == ["10s", "Normal", "Scheduled", "pod/web", "", "scheduler", "ok", "60s", 7, "x"]


def test_persistent_volume_claim() -> None:
    item = {
        "spec": {"volumeName": "pv", "storageClassName": "local", "volumeMode": "Filesystem"},
        "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadOnlyMany", "ReadWriteOnce"]},
    }
    assert list(shown("pvc", item).values()) == ["x", "Bound", "pv", "1Gi", "RWO,ROX", "local", "<unset>", "30s"]
    unbound = shown("pvc", {"spec": {}, "status": {"phase": "Pending"}, "metadata": {"deletionTimestamp": "now"}})
    assert list(unbound.values()) == ["x", "Terminating", "", "", "", "", "<unset>", "30s"]


@pytest.mark.parametrize(
    ("short_name", "item", "cells"),
    [
        ("ns", {"status": {"phase": "Active"}}, ["Active", "30s"]),
        ("cm", {"data": {"a": "1"}, "binaryData": {"b": ""}}, [2, "30s"]),
        ("secrets", {"type": "Opaque", "data": {"a": "", "b": ""}}, ["Opaque", 2, "30s"]),
        ("sa", {"secrets": [{"name": "s"}]}, [1, "30s"]),
    ],
)
def test_small_tables(short_name: str, item: Json, cells: list[Any]) -> None:
    assert list(shown(short_name, item).values()) == ["x", *cells]


def test_route() -> None:
    item: Json = {"spec": {"to": {"name": "svc"}, "tls": {"termination": "edge"}}}
    assert shown("routes", item) == {"NAME": "x", "HOST": "", "ADMITTED": "", "SERVICE": "svc", "TLS": "edge"}
    item["status"] = {"ingress": [{"host": "h.example", "conditions": [{"type": "Admitted", "status": "True"}]}]}
    del item["spec"]["tls"]
    assert list(shown("routes", item).values()) == ["x", "h.example", "True", "svc", ""]


@pytest.mark.parametrize(
    ("spec", "status", "cells"),
    [
        ({"completions": 3}, {"succeeded": 1}, ("Running", "1/3", "")),
        ({"parallelism": 4}, {"succeeded": 1}, ("Running", "1/1 of 4", "")),
        ({}, {"startTime": "2026-03-01T11:58:00Z"}, ("Running", "0/1", "2m")),
        (
            {"completions": 1},
            {
                "startTime": "2026-03-01T11:00:00Z",
                "completionTime": "2026-03-01T11:00:09Z",
                "succeeded": 1,
                "conditions": [{"type": "Complete", "status": "True"}],
            },
            ("Complete", "1/1", "9s"),
        ),
        ({}, {"conditions": [{"type": "Failed", "status": "True"}]}, ("Failed", "0/1", "")),
        ({}, {"conditions": [{"type": "Suspended", "status": "True"}]}, ("Suspended", "0/1", "")),
        ({}, {"conditions": [{"type": "Suspended", "status": "False"}]}, ("Running", "0/1", "")),
    ],
)
def test_job(spec: Json, status: Json, cells: tuple[str, str, str]) -> None:
    found = shown("job", {"spec": spec, "status": status})
    assert (found["STATUS"], found["COMPLETIONS"], found["DURATION"]) == cells


def metric(kind: str, target: Json, **more: Any) -> Json:
    field = kind[0].lower() + kind[1:]
    return {"type": kind, field: {"name": "cpu", "target": target, **more}}


def measured(kind: str, current: Json) -> Json:
    return {"type": kind, kind[0].lower() + kind[1:]: {"name": "cpu", "current": current}}


@pytest.mark.parametrize(
    ("metrics", "found", "targets"),
    [
        ([], [], "<none>"),
        ([metric("Resource", {"averageUtilization": 80})], [], "cpu: <unknown>/80%"),
        (
            [metric("Resource", {"averageUtilization": 80})],
            [measured("Resource", {"averageUtilization": 12, "averageValue": "120m"})],
            "cpu: 12%/80%",
        ),
        (
            [metric("Resource", {"averageValue": "200m"})],
            [measured("Resource", {"averageValue": "120m"})],
            "cpu: 120m/200m",
        ),
        ([metric("ContainerResource", {"averageUtilization": 5}, container="c")], [{"type": ""}], "cpu: <unknown>/5%"),
        ([metric("Pods", {"averageValue": "1k"})], [measured("Pods", {"averageValue": "500"})], "500/1k"),
        ([metric("External", {"averageValue": "7"})], [], "<unknown>/7 (avg)"),
        ([metric("Object", {"value": "7"})], [measured("Object", {"value": "3"})], "3/7"),
        (
            [metric("Resource", {"averageUtilization": 80})] * 4,
            [],
            "cpu: <unknown>/80%, cpu: <unknown>/80% + 2 more...",
        ),
    ],
)
def test_autoscaler(metrics: list[Json], found: list[Json], targets: str) -> None:
    spec = {"metrics": metrics, "maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}
    cells = shown("hpa", {"spec": spec, "status": {"currentMetrics": found, "currentReplicas": 2}})
    assert cells == {
        "NAME": "x",
        "REFERENCE": "Deployment/web",
        "TARGETS": targets,
        "MINPODS": "<unset>",
        "MAXPODS": 3,
        "REPLICAS": 2,
        "AGE": "30s",
    }


def test_an_object_without_a_creation_time_has_an_unknown_age() -> None:
    assert shown("ns", {"metadata": {"creationTimestamp": None}})["AGE"] == "<unknown>"


@pytest.mark.parametrize("kind", list(REGISTRY), ids=lambda kind: f"{kind.group}/{kind.kind}")
def test_every_column_prints_an_object_that_has_nothing_but_a_name(kind: Any) -> None:
    bare = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "x"}}
    for column in kind.columns:
        cell = column.cell(bare, NOW)
        assert cell is None or isinstance(cell, str | int | bool), column.name
