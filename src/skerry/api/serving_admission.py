"""Defaulting, validation and warnings of InferenceServices and ServingRuntimes, as pure functions.

KServe does this in webhooks. Here the API server calls the functions at admission, and the operator calls the same ones
before it works on an object, so that a cluster without webhooks gets the same answers as a condition.

The texts are KServe's, to the letter, where it has one; all complaints are returned, not only the first.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from skerry.api.registry import Object
from skerry.api.wellknown import DEPLOYMENT_MODE_ANNOTATION, KSERVE_CONTAINER
from skerry.machinery.fielderrors import FieldError, duplicate, invalid, required

RAW_DEPLOYMENT: Final = "RawDeployment"
STANDARD: Final = "Standard"
KNATIVE_MODES: Final = ("Knative", "Serverless")
MODEL_MESH: Final = "ModelMesh"
# Two spellings of one mode: MicroShift's and newer KServe's. Both are read; what the user wrote is kept.
RAW_MODES: Final = (RAW_DEPLOYMENT, STANDARD)

AUTOSCALER_CLASS_ANNOTATION: Final = "serving.kserve.io/autoscalerClass"
AUTH_ANNOTATION: Final = "security.opendatahub.io/enable-auth"
TRANSFORMER_CONTAINER: Final = "transformer-container"

# In the order in which KServe looks at them when it converts an old spec.
FRAMEWORKS: Final = (
    "sklearn",
    "tensorflow",
    "xgboost",
    "pytorch",
    "triton",
    "onnx",
    "huggingface",
    "pmml",
    "lightgbm",
    "paddle",
)
_COMPONENTS: Final = ("predictor", "transformer", "explainer")
_AUTOSCALER_CLASSES: Final = ("hpa", "external", "keda", "none")
_V2_FRAMEWORKS: Final = ("triton", "onnx", "huggingface")
_V2_FORMATS: Final = ("triton", "vLLM")
_NAME_PATTERN: Final = "[a-z]([-a-z0-9]*[a-z0-9])?"
_NAME: Final = re.compile(_NAME_PATTERN)
_LONGEST_NAME: Final = 63 - len("-predictor")
# Go field names, as KServe lists them: all but the last of the struct.
_STRUCT_FIELDS: Final = (
    "SKLearn, XGBoost, Tensorflow, PyTorch, Triton, ONNX, HuggingFace, PMML, LightGBM, Paddle, Model, "
    "WorkerSpec, PodSpec"
)

# --- defaults ---------------------------------------------------------------------------------------------------------


def inference_service_defaults(
    *, deployment_mode: str = RAW_DEPLOYMENT, automount_token: bool = False
) -> Callable[[Object], None]:
    """Make the defaulter for a configuration (`deploy.defaultDeploymentMode`, `security.autoMount…Token`)."""

    def default(obj: Object) -> None:
        _default_mode(obj, deployment_mode)
        spec: Any = obj.get("spec") or {}
        predictor = spec.get("predictor")
        if not isinstance(predictor, dict):
            return
        if _mode(obj) != MODEL_MESH:
            _framework_to_model(predictor)
        _name_custom_container(predictor)
        if not automount_token:
            for component in _COMPONENTS:
                if isinstance(part := spec.get(component), dict):
                    part.setdefault("automountServiceAccountToken", False)

    return default


def _default_mode(obj: Object, deployment_mode: str) -> None:
    # Knative as the default is not written down: objects without the annotation are Knative's everywhere.
    if deployment_mode in {*RAW_MODES, MODEL_MESH}:
        meta = obj.setdefault("metadata", {})
        annotations = meta["annotations"] = meta.get("annotations") or {}
        annotations.setdefault(DEPLOYMENT_MODE_ANNOTATION, deployment_mode)


def _framework_to_model(predictor: dict[str, Any]) -> None:
    for framework in FRAMEWORKS:
        if not isinstance(predictor.get(framework), dict) or predictor.get("model") is not None:
            continue
        model: dict[str, Any] = {**predictor.pop(framework), "modelFormat": {"name": framework}}
        if framework in _V2_FRAMEWORKS:
            model.setdefault("protocolVersion", "v2")
        predictor["model"] = model
        return
    given = predictor.get("model")
    if isinstance(given, dict) and _format_name(given) in _V2_FORMATS:
        given.setdefault("protocolVersion", "v2")


def _name_custom_container(predictor: dict[str, Any]) -> None:
    containers = predictor.get("containers")
    if predictor.get("model") is not None or not isinstance(containers, list) or not containers:
        return
    first = containers[0]
    if isinstance(first, dict) and (len(containers) == 1 or not first.get("name")):
        first["name"] = KSERVE_CONTAINER


# --- validation -------------------------------------------------------------------------------------------------------


def validate_inference_service(new: Object, old: Object | None) -> list[FieldError]:
    """Complain about what KServe's webhook refuses."""
    if old is not None and new["metadata"].get("deletionTimestamp"):
        return []
    spec = new.get("spec") or {}
    errors = [*_mode_change(new, old), *_name_errors(new["metadata"].get("name", "")), *_annotation_errors(new)]
    if not isinstance(spec.get("predictor"), dict):
        errors.append(required("spec.predictor"))
    for component in _COMPONENTS:
        if isinstance(part := spec.get(component), dict):
            errors += _component_errors(f"spec.{component}", part)
    if isinstance(predictor := spec.get("predictor"), dict):
        errors += _predictor_errors("spec.predictor", predictor)
    return errors


