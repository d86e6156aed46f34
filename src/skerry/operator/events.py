"""The operator's vocabulary: what it can find wrong, and what it says about it.

A `Finding` is made where the fact is known, and carries everything that is said about it: reason and message of the
condition, the same of the event, the entry of `modelStatus.lastFailureInfo`, and the label under which it is counted.

    Refused                     raised by the rooms of the plan; carries a Finding; ends in the status, never in a crash
      ConfigInvalid             the ConfigMap cannot be read; the Finding is about it, not about the user's object
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

PREDICTOR_READY: Final = "PredictorReady"
INGRESS_READY: Final = "IngressReady"

# KServe's component name in events.
COMPONENT: Final = "v1beta1Controllers"

READY_EVENT: Final = "InferenceServiceReady"
NOT_READY_EVENT: Final = "InferenceServiceNotReady"

# Reasons that are not Kubernetes' own (those, such as ImagePullBackOff, are passed on as they come).
RECONCILE_FAILED: Final = "ReconcileFailed"
STOPPED: Final = "Stopped"
OOM_KILLED: Final = "OOMKilled"
CONTAINERS_NOT_READY: Final = "ContainersNotReady"


class Failure(StrEnum):
    """`lastFailureInfo.reason`, the enumeration of KServe's schema."""

    MODEL_LOAD_FAILED = "ModelLoadFailed"
    RUNTIME_UNHEALTHY = "RuntimeUnhealthy"
    RUNTIME_DISABLED = "RuntimeDisabled"
    NO_SUPPORTING_RUNTIME = "NoSupportingRuntime"
    RUNTIME_NOT_RECOGNIZED = "RuntimeNotRecognized"
    INVALID_PREDICTOR_SPEC = "InvalidPredictorSpec"


@dataclass(frozen=True)
class Finding:
    """One thing that stands in the way of a model.

    `invalid_spec`: the user has to change the object; otherwise the model was tried and did not come up.
    """

    reason: str
    message: str
    failure: Failure
    invalid_spec: bool = True
    location: str | None = None
    exit_code: int | None = None


@dataclass(frozen=True)
class EventNote:
    """One event to be written about the InferenceService."""

    severity: Literal["Normal", "Warning"]
    reason: str
    message: str


class Refused(Exception):
    """The InferenceService cannot be served as it is written."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


class ConfigInvalid(Refused):
    """The operator's own configuration cannot be read."""


def refused(failure: Failure, message: str, *, reason: str | None = None) -> Refused:
    """Refuse the spec; the reason is the failure's own unless a more exact one is given."""
    return Refused(Finding(reason or failure.value, message, failure))


def config_invalid(message: str) -> ConfigInvalid:
    """Refuse to go on with a configuration that cannot be read; a model that serves is left alone and stays ready."""
    return ConfigInvalid(Finding(RECONCILE_FAILED, message, Failure.RUNTIME_UNHEALTHY, invalid_spec=False))


def reconcile_failed(message: str) -> Finding:
    """The API refused what was planned."""
    return Finding(RECONCILE_FAILED, message, Failure.INVALID_PREDICTOR_SPEC)


def note_of(finding: Finding) -> EventNote:
    """Tell of a finding."""
    return EventNote("Warning", finding.reason, finding.message)


def became_ready(name: str) -> EventNote:
    """Tell of success."""
    return EventNote("Normal", READY_EVENT, f"InferenceService [{name}] is Ready")


def no_longer_ready(name: str, because: list[str]) -> EventNote:
    """Tell of the loss of readiness, with the conditions that were lost."""
    text = f"InferenceService [{name}] is no longer Ready because of: {', '.join(because)}"
    return EventNote("Warning", NOT_READY_EVENT, text)
