"""The environment of a container: envFrom, env, and what a process on this node needs besides.

ConfigError     something that the container refers to is missing: CreateContainerConfigError, in the kubelet's words
"""

import base64
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

from skerry.cluster.node.expansion import expand
from skerry.cluster.node.podfields import FieldError, PodFacts, container_named, field_value, resource_value

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NAME: Final = re.compile(r"^[^=\0]+$")


class ConfigError(Exception):
    """The container cannot be configured until somebody creates or changes an object."""


class Objects(Protocol):
    """Where ConfigMaps and Secrets come from (a cache)."""

    def config_map(self, namespace: str, name: str) -> Any | None: ...

    def secret(self, namespace: str, name: str) -> Any | None: ...


def secret_data(secret: Any) -> dict[str, bytes]:
    """Decode a Secret."""
    return {key: base64.b64decode(value) for key, value in (secret.data or {}).items()}


def config_map_data(config_map: Any) -> dict[str, bytes]:
    """Decode a ConfigMap, text and binary."""
    texts = {key: value.encode() for key, value in (config_map.data or {}).items()}
    return {**texts, **{key: base64.b64decode(value) for key, value in (config_map.binaryData or {}).items()}}


def environment(pod: Any, container: Any, objects: Objects, facts: PodFacts) -> dict[str, str]:
    """Return the container's own variables.

    A later entry may refer to an earlier one of `env`; entries of `envFrom` cannot be referred to (the kubelet's rule).
    Raises `ConfigError`.
    """
    namespace = pod.metadata.namespace
    result: dict[str, str] = {}
    for source in container.envFrom or []:
        values = _from_source(namespace, source, objects)
        result.update({f"{source.prefix or ''}{key}": value for key, value in values.items() if _NAME.match(key)})
    own: dict[str, str] = {}
    for variable in container.env or []:
        if variable.valueFrom is None:
            value: str | None = expand(variable.value or "", own)
        else:
            value = _value_from(pod, container, variable.valueFrom, objects, facts)
        if value is not None:
            own[variable.name] = value
    return {**result, **own}


def surroundings(pod: Any, home: str, api_address: tuple[str, int] | None) -> dict[str, str]:
    """Return what the kubelet and a container runtime would set; the container's own variables come over it."""
    hostname = pod.spec.hostname or pod.metadata.name[:63]
    api = {}
    if api_address is not None:
        host, port = api_address[0], str(api_address[1])
        api = {
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
            "KUBERNETES_SERVICE_PORT_HTTPS": port,
        }
    return {**api, "PATH": PATH, "HOSTNAME": hostname, "HOME": home, "TMPDIR": home, "LANG": "C.UTF-8"}


def _from_source(namespace: str, source: Any, objects: Objects) -> Mapping[str, str]:
    if source.configMapRef is not None:
        reference = source.configMapRef
        config_map = objects.config_map(namespace, reference.name)
        if config_map is not None:
            return dict(config_map.data or {})
        missing = f'configmap "{reference.name}" not found'
    elif source.secretRef is not None:
        reference = source.secretRef
        secret = objects.secret(namespace, reference.name)
        if secret is not None:
            return {key: value.decode("utf-8", "replace") for key, value in secret_data(secret).items()}
        missing = f'secret "{reference.name}" not found'
    else:
        return {}
    if reference.optional:
        return {}
    raise ConfigError(missing)


def _value_from(pod: Any, container: Any, source: Any, objects: Objects, facts: PodFacts) -> str | None:
    namespace = pod.metadata.namespace
    try:
        if source.fieldRef is not None:
            return field_value(pod, source.fieldRef.fieldPath, facts)
        if source.resourceFieldRef is not None:
            name = source.resourceFieldRef.containerName
            asked = container_named(pod, name) if name else container
            return resource_value(asked, source.resourceFieldRef, facts)
    except FieldError as error:
        raise ConfigError(str(error)) from error
    if source.configMapKeyRef is not None:
        reference = source.configMapKeyRef
        config_map = objects.config_map(namespace, reference.name)
        data = None if config_map is None else {key: value.encode() for key, value in (config_map.data or {}).items()}
        return _key(reference, data, "configmap", "ConfigMap", namespace)
    if source.secretKeyRef is not None:
        reference = source.secretKeyRef
        secret = objects.secret(namespace, reference.name)
        return _key(reference, None if secret is None else secret_data(secret), "secret", "Secret", namespace)
    raise ConfigError("cannot set a variable: its valueFrom names no source that this node knows")


def _key(reference: Any, data: Mapping[str, bytes] | None, resource: str, kind: str, namespace: str) -> str | None:
    if data is not None and reference.key in data:
        return data[reference.key].decode("utf-8", "replace")
    if reference.optional:
        return None
    if data is None:
        raise ConfigError(f'{resource} "{reference.name}" not found')
    raise ConfigError(f"couldn't find key {reference.key} in {kind} {namespace}/{reference.name}")