def _said(field: str, text: str) -> FieldError:
    """Complain in KServe's own words."""
    return FieldError("FieldValueInvalid", field, text)


def _mode_change(new: Object, old: Object | None) -> Iterator[FieldError]:
    before = ((old or {}).get("status") or {}).get("deploymentMode")
    after = _mode(new)
    if before and after and _normal(before) != _normal(after):
        text = f"update rejected: deploymentMode cannot be changed from '{before}' to '{after}'"
        yield _said(f"metadata.annotations[{DEPLOYMENT_MODE_ANNOTATION}]", text)


def _name_errors(name: str) -> Iterator[FieldError]:
    if not _NAME.fullmatch(name):
        yield _said(
            "metadata.name",
            f'the InferenceService "{name}" is invalid: a InferenceService name must consist of lower case '
            "alphanumeric characters or '-', and must start with alphabetical character. (e.g. \"my-name\" or "
            f"\"abc-123\", regex used for validation is '{_NAME_PATTERN}')",
        )
    elif len(name) > _LONGEST_NAME:
        # KServe lets these pass, and then no Service of that name can be made.
        detail = f"must be no more than {_LONGEST_NAME} characters, because the Service is called {name}-predictor"
        yield invalid("metadata.name", name, detail)


def _annotation_errors(new: Object) -> Iterator[FieldError]:
    chosen = _scaler(new)
    if chosen is not None and chosen not in _AUTOSCALER_CLASSES:
        text = f"[{chosen}] is not a supported autoscaler class type"
        yield _said(f"metadata.annotations[{AUTOSCALER_CLASS_ANNOTATION}]", text)


def _component_errors(path: str, part: Mapping[str, Any]) -> Iterator[FieldError]:
    concurrency, least, most = (part.get(key) for key in ("containerConcurrency", "minReplicas", "maxReplicas"))
    if concurrency is not None and concurrency < 0:
        yield _said(f"{path}.containerConcurrency", "parallelism cannot be less than 0")
    least, most = 1 if least is None else least, most or 0
    if least < 0:
        yield _said(f"{path}.minReplicas", "'MinReplicas' cannot be less than 0")
    if most < 0:
        yield _said(f"{path}.maxReplicas", "'MaxReplicas' cannot be less than 0")
    elif most and least > most:
        yield _said(f"{path}.minReplicas", "'MinReplicas' cannot be greater than MaxReplicas")
    logger = part.get("logger")
    if logger is not None and (logger.get("mode") or "all") not in {"all", "request", "response"}:
        yield _said(f"{path}.logger.mode", "invalid logger type")


