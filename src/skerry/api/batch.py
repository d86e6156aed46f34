"""batch/v1: Job.

Pods of a job are found by its uid, which the server writes into the selector and the labels of the template; that is
what `manualSelector` is about. A job without labels of its own takes those of its template.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from lightkube.models import batch_v1

from skerry.api import cells
from skerry.api.cells import AGE_COLUMN, NAME_COLUMN, WORKLOAD_WIDE, moment, since, spec, status
from skerry.api.checks import Errors, non_negative, one_of, unchanged
from skerry.api.filling import branch, fill
from skerry.api.pods.defaults import default_pod_template
from skerry.api.pods.validation import validate_pod_spec
from skerry.api.pods.warnings import warn_workload
from skerry.api.registry import Column, Kind, Object
from skerry.api.selectors import matches, validate_selector
from skerry.machinery.fielderrors import forbidden, invalid, required
from skerry.machinery.humanduration import human_duration

CONTROLLER_UID: Final = "batch.kubernetes.io/controller-uid"
JOB_NAME: Final = "batch.kubernetes.io/job-name"
# The names that these labels had before they had a domain; clients select by either.
_OLD_NAMES: Final = {CONTROLLER_UID: "controller-uid", JOB_NAME: "job-name"}
_RETRIES: Final = 6
_NO_LIMIT: Final = 2**31 - 1
_MOST_INDEXES: Final = 100_000
_NAME_LIMIT: Final = 63


def _default(job: Object) -> None:
    own = branch(job, "spec")
    if own.get("completions") is None and own.get("parallelism") is None:
        own["completions"] = 1
    # A limit for each index stands in for the limit of them all.
    retries = _NO_LIMIT if own.get("backoffLimitPerIndex") is not None else _RETRIES
    replacement = "Failed" if own.get("podFailurePolicy") else "TerminatingOrFailed"
    fill(
        own,
        parallelism=1,
        backoffLimit=retries,
        completionMode="NonIndexed",
        suspend=False,
        manualSelector=False,
        podReplacementPolicy=replacement,
    )
    template = branch(own, "template")
    default_pod_template(template)
    _select(job, own, template)
    labels = (template.get("metadata") or {}).get("labels")
    if labels and not job["metadata"].get("labels"):
        job["metadata"]["labels"] = dict(labels)


def _select(job: Object, own: Object, template: Object) -> None:
    """Choose the pods by the uid of the job, once it has one."""
    uid, name = job["metadata"].get("uid"), job["metadata"].get("name")
    if own["manualSelector"] or not uid or not name or own.get("selector"):
        return
    labels = branch(branch(template, "metadata"), "labels")
    for label, value in ((CONTROLLER_UID, uid), (JOB_NAME, name)):
        labels[label] = labels[_OLD_NAMES[label]] = value
    own["selector"] = {"matchLabels": {CONTROLLER_UID: uid}}


def _validate(job: Object, old: Object | None) -> Errors:
    own, template = spec(job), spec(job).get("template") or {}
    errors: Errors = []
    for field in ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"):
        errors += non_negative(f"spec.{field}", own.get(field))
    errors += _mode(job, own)
    errors += _template(own, template)
    if old is not None:
        errors += _fixed(own, spec(old))
    return errors


def _mode(job: Object, own: Mapping[str, Any]) -> Errors:
    mode = own.get("completionMode")
    errors = one_of("spec.completionMode", mode, ("Indexed", "NonIndexed"))
    errors += one_of("spec.podReplacementPolicy", own.get("podReplacementPolicy"), ("Failed", "TerminatingOrFailed"))
    for field in ("backoffLimitPerIndex", "maxFailedIndexes", "successPolicy", "podFailurePolicy"):
        if own.get(field) is not None:
            errors.append(forbidden(f"spec.{field}", "not served here; use backoffLimit"))
    if mode != "Indexed":
        return errors
    if own.get("completions") is None:
        errors.append(required("spec.completions", "when completion mode is Indexed"))
        return errors
    for field in ("completions", "parallelism"):
        if (own.get(field) or 0) > _MOST_INDEXES:
            errors.append(invalid(f"spec.{field}", own[field], f"must be less than or equal to {_MOST_INDEXES}"))
    longest = f"{job['metadata'].get('name', '')}-{max(own['completions'] - 1, 0)}"
    if len(longest) > _NAME_LIMIT:
        why = f"will not able to create pod with invalid DNS label {longest!r}: must be no more than 63 characters"
        errors.append(invalid("metadata.name", longest, why))
    return errors


def _template(own: Mapping[str, Any], template: Mapping[str, Any]) -> Errors:
    pod = template.get("spec") or {}
    errors = validate_pod_spec("spec.template.spec", pod)
    if pod.get("restartPolicy") not in {"Never", "OnFailure"}:
        errors.append(required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"'))
    selector = own.get("selector")
    if selector is None:
        return [*errors, required("spec.selector")]
    wrong = validate_selector("spec.selector", selector)
    labels = (template.get("metadata") or {}).get("labels") or {}
    if not wrong and not matches(selector, labels):
        errors.append(invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`"))
    return errors + wrong


def _fixed(new: Mapping[str, Any], old: Mapping[str, Any]) -> Errors:
    errors: Errors = []
    fields = ["selector", "template", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy"]
    if new.get("completionMode") != "Indexed":
        fields.insert(0, "completions")
    for field in fields:
        errors += unchanged(f"spec.{field}", new.get(field), old.get(field))
    return errors


def _true(job: Object, kind: str) -> bool:
    found = status(job).get("conditions") or []
    return any(each.get("type") == kind and each.get("status") == "True" for each in found)


def _state(job: Object, _now: datetime) -> str:
    for kind in ("Complete", "Failed"):
        if _true(job, kind):
            return kind
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next((kind for kind in ("Suspended", "FailureTarget", "SuccessCriteriaMet") if _true(job, kind)), "Running")


def _completions(job: Object, _now: datetime) -> str:
    own, done = spec(job), status(job).get("succeeded") or 0
    if own.get("completions") is not None:
        return f"{done}/{own['completions']}"
    width = own.get("parallelism") or 0
    return f"{done}/1 of {width}" if width > 1 else f"{done}/1"


def _duration(job: Object, now: datetime) -> str:
    begun, ended = moment(status(job).get("startTime")), moment(status(job).get("completionTime"))
    if begun is None:
        return ""
    return human_duration(ended - begun) if ended is not None else since(status(job)["startTime"], now)


JOB: Final = Kind(
    "batch",
    "v1",
    "Job",
    "jobs",
    namespaced=True,
    model=batch_v1.Job,
    columns=(
        NAME_COLUMN,
        Column("Status", _state),
        Column("Completions", _completions),
        Column("Duration", _duration),
        AGE_COLUMN,
        *WORKLOAD_WIDE[:2],
        Column("Selector", lambda job, _: cells.selector(spec(job).get("selector")), priority=1),
    ),
    categories=("all",),
    subresources=("status",),
    default=_default,
    validate=_validate,
    warn=warn_workload,
    orphans=True,
)
