"""How the model gets into the pod: what `storageUri` adds to the pod's volumes, mounts and init containers.

    oci://IMAGE        an image volume where the cluster has them (Kubernetes 1.35), else a ModelCar container
    pvc://CLAIM/PATH   the claim itself, mounted where the model is expected
    s3:// gs:// …      an init container that downloads into an emptyDir

KServe does this to pods, in a webhook, so its Deployments do not show it and no pod starts while the webhook is away.
Here it is written into the pod template.

ModelCar. The image of the model runs as a container of the pod, which shares its processes, and links its own
`/models` (by way of `/proc/PID/root`) into an emptyDir. Two faults of KServe's form are avoided. `ln -sf` without `-n`
puts the new link *into* a stale one that still leads somewhere, which an emptyDir keeps over a reboot. And the model
server used to start without waiting for the link: on clusters with native sidecars (1.29) ours is one, with a startup
probe on the link, so the server is started after it.
"""

import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from skerry.api.serving_admission import TRANSFORMER_CONTAINER
from skerry.api.serving_types import PredictorSpec
from skerry.api.wellknown import KSERVE_CONTAINER, MODEL_MOUNT_PATH
from skerry.operator.config import StorageInitializer
from skerry.operator.events import Failure, refused

Json = dict[str, Any]
ServerVersion = tuple[int, int]

IMAGE_VOLUMES_SINCE: Final[ServerVersion] = (1, 35)
NATIVE_SIDECARS_SINCE: Final[ServerVersion] = (1, 29)

READONLY_ANNOTATION: Final = "storage.kserve.io/readonly"
MODELCAR: Final = "modelcar"
MODELCAR_INIT: Final = "modelcar-init"
STORAGE_INITIALIZER: Final = "storage-initializer"
_TARGETS: Final = (KSERVE_CONTAINER, TRANSFORMER_CONTAINER)
_PROVISION_VOLUME: Final = "kserve-provision-location"
_PVC_VOLUME: Final = "kserve-pvc-source"
_MODELS_IN_IMAGE: Final = "/models"
_OCI: Final = "oci://"
_PVC: Final = "pvc://"
_SCHEMES: Final = (
    "gs://",
    "s3://",
    "pvc://",
    "file://",
    "https://",
    "http://",
    "hdfs://",
    "webhdfs://",
    "oci://",
    "hf://",
)
_ANY_SCHEME: Final = re.compile(r"\w+?://")
_UNRESOLVED: Final = re.compile(r"\$\(.*\)")
_INITIALIZER_ENV: Final = (
    {"name": "HF_HUB_ENABLE_HF_TRANSFER", "value": "1"},
    {"name": "HF_XET_HIGH_PERFORMANCE", "value": "1"},
    {"name": "HF_XET_NUM_CONCURRENT_RANGE_GETS", "value": "8"},
    {"name": "HF_HOME", "value": "/tmp"},  # noqa: S108 - in the container, as KServe sets it
)


@dataclass(frozen=True)
class ModelSource:
    """One model and where the server expects it."""

    uri: str
    path: str = MODEL_MOUNT_PATH


def sources_of(predictor: PredictorSpec) -> list[ModelSource]:
    """Return what to mount; raises `Refused` for a scheme that is not known."""
    model = predictor.model
    if model is not None and model.storage is not None:
        text = "spec.predictor.model.storage is not supported yet; give the place as spec.predictor.model.storageUri"
        raise refused(Failure.INVALID_PREDICTOR_SPEC, text)
    sources = [ModelSource(model.storageUri)] if model is not None and model.storageUri else []
    sources += [
        ModelSource(entry.uri or "", entry.mountPath or MODEL_MOUNT_PATH) for entry in predictor.storageUris or []
    ]
    if model is None and not sources:
        sources = _of_environment(predictor)
    for source in sources:
        _check_scheme(source.uri)
    return sources


def _of_environment(predictor: PredictorSpec) -> list[ModelSource]:
    # A custom predictor has no storageUri field: it says STORAGE_URI in its environment.
    for container in predictor.containers or []:
        if container.name == KSERVE_CONTAINER:
            return [
                ModelSource(item.value) for item in container.env or [] if item.name == "STORAGE_URI" and item.value
            ]
    return []