def _predictor_errors(path: str, predictor: Mapping[str, Any]) -> Iterator[FieldError]:
    frameworks = [name for name in (*FRAMEWORKS, "model") if isinstance(predictor.get(name), dict)]
    containers = predictor.get("containers") or []
    custom = sum(1 for container in containers if container.get("name") == KSERVE_CONTAINER)
    if len(frameworks) + (custom or (0 if frameworks else min(len(containers), 1))) != 1:
        yield _said(path, f"exactly one of [{_STRUCT_FIELDS}] must be specified in PredictorSpec")
    yield from _container_errors(path, predictor)
    for name in frameworks:
        yield from _model_errors(f"{path}.{name}", predictor[name])
    model = predictor.get("model")
    if isinstance(model, dict) and not _format_name(model):
        yield required(f"{path}.model.modelFormat.name", "say what the model is written for, such as openvino_ir")
    yield from _storage_uris_errors(path, predictor)


def _container_errors(path: str, predictor: Mapping[str, Any]) -> Iterator[FieldError]:
    for field in ("containers", "initContainers"):
        for index, container in enumerate(predictor.get(field) or []):
            where = f"{path}.{field}[{index}]"
            environment = [variable.get("name") for variable in container.get("env") or []]
            if not container.get("name"):
                yield required(f"{where}.name")
            if container.get("name") == TRANSFORMER_CONTAINER and "STORAGE_URI" in environment:
                yield _said(f"{where}.env", "storage uri should not be specified in transformer container")


def _model_errors(path: str, model: Mapping[str, Any]) -> Iterator[FieldError]:
    if model.get("name"):
        yield _said(f"{path}.name", "the 'name' field is not allowed in standard predictor")
    if model.get("storageUri") and (model.get("storage") or {}).get("path"):
        yield _said(f"{path}.storage.path", "must provide only one of storageUri and storage.path")


def _storage_uris_errors(path: str, predictor: Mapping[str, Any]) -> Iterator[FieldError]:
    entries = predictor.get("storageUris") or []
    if entries and (predictor.get("model") or {}).get("storageUri"):
        yield _said(f"{path}.storageUris", "Setting both StorageURI and StorageURIs is not supported.")
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        where = f"{path}.storageUris[{index}]"
        if not entry.get("uri"):
            yield _said(f"{where}.uri", "storage URI cannot be empty")
        mount = entry.get("mountPath") or "/mnt/models"
        if mount == "/":
            yield _said(f"{where}.mountPath", "storage path cannot be empty")
        elif not mount.startswith("/"):
            yield _said(f"{where}.mountPath", f"storage path must be absolute: {mount}")
        elif ".." in mount:
            yield _said(f"{where}.mountPath", f"storage path cannot contain '..' for security reasons: {mount}")
        elif mount in seen:
            yield duplicate(f"{where}.mountPath", mount)
        seen.add(mount)


def validate_serving_runtime(new: Object, _old: Object | None) -> list[FieldError]:
    """Complain about what KServe refuses of a runtime alone, and about what it only refuses when it is used."""
    spec = new.get("spec") or {}
    if spec.get("disabled"):
        return []
    errors = list(_priority_errors(new, spec))
    if not spec.get("containers"):
        errors.append(required("spec.containers", f"a runtime needs a container called {KSERVE_CONTAINER}"))
    return errors


def _priority_errors(new: Object, spec: Mapping[str, Any]) -> Iterator[FieldError]:
    priorities: dict[str, int] = {}
    for entry in spec.get("supportedModelFormats") or []:
        name, priority = entry.get("name", ""), entry.get("priority")
        if not entry.get("autoSelect") or priority is None:
            continue
        if priorities.setdefault(name, priority) != priority:
            kind = str(new.get("kind", "ServingRuntime")).lower()
            text = (
                f"different priorities assigned for the model format {name} under the {kind} {new['metadata']['name']}"
            )
            yield _said("spec.supportedModelFormats", text)


