"""The ConfigMap `inferenceservice-config`: KServe's settings, each value a JSON document.

Read anew for every reconcile, so an edit takes effect at once. KServe panics on a value that is not JSON; here such a
value is a `ConfigInvalid`, which says which key and why, and leaves running models alone. A missing key or a missing
ConfigMap means the values that MicroShift ships.
"""
# ruff: noqa: N815 - the fields have the names of the wire

from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from skerry.api.serving_admission import KNATIVE_MODES, MODEL_MESH, RAW_DEPLOYMENT, RAW_MODES
from skerry.api.wellknown import LAST_APPLIED_ANNOTATION
from skerry.operator.events import config_invalid

CONFIG_NAME: Final = "inferenceservice-config"

# What never goes from an InferenceService down to its Deployment and pods, whatever the ConfigMap says.
_NEVER_COPIED: Final = (
    "autoscaling.knative.dev/min-scale",
    "autoscaling.knative.dev/max-scale",
    "internal.serving.kserve.io/storage-initializer-sourceuri",
    LAST_APPLIED_ANNOTATION,
    "modelFormat",
)


class StorageInitializer(msgspec.Struct, frozen=True):
    """`storageInitializer`: how models get into pods."""

    image: str = ""
    cpuRequest: str = "100m"
    cpuLimit: str = "1"
    memoryRequest: str = "100Mi"
    memoryLimit: str = "24Gi"
    enableModelcar: bool = True
    cpuModelcar: str = "10m"
    memoryModelcar: str = "15Mi"
    uidModelcar: int | None = None


class Ingress(msgspec.Struct, frozen=True):
    """`ingress`: MicroShift has none made."""

    disableIngressCreation: bool = True


class Deploy(msgspec.Struct, frozen=True):
    """`deploy`: the mode of services that do not name one."""

    defaultDeploymentMode: str = ""


class Security(msgspec.Struct, frozen=True):
    """`security`: whether predictor pods get an API token."""

    autoMountServiceAccountToken: bool = False


class ServiceConfig(msgspec.Struct, frozen=True):
    """`service`: whether Services are headless."""

    serviceClusterIPNone: bool = True


class InferenceServiceConfig(msgspec.Struct, frozen=True):
    """`inferenceService`: annotations that stay with the InferenceService."""

    serviceAnnotationDisallowedList: tuple[str, ...] = ()


T = TypeVar("T")


class Config(msgspec.Struct, frozen=True):
    """The settings that the operator reads."""

    storage: StorageInitializer = StorageInitializer()
    ingress: Ingress = Ingress()
    deploy: Deploy = Deploy(RAW_DEPLOYMENT)
    security: Security = Security()
    service: ServiceConfig = ServiceConfig()
    not_copied: frozenset[str] = frozenset(_NEVER_COPIED)


def parse(namespace: str, data: Mapping[str, str] | None) -> Config:
    """Read the ConfigMap's data; raises `ConfigInvalid`. None (no ConfigMap): MicroShift's values."""
    values: Mapping[str, Any] = data or {}

    def section(key: str, model: type[T]) -> T | None:
        if key not in values:
            return None
        try:
            return msgspec.json.decode(values[key], type=model)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise _invalid(namespace, f"the value of key {key!r} is not as KServe expects it: {error}") from error

    deploy = section("deploy", Deploy) or Deploy(RAW_DEPLOYMENT)
    _check_mode(namespace, deploy.defaultDeploymentMode)
    copying = section("inferenceService", InferenceServiceConfig) or InferenceServiceConfig()
    return Config(
        storage=section("storageInitializer", StorageInitializer) or StorageInitializer(),
        ingress=section("ingress", Ingress) or Ingress(),
        deploy=deploy,
        security=section("security", Security) or Security(),
        service=section("service", ServiceConfig) or ServiceConfig(),
        not_copied=frozenset({*_NEVER_COPIED, *copying.serviceAnnotationDisallowedList}),
    )


def _check_mode(namespace: str, mode: str) -> None:
    if not mode:
        raise _invalid(namespace, "invalid deploy config, defaultDeploymentMode is required")
    if mode not in {*RAW_MODES, *KNATIVE_MODES, MODEL_MESH}:
        raise _invalid(namespace, "invalid deployment mode. Supported modes are Knative, Standard and ModelMesh")


def _invalid(namespace: str, why: str) -> Exception:
    return config_invalid(
        f"cannot read ConfigMap {namespace}/{CONFIG_NAME}: {why}; "
        f"correct it with: kubectl edit -n {namespace} configmap {CONFIG_NAME}"
    )
