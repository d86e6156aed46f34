"""Routes: the host name of one that has none, and which Route may have a host name that several want.

A host belongs to the oldest Route that names it, path by path; the others are told so and take over when it goes, in
order of age. Whether the Service exists plays no part. Facts: openshift/router `pkg/router/controller/unique_host.go`
and `hostindex`, with the ownership check between namespaces off, as MicroShift runs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from lightkube import AsyncClient

from skerry.api.registry import Object
from skerry.api.route_types import Route, RouteIngress, RouteIngressCondition, RouteStatus
from skerry.api.wellknown import ALLOW_NON_DNS_HOST_ANNOTATION, HOST_GENERATED_ANNOTATION
from skerry.cluster.controllers.ownership import meta, name_of
from skerry.cluster.controllers.writes import patch, patch_status
from skerry.kit.clock import Clock
from skerry.machinery import names
from skerry.machinery.fielderrors import invalid
from skerry.reconcile import Again, Cache, Controller, Key, Manager

ROUTER: Final = "default"
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Verdict:
    """Whether the router takes the Route; `reason` and `message` when it does not."""

    admitted: bool
    reason: str | None = None
    message: str | None = None


def generated_host(name: str, namespace: str, apps_domain: str) -> str:
    """Return `NAME-NAMESPACE.DOMAIN`, the name's dots as dashes so that it stays one label."""
    return f"{name.replace('.', '-')}-{namespace}.{apps_domain}"


def assign_host(route: Object, apps_domain: str) -> None:
    """Fill in the host of a Route that names none; the rule of OpenShift's admission, on an object as it is stored."""
    spec = route.setdefault("spec", {})
    if spec.get("host") or spec.get("subdomain") or spec.get("wildcardPolicy") == "Subdomain":
        return
    metadata = route["metadata"]
    spec["host"] = generated_host(metadata["name"], metadata["namespace"], apps_domain)
    metadata["annotations"] = {**(metadata.get("annotations") or {}), HOST_GENERATED_ANNOTATION: "true"}


def host_of(route: Route, apps_domain: str) -> str:
    """Return the host under which the Route is to be found, "" when it has none."""
    if route.spec.host:
        return route.spec.host
    return f"{route.spec.subdomain}.{apps_domain}" if route.spec.subdomain else ""


def plan(route: Route, everyone: Sequence[Route], apps_domain: str, now: datetime) -> RouteStatus:
    """Return the Route's status; what other routers wrote stays."""
    host = host_of(route, apps_domain)
    verdict = judge(route, host, [each for each in everyone if host_of(each, apps_domain) == host])
    present = (route.status.ingress if route.status else None) or []
    old = next((each for each in present if each.routerName == ROUTER), None)
    ingress = RouteIngress(
        host=host,
        routerName=ROUTER,
        routerCanonicalHostname=f"router-default.{apps_domain}",
        wildcardPolicy=route.spec.wildcardPolicy or "None",
        conditions=[_condition(verdict, old, now)],
    )
    return RouteStatus(ingress=[ingress, *(each for each in present if each.routerName != ROUTER)])


def judge(route: Route, host: str, rivals: Sequence[Route]) -> Verdict:
    """Say whether the Route is admitted among all that want its host, itself included."""
    if not host:
        return Verdict(admitted=False, reason="NoHostValue", message="no host value was defined for the route")
    errors = _host_errors(route, host)
    if errors:
        message = f"host name validation errors: {', '.join(errors)}"
        return Verdict(admitted=False, reason="InvalidHost", message=message)
    if route.spec.wildcardPolicy == "Subdomain":
        message = "wildcard routes are not allowed"
        return Verdict(admitted=False, reason="RouteNotAdmitted", message=message)
    exposed: list[Route] = []
    for each in sorted(rivals, key=_age):
        if each.spec.wildcardPolicy != "Subdomain" and not any(_collide(winner, each) for winner in exposed):
            exposed.append(each)
    if any(meta(each).uid == meta(route).uid for each in exposed):
        return Verdict(admitted=True)
    oldest = exposed[0]
    if meta(oldest).namespace == meta(route).namespace:
        message = f"route {name_of(oldest)} already exposes {host} and is older"
    else:
        message = f"a route in another namespace holds {host} and is older than {name_of(route)}"
    return Verdict(admitted=False, reason="HostAlreadyClaimed", message=message)


