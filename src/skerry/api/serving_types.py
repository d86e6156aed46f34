"""The wire structs of `serving.kserve.io` and the resource classes by which lightkube reaches them.

Containers, volumes and all other pod fields are Kubernetes' own structs; only what KServe adds is written here. Fields
that no controller reads are listed all the same: a field that is not listed is reported as a misspelling.

    InferenceService  v1beta1   spec.predictor = PodSpec + ComponentExtension + one of model, sklearn, …, containers
    ServingRuntime, ClusterServingRuntime  v1alpha1   spec = part of a PodSpec + formats and protocols
"""
# ruff: noqa: N815 - the fields have the names of the wire

from typing import Any, ClassVar, Final

from lightkube.core import resource
from lightkube.models.apps_v1 import DeploymentStrategy
from lightkube.models.core_v1 import (
    Affinity,
    Container,
    EnvVar,
    LocalObjectReference,
    PodResourceClaim,
    PodSpec,
    Toleration,
    Volume,
)
from lightkube.models.meta_v1 import ObjectMeta
from msgspec import Struct

GROUP: Final = "serving.kserve.io"
INFERENCE_SERVICE_VERSION: Final = "v1beta1"
RUNTIME_VERSION: Final = "v1alpha1"

_STATUS_VERBS: Final = ["get", "patch", "put"]
_GLOBAL_VERBS: Final = ["delete", "deletecollection", "get", "list", "patch", "post", "put", "watch"]
_NAMESPACED_VERBS: Final = [*_GLOBAL_VERBS, "global_list", "global_watch"]


class Wire(Struct, omit_defaults=True):
    """What all structs of this group share: members that are absent are not sent."""


# --- InferenceService -------------------------------------------------------------------------------------------------


class UnnamedContainer(Container):
    """A container whose name KServe fills in."""

    name: str | None = None  # type: ignore[assignment]


class StorageSpec(Wire):
    """Where the model is, by the entry of a secret instead of a URI."""

    path: str | None = None
    key: str | None = None
    parameters: dict[str, str] | None = None
    schemaPath: str | None = None


class ConfidentialSpec(Wire):
    """Decryption of the model, from newer KServe; read by nobody here."""

    enabled: bool | None = None
    resourceId: str | None = None


class PredictorExtension(UnnamedContainer):
    """What every framework has: where the model is, how to talk to it, and a whole container to override with."""

    storageUri: str | None = None
    runtimeVersion: str | None = None
    protocolVersion: str | None = None
    storage: StorageSpec | None = None
    confidential: ConfidentialSpec | None = None


class ModelFormat(Wire):
    """The framework that a model is written for; `version` is compared as text."""

    name: str | None = None
    version: str | None = None


class ModelSpec(PredictorExtension):
    """A model of any format, with the runtime to serve it or a request to find one."""

    modelFormat: ModelFormat | None = None
    runtime: str | None = None


class StorageUri(Wire):
    """One of several places to mount a model from."""

    uri: str | None = None
    mountPath: str | None = None


class LoggerSpec(Wire):
    """Where copies of requests and responses go."""

    url: str | None = None
    mode: str | None = None
    metadataHeaders: list[str] | None = None
    metadataAnnotations: list[str] | None = None
    storage: dict[str, Any] | None = None
    marshallerUrl: str | None = None
    batchSize: int | None = None
    batchInterval: str | None = None


class BatcherSpec(Wire):
    """How requests are gathered."""

    maxBatchSize: int | None = None
    maxLatency: int | None = None
    timeout: int | None = None


class ServingPodSpec(PodSpec):
    """A PodSpec whose containers may be left out and unnamed."""

    containers: list[UnnamedContainer] | None = None  # type: ignore[assignment]
    initContainers: list[UnnamedContainer] | None = None  # type: ignore[assignment]


