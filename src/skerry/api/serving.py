"""The kinds of KServe that Skerry serves: InferenceService, ServingRuntime, ClusterServingRuntime.

The structs are in `serving_types`, the rules in `serving_admission`; here they become served kinds. The columns are
those of KServe's CRDs, in which a JSONPath with `[*]` prints its first value only.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from skerry.api import serving_admission as admission
from skerry.api.cells import AGE_COLUMN, NAME_COLUMN, spec, status
from skerry.api.registry import Column, Kind, Object
from skerry.api.serving_types import (
    GROUP,
    INFERENCE_SERVICE_VERSION,
    RUNTIME_VERSION,
    ClusterServingRuntime,
    InferenceService,
    ServingRuntime,
)

__all__ = ["SERVING_KINDS", "ClusterServingRuntime", "InferenceService", "ServingRuntime", "serving_kinds"]

Cell = Callable[[Object, datetime], Any]


def _ready(obj: Object, _now: datetime) -> str | None:
    conditions = status(obj).get("conditions") or []
    return next((condition.get("status") for condition in conditions if condition.get("type") == "Ready"), None)


def _traffic(field: str, *, latest: bool) -> Cell:
    """Knative's traffic split; always blank here, as on MicroShift."""

    def cell(obj: Object, _now: datetime) -> Any:
        predictor = (status(obj).get("components") or {}).get("predictor") or {}
        for target in predictor.get("traffic") or []:
            if target.get("latestRevision") is True if latest else target.get("tag") == "prev":
                return target.get(field)
        return None

    return cell


def _first_name(field: str) -> Cell:
    def cell(obj: Object, _now: datetime) -> str | None:
        items = spec(obj).get(field) or []
        return items[0].get("name") if items else None

    return cell


_INFERENCE_SERVICE_COLUMNS: Final = (
    NAME_COLUMN,
    Column("URL", lambda obj, _: status(obj).get("url")),
    Column("Ready", _ready),
    Column("Prev", _traffic("percent", latest=False), type="integer"),
    Column("Latest", _traffic("percent", latest=True), type="integer"),
    Column("PrevRolledoutRevision", _traffic("revisionName", latest=False)),
    Column("LatestReadyRevision", _traffic("revisionName", latest=True)),
    AGE_COLUMN,
)
_RUNTIME_COLUMNS: Final = (
    NAME_COLUMN,
    Column("Disabled", lambda obj, _: spec(obj).get("disabled"), type="boolean"),
    Column("ModelType", _first_name("supportedModelFormats")),
    Column("Containers", _first_name("containers")),
    AGE_COLUMN,
)


def serving_kinds(
    *, deployment_mode: str = admission.RAW_DEPLOYMENT, automount_token: bool = False
) -> tuple[Kind, ...]:
    """Make the kinds for a configuration of KServe; the defaults are MicroShift's."""
    inference_service = Kind(
        group=GROUP,
        version=INFERENCE_SERVICE_VERSION,
        kind="InferenceService",
        plural="inferenceservices",
        namespaced=True,
        model=InferenceService,
        columns=_INFERENCE_SERVICE_COLUMNS,
        short_names=("isvc",),
        subresources=("status",),
        default=admission.inference_service_defaults(deployment_mode=deployment_mode, automount_token=automount_token),
        validate=admission.validate_inference_service,
        warn=admission.warn_inference_service,
        open_fields=("status",),
    )
    return (inference_service, _runtime_kind(ServingRuntime), _runtime_kind(ClusterServingRuntime))


def _runtime_kind(model: type[ServingRuntime | ClusterServingRuntime]) -> Kind:
    return Kind(
        group=GROUP,
        version=RUNTIME_VERSION,
        kind=model.__name__,
        plural=f"{model.__name__.lower()}s",
        namespaced=model is ServingRuntime,
        model=model,
        columns=_RUNTIME_COLUMNS,
        validate=admission.validate_serving_runtime,
        warn=admission.warn_serving_runtime,
        open_fields=("status",),
    )


SERVING_KINDS: Final = serving_kinds()
