"""Where a Service's traffic may go: slices and Endpoints from Services and pods."""

from typing import Any

import msgspec
import pytest
from lightkube.models.core_v1 import Container, ContainerPort, ServicePort
from lightkube.models.discovery_v1 import EndpointPort
from lightkube.resources.core_v1 import Pod, Service
from lightkube.resources.discovery_v1 import EndpointSlice
from tests.controllers.builders import NOW, metadata, pod, service

from skerry.cluster.controllers import endpoints, endpointslice
from skerry.cluster.controllers.backends import selects
from skerry.cluster.controllers.ownership import meta

NAMED = (ServicePort(name="http", port=80, targetPort="http", protocol="TCP"),)


def slices(owner: Service, *pods: Pod) -> list[EndpointSlice]:
    planned = endpointslice.plan(owner, pods, [])
    assert not planned.patch
    assert not planned.delete
    return list(planned.create)


def test_a_slice_says_all_of_a_pod() -> None:
    owner, bee = service("bee"), pod("bee-1", ip="127.1.2.3")
    (made,) = slices(owner, bee)
    assert ("bee-", None, "IPv4") == (meta(made).generateName, meta(made).name, made.addressType)
    assert {
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        "kubernetes.io/service-name": "bee",
        "service.kubernetes.io/headless": "",
    } == meta(made).labels
    assert [("Service", meta(owner).uid, True)] == [
        (each.kind, each.uid, each.controller) for each in meta(made).ownerReferences or []
    ]
    assert [EndpointPort(name="", protocol="TCP", port=8888)] == made.ports
    expected = {
        "addresses": ["127.1.2.3"],
        "conditions": {"ready": True, "serving": True, "terminating": False},
        "nodeName": "skerry",
        "targetRef": {"kind": "Pod", "namespace": "ai-demo", "name": "bee-1", "uid": meta(bee).uid},
    }
    assert [expected] == msgspec.to_builtins(made.endpoints)


@pytest.mark.parametrize(
    ("state", "publish", "expected"),
    [
        ({}, False, (True, True, False)),
        ({"ready": False}, False, (False, False, False)),
        ({"deletionTimestamp": NOW}, False, (False, True, True)),
        ({"deletionTimestamp": NOW, "ready": False}, False, (False, False, True)),
        ({"ready": False}, True, (True, False, False)),
        ({"deletionTimestamp": NOW}, True, (True, True, True)),
    ],
)
def test_the_conditions_of_an_endpoint(
    state: dict[str, Any], expected: tuple[bool, bool, bool], *, publish: bool
) -> None:
    (made,) = slices(service(publishNotReadyAddresses=publish), pod(**state))
    (endpoint,) = made.endpoints or []
    assert endpoint.conditions is not None
    assert expected == (endpoint.conditions.ready, endpoint.conditions.serving, endpoint.conditions.terminating)


@pytest.mark.parametrize(
    "left_out", [pod(ip=None), pod(phase="Succeeded"), pod(phase="Failed"), pod(labels={"app": "wasp"})]
)
def test_a_service_without_pods_has_one_empty_slice(left_out: Pod) -> None:
    (made,) = slices(service(), left_out)
    assert ([], []) == (made.endpoints, made.ports)


def test_a_port_name_is_looked_up_in_each_pod() -> None:
    first, second = pod("a", ports={"http": 8888}), pod("b", ports={"http": 9000}, ip="127.1.0.2")
    lost = pod("c", ports={"grpc": 9001}, ip="127.1.0.3")
    made = slices(service(ports=NAMED), first, second, lost)
    assert [("127.1.0.3", []), ("127.1.0.1", [8888]), ("127.1.0.2", [9000])] == [
        ((each.endpoints or [])[0].addresses[0], [port.port for port in each.ports or []]) for each in made
    ]


def test_a_sidecars_port_counts_an_init_containers_does_not() -> None:
    sidecar = Container(name="proxy", restartPolicy="Always", ports=[ContainerPort(containerPort=7000, name="http")])
    once = Container(name="setup", ports=[ContainerPort(containerPort=6000, name="http")])
    for init, expected in (([once, sidecar], [7000]), ([once], [])):
        (made,) = slices(service(ports=NAMED), pod(spec={"initContainers": init}))
        assert expected == [port.port for port in made.ports or []]