class ComponentExtension(ServingPodSpec):
    """What predictor, transformer and explainer share."""

    minReplicas: int | None = None
    maxReplicas: int | None = None
    scaleTarget: int | None = None
    scaleMetric: str | None = None
    scaleMetricType: str | None = None
    autoScaling: dict[str, Any] | None = None
    containerConcurrency: int | None = None
    timeout: int | None = None
    canaryTrafficPercent: int | None = None
    logger: LoggerSpec | None = None
    batcher: BatcherSpec | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    deploymentStrategy: DeploymentStrategy | None = None


class WorkerSpec(ServingPodSpec):
    """The further pods of a model that is spread over machines."""

    pipelineParallelSize: int | None = None
    tensorParallelSize: int | None = None


class PredictorSpec(ComponentExtension):
    """The model server: exactly one framework, `model`, or `containers`."""

    name: str | None = None
    sklearn: PredictorExtension | None = None
    xgboost: PredictorExtension | None = None
    tensorflow: PredictorExtension | None = None
    pytorch: PredictorExtension | None = None
    triton: PredictorExtension | None = None
    onnx: PredictorExtension | None = None
    huggingface: PredictorExtension | None = None
    pmml: PredictorExtension | None = None
    lightgbm: PredictorExtension | None = None
    paddle: PredictorExtension | None = None
    model: ModelSpec | None = None
    storageUris: list[StorageUri] | None = None
    storageContainerName: str | None = None
    workerSpec: WorkerSpec | None = None


class TransformerSpec(ComponentExtension):
    """Pre- and post-processing in a pod of its own."""

    storageUris: list[StorageUri] | None = None


class ExplainerSpec(ComponentExtension):
    """An explanation of a prediction, in a pod of its own."""

    art: dict[str, Any] | None = None
    storageUris: list[StorageUri] | None = None


class InferenceServiceSpec(Wire):
    """One served model."""

    predictor: PredictorSpec | None = None
    transformer: TransformerSpec | None = None
    explainer: ExplainerSpec | None = None
    canary: list[dict[str, Any]] | None = None


class ServiceCondition(Wire):
    """A condition of Knative's living set: `severity` is empty for those that `Ready` depends on, else `Info`."""

    type: str = ""
    status: str = ""  # a default is not sent, so it may not be a value that means something
    severity: str | None = None
    reason: str | None = None
    message: str | None = None
    lastTransitionTime: str | None = None


class Address(Wire):
    """Where the service is reached inside the cluster."""

    url: str | None = None
    name: str | None = None
    CACerts: str | None = None
    audience: str | None = None


class ModelCopies(Wire, omit_defaults=False):
    """How many pods hold the model; zero is written out."""

    failedCopies: int = 0
    totalCopies: int = 0


class ModelStates(Wire, omit_defaults=False):
    """What is served, and what is being brought up; empty when nothing is."""

    activeModelState: str = ""
    targetModelState: str = ""


class FailureInfo(Wire):
    """The failure that stands in the way; removed on recovery."""

    location: str | None = None
    reason: str | None = None
    message: str | None = None
    modelRevisionName: str | None = None
    time: str | None = None
    exitCode: int | None = None


class ModelStatus(Wire):
    """The model's own progress, beside that of its pods."""

    transitionStatus: str = ""
    states: ModelStates | None = None
    lastFailureInfo: FailureInfo | None = None
    copies: ModelCopies | None = None


class InferenceServiceStatus(Wire):
    """What is the case; kept open, so that fields of other versions are not complained about."""

    conditions: list[ServiceCondition] | None = None
    url: str | None = None
    address: Address | None = None
    components: dict[str, dict[str, Any]] | None = None
    modelStatus: ModelStatus | None = None
    deploymentMode: str | None = None
    servingRuntimeName: str | None = None
    clusterServingRuntimeName: str | None = None
    observedGeneration: int | None = None
    annotations: dict[str, str] | None = None


class _InferenceService(Wire):
    spec: InferenceServiceSpec | None = None
    apiVersion: str | None = None
    kind: str | None = None
    metadata: ObjectMeta | None = None
    status: InferenceServiceStatus | None = None

    def __post_init__(self) -> None:
        self.apiVersion = f"{GROUP}/{INFERENCE_SERVICE_VERSION}"
        self.kind = "InferenceService"


