"""The status of an InferenceService: conditions, URLs and the progress of the model.

Conditions are Knative's living set. `Ready` depends on `PredictorReady` and `IngressReady` only and repeats the reason
of what keeps it from being true; all others have severity `Info`. A condition's time changes with any part of it.

    modelStatus      transitionStatus       target state
    a spec to be changed    InvalidSpec           FailedToLoad
    pods that fail          BlockedByFailedLoad   FailedToLoad
    pods that start         InProgress            Loading, or Pending before the server runs
    pods that serve         UpToDate              Loaded, and `lastFailureInfo` is removed

KServe keeps an old failure for ever and takes a container's word of one pod; here the pods of the newest template are
all looked at, and `active` stays `Loaded` while older pods still serve.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from lightkube.models.apps_v1 import DeploymentStatus
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Pod

from skerry.api.serving_types import (
    Address,
    FailureInfo,
    InferenceServiceStatus,
    ModelCopies,
    ModelStates,
    ModelStatus,
    ServiceCondition,
)
from skerry.api.wellknown import POD_TEMPLATE_HASH_LABEL
from skerry.kit.clock import timestamp
from skerry.operator.events import (
    CONTAINERS_NOT_READY,
    INGRESS_READY,
    PREDICTOR_READY,
    STOPPED,
    EventNote,
    Finding,
    became_ready,
    no_longer_ready,
    note_of,
)
from skerry.operator.pod_trouble import starting, trouble_of
from skerry.operator.traffic import Traffic

READY: Final = "Ready"
STOPPED_CONDITION: Final = "Stopped"
_DEPENDENTS: Final = (PREDICTOR_READY, INGRESS_READY)
CONFIGURATION_VALID: Final = "ConfigurationValid"
INGRESS_CREATED: Final = "IngressCreated"
INFO: Final = "Info"
# Ours: dropped when the present state has nothing to say of them. All others belong to somebody else and stay.
_OWN: Final = frozenset(
    {READY, *_DEPENDENTS, STOPPED_CONDITION, CONFIGURATION_VALID, INGRESS_CREATED, "TransformerReady", "ExplainerReady"}
)
_TRUE, _FALSE, _UNKNOWN = "True", "False", "Unknown"


@dataclass(frozen=True)
class Workload:
    """The pods of a predictor and the Deployment over them, as last seen."""

    deployment: Deployment | None
    pods: Sequence[Pod]

    @property
    def newest(self) -> list[Pod]:
        """The pods of the newest template that are not on their way out."""
        alive = [pod for pod in self.pods if pod.metadata and pod.metadata.deletionTimestamp is None]
        alive.sort(key=_created, reverse=True)
        return [pod for pod in alive if _template(pod) == _template(alive[0])]

    @property
    def serving(self) -> int:
        return sum(1 for pod in self.pods if _is_ready(pod))

    @property
    def rolled_out(self) -> bool:
        """Whether all the pods that are wanted are of the newest template and serve."""
        if self.deployment is None or self.deployment.metadata is None:
            return False
        status = self.deployment.status or DeploymentStatus()
        wanted = self.deployment.spec.replicas if self.deployment.spec.replicas is not None else 1
        seen = (status.observedGeneration or 0) >= (self.deployment.metadata.generation or 0)
        return seen and (status.updatedReplicas or 0) == wanted == (status.availableReplicas or 0)


def finding_in(pods: Iterable[Pod]) -> Finding | None:
    """Return the first trouble among the pods."""
    return next((trouble.finding() for pod in pods if (trouble := trouble_of(pod))), None)


# --- the whole --------------------------------------------------------------------------------------------------------


def stopped_status(
    old: InferenceServiceStatus, mode: str, generation: int | None, now: datetime
) -> InferenceServiceStatus:
    """Write the status of a service that is stopped: nothing but that."""
    wanted = {
        PREDICTOR_READY: ServiceCondition(PREDICTOR_READY, _FALSE, reason=STOPPED),
        STOPPED_CONDITION: ServiceCondition(STOPPED_CONDITION, _TRUE, INFO),
    }
    if any(condition.type == INGRESS_READY for condition in old.conditions or []):
        wanted[INGRESS_READY] = ServiceCondition(INGRESS_READY, _FALSE, reason=STOPPED)
    return InferenceServiceStatus(
        conditions=_living_set([], wanted, old.conditions or [], now),
        deploymentMode=mode,
        observedGeneration=generation,
    )


def status_of(
    old: InferenceServiceStatus,
    *,
    mode: str,
    generation: int | None,
    runtimes: tuple[str | None, str | None],
    traffic: Traffic | None,
    workload: Workload,
    finding: Finding | None,
    extra: Iterable[ServiceCondition] = (),
    now: datetime,
) -> InferenceServiceStatus:
    """Write the status.

    `finding` is what stands in the way, if anything does; `traffic` is None while the spec cannot be carried out;
    `runtimes` are the names of the namespaced and of the cluster-scoped runtime, one of them None.
    """
    predictor = predictor_condition(workload, finding)
    if traffic is None:
        ingress = condition_of(old, INGRESS_READY) or ServiceCondition(INGRESS_READY, _UNKNOWN)
    elif traffic.finding:
        ingress = _failed(INGRESS_READY, traffic.finding)
    else:
        ingress = ServiceCondition(INGRESS_READY, _TRUE)
    wanted = {
        item.type: item for item in (predictor, ingress, ServiceCondition(STOPPED_CONDITION, _FALSE, INFO), *extra)
    }
    kept = [condition for condition in old.conditions or [] if condition.type not in _OWN]
    return InferenceServiceStatus(
        conditions=_living_set(kept, wanted, old.conditions or [], now),
        url=traffic.url if traffic else old.url,
        address=Address(url=traffic.address) if traffic else old.address,
        components={"predictor": {}},
        modelStatus=model_status(old.modelStatus or ModelStatus(), workload, finding, predictor, now),
        deploymentMode=mode,
        servingRuntimeName=runtimes[0],
        clusterServingRuntimeName=runtimes[1],
        observedGeneration=generation,
    )


# --- conditions -------------------------------------------------------------------------------------------------------


def predictor_condition(workload: Workload, finding: Finding | None) -> ServiceCondition:
    """Judge the predictor: by a spec that cannot be carried out, else by the Deployment, explained by the finding."""
    if finding is not None and finding.invalid_spec:
        return _failed(PREDICTOR_READY, finding)
    condition = _of_deployment(workload.deployment)
    if condition.status == _TRUE:
        return condition
    if finding is not None:
        return _failed(PREDICTOR_READY, finding)
    waiting_for = next((text for pod in workload.newest if (text := starting(pod))), None)
    if waiting_for is not None and condition.reason in {None, "MinimumReplicasUnavailable"}:
        condition.reason, condition.message = CONTAINERS_NOT_READY, waiting_for
    return condition


def _failed(condition: str, finding: Finding) -> ServiceCondition:
    return ServiceCondition(condition, _FALSE, reason=finding.reason, message=finding.message)


def _of_deployment(deployment: Deployment | None) -> ServiceCondition:
    """Apply KServe's rules: later ones win."""
    conditions = (deployment.status.conditions if deployment and deployment.status else None) or []
    by_type = {condition.type: condition for condition in conditions}
    verdict = ServiceCondition(PREDICTOR_READY, _UNKNOWN)
    available, progressing = by_type.get("Available"), by_type.get("Progressing")

    def decide(status: str, reason: str | None, message: str | None) -> None:
        nonlocal verdict
        verdict = ServiceCondition(PREDICTOR_READY, status, reason=reason, message=message)

    if available is not None and available.status == _TRUE:
        decide(_TRUE, None, None)
    if progressing is not None and progressing.status == _FALSE:
        decide(_FALSE, progressing.reason, progressing.message)
    if available is not None and available.status == _FALSE and (progressing is None or progressing.status != _FALSE):
        decide(_FALSE, available.reason, available.message)
    failure = by_type.get("ReplicaFailure")
    if failure is not None and failure.status == _TRUE:
        decide(_FALSE, failure.reason, failure.message)
    return verdict