def test_without_a_target_port_it_is_the_services_port() -> None:
    (made,) = slices(service(ports=(ServicePort(port=8080),)), pod())
    assert [EndpointPort(name="", protocol="TCP", port=8080)] == made.ports


def test_a_hostname_is_published_below_its_own_service_only() -> None:
    named = pod(spec={"hostname": "bee-0", "subdomain": "bee"})
    for name, expected in (("bee", "bee-0"), ("other", None)):
        (made,) = slices(service(name), named)
        assert [expected] == [each.hostname for each in made.endpoints or []]


def written(made: EndpointSlice, name: str = "bee-abcde", **more: Any) -> EndpointSlice:
    own = metadata(name, labels=meta(made).labels, ownerReferences=meta(made).ownerReferences, **more)
    return msgspec.structs.replace(made, metadata=own)


def test_what_is_written_is_not_written_again() -> None:
    owner, bee = service(), pod()
    (made,) = slices(owner, bee)
    assert endpointslice.Plan() == endpointslice.plan(owner, [bee], [written(made)])


def test_only_what_changed_is_sent() -> None:
    owner = service(meta={"labels": {"a": "1"}})
    (made,) = slices(owner, pod(ready=False))
    present = written(made)
    planned = endpointslice.plan(owner, [pod(uid="same")], [present])
    ((item, changes),) = planned.patch
    assert (present, ["endpoints"]) == (item, list(changes))
    meta(owner).labels = {"b": "2"}
    ((_, changes),) = endpointslice.plan(owner, [], [present]).patch
    assert {"a": None, "b": "2"}.items() <= changes["metadata"]["labels"].items()


def test_the_slice_with_the_same_ports_is_kept_and_surplus_ones_go() -> None:
    owner, bee = service(), pod()
    (full,), (empty,) = slices(owner, bee), slices(owner)
    present = [written(empty, "bee-aaaaa"), written(full, "bee-bbbbb")]
    planned = endpointslice.plan(owner, [bee], present)
    assert ((), (), (present[0],)) == (planned.create, planned.patch, planned.delete)


def test_a_slice_that_is_going_is_replaced() -> None:
    owner, bee = service(), pod()
    (made,) = slices(owner, bee)
    planned = endpointslice.plan(owner, [bee], [written(made, deletionTimestamp=NOW)])
    assert (1, ()) == (len(planned.create), planned.delete)


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (service(), True),
        (service(selector={}), False),
        (service(type="ExternalName", externalName="example.com"), False),
    ],
)
def test_services_that_somebody_else_fills_are_left_alone(made: Service, *, expected: bool) -> None:
    assert expected is selects(made)


def test_endpoints_tell_ready_from_not_ready_and_leave_out_what_is_ending() -> None:
    owner = service("bee", meta={"labels": {"team": "vision"}})
    made = endpoints.plan(
        owner,
        [
            pod("b", ip="127.1.0.2"),
            pod("a", ip="127.1.0.1"),
            pod("c", ip="127.1.0.3", ready=False),
            pod("d", ip="127.1.0.4", deletionTimestamp=NOW),
        ],
    )
    assert {
        "team": "vision",
        "endpoints.kubernetes.io/managed-by": "endpoint-controller",
        "service.kubernetes.io/headless": "",
    } == meta(made).labels
    (subset,) = made.subsets or []
    assert ["127.1.0.1", "127.1.0.2"] == [each.ip for each in subset.addresses or []]
    assert ["127.1.0.3"] == [each.ip for each in subset.notReadyAddresses or []]
    assert [(None, 8888, "TCP")] == [(each.name, each.port, each.protocol) for each in subset.ports or []]
    assert {} == endpoints.changes(made, made)


def test_endpoints_of_a_service_without_pods_are_empty() -> None:
    empty, full = endpoints.plan(service(), []), endpoints.plan(service(), [pod()])
    assert empty.subsets is None
    assert {"subsets": None} == endpoints.changes(full, empty)