# --- warnings ---------------------------------------------------------------------------------------------------------

_IGNORED: Final = {
    "canaryTrafficPercent": "it only has a meaning with Knative",
    "containerConcurrency": "it only has a meaning with Knative",
    "timeout": "it only has a meaning with Knative; a Route has the annotation haproxy.router.openshift.io/timeout",
    "logger": "requests are not logged yet",
    "batcher": "requests are not gathered yet",
    "scaleMetricType": "KServe does not read it; a target in autoScaling.metrics has a type",
    "workerSpec": "models are not spread over machines",
    "storageContainerName": "there are no ClusterStorageContainers",
}


def warn_inference_service(new: Object, _old: Object | None) -> list[str]:
    """Name the fields that are accepted and have no effect; KServe says nothing."""
    spec = new.get("spec") or {}
    warnings = []
    for component in _COMPONENTS:
        part = spec.get(component)
        if not isinstance(part, dict):
            continue
        path = f"spec.{component}"
        warnings += [f"{path}.{field} is ignored: {why}" for field, why in _IGNORED.items() if part.get(field)]
        least, most = part.get("minReplicas"), part.get("maxReplicas") or 0
        if most > max(1 if least is None else least, 1) and _scaler(new) == "none":
            text = f"{path}.maxReplicas is ignored: the annotation {AUTOSCALER_CLASS_ANNOTATION} is none"
            warnings.append(text)
        warnings += _without_effect(f"{path}.autoScaling", part.get("autoScaling"))
        if least == 0 and _scaler(new) != "none":
            text = f"{path}.minReplicas 0 means 1, unless the annotation {AUTOSCALER_CLASS_ANNOTATION} is none"
            warnings.append(text)
    warnings += [
        f"spec.{field} is ignored: only the predictor is served yet" for field in _COMPONENTS[1:] if spec.get(field)
    ]
    if spec.get("canary"):
        warnings.append("spec.canary is ignored: there is one version of a model at a time")
    return warnings


def _without_effect(path: str, scaling: object) -> Iterator[str]:
    """Name what of `autoScaling` KServe's HPA does not take."""
    if not isinstance(scaling, dict):
        return
    if scaling.get("behavior"):
        yield f"{path}.behavior is ignored, as KServe does without KEDA"
    for place, metric in enumerate(scaling.get("metrics") or []):
        kind = metric.get("type") if isinstance(metric, dict) else None
        if kind != "Resource":
            yield f"{path}.metrics[{place}] is ignored: only the type Resource is measured, not {kind}"


def warn_serving_runtime(new: Object, _old: Object | None) -> list[str]:
    """Name what of a runtime has no effect, or will only fail when an InferenceService uses it."""
    spec = new.get("spec") or {}
    warnings = ["spec.hostIPC is ignored, as KServe does"] if spec.get("hostIPC") else []
    names = [container.get("name") for container in spec.get("containers") or []]
    if KSERVE_CONTAINER not in names and not spec.get("multiModel") and not spec.get("disabled"):
        warnings.append(
            f"no InferenceService can use this runtime: none of its containers is called {KSERVE_CONTAINER}"
        )
    return warnings


# --- reading ----------------------------------------------------------------------------------------------------------


def _mode(obj: Object) -> str:
    return str((obj.get("metadata", {}).get("annotations") or {}).get(DEPLOYMENT_MODE_ANNOTATION, ""))


def _scaler(obj: Object) -> str | None:
    chosen = (obj.get("metadata", {}).get("annotations") or {}).get(AUTOSCALER_CLASS_ANNOTATION)
    return None if chosen is None else str(chosen)


def _normal(mode: str) -> str:
    if mode in RAW_MODES:
        return STANDARD
    return KNATIVE_MODES[0] if mode in KNATIVE_MODES else mode


def _format_name(model: Mapping[str, Any]) -> str:
    return str((model.get("modelFormat") or {}).get("name") or "")
