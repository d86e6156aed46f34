"""The plan for one InferenceService: from what is seen to what should be done, without doing anything.

    runtime_selection → model_source → pod_template → workload → autoscaler → traffic → status

Each step either returns its part or raises `Refused`; a refusal leaves existing objects alone and ends in the status.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.core_v1 import Pod, Service

from skerry.api.serving_admission import (
    AUTH_ANNOTATION,
    KNATIVE_MODES,
    RAW_MODES,
    inference_service_defaults,
    validate_inference_service,
)
from skerry.api.serving_types import InferenceService, InferenceServiceStatus, PredictorSpec, ServiceCondition
from skerry.api.wellknown import DEPLOYMENT_MODE_ANNOTATION
from skerry.machinery.merge import merge_diff
from skerry.operator.autoscaler import autoscaler, scaler_of
from skerry.operator.config import Config
from skerry.operator.events import ConfigInvalid, EventNote, Failure, Finding, Refused, refused
from skerry.operator.model_source import ServerVersion, sources_of
from skerry.operator.ownership import change, with_record
from skerry.operator.pod_template import pod_spec
from skerry.operator.runtime_selection import Runtime, Selected, select
from skerry.operator.status import (
    CONFIGURATION_VALID,
    INFO,
    INGRESS_CREATED,
    Workload,
    events_between,
    finding_in,
    status_of,
    stopped_status,
)
from skerry.operator.traffic import RouteSeen, Traffic, traffic
from skerry.operator.workload import (
    STOP_ANNOTATION,
    ComponentMeta,
    component_meta,
    deployment,
    metadata,
    predictor_name,
    replicas_to_set,
    service,
)

Json = dict[str, Any]
Target = Literal["Deployment", "HorizontalPodAutoscaler", "Service"]


@dataclass(frozen=True)
class Seen:
    """The world around one InferenceService. `config` is the refusal where the ConfigMap cannot be read."""

    isvc: InferenceService
    config: Config | ConfigInvalid
    runtimes: Sequence[Runtime]
    deployment: Deployment | None
    service: Service | None
    autoscaler: HorizontalPodAutoscaler | None
    pods: Sequence[Pod]
    route: RouteSeen | None
    server: ServerVersion

    @property
    def meta(self) -> ObjectMeta:
        assert self.isvc.metadata is not None
        return self.isvc.metadata


@dataclass(frozen=True)
class Step:
    """One write. `body`: the object to create, the merge patch, or nothing for a deletion."""

    verb: Literal["create", "patch", "delete"]
    kind: Target
    name: str
    body: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What is to be done; `status` is a merge patch of the status, empty when it is right already."""

    steps: tuple[Step, ...] = ()
    status: Json = field(default_factory=dict)
    events: tuple[EventNote, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class _Wanted:
    """What a spec that can be carried out comes to."""

    runtime: Runtime | None
    steps: tuple[Step, ...]
    traffic: Traffic


def plan(seen: Seen, now: datetime) -> Plan:
    """Plan the next step towards the spec."""
    config = seen.config if isinstance(seen.config, Config) else Config()
    isvc = _defaulted(seen.isvc, config)
    mode = _mode(isvc, config)
    if _is_stopped(isvc):
        return _plan_stop(seen, mode, now)
    wanted: _Wanted | None = None
    finding: Finding | None = None
    try:
        if isinstance(seen.config, ConfigInvalid):
            raise seen.config
        wanted = _wanted(seen, isvc, seen.config, mode)
    except Refused as refusal:
        finding = refusal.finding
    return _conclude(seen, mode, wanted, finding, now)


def plan_failure(seen: Seen, finding: Finding, now: datetime) -> Plan:
    """Plan to tell that the API refused a step of the plan."""
    config = seen.config if isinstance(seen.config, Config) else Config()
    return _conclude(seen, _mode(_defaulted(seen.isvc, config), config), None, finding, now)


def _conclude(seen: Seen, mode: str, wanted: _Wanted | None, finding: Finding | None, now: datetime) -> Plan:
    old = seen.isvc.status or InferenceServiceStatus()
    workload = Workload(seen.deployment, seen.pods)
    finding = finding or finding_in(workload.newest)
    reached = wanted.traffic if wanted else None
    new = status_of(
        old,
        mode=mode,
        generation=seen.meta.generation,
        runtimes=_runtime_names(wanted.runtime) if wanted else (old.servingRuntimeName, old.clusterServingRuntimeName),
        traffic=reached,
        workload=workload,
        finding=finding,
        extra=_side_conditions(seen),
        now=now,
    )
    found = tuple(item for item in (finding, reached.finding if reached else None) if item is not None)
    notes = events_between(seen.meta.name or "", old, new, found)
    return Plan(wanted.steps if wanted else (), status_patch(old, new), tuple(notes), found)


def _runtime_names(runtime: Runtime | None) -> tuple[str | None, str | None]:
    if runtime is None:
        return (None, None)
    return (None, runtime.name) if runtime.cluster else (runtime.name, None)


def _side_conditions(seen: Seen) -> list[ServiceCondition]:
    """Conditions that `Ready` does not depend on, there only while they have something to say."""
    conditions = []
    if isinstance(seen.config, ConfigInvalid):
        said = seen.config.finding
        conditions.append(ServiceCondition(CONFIGURATION_VALID, "False", INFO, said.reason, said.message))
    elif not seen.config.ingress.disableIngressCreation:
        text = "ingress.disableIngressCreation is false, but no Ingress is made yet; make a Route to the Service"
        conditions.append(ServiceCondition(INGRESS_CREATED, "False", INFO, "NotServed", text))
    spec = seen.isvc.spec
    for name, part in (("Transformer", spec and spec.transformer), ("Explainer", spec and spec.explainer)):
        if part is not None:
            text = f"spec.{name.lower()} is ignored: only the predictor is served yet"
            conditions.append(ServiceCondition(f"{name}Ready", "False", INFO, "NotServed", text))
    return conditions


def _plan_stop(seen: Seen, mode: str, now: datetime) -> Plan:
    old = seen.isvc.status or InferenceServiceStatus()
    steps: list[Step] = []
    if seen.deployment is not None and _controlled(seen, seen.deployment.metadata):
        steps.append(Step("delete", "Deployment", predictor_name(seen.meta.name or "")))
    if seen.service is not None and _controlled(seen, seen.service.metadata):
        steps.append(Step("delete", "Service", predictor_name(seen.meta.name or "")))
    steps += _without_autoscaler(seen)
    new = stopped_status(old, mode, seen.meta.generation, now)
    return Plan(tuple(steps), status_patch(old, new), tuple(events_between(seen.meta.name or "", old, new, ())))


def status_patch(old: InferenceServiceStatus, new: InferenceServiceStatus) -> Json:
    """Return the merge patch between two statuses; fields that we do not know are not touched."""
    return merge_diff(msgspec.to_builtins(old), msgspec.to_builtins(new))


# --- what the spec comes to -------------------------------------------------------------------------------------------


def _wanted(seen: Seen, isvc: InferenceService, config: Config, mode: str) -> _Wanted:
    predictor = _checked(isvc, mode)
    meta = isvc.metadata
    assert meta is not None
    selected: Selected | None = None
    if predictor.model is not None:
        selected = select(
            predictor.model,
            multi_node=predictor.workerSpec is not None,
            namespace=meta.namespace or "",
            runtimes=seen.runtimes,
        )
    sources = sources_of(predictor)
    pod = pod_spec(meta, predictor, selected, sources, config.storage, seen.server)
    runtime = selected.runtime if selected else None
    component = component_meta(meta, predictor, runtime.spec if runtime else None, sources, config.not_copied)
    rendered = service(component, pod, headless=config.service.serviceClusterIPNone)
    steps = (
        *_service_steps(seen, component, rendered),
        *_deployment_steps(seen, component, predictor, deployment(component, predictor, pod)),
        *_autoscaler_steps(seen, component, predictor),
    )
    reached = traffic(meta.name or "", meta.namespace or "", meta.labels or {}, _as_it_is(seen, rendered), seen.route)
    return _Wanted(runtime, steps, reached)


def _checked(isvc: InferenceService, mode: str) -> PredictorSpec:
    """Return the predictor of a spec that may be carried out. On a cluster this is the only check there is."""
    errors = validate_inference_service(msgspec.to_builtins(isvc), None)
    if errors:
        raise refused(Failure.INVALID_PREDICTOR_SPEC, "; ".join(map(str, errors)))
    if mode in KNATIVE_MODES:
        text = f"deployment mode {mode} needs Knative; set the annotation {DEPLOYMENT_MODE_ANNOTATION}: RawDeployment"
        raise refused(Failure.INVALID_PREDICTOR_SPEC, text, reason="ServerlessModeRejected")
    if mode not in RAW_MODES:
        text = f"deployment mode {mode} is not served; set the annotation {DEPLOYMENT_MODE_ANNOTATION}: RawDeployment"
        raise refused(Failure.INVALID_PREDICTOR_SPEC, text)
    annotations = (isvc.metadata.annotations if isvc.metadata else None) or {}
    if annotations.get(AUTH_ANNOTATION) == "true":
        # Serving it openly would be worse than not serving it.
        text = f"the annotation {AUTH_ANNOTATION} asks for an authenticating proxy, which is not there yet; remove it"
        raise refused(Failure.INVALID_PREDICTOR_SPEC, text)
    assert isvc.spec is not None
    assert isvc.spec.predictor is not None
    return isvc.spec.predictor


def _deployment_steps(seen: Seen, component: ComponentMeta, predictor: PredictorSpec, rendered: Json) -> list[Step]:
    existing = seen.deployment
    if existing is None:
        replicas = replicas_to_set(seen.meta, predictor, None)
        spec = {**rendered["spec"], "replicas": replicas} if replicas is not None else rendered["spec"]
        body = {**with_record(rendered), "spec": spec}
        return [Step("create", "Deployment", component.name, body)]
    _check_control(seen, existing.metadata, f"Deployment {component.name}")
    patch = change(msgspec.to_builtins(existing), rendered)
    replicas = replicas_to_set(seen.meta, predictor, existing.spec.replicas)
    if replicas is not None:
        patch["spec"] = {**patch.get("spec", {}), "replicas": replicas}
    return [Step("patch", "Deployment", component.name, patch)] if patch else []


def _service_steps(seen: Seen, component: ComponentMeta, rendered: Json) -> list[Step]:
    # A Service keeps its clusterIP for life, so it is only said once.
    owned = {**rendered, "spec": {key: value for key, value in rendered["spec"].items() if key != "clusterIP"}}
    existing = seen.service
    if existing is None:
        body = {**with_record(owned), "spec": rendered["spec"]}
        return [Step("create", "Service", component.name, body)]
    _check_control(seen, existing.metadata, f"Service {component.name}")
    patch = change(msgspec.to_builtins(existing), owned)
    return [Step("patch", "Service", component.name, patch)] if patch else []


def _autoscaler_steps(seen: Seen, component: ComponentMeta, predictor: PredictorSpec) -> list[Step]:
    if scaler_of(seen.meta) != "hpa":
        return _without_autoscaler(seen)
    rendered = autoscaler(metadata(component, component.annotations), predictor)
    existing = seen.autoscaler
    if existing is None:
        return [Step("create", "HorizontalPodAutoscaler", component.name, with_record(rendered))]
    _check_control(seen, existing.metadata, f"HorizontalPodAutoscaler {component.name}")
    patch = change(msgspec.to_builtins(existing), rendered)
    return [Step("patch", "HorizontalPodAutoscaler", component.name, patch)] if patch else []


def _without_autoscaler(seen: Seen) -> list[Step]:
    if seen.autoscaler is None or not _controlled(seen, seen.autoscaler.metadata):
        return []
    return [Step("delete", "HorizontalPodAutoscaler", predictor_name(seen.meta.name or ""))]


def _as_it_is(seen: Seen, rendered: Json) -> Json:
    """The Service as it will be: with the clusterIP that an existing one has."""
    if seen.service is None or seen.service.spec is None:
        return rendered
    return {**rendered, "spec": {**rendered["spec"], "clusterIP": seen.service.spec.clusterIP}}


def _check_control(seen: Seen, meta: ObjectMeta | None, what: str) -> None:
    if not _controlled(seen, meta):
        text = (
            f"cannot take over {what}: it does not belong to this InferenceService; "
            "delete it, or give the InferenceService another name"
        )
        raise refused(Failure.INVALID_PREDICTOR_SPEC, text, reason="NameTaken")


def _controlled(seen: Seen, meta: ObjectMeta | None) -> bool:
    owners = (meta.ownerReferences if meta else None) or []
    return any(owner.controller and owner.uid == seen.meta.uid for owner in owners)


# --- reading ----------------------------------------------------------------------------------------------------------


def _defaulted(isvc: InferenceService, config: Config) -> InferenceService:
    """Fill in what a webhook would have, in memory: on a cluster without ours the object comes as it was written."""
    obj = msgspec.to_builtins(isvc)
    default = inference_service_defaults(
        deployment_mode=config.deploy.defaultDeploymentMode,
        automount_token=config.security.autoMountServiceAccountToken,
    )
    default(obj)
    return msgspec.convert(obj, InferenceService)


def _mode(isvc: InferenceService, config: Config) -> str:
    known = {*RAW_MODES, *KNATIVE_MODES, "ModelMesh"}
    annotations = (isvc.metadata.annotations if isvc.metadata else None) or {}
    given = (isvc.status.deploymentMode if isvc.status else None, annotations.get(DEPLOYMENT_MODE_ANNOTATION))
    return next((mode for mode in given if mode in known), config.deploy.defaultDeploymentMode)


def _is_stopped(isvc: InferenceService) -> bool:
    annotations = (isvc.metadata.annotations if isvc.metadata else None) or {}
    return str(annotations.get(STOP_ANNOTATION, "")).lower() == "true"
