"""route.openshift.io/v1: Route, with the defaults and the checks that MicroShift builds into its API server.

The columns are MicroShift's but for the last: its TLS column reads a field that does not exist and is always blank;
ours shows the termination type. Facts: openshift/library-go `pkg/route`.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from skerry.api import wellknown
from skerry.api.cells import NAME_COLUMN, spec, status
from skerry.api.checks import Errors, one_of, unchanged
from skerry.api.filling import branch, fill
from skerry.api.registry import Column, Kind, Object
from skerry.api.route_types import GROUP, VERSION, Route, RouteStatusResource
from skerry.machinery import names
from skerry.machinery.fielderrors import forbidden, invalid, not_supported, required

__all__ = ["ROUTE", "Route", "RouteStatusResource"]

_BACKENDS: Final = 3
_WEIGHTS: Final = 256
_HEADERS: Final = 20
_POLICIES: Final = ("None", "Subdomain")
_TERMINATIONS: Final = ("edge", "passthrough", "reencrypt")
_INSECURE: Final = ("None", "Allow", "Redirect")
_CERTIFICATES: Final = {
    "certificate": "redacted certificate data",
    "key": "redacted key data",
    "caCertificate": "redacted ca certificate data",
    "destinationCACertificate": "redacted destination ca certificate data",
}
_FIXED_HEADERS: Final = ("strict-transport-security", "proxy", "cookie", "set-cookie")
_HEADER_NAME: Final = re.compile("[-!#$%&'*+.0-9A-Z^_`a-z|~]+")


def _default(route: Object) -> None:
    own = branch(route, "spec")
    for target in (own.get("to"), *(own.get("alternateBackends") or [])):
        if target is not None:
            fill(target, kind="Service", weight=100)
    fill(own, wildcardPolicy="None")
    if own.get("tls") is not None:
        fill(own["tls"], termination="edge")


def _validate(route: Object, old: Object | None) -> Errors:
    own = spec(route)
    errors = _host(route, old) + _path(own) + _backends(own)
    errors += one_of("spec.wildcardPolicy", own.get("wildcardPolicy"), _POLICIES)
    if own.get("wildcardPolicy") == "Subdomain" and not own.get("host"):
        why = "host name not specified for wildcard policy"
        errors.append(invalid("spec.wildcardPolicy", "Subdomain", why))
    port = own.get("port")
    if port is not None and port.get("targetPort") in {0, "", None}:
        errors.append(required("spec.port.targetPort"))
    if own.get("tls") is not None:
        errors += _tls("spec.tls", own["tls"])
    errors += _headers(own)
    if old is not None:
        errors += unchanged("spec.wildcardPolicy", own.get("wildcardPolicy"), spec(old).get("wildcardPolicy"))
    return errors


def _host(route: Object, old: Object | None) -> Errors:
    host, subdomain = spec(route).get("host") or "", spec(route).get("subdomain") or ""
    errors: Errors = []
    if host:
        if names.is_dns1123_subdomain(host):
            errors.append(invalid("spec.host", host, "host must conform to DNS 952 subdomain conventions"))
        annotations = route["metadata"].get("annotations") or {}
        lenient = annotations.get(wellknown.ALLOW_NON_DNS_HOST_ANNOTATION) == "true"
        # A host that was let in before the rule stays; a new one must follow it.
        before = None if old is None else spec(old).get("host") or ""
        if not lenient and (before is None or (host != before and not _label_errors(before))):
            errors += [invalid("spec.host", host, text) for text in _label_errors(host)]
    for label in subdomain.split(".") if subdomain else []:
        wrong = names.is_dns1123_label(label)
        errors += [invalid("spec.subdomain", label, ", ".join(wrong))] if wrong else []
    return errors


def _label_errors(host: str) -> list[str]:
    return [text for label in host.split(".") for text in names.is_dns1123_label(label)] if host else []


def _path(own: Mapping[str, Any]) -> Errors:
    path = own.get("path") or ""
    errors: Errors = []
    if path and not path.startswith("/"):
        errors.append(invalid("spec.path", path, "path must begin with /"))
    if "#" in path or " " in path:
        errors.append(invalid("spec.path", path, "cannot contain # or spaces"))
    if path and (own.get("tls") or {}).get("termination") == "passthrough":
        errors.append(invalid("spec.path", path, "passthrough termination does not support paths"))
    return errors


def _backends(own: Mapping[str, Any]) -> Errors:
    others = own.get("alternateBackends") or []
    errors = _backend("spec.to", own.get("to") or {})
    if len(others) > _BACKENDS:
        errors.append(required("spec.alternateBackends", "cannot specify more than 3 alternate backends"))
    for index, target in enumerate(others):
        errors += _backend(f"spec.alternateBackends[{index}]", target)
    return errors


def _backend(where: str, target: Mapping[str, Any]) -> Errors:
    errors: Errors = [] if target.get("name") else [required(f"{where}.name")]
    if target.get("kind") != "Service":
        errors.append(invalid(f"{where}.kind", target.get("kind") or "", "must reference a Service"))
    weight = target.get("weight")
    if weight is not None and not 0 <= weight <= _WEIGHTS:
        errors.append(invalid(f"{where}.weight", weight, "weight must be an integer between 0 and 256"))
    return errors


def _tls(where: str, tls: Mapping[str, Any]) -> Errors:
    termination = tls.get("termination")
    if termination not in _TERMINATIONS:
        return [not_supported(f"{where}.termination", termination, _TERMINATIONS)]
    external = (tls.get("externalCertificate") or {}).get("name")
    errors: Errors = []
    if termination == "passthrough":
        why = "passthrough termination does not support certificates"
        errors += [invalid(f"{where}.{field}", shown, why) for field, shown in _CERTIFICATES.items() if tls.get(field)]
        errors += [invalid(f"{where}.externalCertificate", external, why)] if external else []
    elif external and tls.get("certificate"):
        why = "cannot specify both tls.certificate and tls.externalCertificate"
        errors.append(invalid(f"{where}.externalCertificate", external, why))
    if termination == "edge" and tls.get("destinationCACertificate"):
        shown = _CERTIFICATES["destinationCACertificate"]
        why = "edge termination does not support destination certificates"
        errors.append(invalid(f"{where}.destinationCACertificate", shown, why))
    policy = tls.get("insecureEdgeTerminationPolicy")
    allowed = [choice for choice in _INSECURE if choice != "Allow" or termination != "passthrough"]
    if policy and policy not in allowed:
        choices = ", ".join(allowed)
        why = f"invalid value for InsecureEdgeTerminationPolicy option, acceptable values are {choices}, or empty"
        errors.append(invalid(f"{where}.insecureEdgeTerminationPolicy", policy, why))
    return errors


def _headers(own: Mapping[str, Any]) -> Errors:
    actions = (own.get("httpHeaders") or {}).get("actions") or {}
    errors: Errors = []
    if any(actions.values()) and (own.get("tls") or {}).get("termination") == "passthrough":
        why = "only edge and re-encrypt routes are supported for providing customized headers."
        errors.append(invalid("spec.tls.termination", "passthrough", why))
    for direction in ("response", "request"):
        where = f"spec.httpHeaders.actions.{direction}"
        headers = actions.get(direction) or []
        if len(headers) > _HEADERS:
            why = f"{direction} headers list can't exceed {_HEADERS} items"
            errors.append(invalid(where, len(headers), why))
        for index, header in enumerate(headers):
            errors += _header(f"{where}[{index}]", header)
    return errors


def _header(where: str, header: Mapping[str, Any]) -> Errors:
    name, action = header.get("name") or "", header.get("action") or {}
    errors: Errors = []
    if not _HEADER_NAME.fullmatch(name):
        errors.append(invalid(f"{where}.name", name, "name must be a valid HTTP header name as defined in RFC 2616"))
    if name.lower() in _FIXED_HEADERS:
        why = f"the following headers may not be modified using this API: {', '.join(_FIXED_HEADERS)}"
        errors.append(forbidden(f"{where}.name", why))
    errors += one_of(f"{where}.action.type", action.get("type"), ("Set", "Delete"))
    if action.get("type") == "Set" and not action.get("set"):
        errors.append(required(f"{where}.action.set", "set is required when type is Set"))
    return errors


def _first_ingress(route: Object) -> Mapping[str, Any]:
    found: list[dict[str, Any]] = status(route).get("ingress") or []
    return found[0] if found else {}


def _admitted(route: Object, _now: datetime) -> str:
    for condition in _first_ingress(route).get("conditions") or []:
        if condition.get("type") == "Admitted":
            return str(condition.get("status", ""))
    return ""


ROUTE: Final = Kind(
    GROUP,
    VERSION,
    "Route",
    "routes",
    namespaced=True,
    model=Route,
    columns=(
        NAME_COLUMN,
        Column("Host", lambda route, _: _first_ingress(route).get("host", "")),
        Column("Admitted", _admitted),
        Column("Service", lambda route, _: (spec(route).get("to") or {}).get("name", "")),
        Column("TLS", lambda route, _: (spec(route).get("tls") or {}).get("termination", "")),
    ),
    subresources=("status",),
    default=_default,
    validate=_validate,
)