_ISVC: Final = resource.ResourceDef(GROUP, INFERENCE_SERVICE_VERSION, "InferenceService")


class InferenceServiceStatusResource(resource.NamespacedSubResource, _InferenceService):
    """The status of an InferenceService, as lightkube reaches it."""

    _api_info = resource.ApiInfo(
        resource=_ISVC, parent=_ISVC, plural="inferenceservices", verbs=_STATUS_VERBS, action="status"
    )


class InferenceService(resource.NamespacedResourceG, _InferenceService):
    """A served model."""

    _api_info = resource.ApiInfo(resource=_ISVC, plural="inferenceservices", verbs=_NAMESPACED_VERBS)
    Status: ClassVar = InferenceServiceStatusResource


# --- ServingRuntime ---------------------------------------------------------------------------------------------------


class SupportedModelFormat(Wire):
    """A format that a runtime serves; used without being named only with `autoSelect`."""

    name: str = ""
    version: str | None = None
    autoSelect: bool | None = None
    priority: int | None = None


class StorageHelper(Wire):
    """Left over from ModelMesh; read by nobody."""

    disabled: bool | None = None


class BuiltInAdapter(Wire):
    """Left over from ModelMesh; read by nobody."""

    serverType: str | None = None
    runtimeManagementPort: int | None = None
    memBufferBytes: int | None = None
    modelLoadingTimeoutMillis: int | None = None
    env: list[EnvVar] | None = None


class ServingRuntimePodSpec(Wire):
    """The part of a PodSpec that a runtime may set."""

    containers: list[Container] | None = None
    volumes: list[Volume] | None = None
    nodeSelector: dict[str, str] | None = None
    affinity: Affinity | None = None
    tolerations: list[Toleration] | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    imagePullSecrets: list[LocalObjectReference] | None = None
    hostIPC: bool | None = None
    schedulerName: str | None = None
    resourceClaims: list[PodResourceClaim] | None = None


class RuntimeWorkerSpec(ServingRuntimePodSpec):
    """The further pods of a runtime that spreads one model over machines."""

    pipelineParallelSize: int | None = None
    tensorParallelSize: int | None = None


class ServingRuntimeSpec(ServingRuntimePodSpec):
    """How to run a model server, and what it can serve."""

    supportedModelFormats: list[SupportedModelFormat] | None = None
    multiModel: bool | None = None
    disabled: bool | None = None
    protocolVersions: list[str] | None = None
    workerSpec: RuntimeWorkerSpec | None = None
    grpcEndpoint: str | None = None
    grpcDataEndpoint: str | None = None
    httpDataEndpoint: str | None = None
    replicas: int | None = None
    storageHelper: StorageHelper | None = None
    builtInAdapter: BuiltInAdapter | None = None


class _Runtime(Wire):
    spec: ServingRuntimeSpec | None = None
    apiVersion: str | None = None
    kind: str | None = None
    metadata: ObjectMeta | None = None
    status: dict[str, Any] | None = None


class ServingRuntime(resource.NamespacedResourceG, _Runtime):
    """A model server that InferenceServices of its namespace may use."""

    _api_info = resource.ApiInfo(
        resource=resource.ResourceDef(GROUP, RUNTIME_VERSION, "ServingRuntime"),
        plural="servingruntimes",
        verbs=_NAMESPACED_VERBS,
    )

    def __post_init__(self) -> None:
        self.apiVersion = f"{GROUP}/{RUNTIME_VERSION}"
        self.kind = "ServingRuntime"


class ClusterServingRuntime(resource.GlobalResource, _Runtime):
    """A model server that every InferenceService may use."""

    _api_info = resource.ApiInfo(
        resource=resource.ResourceDef(GROUP, RUNTIME_VERSION, "ClusterServingRuntime"),
        plural="clusterservingruntimes",
        verbs=_GLOBAL_VERBS,
    )

    def __post_init__(self) -> None:
        self.apiVersion = f"{GROUP}/{RUNTIME_VERSION}"
        self.kind = "ClusterServingRuntime"
