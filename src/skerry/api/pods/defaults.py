"""What the API server fills into a pod or a pod template.

A template gets less than a pod: the service account, the service links and the requests taken from limits belong to
the pod alone, as on a real server, so that a Deployment read back differs from its manifest only where Kubernetes'
own would.
"""

from collections.abc import Iterator
from typing import Any, Final

from skerry.api import wellknown
from skerry.api.filling import branch, fill
from skerry.api.quantities import canonical_quantities, canonical_quantity
from skerry.api.registry import Object

Spec = dict[str, Any]

_FILE_MODE: Final = 0o644
_PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBE_DEFAULTS: Final = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_TOKEN_SECONDS: Final = 3600
_PATIENCE: Final = 300
_PRIORITIES: Final = {"": 0, "system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}


def default_pod(pod: Object) -> None:
    """Fill a Pod."""
    spec = branch(pod, "spec")
    default_pod_spec(spec)
    fill(spec, serviceAccountName=wellknown.DEFAULT_SERVICE_ACCOUNT, enableServiceLinks=True)
    _mirror_service_account(spec)
    for container in containers(spec):
        _default_requests(container)
    status = branch(pod, "status")
    fill(status, phase="Pending", qosClass=quality_of_service(spec))


def admit_pod(pod: Object, old: Object | None) -> None:
    """Give a Pod its priority and patience with a node that is away, as two of Kubernetes' admission plugins do.

    A changed one has what the old one had, so that a manifest that says nothing of it can replace it.
    """
    spec = branch(pod, "spec")
    before = (old.get("spec") or {}) if old is not None else {}
    if old is not None:
        fill(spec, **{name: before[name] for name in ("priority", "preemptionPolicy") if name in before})
    elif (spec.get("priorityClassName") or "") in _PRIORITIES:
        fill(spec, priority=_PRIORITIES[spec.get("priorityClassName") or ""], preemptionPolicy="PreemptLowerPriority")
    present = spec.get("tolerations") or []
    missing = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _PATIENCE}
        for key in (wellknown.NOT_READY_TAINT, wellknown.UNREACHABLE_TAINT)
        if not any(_tolerates(one, key) for one in present)
    ]
    added = [one for one in missing if old is None or one in (before.get("tolerations") or [])]
    if added:
        spec["tolerations"] = [*present, *added]


def _tolerates(toleration: Spec, key: str) -> bool:
    return toleration.get("key") in {key, None, ""} and toleration.get("effect") in {"NoExecute", None, ""}


def default_pod_template(template: Object) -> None:
    """Fill the pod template of a Deployment or ReplicaSet."""
    branch(template, "metadata")
    default_pod_spec(branch(template, "spec"))


def default_pod_spec(spec: Spec) -> None:
    """Fill what a pod and a template share."""
    fill(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        terminationGracePeriodSeconds=30,
        schedulerName=wellknown.DEFAULT_SCHEDULER,
    )
    branch(spec, "securityContext")
    _mirror_service_account(spec)
    for container in containers(spec):
        _default_container(container)
    for volume in spec.get("volumes") or []:
        _default_volume(volume)


def containers(spec: Spec) -> Iterator[dict[str, Any]]:
    """All containers of a pod spec, init containers first."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or []


def pull_policy(image: str) -> str:
    """Always for `:latest`, and for neither tag nor digest; else IfNotPresent."""
    named, _, digest = image.partition("@")
    tag = named.rpartition("/")[2].partition(":")[2]
    return "Always" if tag == "latest" or not (tag or digest) else "IfNotPresent"


def quality_of_service(spec: Spec) -> str:
    """Guaranteed, Burstable or BestEffort, from cpu and memory of all containers."""
    asked = [container.get("resources") or {} for container in containers(spec)]
    amounts = [(dict(one.get("requests") or {}), dict(one.get("limits") or {})) for one in asked]
    if not any(name in part for pair in amounts for part in pair for name in ("cpu", "memory")):
        return "BestEffort"
    for requests, limits in amounts:
        for name in ("cpu", "memory"):
            if name not in limits or requests.get(name, limits[name]) != limits[name]:
                return "Burstable"
    return "Guaranteed"


def _mirror_service_account(spec: Spec) -> None:
    # `serviceAccount` is the deprecated name of the same field; the server always shows both.
    name = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if name:
        spec["serviceAccountName"] = spec["serviceAccount"] = name


def _default_container(container: Spec) -> None:
    fill(
        container,
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        imagePullPolicy=pull_policy(str(container.get("image") or "")),
    )
    canonical_quantities(branch(container, "resources"), "limits", "requests")
    for port in container.get("ports") or []:
        fill(port, protocol="TCP")
    for name in _PROBES:
        if container.get(name) is not None:
            _default_probe(container[name])
    for handler in (container.get("lifecycle") or {}).values():
        _default_handler(handler or {})
    for variable in container.get("env") or []:
        source = variable.get("valueFrom") or {}
        _default_field_ref(source)
        if source.get("resourceFieldRef") is not None:
            fill(source["resourceFieldRef"], divisor="0")


def _default_probe(probe: Spec) -> None:
    for key, value in _PROBE_DEFAULTS.items():
        if not probe.get(key):
            probe[key] = value
    _default_handler(probe)
    if probe.get("grpc") is not None and probe["grpc"].get("service") is None:
        probe["grpc"]["service"] = ""


def _default_handler(handler: Spec) -> None:
    if handler.get("httpGet") is not None:
        fill(handler["httpGet"], path="/", scheme="HTTP")


def _default_field_ref(source: Spec) -> None:
    if source.get("fieldRef") is not None:
        fill(source["fieldRef"], apiVersion="v1")


def _default_requests(container: Spec) -> None:
    resources = container["resources"]
    for name, amount in (resources.get("limits") or {}).items():
        branch(resources, "requests").setdefault(name, amount)


def _default_volume(volume: Spec) -> None:
    if not any(value is not None for key, value in volume.items() if key != "name"):
        volume["emptyDir"] = {}
    for kind in ("configMap", "secret", "downwardAPI", "projected"):
        source = volume.get(kind)
        if source is not None:
            fill(source, defaultMode=_FILE_MODE)
    for item in (volume.get("downwardAPI") or {}).get("items") or []:
        _default_field_ref(item)
    for source in (volume.get("projected") or {}).get("sources") or []:
        _default_projection(source)
    if volume.get("hostPath") is not None and volume["hostPath"].get("type") is None:
        volume["hostPath"]["type"] = ""
    if volume.get("image") is not None:
        fill(volume["image"], pullPolicy=pull_policy(str(volume["image"].get("reference") or "")))
    if volume.get("emptyDir") is not None:
        canonical_quantity(volume["emptyDir"], "sizeLimit")


def _default_projection(source: Spec) -> None:
    for item in (source.get("downwardAPI") or {}).get("items") or []:
        _default_field_ref(item)
    token = source.get("serviceAccountToken")
    if token is not None:
        fill(token, expirationSeconds=_TOKEN_SECONDS)