def _check_scheme(uri: str) -> None:
    if uri.startswith(_SCHEMES) or not _ANY_SCHEME.match(uri):
        return
    text = (
        f"StorageURI not supported: storageUri, must be one of: [{', '.join(_SCHEMES)}] or match "
        "https://{}.blob.core.windows.net/{}/{} or be an absolute or relative local path. "
        f"StorageUri [{uri}] is not supported"
    )
    raise refused(Failure.INVALID_PREDICTOR_SPEC, text)


def add_models(
    pod: Json,
    sources: Sequence[ModelSource],
    config: StorageInitializer,
    server: ServerVersion,
    annotations: Mapping[str, str],
) -> None:
    """Add to the pod spec what brings the models to `kserve-container` and `transformer-container`."""
    read_only = annotations.get(READONLY_ANNOTATION) != "false"
    downloads: list[ModelSource] = []
    for source in sources:
        if source.uri.startswith(_OCI) and config.enableModelcar:
            if server >= IMAGE_VOLUMES_SINCE:
                _add_image_volume(pod, source)
            else:
                _add_modelcar(pod, source, config, server)
        elif source.uri.startswith(_PVC):
            _add_claim(pod, source, read_only=read_only)
        else:
            downloads.append(source)
    if downloads and not any(item.get("name") == STORAGE_INITIALIZER for item in pod.get("initContainers") or []):
        _add_downloads(pod, downloads, config, read_only=read_only)


# --- oci --------------------------------------------------------------------------------------------------------------


def pull_policy(image: str) -> str:
    """What Kubernetes would choose: an image without a fixed tag is asked for each time."""
    name = image.rpartition("/")[2]
    if "@" in name:
        return "IfNotPresent"
    tag = name.partition(":")[2]
    return "Always" if tag in {"", "latest"} else "IfNotPresent"


def _add_image_volume(pod: Json, source: ModelSource) -> None:
    image = source.uri.removeprefix(_OCI)
    name = re.sub(r"[^a-z0-9]+", "-", source.path.lower()).strip("-")
    _add_volume(pod, {"name": name, "image": {"reference": image, "pullPolicy": pull_policy(image)}})
    mount = {"name": name, "mountPath": source.path, "subPath": _MODELS_IN_IMAGE[1:], "readOnly": True}
    for container in _targets(pod):
        _add_mount(container, mount)


def _add_modelcar(pod: Json, source: ModelSource, config: StorageInitializer, server: ServerVersion) -> None:
    if any(item["name"] == MODELCAR for item in [*pod["containers"], *(pod.get("initContainers") or [])]):
        text = "this cluster (older than Kubernetes 1.35) can only mount one oci:// model in a pod"
        raise refused(Failure.INVALID_PREDICTOR_SPEC, text)
    parent = posixpath.dirname(source.path.rstrip("/"))
    mount = {"name": _PROVISION_VOLUME, "mountPath": parent}
    _add_volume(pod, {"name": _PROVISION_VOLUME, "emptyDir": {}})
    pod["shareProcessNamespace"] = True
    for container in _targets(pod):
        _add_mount(container, mount)
        _add_env(container, {"name": "MODEL_INIT_MODE", "value": "async"})
        _run_as(container, config.uidModelcar)
    car = _modelcar(source, mount, config)
    if server >= NATIVE_SIDECARS_SINCE:
        present = f"test -d {shlex.quote(source.path)}/"
        probe = {"exec": {"command": ["sh", "-c", present]}, "periodSeconds": 1, "failureThreshold": 60}
        pod["initContainers"] = [{**car, "restartPolicy": "Always", "startupProbe": probe}, *_init_containers(pod)]
        return
    # Without native sidecars an init container of the same image at least has it pulled before the server starts.
    check = {**car, "name": MODELCAR_INIT, "args": ["sh", "-c", f"{_CHECK} && echo OK"]}
    pod["initContainers"] = [check, *_init_containers(pod)]
    pod["containers"].append(car)


_CHECK: Final = (
    f'if [ -z "$(ls -A {_MODELS_IN_IMAGE} 2>/dev/null)" ]; '
    f'then echo "NOK: the image has no files in {_MODELS_IN_IMAGE}" >&2; exit 1; fi'
)


