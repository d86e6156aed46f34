"""Routes, Services and EndpointSlices → the routing table. Pure; the OpenShift router's rules decide.

A Route's targetPort is compared with the endpoints: their port's number or its name; without one the Service's first
port is meant. Only ready endpoints are listed, and only Routes that were admitted. A Service that is gone, or has no
ready pod, leaves its share empty: the Route stays, and answers 503.

Cookies: the name is the MD5 of " NAMESPACE:ROUTE" (the router hashes the termination, which is still empty then, in
front of it), the value that of "pod:POD:SERVICE:PORTNAME:IP:PORT". Facts: openshift/router `pkg/router`.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, TypeVar, cast, get_args

from lightkube.models.discovery_v1 import Endpoint as SliceEndpoint
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Service
from lightkube.resources.discovery_v1 import EndpointSlice

from skerry.api.route_types import Route, RouteTargetReference
from skerry.api.wellknown import (
    ROUTE_COOKIE_NAME_ANNOTATION,
    ROUTE_DISABLE_COOKIES_ANNOTATION,
    ROUTE_TIMEOUT_ANNOTATION,
    SERVICE_NAME_LABEL,
)
from skerry.cluster.gateway import table

_BALANCE: Final = "haproxy.router.openshift.io/balance"
_TUNNEL_TIMEOUT: Final = "haproxy.router.openshift.io/timeout-tunnel"
_FORWARDED: Final = "haproxy.router.openshift.io/set-forwarded-headers"
_TRUE: Final = frozenset({"1", "t", "true"})

_DEFAULT_WEIGHT: Final = 100
_COOKIE_NAME: Final = re.compile("[a-zA-Z0-9_-]+")
_DURATION: Final = re.compile("([1-9][0-9]*)(us|ms|s|m|h|d)?")
_SECONDS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST: Final = 2147483.647  # HAProxy's: 2^31-1 ms

Name = tuple[str, str]  # namespace, name
Choice = TypeVar("Choice")


def plan(routes: Iterable[Route], services: Iterable[Service], slices: Iterable[EndpointSlice]) -> table.Table:
    """Return the table for this state of the cluster; equal states give equal tables."""
    by_service: dict[Name, list[EndpointSlice]] = {}
    for item in slices:
        service = (_meta(item).labels or {}).get(SERVICE_NAME_LABEL)
        if service:
            by_service.setdefault((_meta(item).namespace or "", service), []).append(item)
    known = {_name(service): service for service in services}
    return table.Table(
        routes=tuple(
            _route(route, host, known, by_service)
            for route in sorted(routes, key=_name)
            if (host := _admitted_host(route))
        ),
        services=tuple(_service(service, by_service.get(name, ())) for name, service in sorted(known.items())),
    )


def seconds(text: str, default: float) -> float:
    """Read a duration of HAProxy (`90s`, `5m`; milliseconds without a unit); another text gives the default."""
    match = _DURATION.fullmatch(text)
    return min(int(match[1]) * _SECONDS[match[2] or "ms"], _LONGEST) if match else default


def _meta(item: Route | Service | EndpointSlice) -> ObjectMeta:
    assert item.metadata is not None
    return item.metadata


def _name(item: Route | Service) -> Name:
    return _meta(item).namespace or "", _meta(item).name or ""


def _admitted_host(route: Route) -> str | None:
    for ingress in (route.status.ingress if route.status else None) or []:
        for condition in ingress.conditions or []:
            if condition.type == "Admitted" and condition.status == "True":
                return ingress.host or route.spec.host
    return None


def _route(
    route: Route, host: str, services: Mapping[Name, Service], slices: Mapping[Name, Sequence[EndpointSlice]]
) -> table.Route:
    namespace, name = _name(route)
    annotations = _meta(route).annotations or {}
    port = str(route.spec.port.targetPort) if route.spec.port else None
    shares = tuple(
        _share(target, services.get((namespace, target.name)), slices.get((namespace, target.name), ()), port)
        for target in (route.spec.to, *(route.spec.alternateBackends or ()))
    )
    tls = route.spec.tls
    active = sum(1 for share in shares if share.weight and share.endpoints)
    return table.Route(
        name=f"{namespace}/{name}",
        host=host,
        path=route.spec.path or "",
        subdomains=route.spec.wildcardPolicy == "Subdomain",
        services=shares,
        balance=_one_of(annotations.get(_BALANCE), table.Balance, "roundrobin" if active > 1 else "random"),
        cookie=_cookie_name(namespace, name, annotations),
        timeout=seconds(annotations.get(ROUTE_TIMEOUT_ANNOTATION, ""), table.SERVER_TIMEOUT),
        tunnel_timeout=seconds(annotations.get(_TUNNEL_TIMEOUT, ""), table.TUNNEL_TIMEOUT),
        forwarded=_one_of(annotations.get(_FORWARDED), table.Forwarded, "append"),
        termination=_one_of(tls.termination if tls else "", table.Termination, "edge"),
        insecure=_one_of(tls.insecureEdgeTerminationPolicy if tls else "None", table.Insecure, "None"),
    )


def _one_of(value: str | None, choices: object, default: Choice) -> Choice:
    return cast("Choice", value) if value in get_args(choices) else default


def _cookie_name(namespace: str, name: str, annotations: Mapping[str, str]) -> str:
    if annotations.get(ROUTE_DISABLE_COOKIES_ANNOTATION, "").lower() in _TRUE:
        return ""
    chosen = annotations.get(ROUTE_COOKIE_NAME_ANNOTATION, "")
    return chosen if _COOKIE_NAME.fullmatch(chosen) else _md5(f" {namespace}:{name}")


def _share(
    target: RouteTargetReference, service: Service | None, slices: Sequence[EndpointSlice], port: str | None
) -> table.Share:
    weight = _DEFAULT_WEIGHT if target.weight is None else target.weight
    if service is None:
        return table.Share(weight=weight)
    wanted = _first_port(service) if port is None else {port}
    return table.Share(_endpoints(target.name, slices, wanted, by_number=port is not None), weight)


def _service(service: Service, slices: Sequence[EndpointSlice]) -> table.Service:
    namespace, name = _name(service)
    ports = (service.spec.ports if service.spec else None) or []
    return table.Service(
        namespace,
        name,
        tuple(
            table.ServicePort(port.port, _endpoints("", slices, {port.name or ""}, by_number=False))
            for port in ports
            if (port.protocol or "TCP") == "TCP"
        ),
    )


def _first_port(service: Service) -> set[str]:
    ports = (service.spec.ports if service.spec else None) or []
    return {ports[0].name or ""} if ports else set()


def _endpoints(
    service: str, slices: Sequence[EndpointSlice], wanted: Collection[str], *, by_number: bool
) -> tuple[table.Endpoint, ...]:
    """List the ready endpoints of the wanted ports; with the Service's name they get cookies."""
    found: dict[tuple[str, int], table.Endpoint] = {}
    for item in slices:
        for port in item.ports or ():
            if not port.port or (port.protocol or "TCP") != "TCP":
                continue
            name = port.name or ""
            if name not in wanted and not (by_number and str(port.port) in wanted):
                continue
            for endpoint in filter(_ready, item.endpoints or ()):
                for address in endpoint.addresses:
                    cookie = _cookie_value(endpoint, service, name, address, port.port) if service else ""
                    found.setdefault((address, port.port), table.Endpoint(address, port.port, cookie))
    return tuple(found[key] for key in sorted(found))


def _ready(endpoint: SliceEndpoint) -> bool:
    # The API: an unknown readiness is to be taken as ready.
    return endpoint.conditions is None or endpoint.conditions.ready is not False


def _cookie_value(endpoint: SliceEndpoint, service: str, port_name: str, address: str, port: int) -> str:
    place = f"{service}:{port_name}:{address}:{port}"
    target = endpoint.targetRef
    return _md5(f"pod:{target.name}:{place}" if target is not None and target.kind == "Pod" else f"ept:{place}")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