class RouteController:
    """Admits Routes."""

    def __init__(self, manager: Manager, client: AsyncClient, clock: Clock, apps_domain: str) -> None:
        self._client = client
        self._clock = clock
        self._apps_domain = apps_domain
        self._routes: Cache[Route] = manager.caches.of(Route)
        # One at a time: the verdict on a Route depends on all the others.
        controller = Controller("route", self.reconcile, workers=1)
        controller.watch(self._routes, self._rivals)
        manager.add(controller)

    async def reconcile(self, key: Key) -> Again | None:
        """Give the Route a host where the API server has not, then write the verdict."""
        route = self._routes.get(key.namespace, key.name)
        if route is None:
            return None
        unnamed = not route.spec.host and not route.spec.subdomain
        if unnamed and route.spec.wildcardPolicy != "Subdomain":
            await self._name(route)
        else:
            status = plan(route, list(self._routes), self._apps_domain, self._clock.now())
            await patch_status(self._client, route, status)
        return None

    async def _name(self, route: Route) -> None:
        namespace = meta(route).namespace or ""
        body = {
            "metadata": {"annotations": {HOST_GENERATED_ANNOTATION: "true"}},
            "spec": {"host": generated_host(name_of(route), namespace, self._apps_domain)},
        }
        await patch(self._client, route, body)

    def _rivals(self, route: Route) -> list[Key]:
        host = host_of(route, self._apps_domain)
        same = [each for each in self._routes if host_of(each, self._apps_domain) == host]
        return [Key(meta(each).namespace or "", name_of(each)) for each in (route, *same)]


def _age(route: Route) -> tuple[datetime, str]:
    return meta(route).creationTimestamp or _BEGINNING, meta(route).uid or ""


def _collide(winner: Route, route: Route) -> bool:
    if (winner.spec.path or "") == (route.spec.path or ""):
        return True
    # A host that is passed through encrypted has no paths that anybody could see.
    tls = winner.spec.tls
    return tls is not None and route.spec.tls is not None and tls.termination == "passthrough"


def _host_errors(route: Route, host: str) -> list[str]:
    if (meta(route).annotations or {}).get(ALLOW_NON_DNS_HOST_ANNOTATION) == "true":
        problems = names.is_dns1123_subdomain(host)
        what = f"host must conform to DNS naming conventions: [{' '.join(problems)}]"
    else:
        problems = _dns_problems(host.removesuffix("."))
        what = f"host must conform to DNS 1123 naming conventions: [{', '.join(problems)}]"
    return [str(invalid("spec.host", host, what))] if problems else []


def _dns_problems(host: str) -> list[str]:
    found = [invalid("spec.host", host, text) for text in names.is_dns1123_subdomain(host)]
    labels = host.split(".")
    if len(labels) < 2:
        found.append(invalid("spec.host", host, "should be a domain with at least two segments separated by dots"))
    for label in labels:
        wrong = names.is_dns1123_label(label)
        if wrong:
            found.append(invalid("spec.host", label, ",".join(wrong)))
    return [str(error) for error in found]


def _condition(verdict: Verdict, old: RouteIngress | None, now: datetime) -> RouteIngressCondition:
    truth = "True" if verdict.admitted else "False"
    present = next((each for each in (old.conditions if old else None) or [] if each.type == "Admitted"), None)
    same = present is not None and present.status == truth
    return RouteIngressCondition(
        type="Admitted",
        status=truth,
        reason=verdict.reason,
        message=verdict.message,
        lastTransitionTime=present.lastTransitionTime if present and same else now.replace(microsecond=0),
    )
