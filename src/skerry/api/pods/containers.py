"""Validation of containers: names, images, ports, environment, mounts, probes, resources."""

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from skerry.api import formats
from skerry.api.checks import Errors, named, not_found, obeys, one_of, port_number
from skerry.api.pods.probes import validate_lifecycle, validate_probes
from skerry.api.quantities import validate_resources
from skerry.machinery import names
from skerry.machinery.fielderrors import duplicate, forbidden, invalid, required

Container = Mapping[str, Any]

PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
_PULL_POLICIES: Final = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES: Final = ("File", "FallbackToLogsOnError")
_SOURCES: Final = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_ENV_FIELDS: Final = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS: Final = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
_RESOURCES: Final = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)


def validate_containers(where: str, spec: Mapping[str, Any], volumes: Collection[str]) -> Errors:
    """Check the containers and init containers of a pod spec."""
    containers = spec.get("containers") or []
    errors: Errors = [] if containers else [required(f"{where}.containers")]
    seen: set[str] = set()
    host_ports: set[tuple[Any, ...]] = set()
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field) or []):
            path = f"{where}.{field}[{index}]"
            errors += _container(path, container, volumes, init=field == "initContainers")
            if container.get("name") in seen:
                errors.append(duplicate(f"{path}.name", container["name"]))
            seen.add(container.get("name", ""))
            if field == "containers":
                errors += _host_ports(path, container, host_ports)
    return errors


def _container(where: str, container: Container, volumes: Collection[str], *, init: bool) -> Errors:
    errors = named(f"{where}.name", container.get("name"), names.is_dns1123_label)
    image = container.get("image")
    if not image:
        errors.append(required(f"{where}.image"))
    elif image != image.strip():
        errors.append(invalid(f"{where}.image", image, "must not have leading or trailing whitespace"))
    errors += one_of(f"{where}.imagePullPolicy", container.get("imagePullPolicy"), _PULL_POLICIES, optional=True)
    policy = container.get("terminationMessagePolicy")
    errors += one_of(f"{where}.terminationMessagePolicy", policy, _MESSAGE_POLICIES, optional=True)
    errors += _ports(f"{where}.ports", container.get("ports") or [])
    errors += validate_env(f"{where}.env", container.get("env") or [])
    errors += _env_from(f"{where}.envFrom", container.get("envFrom") or [])
    errors += _mounts(f"{where}.volumeMounts", container.get("volumeMounts") or [], volumes)
    errors += validate_resources(f"{where}.resources", container.get("resources") or {})
    restart = container.get("restartPolicy")
    if init:
        errors += one_of(f"{where}.restartPolicy", restart, ("Always", "Never", "OnFailure"), optional=True)
    sidecar = init and restart == "Always"
    if init and not sidecar:
        errors += _not_for_init(where, container)
    else:
        errors += validate_probes(where, container)
        errors += validate_lifecycle(f"{where}.lifecycle", container.get("lifecycle") or {})
    return errors


def _not_for_init(where: str, container: Container) -> Errors:
    why = "may not be set for init containers without restartPolicy=Always"
    fields = ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe")
    return [forbidden(f"{where}.{field}", why) for field in fields if container.get(field) is not None]


def _ports(where: str, ports: Iterable[Container]) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path, name = f"{where}[{index}]", port.get("name")
        if name:
            errors += obeys(f"{path}.name", name, formats.is_port_name)
            if name in seen:
                errors.append(duplicate(f"{path}.name", name))
            seen.add(name)
        if port.get("containerPort"):
            errors += port_number(f"{path}.containerPort", port["containerPort"])
        else:
            errors.append(required(f"{path}.containerPort"))
        if port.get("hostPort"):
            errors += port_number(f"{path}.hostPort", port["hostPort"])
        errors += one_of(f"{path}.protocol", port.get("protocol") or "TCP", PROTOCOLS)
    return errors


def _host_ports(where: str, container: Container, taken: set[tuple[Any, ...]]) -> Errors:
    errors: Errors = []
    for index, port in enumerate(container.get("ports") or []):
        number = port.get("hostPort")
        if not number:
            continue
        key = (port.get("protocol", "TCP"), port.get("hostIP", ""), number)
        if key in taken:
            errors.append(duplicate(f"{where}.ports[{index}].hostPort", f"{key[0]}/{key[1]}/{number}"))
        taken.add(key)
    return errors


