"""Where a model is reached: `status.url` and `status.address.url`, and whether the ingress step is done.

KServe's URLs have no port, and its Services are headless, so what it prints for OVMS cannot be connected to: a headless
name leads to the pod, which listens on 8888. Ours carry the port of the container where the Service is headless.

`disableIngressCreation` is on where MicroShift's configuration is used, so the ingress step is done at once, unless the
label `networking.kserve.io/visibility: exposed` asks for a Route: then it is done when an admitted Route of the
InferenceService's name leads to its Service, and its host is the URL.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from skerry.api.wellknown import CLUSTER_DOMAIN, HEADLESS, VISIBILITY_LABEL
from skerry.operator.events import Failure, Finding

EXPOSED: Final = "exposed"
ROUTE_NOT_READY: Final = "RouteNotReady"


@dataclass(frozen=True)
class RouteSeen:
    """A Route of the InferenceService's name, as far as this room looks."""

    host: str
    service: str
    secure: bool
    admitted: bool


@dataclass(frozen=True)
class Traffic:
    """The URLs, and what is missing for the one outside."""

    url: str
    address: str
    finding: Finding | None = None


def traffic(
    name: str, namespace: str, labels: Mapping[str, str], service: Mapping[str, Any], route: RouteSeen | None
) -> Traffic:
    """Tell the URLs of a predictor; `service` is the rendered Service, or the existing one."""
    address = inside(service["metadata"]["name"], namespace, service["spec"])
    if labels.get(VISIBILITY_LABEL) != EXPOSED:
        return Traffic(url=address, address=address)
    if route is None or not route.admitted or route.service != service["metadata"]["name"]:
        return Traffic(url=address, address=address, finding=_route_missing(name, namespace, service, route))
    return Traffic(url=f"{'https' if route.secure else 'http'}://{route.host}", address=address)


def inside(service: str, namespace: str, spec: Mapping[str, Any]) -> str:
    """Return the URL inside the cluster: with the container's port where the Service is headless."""
    host = f"{service}.{namespace}.svc.{CLUSTER_DOMAIN}"
    if spec.get("clusterIP") != HEADLESS:
        return f"http://{host}"
    ports = [port for port in spec.get("ports") or [] if "grpc" not in (port.get("name") or "")]
    target = ports[0].get("targetPort", ports[0]["port"]) if ports else None
    return f"http://{host}:{target}" if isinstance(target, int) and target != 80 else f"http://{host}"


def _route_missing(name: str, namespace: str, service: Mapping[str, Any], route: RouteSeen | None) -> Finding:
    target = service["metadata"]["name"]
    text = f"route {namespace}/{name} not found or not ready"
    if route is None:
        text += f"; make it with: oc expose svc -n {namespace} {target} --name {name}"
    elif route.service != target:
        text += f"; it leads to Service {route.service}, not to {target}"
    return Finding(ROUTE_NOT_READY, text, Failure.RUNTIME_UNHEALTHY, invalid_spec=False)
