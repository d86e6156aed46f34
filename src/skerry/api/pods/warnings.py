"""What a pod or a template may say but had better not: the warnings that kubectl prints when one is made.

Facts: kubernetes `pkg/api/pod/warnings.go`, `pkg/api/node/util.go`.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from skerry.api.registry import Object
from skerry.machinery import names
from skerry.machinery.quantity import Quantity, QuantityError

_DEPRECATED_LABELS: Final = {
    "beta.kubernetes.io/arch": ("1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("1.17", "node.kubernetes.io/instance-type"),
}
_NANO: Final = 10**9
_BYTES: Final = ("memory", "ephemeral-storage")

Part = Mapping[str, Any]


def warn_pod(pod: Object, old: Object | None) -> list[str]:
    """Warn of a new Pod; updates are not judged, as nobody types them."""
    if old is not None:
        return []
    return [*_host_name("the Pod's hostname", pod), *_spec_warnings("spec", pod.get("spec") or {})]


def warn_workload(workload: Object, old: Object | None) -> list[str]:
    """Warn of a Deployment, ReplicaSet or Job that is new, or has a new template."""
    template = (workload.get("spec") or {}).get("template") or {}
    if old is not None and template == (old.get("spec") or {}).get("template"):
        return []
    named = _host_name("Pod names and hostnames", workload) if old is None else []
    return [*named, *_spec_warnings("spec.template.spec", template.get("spec") or {})]


def _host_name(what: str, item: Object) -> list[str]:
    wrong = names.is_dns1123_label(item["metadata"].get("name", ""))
    text = f"metadata.name: this is used in {what}, which can result in surprising behavior; a DNS label is recommended"
    return [f"{text}: [{' '.join(wrong)}]"] if wrong else []


def _spec_warnings(where: str, spec: Part) -> Iterator[str]:
    for key in spec.get("nodeSelector") or {}:
        if key in _DEPRECATED_LABELS:
            since, instead = _DEPRECATED_LABELS[key]
            yield f'{where}.nodeSelector[{key}]: deprecated since v{since}; use "{instead}" instead'
    yield from _pull_secrets(f"{where}.imagePullSecrets", spec.get("imagePullSecrets") or [])
    parts = [
        (f"{where}.{field}[{index}]", container)
        for field in ("initContainers", "containers")
        for index, container in enumerate(spec.get(field) or [])
    ]
    for path, container in parts:
        yield from _fractions(f"{path}.resources", container.get("resources") or {})
        yield from _hidden(f"{path}.env", container.get("env") or [])
    yield from _ports(parts)


def _pull_secrets(where: str, secrets: list[Part]) -> Iterator[str]:
    seen: set[str] = set()
    for index, secret in enumerate(secrets):
        name = secret.get("name") or ""
        if not name:
            yield f'{where}[{index}].name: invalid empty name ""'
        elif name in seen:
            yield f'{where}[{index}].name: duplicate name "{name}"'
        seen.add(name)


def _fractions(where: str, resources: Part) -> Iterator[str]:
    for field in ("limits", "requests"):
        for name in _BYTES:
            amount = (resources.get(field) or {}).get(name)
            if amount is not None and not _is_whole(amount):
                yield f'{where}.{field}[{name}]: fractional byte value "{amount}" is invalid, must be an integer'


def _is_whole(amount: Any) -> bool:
    try:
        return Quantity.parse(amount).nanos % _NANO == 0
    except QuantityError:
        return True  # which validation has said


def _hidden(where: str, variables: list[Part]) -> Iterator[str]:
    seen: set[str] = set()
    for index, variable in enumerate(variables):
        name, itself = variable.get("name", ""), f"$({variable.get('name', '')})"
        value = variable.get("value") or ""
        builds_on_it = itself in value and value != itself and not variable.get("valueFrom")
        if name in seen and not builds_on_it:
            yield f'{where}[{index}]: hides previous definition of "{name}", which may be dropped when using apply'
        seen.add(name)


def _ports(parts: list[tuple[str, Part]]) -> Iterator[str]:
    seen: dict[tuple[Any, ...], str] = {}
    for path, container in parts:
        for index, port in enumerate(container.get("ports") or []):
            here = f"{path}.ports[{index}]"
            key = (port.get("containerPort"), port.get("protocol"), port.get("hostIP") or "", port.get("hostPort") or 0)
            if key in seen:
                yield f"{here}: duplicate port definition with {seen[key]}"
            seen.setdefault(key, here)