def validate_env(where: str, variables: Iterable[Container]) -> Errors:
    """Check environment variables and where their values come from."""
    errors: Errors = []
    for index, variable in enumerate(variables):
        path = f"{where}[{index}]"
        errors += named(f"{path}.name", variable.get("name"), formats.is_env_name)
        if variable.get("valueFrom") is not None:
            errors += _value_from(f"{path}.valueFrom", variable["valueFrom"], variable.get("value"))
    return errors


def _value_from(where: str, source: Container, value: Any) -> Errors:
    present = [kind for kind in _SOURCES if source.get(kind) is not None]
    errors: Errors = []
    if not present:
        choices = "`fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"
        errors.append(invalid(where, "", f"must specify one of: {choices}"))
    if value:
        errors.append(invalid(where, "", "may not be specified when `value` is not empty"))
    elif len(present) > 1:
        errors.append(invalid(where, "", "may not have more than one field specified at a time"))
    if source.get("fieldRef") is not None:
        errors += field_ref(f"{where}.fieldRef", source["fieldRef"], _ENV_FIELDS)
    if source.get("resourceFieldRef") is not None:
        errors += resource_ref(f"{where}.resourceFieldRef", source["resourceFieldRef"])
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if source.get(kind) is not None:
            errors += _key_ref(f"{where}.{kind}", source[kind])
    return errors


def field_ref(where: str, reference: Container, choices: Collection[str]) -> Errors:
    """Check a fieldRef; `choices` differ between environment and volumes."""
    path = reference.get("fieldPath")
    if reference.get("apiVersion", "v1") != "v1":
        return [invalid(f"{where}.apiVersion", reference["apiVersion"], "must be v1")]
    subscript = _SUBSCRIPT.fullmatch(str(path or ""))
    if subscript is not None:
        return obeys(f"{where}.fieldPath", subscript.group(2), lambda key: names.is_qualified_name(key.lower()))
    return one_of(f"{where}.fieldPath", path, choices)


def resource_ref(where: str, reference: Container) -> Errors:
    """Check a resourceFieldRef."""
    resource = reference.get("resource")
    if str(resource or "").startswith(("limits.hugepages-", "requests.hugepages-")):
        return []
    return one_of(f"{where}.resource", resource, _RESOURCES)


def _key_ref(where: str, reference: Container) -> Errors:
    errors = named(f"{where}.name", reference.get("name"), names.is_dns1123_subdomain)
    return errors + named(f"{where}.key", reference.get("key"), formats.is_config_key)


def _env_from(where: str, sources: Iterable[Container]) -> Errors:
    errors: Errors = []
    for index, source in enumerate(sources):
        path = f"{where}[{index}]"
        if source.get("prefix"):
            errors += obeys(f"{path}.prefix", source["prefix"], formats.is_env_name)
        present = [kind for kind in ("configMapRef", "secretRef") if source.get(kind) is not None]
        if not present:
            errors.append(invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(present) > 1:
            errors.append(invalid(path, "", "may not have more than one field specified at a time"))
        for kind in present:
            errors += named(f"{path}.{kind}.name", source[kind].get("name"), names.is_dns1123_subdomain)
    return errors


def _mounts(where: str, mounts: Iterable[Container], volumes: Collection[str]) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for index, mount in enumerate(mounts):
        path, name, target = f"{where}[{index}]", mount.get("name"), mount.get("mountPath")
        if not name:
            errors.append(required(f"{path}.name"))
        elif name not in volumes:
            errors.append(not_found(f"{path}.name", name))
        if not target:
            errors.append(required(f"{path}.mountPath"))
        elif target in seen:
            errors.append(invalid(f"{path}.mountPath", target, "must be unique"))
        seen.add(target or "")
        if mount.get("subPath") and mount.get("subPathExpr"):
            errors.append(
                invalid(f"{path}.subPathExpr", mount["subPathExpr"], "subPathExpr and subPath are mutually exclusive")
            )
        for field in ("subPath", "subPathExpr"):
            errors += local_path(f"{path}.{field}", mount.get(field))
    return errors


def local_path(field: str, path: Any) -> Errors:
    """Check a path that must stay below the directory that it is relative to."""
    if not path:
        return []
    errors = [invalid(field, path, "must be a relative path")] if path.startswith("/") else []
    return [*errors, invalid(field, path, "must not contain '..'")] if ".." in path.split("/") else errors