def _living_set(
    kept: Sequence[ServiceCondition],
    wanted: Mapping[str, ServiceCondition],
    old: Sequence[ServiceCondition],
    now: datetime,
) -> list[ServiceCondition]:
    """Return all conditions, sorted; those of others are kept, `Ready` is derived, unchanged ones keep their time."""
    result = {condition.type: condition for condition in kept}
    result.update(wanted)
    result[READY] = _ready([wanted[name] for name in _DEPENDENTS if name in wanted])
    before = {condition.type: condition for condition in old}
    return [_stamped(result[name], before.get(name), now) for name in sorted(result)]


def _ready(dependents: Sequence[ServiceCondition]) -> ServiceCondition:
    for status in (_FALSE, _UNKNOWN):
        for condition in dependents:
            if condition.status == status:
                return ServiceCondition(READY, status, reason=condition.reason, message=condition.message)
    return ServiceCondition(READY, _TRUE)


def _stamped(new: ServiceCondition, old: ServiceCondition | None, now: datetime) -> ServiceCondition:
    same = old is not None and all(
        getattr(new, part) == getattr(old, part) for part in ("status", "reason", "message", "severity")
    )
    time = old.lastTransitionTime if old is not None and same else None
    return ServiceCondition(
        new.type, new.status, new.severity, new.reason, new.message, lastTransitionTime=time or timestamp(now)
    )


