"""Host and path → Route, with the OpenShift router's rules; Service names for local clients.

A Route matches its host exactly (any port) and its path by whole segments: `/a` takes `/a` and `/a/b`, not `/ab`;
`/a/` takes everything that starts so. The longest path wins, an exact host wins over a wildcard. Paths are compared
as sent. A Route with TLS termination answers plain HTTP only where `insecureEdgeTerminationPolicy` says so: Allow
serves it, Redirect sends the client to https, and without it the Route does not exist here.

`SERVICE.NAMESPACE.svc[.cluster.local][:port]` stands in for cluster DNS and kube-proxy, so it answers clients of this
machine only. The port is one of the Service or of its pods; without one, or with the gateway's own, the first.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from skerry.cluster.gateway import table as wire
from skerry.cluster.gateway.balance import Pick, Target, picker
from skerry.cluster.gateway.endpoint import Registry
from skerry.cluster.gateway.metrics import Tally

_CLUSTER_SUFFIXES: Final = (b".svc.cluster.local", b".svc")
# kube-proxy never gives up on a slow answer; we do, one day, so that nothing is held for ever.
_SERVICE_TIMEOUT: Final = 3600.0
_HTTP_PORT: Final = 80


@dataclass(frozen=True, slots=True, eq=False)
class LiveRoute:
    """A route of the table, ready for traffic."""

    rule: wire.Route
    path: bytes
    redirect: bool
    cookie: bytes
    pick: Pick
    targets: tuple[Target, ...]
    by_cookie: dict[bytes, Target]
    tally: Tally

    def matches(self, path: bytes) -> bool:
        own = self.path
        if not own:
            return True
        return path.startswith(own) and (own[-1:] == b"/" or len(path) == len(own) or path[len(own)] == 0x2F)


@dataclass(frozen=True, slots=True)
class RouteMap:
    """One state of the table, compiled. Requests keep the routes that they were given across a swap."""

    hosts: dict[bytes, list[LiveRoute]] = field(default_factory=dict)
    wildcards: dict[bytes, list[LiveRoute]] = field(default_factory=dict)
    services: dict[bytes, dict[int, LiveRoute]] = field(default_factory=dict)

    def find(self, host: bytes, path: bytes, *, local: bool, own_port: int) -> LiveRoute | None:
        """Find the route for a Host (lower case, with its port) and a path; `local`: the client is on this machine."""
        name = _without_port(host).removesuffix(b".")
        for route in self.hosts.get(name, ()):
            if route.matches(path):
                return route
        if self.wildcards:
            for route in self.wildcards.get(name.partition(b".")[2], ()):
                if route.matches(path):
                    return route
        return self._service(name, host, own_port) if local and self.services else None

    def _service(self, name: bytes, host: bytes, own_port: int) -> LiveRoute | None:
        for suffix in _CLUSTER_SUFFIXES:
            if name.endswith(suffix):
                ports = self.services.get(name.removesuffix(suffix))
                return None if ports is None else _port(ports, host, own_port)
        return None


def _without_port(host: bytes) -> bytes:
    if host[:1] == b"[":
        return host[: host.find(b"]") + 1]
    return host.partition(b":")[0]


def _port(ports: dict[int, LiveRoute], host: bytes, own_port: int) -> LiveRoute | None:
    text = host.partition(b":")[2]
    wanted = int(text) if text else _HTTP_PORT
    if wanted in ports:
        return ports[wanted]
    return next(iter(ports.values()), None) if not text or wanted == own_port else None


class Compiler:
    """Turns tables into route maps; what did not change (connections, counts, turns) lives on."""

    def __init__(self, registry: Registry, rng: random.Random) -> None:
        self._registry = registry
        self._rng = rng
        self._live: dict[wire.Route, LiveRoute] = {}
        self._tallies: dict[str, Tally] = {}

    @property
    def tallies(self) -> dict[str, Tally]:
        """The counts by route name."""
        return self._tallies

    def compile(self, table: wire.Table) -> RouteMap:
        """Make the map of this table and let go of the endpoints that it no longer names."""
        before, self._live = self._live, {}
        routes = [self._route(rule, before) for rule in table.routes if _speaks_http(rule)]
        services = {
            f"{service.name}.{service.namespace}".lower().encode(): self._ports(service, before)
            for service in table.services
        }
        self._registry.keep_only(
            {(target.endpoint.address, target.endpoint.port) for live in self._live.values() for target in live.targets}
        )
        names = {live.rule.name for live in self._live.values()}
        self._tallies = {name: tally for name, tally in self._tallies.items() if name in names}
        exact = _by_host(route for route in routes if not route.rule.subdomains)
        wildcards = _by_host(route for route in routes if route.rule.subdomains)
        return RouteMap(exact, {host.partition(b".")[2]: found for host, found in wildcards.items()}, services)

    def _ports(self, service: wire.Service, before: dict[wire.Route, LiveRoute]) -> dict[int, LiveRoute]:
        ports: dict[int, LiveRoute] = {}
        for port in service.ports:
            rule = wire.Route(
                name=f"{service.namespace}/{service.name}:{port.port}",
                host=f"{service.name}.{service.namespace}.svc",
                services=(wire.Share(endpoints=port.endpoints),),
                timeout=_SERVICE_TIMEOUT,
                forwarded="never",
            )
            ports[port.port] = self._route(rule, before)
        for port in service.ports:
            for endpoint in port.endpoints:
                ports.setdefault(endpoint.port, ports[port.port])
        return ports

    def _route(self, rule: wire.Route, before: dict[wire.Route, LiveRoute]) -> LiveRoute:
        live = before.get(rule)
        if live is None:
            targets = tuple(self._targets(rule))
            live = LiveRoute(
                rule=rule,
                path=rule.path.encode() if rule.path.strip("/") else b"",
                redirect=bool(rule.termination) and rule.insecure == "Redirect",
                cookie=rule.cookie.encode(),
                pick=picker(rule.balance, targets, self._rng),
                targets=targets,
                by_cookie={target.cookie: target for target in targets if target.cookie},
                tally=self._tallies.setdefault(rule.name, Tally()),
            )
        self._live[rule] = live
        return live

    def _targets(self, rule: wire.Route) -> Iterable[Target]:
        for share in rule.services:
            for endpoint in share.endpoints:
                weight = share.weight / len(share.endpoints)
                yield Target(self._registry.get(endpoint.address, endpoint.port), weight, endpoint.cookie.encode())


def _by_host(routes: Iterable[LiveRoute]) -> dict[bytes, list[LiveRoute]]:
    hosts: dict[bytes, list[LiveRoute]] = {}
    for route in routes:
        hosts.setdefault(route.rule.host.lower().encode(), []).append(route)
    for found in hosts.values():
        found.sort(key=lambda route: (-len(route.path), route.rule.name))
    return hosts


def _speaks_http(rule: wire.Route) -> bool:
    match rule.termination:
        case "":
            return True
        case "edge":
            return rule.insecure != "None"
        case "reencrypt" | "passthrough":
            # Allow would need TLS towards the pod, which comes with the TLS listener.
            return rule.insecure == "Redirect"
