"""Host names: which one a Route gets, and who may have one that several want."""

from datetime import timedelta
from typing import Any

import pytest
from tests.controllers.builders import NOW, metadata

from skerry.api.route_types import (
    Route,
    RouteIngress,
    RouteIngressCondition,
    RouteSpec,
    RouteStatus,
    RouteTargetReference,
    TLSConfig,
)
from skerry.cluster.controllers import route
from skerry.cluster.controllers.ownership import meta

DOMAIN = "apps.example.com"


def made(name: str = "bee", host: str | None = None, *, age: int = 0, namespace: str = "ai-demo", **spec: Any) -> Route:
    own = metadata(name, namespace=namespace, creationTimestamp=NOW - timedelta(seconds=age))
    return Route(metadata=own, spec=RouteSpec(to=RouteTargetReference(name="bee"), host=host, **spec))


@pytest.mark.parametrize(
    ("name", "namespace", "expected"),
    [
        ("ovms-resnet50-predictor", "ai-demo", "ovms-resnet50-predictor-ai-demo.apps.example.com"),
        ("a.b.c", "ns", "a-b-c-ns.apps.example.com"),
    ],
)
def test_a_generated_host(name: str, namespace: str, expected: str) -> None:
    item: dict[str, Any] = {"metadata": {"name": name, "namespace": namespace, "annotations": {"a": "b"}}, "spec": {}}
    route.assign_host(item, DOMAIN)
    assert expected == item["spec"]["host"]
    assert {"a": "b", "openshift.io/host.generated": "true"} == item["metadata"]["annotations"]


@pytest.mark.parametrize("spec", [{"host": "x.example.com"}, {"subdomain": "x"}, {"wildcardPolicy": "Subdomain"}])
def test_a_host_that_is_given_stays(spec: dict[str, str]) -> None:
    item: dict[str, Any] = {"metadata": {"name": "bee", "namespace": "ns"}, "spec": dict(spec)}
    route.assign_host(item, DOMAIN)
    assert {"metadata": {"name": "bee", "namespace": "ns"}, "spec": spec} == item


def verdict(item: Route, *others: Route) -> tuple[str, str | None, str | None]:
    (ingress,) = route.plan(item, [item, *others], DOMAIN, NOW).ingress or []
    (condition,) = ingress.conditions or []
    return condition.status, condition.reason, condition.message


def test_an_admitted_route() -> None:
    item = made(host="bee.example.com")
    assert RouteStatus(
        ingress=[
            RouteIngress(
                host="bee.example.com",
                routerName="default",
                conditions=[RouteIngressCondition(type="Admitted", status="True", lastTransitionTime=NOW)],
                wildcardPolicy="None",
                routerCanonicalHostname="router-default.apps.example.com",
            )
        ]
    ) == route.plan(item, [item], DOMAIN, NOW)


def test_a_subdomain_is_completed() -> None:
    (ingress,) = route.plan(item := made(subdomain="models"), [item], DOMAIN, NOW).ingress or []
    assert "models.apps.example.com" == ingress.host


def test_the_oldest_route_has_the_host() -> None:
    host = "bee.example.com"
    old, young = made("old", host, age=60), made("young", host)
    far = made("far", host, namespace="other", age=30)
    assert "True" == verdict(old, young, far)[0]
    assert ("False", "HostAlreadyClaimed", f"route old already exposes {host} and is older") == verdict(young, old, far)
    assert (
        "False",
        "HostAlreadyClaimed",
        f"a route in another namespace holds {host} and is older than far",
    ) == verdict(far, old, young)
    assert "True" == verdict(far, young)[0]


def test_routes_of_one_age_are_told_apart_by_uid() -> None:
    one, two = made("one", "bee.example.com"), made("two", "bee.example.com")
    assert {"True", "False"} == {verdict(one, two)[0], verdict(two, one)[0]}


def test_a_host_can_be_shared_by_path_across_namespaces() -> None:
    host = "bee.example.com"
    root, models = made("root", host, age=60), made("models", host, age=30, path="/v2", namespace="other")
    copy = made("copy", host, path="/v2")
    assert ("True", "True") == (verdict(root, models, copy)[0], verdict(models, root, copy)[0])
    assert ("False", "HostAlreadyClaimed") == verdict(copy, root, models)[:2]


def test_a_passthrough_route_shares_its_host_with_no_other_tls_route() -> None:
    host = "bee.example.com"
    through = made("through", host, age=60, tls=TLSConfig(termination="passthrough"))
    edge = made("edge", host, path="/v2", tls=TLSConfig(termination="edge"))
    plain = made("plain", host, path="/v3")
    assert ("False", "True") == (verdict(edge, through)[0], verdict(plain, through)[0])


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("a" * 64 + ".example.com", "must be no more than 63"),
        ("Bee.example.com", "a lowercase RFC 1123"),
        ("bee", "should be a domain with at least two segments separated by dots"),
    ],
)
def test_a_host_that_cannot_be_a_name(host: str, said: str) -> None:
    status, reason, message = verdict(made(host=host))
    assert ("False", "InvalidHost") == (status, reason)
    assert message is not None
    start = (
        f'host name validation errors: spec.host: Invalid value: "{host}": host must conform to DNS 1123 naming conv'
    )
    assert message.startswith(start)
    assert said in message


def test_a_long_label_may_be_allowed() -> None:
    item = made(host="a" * 64 + ".example.com")
    meta(item).annotations = {"route.openshift.io/allow-non-dns-compliant-host": "true"}
    assert "True" == verdict(item)[0]


def test_wildcards_are_not_served_and_block_nobody() -> None:
    wild = made("wild", "bee.example.com", age=60, wildcardPolicy="Subdomain")
    assert ("False", "RouteNotAdmitted", "wildcard routes are not allowed") == verdict(wild)
    assert "True" == verdict(made("plain", "bee.example.com"), wild)[0]


def test_a_route_without_any_host() -> None:
    expected = ("False", "NoHostValue", "no host value was defined for the route")
    assert expected == verdict(made(wildcardPolicy="Subdomain"))


def test_a_verdict_keeps_its_time_and_other_routers_their_say() -> None:
    item = made(host="bee.example.com")
    other = RouteIngress(host="bee.example.com", routerName="sharded")
    first = route.plan(item, [item], DOMAIN, NOW)
    item.status = RouteStatus(ingress=[*(first.ingress or []), other])
    assert item.status == route.plan(item, [item], DOMAIN, NOW + timedelta(hours=1))