def condition_of(status: InferenceServiceStatus, name: str) -> ServiceCondition | None:
    """Find a condition."""
    return next((condition for condition in status.conditions or [] if condition.type == name), None)


# --- the model --------------------------------------------------------------------------------------------------------


def model_status(
    old: ModelStatus, workload: Workload, finding: Finding | None, predictor: ServiceCondition, now: datetime
) -> ModelStatus:
    """Tell how far the model is."""
    copies = ModelCopies(
        failedCopies=sum(1 for pod in workload.newest if trouble_of(pod)), totalCopies=workload.serving
    )
    active = "Loaded" if workload.serving else ""
    if finding is not None and (finding.invalid_spec or predictor.status != _TRUE or not workload.rolled_out):
        return ModelStatus(
            "InvalidSpec" if finding.invalid_spec else "BlockedByFailedLoad",
            ModelStates(active, "FailedToLoad"),
            _failure_info(finding, old.lastFailureInfo, now),
            copies,
        )
    if workload.newest and predictor.status == _TRUE and workload.rolled_out:
        return ModelStatus("UpToDate", ModelStates("Loaded", "Loaded"), None, copies)
    target = "Loading" if any(map(_server_runs, workload.newest)) else "Pending"
    # What went wrong before stays readable until the model is up, unless it was the spec, which has been changed.
    before = old.lastFailureInfo if old.transitionStatus != "InvalidSpec" else None
    return ModelStatus("InProgress", ModelStates(active, target), before, copies)


def _failure_info(finding: Finding, old: FailureInfo | None, now: datetime) -> FailureInfo:
    info = FailureInfo(
        location=finding.location, reason=finding.failure.value, message=finding.message, exitCode=finding.exit_code
    )
    same = old is not None and (old.location, old.reason, old.message) == (info.location, info.reason, info.message)
    info.time = old.time if old is not None and same and old.time else timestamp(now)
    return info


def _server_runs(pod: Pod) -> bool:
    statuses = (pod.status.containerStatuses if pod.status else None) or []
    return any(status.state and status.state.running for status in statuses)


def _is_ready(pod: Pod) -> bool:
    conditions = (pod.status.conditions if pod.status else None) or []
    return any(condition.type == READY and condition.status == _TRUE for condition in conditions)


def _created(pod: Pod) -> tuple[float, str]:
    meta = pod.metadata
    assert meta is not None
    return (meta.creationTimestamp.timestamp() if meta.creationTimestamp else 0.0, meta.name or "")


def _template(pod: Pod) -> str:
    labels: dict[str, str] = (pod.metadata.labels if pod.metadata else None) or {}
    return labels.get(POD_TEMPLATE_HASH_LABEL, "")


# --- what to tell -----------------------------------------------------------------------------------------------------


def events_between(
    name: str, old: InferenceServiceStatus, new: InferenceServiceStatus, findings: Iterable[Finding]
) -> list[EventNote]:
    """Return the events for the way from the old status to the new one: of findings, those that are new in it."""
    said_before, said_now = _said(old), _said(new)
    notes = [note_of(item) for item in findings if item.message in said_now and item.message not in said_before]
    before, after = condition_of(old, READY), condition_of(new, READY)
    was_ready, is_ready = (item is not None and item.status == _TRUE for item in (before, after))
    if is_ready and not was_ready:
        notes.append(became_ready(name))
    if was_ready and not is_ready:
        lost = [part.type for part in new.conditions or [] if part.type in _DEPENDENTS and part.status != _TRUE]
        notes.append(no_longer_ready(name, lost))
    return notes


def _said(status: InferenceServiceStatus) -> set[str | None]:
    failure = status.modelStatus.lastFailureInfo if status.modelStatus else None
    return {condition.message for condition in status.conditions or []} | {failure.message if failure else None}
