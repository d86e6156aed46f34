"""The pod spec of a predictor: the runtime's container under the InferenceService's, with the model brought in.

    runtime container  ←  model container     strategic merge, args appended      pod_merge
    placeholders       ←  metadata            {{.Name}}                           placeholders
    image              ←  runtimeVersion                                          image_tag
    runtime pod fields ←  predictor pod fields
    volumes, mounts    ←  storageUri                                              model_source
    defaults           pull policy, readiness probe, restart policy, …

The result is the whole pod spec, as a JSON value; nothing is left to a webhook.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from lightkube.models.core_v1 import Container, PodSpec
from lightkube.models.meta_v1 import ObjectMeta

from skerry.api.serving_admission import TRANSFORMER_CONTAINER
from skerry.api.serving_types import PredictorSpec
from skerry.api.wellknown import KSERVE_CONTAINER
from skerry.operator.config import StorageInitializer
from skerry.operator.events import Failure, refused
from skerry.operator.image_tag import image_for
from skerry.operator.model_source import ModelSource, ServerVersion, add_models
from skerry.operator.placeholders import PlaceholderError, replace_placeholders
from skerry.operator.pod_merge import merge_container, merge_pod
from skerry.operator.runtime_selection import Runtime, Selected

Json = dict[str, Any]

DEFAULT_PORT: Final = 8080
_V2: Final = "v2"
_CONTAINER_FIELDS: Final = frozenset(Container.__struct_fields__)
_POD_FIELDS: Final = frozenset(PodSpec.__struct_fields__)
# All that KServe takes from a runtime besides its containers; hostIPC is dropped there too.
_RUNTIME_POD_FIELDS: Final = (
    "volumes",
    "nodeSelector",
    "affinity",
    "tolerations",
    "imagePullSecrets",
    "schedulerName",
    "resourceClaims",
)


def pod_spec(
    meta: ObjectMeta,
    predictor: PredictorSpec,
    selected: Selected | None,
    sources: Sequence[ModelSource],
    config: StorageInitializer,
    server: ServerVersion,
) -> Json:
    """Write the pod spec; raises `Refused`. `selected` is None for a predictor that brings its own containers."""
    given: Json = {key: value for key, value in msgspec.to_builtins(predictor).items() if key in _POD_FIELDS}
    if selected is None:
        pod = {**given, "containers": _own_containers(given)}
    else:
        base = {key: value for key, value in _builtins(selected.runtime).items() if key in _RUNTIME_POD_FIELDS}
        pod = merge_pod(base, {key: value for key, value in given.items() if key != "containers"})
        pod["containers"] = _containers(meta, predictor, selected, given.get("containers") or [])
    add_models(pod, sources, config, server, meta.annotations or {})
    _fill_pod(pod)
    for container in pod["containers"]:
        _fill_container(container, selected)
    for container in pod.get("initContainers") or []:
        _fill_plain_container(container)
    return pod


def main_container(containers: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the container that answers requests: the transformer beside the model where there is one."""
    by_name = {container["name"]: container for container in containers}
    return by_name.get(TRANSFORMER_CONTAINER) or by_name.get(KSERVE_CONTAINER) or containers[0]


# --- containers -------------------------------------------------------------------------------------------------------


def _builtins(runtime: Runtime) -> Json:
    spec: Json = msgspec.to_builtins(runtime.spec)
    return spec


def _own_containers(given: Json) -> list[Json]:
    containers = [dict(container) for container in given.get("containers") or []]
    for container in containers:
        if container["name"] == KSERVE_CONTAINER:
            container["env"] = [_without_uri(item) for item in container.get("env") or []]
    return containers


def _without_uri(variable: Json) -> Json:
    # The server is told where the model is mounted, not where it came from.
    return {"name": "STORAGE_URI", "value": "/mnt/models"} if variable["name"] == "STORAGE_URI" else variable


def _containers(meta: ObjectMeta, predictor: PredictorSpec, selected: Selected, given: Sequence[Json]) -> list[Json]:
    runtime = selected.runtime
    offered = {container["name"]: container for container in _builtins(runtime).get("containers") or []}
    if not offered:
        raise refused(Failure.INVALID_PREDICTOR_SPEC, "no container configuration found in selected serving runtime")
    if KSERVE_CONTAINER not in offered:
        text = f"failed to find {KSERVE_CONTAINER} in ServingRuntime containers of {runtime.name}"
        raise refused(Failure.INVALID_PREDICTOR_SPEC, text)
    added = {container["name"]: container for container in given}
    model = predictor.model
    assert model is not None
    override: Json = {key: value for key, value in msgspec.to_builtins(model).items() if key in _CONTAINER_FIELDS}
    override.pop("name", None)
    main = _rendered(merge_container(offered[KSERVE_CONTAINER], override), meta, runtime)
    main["image"] = image_for(main, runtime.name, model.runtimeVersion)
    containers = [main]
    if TRANSFORMER_CONTAINER in offered or TRANSFORMER_CONTAINER in added:
        merged = merge_container(offered.get(TRANSFORMER_CONTAINER, {}), added.get(TRANSFORMER_CONTAINER, {}))
        containers.append(_rendered(merged, meta, runtime))
    taken = {KSERVE_CONTAINER, TRANSFORMER_CONTAINER}
    containers += [dict(container) for name, container in offered.items() if name not in taken]
    containers += [dict(container) for name, container in added.items() if name not in taken]
    return containers


def _rendered(container: Json, meta: ObjectMeta, runtime: Runtime) -> Json:
    try:
        rendered: Json = replace_placeholders(container, meta)
    except PlaceholderError as error:
        text = (
            f"failed to replace placeholders in serving runtime {runtime.name} Container {container['name']}: {error}"
        )
        raise refused(Failure.INVALID_PREDICTOR_SPEC, text) from error
    return rendered


# --- defaults ---------------------------------------------------------------------------------------------------------


def _fill_pod(pod: Json) -> None:
    pod.setdefault("restartPolicy", "Always")
    pod.setdefault("dnsPolicy", "ClusterFirst")
    pod.setdefault("terminationGracePeriodSeconds", 30)
    pod.setdefault("schedulerName", "default-scheduler")
    pod.setdefault("securityContext", {})


def _fill_plain_container(container: Json) -> None:
    container.setdefault("imagePullPolicy", "IfNotPresent")
    container.setdefault("resources", {})
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    # So that the last words of a server that fails are in the pod's status, and from there in ours.
    container.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")


def _fill_container(container: Json, selected: Selected | None) -> None:
    _fill_plain_container(container)
    if container["name"] not in {KSERVE_CONTAINER, TRANSFORMER_CONTAINER} or "readinessProbe" in container:
        return
    ports = container.get("ports") or []
    port = ports[0]["containerPort"] if ports else DEFAULT_PORT
    if container["name"] == KSERVE_CONTAINER and _speaks_v2(selected):
        # The protocol has an honest answer; an open port says nothing about the model.
        check: Json = {"httpGet": {"path": "/v2/health/ready", "port": port, "scheme": "HTTP"}}
    else:
        check = {"tcpSocket": {"port": port}}
    timing = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
    container["readinessProbe"] = {**check, **timing}


def _speaks_v2(selected: Selected | None) -> bool:
    # A runtime that names no protocols is taken for all, so only its own word counts here.
    return selected is not None and selected.protocol == _V2 and _V2 in (selected.runtime.spec.protocolVersions or [])
