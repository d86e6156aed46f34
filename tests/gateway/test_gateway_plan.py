"""The table that a state of the cluster leads to. Pure: objects in, table out."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from skerry.api.route_types import Route
from skerry.cluster.gateway import table
from skerry.cluster.gateway.plan import plan, seconds

NAMESPACE = "ai-demo"
SERVICE = "ovms-resnet50-predictor"


def make_route(name: str = SERVICE, *, admitted: str = "True", host: str = "h.example", **spec: Any) -> Route:
    annotations = spec.pop("annotations", {})
    body = {
        "metadata": {"name": name, "namespace": NAMESPACE, "annotations": annotations},
        "spec": {"to": {"kind": "Service", "name": SERVICE, "weight": 100}, "host": host, **spec},
        "status": {"ingress": [{"host": host, "conditions": [{"type": "Admitted", "status": admitted}]}]},
    }
    return msgspec.convert(body, Route)


def make_service(name: str = SERVICE, ports: Sequence[dict[str, Any]] = ({"port": 80, "targetPort": 8888},)) -> Service:
    body = {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"ports": list(ports)}}
    return msgspec.convert(body, Service)


def make_slice(
    *endpoints: dict[str, Any], service: str = SERVICE, ports: Sequence[dict[str, Any]] = ({"port": 8888},)
) -> EndpointSlice:
    body = {
        "metadata": {
            "name": f"{service}-x",
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": list(ports),
    }
    return msgspec.convert(body, EndpointSlice)


def pod(name: str, address: str, ready: bool | None = True) -> dict[str, Any]:
    return {
        "addresses": [address],
        "conditions": {} if ready is None else {"ready": ready},
        "targetRef": {"kind": "Pod", "name": name, "namespace": NAMESPACE},
    }


SEED = pod("ovms-resnet50-predictor-6fdb566b7f-bc9k5", "10.42.0.8")


def only(made: table.Table) -> table.Route:
    (route,) = made.routes
    return route


def test_the_walkthroughs_route_gets_the_walkthroughs_cookie() -> None:
    route = make_route(host="ovms-resnet50-predictor-ai-demo.apps.example.com", port={"targetPort": 8888})
    made = plan([route], [make_service()], [make_slice(SEED)])
    assert only(made) == table.Route(
        name="ai-demo/ovms-resnet50-predictor",
        host="ovms-resnet50-predictor-ai-demo.apps.example.com",
        services=(table.Share((table.Endpoint("10.42.0.8", 8888, "4af1408b4a1c40925456f73033d4a7d1"),)),),
        cookie="56bb4b6df4f80f0b59f56aa0a5a91c1a",
    )
    assert made.services == (
        table.Service(NAMESPACE, SERVICE, (table.ServicePort(80, (table.Endpoint("10.42.0.8", 8888),)),)),
    )


@pytest.mark.parametrize("admitted", ["False", "Unknown"])
def test_a_route_that_is_not_admitted_takes_no_traffic(admitted: str) -> None:
    assert plan([make_route(admitted=admitted)], [make_service()], [make_slice(SEED)]).routes == ()


def test_a_route_without_a_status_takes_no_traffic() -> None:
    route = msgspec.structs.replace(make_route(), status=None)
    assert plan([route], [], []).routes == ()


@pytest.mark.parametrize(
    ("ready", "listed"), [(True, True), (None, True), (False, False)], ids=["ready", "unknown", "not ready"]
)
def test_only_ready_pods_are_listed(ready: bool | None, listed: bool) -> None:
    made = plan([make_route()], [make_service()], [make_slice(pod("p", "127.0.0.9", ready))])
    assert bool(only(made).services[0].endpoints) is listed


NAMED_PORTS = ({"name": "http", "port": 80, "targetPort": 8888}, {"name": "grpc", "port": 9000, "targetPort": 8887})
NAMED_ENDPOINTS = ({"name": "http", "port": 8888}, {"name": "grpc", "port": 8887})


@pytest.mark.parametrize(
    ("port", "expected"),
    [
        (None, [8888]),
        ({"targetPort": 8888}, [8888]),
        ({"targetPort": 8887}, [8887]),
        ({"targetPort": "grpc"}, [8887]),
        ({"targetPort": "http"}, [8888]),
        ({"targetPort": "8887"}, [8887]),
        ({"targetPort": 80}, []),
        ({"targetPort": "other"}, []),
    ],
)
def test_the_target_port_is_compared_with_the_pods(port: dict[str, Any] | None, expected: list[int]) -> None:
    spec: dict[str, Any] = {} if port is None else {"port": port}
    made = plan([make_route(**spec)], [make_service(ports=NAMED_PORTS)], [make_slice(SEED, ports=NAMED_ENDPOINTS)])
    assert [endpoint.port for endpoint in only(made).services[0].endpoints] == expected


def test_a_port_without_a_name_is_the_first_although_others_have_one() -> None:
    made = plan([make_route()], [make_service()], [make_slice(SEED, ports=({"name": "x", "port": 1}, {"port": 8888}))])
    assert [endpoint.port for endpoint in only(made).services[0].endpoints] == [8888]


def test_a_service_that_is_gone_leaves_the_route_empty() -> None:
    made = plan([make_route(port={"targetPort": 8888})], [], [make_slice(SEED)])
    assert only(made).services == (table.Share(),)


def test_several_services_share_by_weight_and_take_turns() -> None:
    route = make_route(
        alternateBackends=[
            {"kind": "Service", "name": "b", "weight": 20},
            {"kind": "Service", "name": "c", "weight": 0},
        ]
    )
    slices = [make_slice(pod("p", f"127.0.0.{n}"), service=name) for n, name in enumerate((SERVICE, "b", "c"))]
    made = only(plan([route], [make_service(), make_service("b"), make_service("c")], slices))
    assert [(share.weight, len(share.endpoints)) for share in made.services] == [(100, 1), (20, 1), (0, 1)]
    assert made.balance == "roundrobin"


@pytest.mark.parametrize(
    ("annotation", "value", "field", "expected"),
    [
        ("haproxy.router.openshift.io/balance", "leastconn", "balance", "leastconn"),
        ("haproxy.router.openshift.io/balance", "fastest", "balance", "random"),
        ("haproxy.router.openshift.io/timeout", "5m", "timeout", 300.0),
        ("haproxy.router.openshift.io/timeout", "never", "timeout", 30.0),
        ("haproxy.router.openshift.io/timeout-tunnel", "10s", "tunnel_timeout", 10.0),
        ("haproxy.router.openshift.io/disable_cookies", "true", "cookie", ""),
        ("haproxy.router.openshift.io/disable_cookies", "TRUE", "cookie", ""),
        ("haproxy.router.openshift.io/disable_cookies", "no", "cookie", "56bb4b6df4f80f0b59f56aa0a5a91c1a"),
        ("router.openshift.io/cookie_name", "my-pin_1", "cookie", "my-pin_1"),
        ("router.openshift.io/cookie_name", "a b;", "cookie", "56bb4b6df4f80f0b59f56aa0a5a91c1a"),
        ("haproxy.router.openshift.io/set-forwarded-headers", "never", "forwarded", "never"),
        ("haproxy.router.openshift.io/set-forwarded-headers", "?", "forwarded", "append"),
    ],
)
def test_annotations_set_what_the_router_lets_them(annotation: str, value: str, field: str, expected: object) -> None:
    made = only(plan([make_route(annotations={annotation: value})], [make_service()], [make_slice(SEED)]))
    assert getattr(made, field) == expected


@pytest.mark.parametrize(
    ("tls", "termination", "insecure"),
    [
        (None, "", "None"),
        ({"termination": "edge"}, "edge", "None"),
        ({"termination": "edge", "insecureEdgeTerminationPolicy": "Redirect"}, "edge", "Redirect"),
        ({"termination": "passthrough", "insecureEdgeTerminationPolicy": "None"}, "passthrough", "None"),
    ],
)
def test_termination_is_passed_on(tls: dict[str, str] | None, termination: str, insecure: str) -> None:
    spec: dict[str, Any] = {"tls": tls} if tls else {}
    made = only(plan([make_route(**spec)], [], []))
    assert (made.termination, made.insecure) == (termination, insecure)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30s", 30.0),
        ("1500ms", 1.5),
        ("1500", 1.5),
        ("2h", 7200.0),
        ("1d", 86400.0),
        ("100us", 0.0001),
        ("999d", 2147483.647),
        ("0s", 7.0),
        ("5 m", 7.0),
        ("-5s", 7.0),
        ("", 7.0),
    ],
)
def test_durations_are_haproxys(text: str, expected: float) -> None:
    assert seconds(text, 7.0) == pytest.approx(expected)


def test_an_endpoint_that_is_no_pod_has_another_cookie() -> None:
    bare = {"addresses": ["127.0.0.9"]}
    (endpoint,) = only(plan([make_route()], [make_service()], [make_slice(bare)])).services[0].endpoints
    (named,) = only(plan([make_route()], [make_service()], [make_slice(pod("p", "127.0.0.9"))])).services[0].endpoints
    assert endpoint.cookie
    assert endpoint.cookie != named.cookie


def test_equal_states_give_equal_files_whatever_their_order() -> None:
    routes = [make_route("a", host="a.example"), make_route("b", host="b.example")]
    services = [make_service(), make_service("other")]
    slices = [make_slice(pod("p", "127.0.0.2"), pod("q", "127.0.0.1")), make_slice(SEED, service="other")]
    first = table.encode(plan(routes, services, slices))
    assert table.encode(plan(routes[::-1], services[::-1], slices[::-1])) == first
    assert table.decode(first).routes[0].host == "a.example"


def test_udp_is_not_http() -> None:
    service = make_service(ports=[{"port": 53, "protocol": "UDP"}])
    made = plan([make_route()], [service], [make_slice(SEED, ports=({"port": 53, "protocol": "UDP"},))])
    assert made.services[0].ports == ()
    assert only(made).services[0].endpoints == ()
