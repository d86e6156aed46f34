"""Routes: what MicroShift's API server refuses, and how lightkube reaches them."""

from typing import Any

import msgspec
import pytest
from lightkube.core.resource import api_info
from tests.api.judging import Json, changed, complaints

from skerry.api.route import Route

GOOD: Json = {
    "spec": {
        "host": "a.apps.example.com",
        "path": "/v2",
        "to": {"name": "svc"},
        "port": {"targetPort": 8888},
        "tls": {
            "termination": "reencrypt",
            "insecureEdgeTerminationPolicy": "Redirect",
            "destinationCACertificate": "x",
        },
        "httpHeaders": {
            "actions": {
                "request": [{"name": "X-A", "action": {"type": "Set", "set": {"value": "1"}}}],
                "response": [{"name": "Server", "action": {"type": "Delete"}}],
            }
        },
    }
}
CERTIFICATES = "passthrough termination does not support certificates"
LONG = "x" * 64


def test_a_good_route() -> None:
    assert complaints("routes", GOOD) == []
    assert complaints("routes", {"spec": {"to": {"name": "svc"}}}) == []


@pytest.mark.parametrize(
    ("path", "value", "messages"),
    [
        ("path", "v2", ['spec.path: Invalid value: "v2": path must begin with /']),
        ("path", "/a#b", ['spec.path: Invalid value: "/a#b": cannot contain # or spaces']),
        ("path", "/a b", ['spec.path: Invalid value: "/a b": cannot contain # or spaces']),
        ("to.name", "", ["spec.to.name: Required value"]),
        ("to.kind", "Pod", ['spec.to.kind: Invalid value: "Pod": must reference a Service']),
        ("to.weight", 257, ["spec.to.weight: Invalid value: 257: weight must be an integer between 0 and 256"]),
        ("to.weight", 0, []),
        (
            "alternateBackends",
            [{"name": name} for name in "abcd"],
            ["spec.alternateBackends: Required value: cannot specify more than 3 alternate backends"],
        ),
        ("alternateBackends", [{"weight": 1}], ["spec.alternateBackends[0].name: Required value"]),
        ("port.targetPort", 0, ["spec.port.targetPort: Required value"]),
        ("port.targetPort", "", ["spec.port.targetPort: Required value"]),
        ("port.targetPort", "http", []),
        (
            "tls.termination",
            "none",
            ['spec.tls.termination: Unsupported value: "none": supported values: "edge", "passthrough", "reencrypt"'],
        ),
        (
            "tls",
            {"destinationCACertificate": "x"},
            [
                (
                    'spec.tls.destinationCACertificate: Invalid value: "redacted destination ca certificate data": '
                    "edge termination does not support destination certificates"
                )
            ],
        ),
        (
            "tls",
            {"certificate": "x", "externalCertificate": {"name": "s"}},
            [
                (
                    'spec.tls.externalCertificate: Invalid value: "s": '
                    "cannot specify both tls.certificate and tls.externalCertificate"
                )
            ],
        ),
        (
            "tls",
            {"insecureEdgeTerminationPolicy": "Deny"},
            [
                (
                    'spec.tls.insecureEdgeTerminationPolicy: Invalid value: "Deny": invalid value for '
                    "InsecureEdgeTerminationPolicy option, acceptable values are None, Allow, Redirect, or empty"
                )
            ],
        ),
        (
            "wildcardPolicy",
            "All",
            ['spec.wildcardPolicy: Unsupported value: "All": supported values: "None", "Subdomain"'],
        ),
        (
            "host",
            f"{LONG}.example.com",
            [f'spec.host: Invalid value: "{LONG}.example.com": must be no more than 63 bytes'],
        ),
        (
            "httpHeaders.actions.request.0.name",
            "Cookie",
            [
                (
                    "spec.httpHeaders.actions.request[0].name: Forbidden: the following headers may not be "
                    "modified using "
                    "this API: strict-transport-security, proxy, cookie, set-cookie"
                )
            ],
        ),
    ],
)
def test_one_mistake(path: str, value: Any, messages: list[str]) -> None:
    assert complaints("routes", changed(GOOD, f"spec.{path}", value)) == messages


def test_passthrough_takes_nothing_that_needs_a_look_inside() -> None:
    spec = {**GOOD["spec"], "tls": {"termination": "passthrough", "key": "k", "insecureEdgeTerminationPolicy": "Allow"}}
    assert complaints("routes", {"spec": spec}) == [
        'spec.path: Invalid value: "/v2": passthrough termination does not support paths',
        f'spec.tls.key: Invalid value: "redacted key data": {CERTIFICATES}',
        (
            'spec.tls.insecureEdgeTerminationPolicy: Invalid value: "Allow": invalid value for '
            "InsecureEdgeTerminationPolicy option, acceptable values are None, Redirect, or empty"
        ),
        (
            'spec.tls.termination: Invalid value: "passthrough": only edge and re-encrypt routes are supported '
            "for providing "
            "customized headers."
        ),
    ]


def test_a_wildcard_needs_a_host_and_stays() -> None:
    assert complaints("routes", {"spec": {"to": {"name": "a"}, "wildcardPolicy": "Subdomain"}}) == [
        'spec.wildcardPolicy: Invalid value: "Subdomain": host name not specified for wildcard policy'
    ]
    assert complaints("routes", changed(GOOD, "spec.wildcardPolicy", "Subdomain"), GOOD) == [
        'spec.wildcardPolicy: Invalid value: "Subdomain": field is immutable'
    ]


def test_a_host_that_is_no_dns_name_can_be_allowed() -> None:
    long = changed(GOOD, "spec.host", f"{LONG}.example.com")
    allowed = changed(long, "metadata.annotations", {"route.openshift.io/allow-non-dns-compliant-host": "true"})
    assert complaints("routes", allowed) == []
    assert complaints("routes", changed(long, "metadata.labels", {"a": "b"}), long) == []
    assert complaints("routes", changed(GOOD, "spec.host", "A_b")) == [
        'spec.host: Invalid value: "A_b": host must conform to DNS 952 subdomain conventions',
        *[error for error in complaints("routes", changed(GOOD, "spec.host", "A_b")) if "label must consist" in error],
    ]


def test_lightkube_knows_where_routes_are() -> None:
    info, status = api_info(Route), api_info(Route.Status)
    assert (info.resource.api_version, info.plural) == ("route.openshift.io/v1", "routes")
    assert (status.plural, status.action, status.parent) == ("routes", "status", info.resource)


def test_a_route_survives_the_structs() -> None:
    wire = {"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": {"name": "x"}, **GOOD}
    assert msgspec.to_builtins(msgspec.convert(wire, Route)) == wire