def _modelcar(source: ModelSource, mount: Json, config: StorageInitializer) -> Json:
    path = shlex.quote(source.path.rstrip("/"))
    # Kubernetes turns each $$ of an argument into $, so the shell sees its own process id.
    link = f"mkdir -p {shlex.quote(mount['mountPath'])} && ln -sfn /proc/$$$$/root{_MODELS_IN_IMAGE} {path}"
    size = {"cpu": config.cpuModelcar, "memory": config.memoryModelcar}
    image = source.uri.removeprefix(_OCI)
    container = {
        "name": MODELCAR,
        "image": image,
        "imagePullPolicy": pull_policy(image),
        "args": ["sh", "-c", f"{_CHECK}; {link} && exec sleep infinity"],
        "resources": {"requests": dict(size), "limits": dict(size)},
        "volumeMounts": [mount],
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    _run_as(container, config.uidModelcar)
    return container


# --- pvc and downloads ------------------------------------------------------------------------------------------------


def _add_claim(pod: Json, source: ModelSource, *, read_only: bool) -> None:
    claim, _, path = source.uri.removeprefix(_PVC).partition("/")
    if not claim:
        raise refused(Failure.INVALID_PREDICTOR_SPEC, f"invalid storageUri {source.uri}: want pvc://CLAIM/PATH")
    taken = sum(1 for volume in pod.get("volumes") or [] if volume["name"].startswith(_PVC_VOLUME))
    name = f"{_PVC_VOLUME}-{taken}" if taken else _PVC_VOLUME
    _add_volume(pod, {"name": name, "persistentVolumeClaim": {"claimName": claim}})
    mount: Json = {"name": name, "mountPath": source.path, "readOnly": read_only}
    if path.strip("/"):
        mount["subPath"] = path.strip("/")
    for container in _targets(pod):
        _add_mount(container, mount)


def _add_downloads(pod: Json, sources: Sequence[ModelSource], config: StorageInitializer, *, read_only: bool) -> None:
    if not config.image or _UNRESOLVED.search(config.image):
        why = f"is {config.image}, a placeholder that nobody replaced" if config.image else "is not set"
        text = (
            f"cannot download {sources[0].uri}: the image of the storage initializer {why}; "
            "set storageInitializer.image in ConfigMap inferenceservice-config"
        )
        raise refused(Failure.INVALID_PREDICTOR_SPEC, text)
    mounts: list[Json] = []
    for number, source in enumerate(sources):
        name = f"{_PROVISION_VOLUME}-{number}" if number else _PROVISION_VOLUME
        _add_volume(pod, {"name": name, "emptyDir": {}})
        mounts.append({"name": name, "mountPath": source.path})
        for container in _targets(pod):
            _add_mount(container, {"name": name, "mountPath": source.path, "readOnly": read_only})
    initializer = {
        "name": STORAGE_INITIALIZER,
        "image": config.image,
        "imagePullPolicy": pull_policy(config.image),
        "args": [text for source in sources for text in (source.uri, source.path)],
        "env": [dict(variable) for variable in _INITIALIZER_ENV],
        "resources": {
            "requests": {"cpu": config.cpuRequest, "memory": config.memoryRequest},
            "limits": {"cpu": config.cpuLimit, "memory": config.memoryLimit},
        },
        "volumeMounts": mounts,
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    pod["initContainers"] = [*_init_containers(pod), initializer]


# --- parts of a pod ---------------------------------------------------------------------------------------------------


def _targets(pod: Json) -> list[Json]:
    return [container for container in pod["containers"] if container["name"] in _TARGETS]


def _init_containers(pod: Json) -> list[Json]:
    return list(pod.get("initContainers") or [])


def _add_volume(pod: Json, volume: Json) -> None:
    others = [item for item in pod.get("volumes") or [] if item["name"] != volume["name"]]
    pod["volumes"] = [*others, volume]


def _add_mount(container: Json, mount: Json) -> None:
    mounts = container.get("volumeMounts") or []
    if all(item["mountPath"] != mount["mountPath"] for item in mounts):
        container["volumeMounts"] = [*mounts, dict(mount)]


def _add_env(container: Json, variable: Json) -> None:
    environment = container.get("env") or []
    if all(item["name"] != variable["name"] for item in environment):
        container["env"] = [*environment, variable]


def _run_as(container: Json, uid: int | None) -> None:
    if uid is not None:
        container["securityContext"] = {**(container.get("securityContext") or {}), "runAsUser": uid}
