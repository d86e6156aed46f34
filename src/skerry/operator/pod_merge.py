"""The strategic merge of what a runtime says and what an InferenceService says about one pod.

Kubernetes' own patch does it, with two rules that are KServe's: a container's `args` are appended, and an empty text or
list says nothing (Go leaves them out), so it overrides nothing. A volume, and a variable that has a value, replace the
one of the same name as a whole, because each has one source only.
"""

from collections.abc import Mapping
from typing import Any, Final

from lightkube.models.core_v1 import Container, PodSpec

from skerry.api.merge_keys import MERGE_RULES
from skerry.machinery.strategic import RETAIN, strategic_merge

Json = dict[str, Any]

_VALUES: Final = ("value", "valueFrom")


def merge_container(runtime: Mapping[str, Any], given: Mapping[str, Any]) -> Json:
    """Merge a container of the InferenceService over the runtime's."""
    patch = _said(given)
    patch["env"] = [_alone(item) if any(map(item.get, _VALUES)) else item for item in patch.get("env", [])]
    merged = strategic_merge(dict(runtime), patch, Container, MERGE_RULES)
    merged["args"] = [*(runtime.get("args") or []), *(given.get("args") or [])]
    return {key: value for key, value in merged.items() if value != []}


def merge_pod(runtime: Mapping[str, Any], given: Mapping[str, Any]) -> Json:
    """Merge the fields of the InferenceService's pod over the runtime's; their containers are merged on their own."""
    patch = _said(given)
    if "volumes" in patch:
        patch["volumes"] = [_alone(item) for item in patch["volumes"]]
    return strategic_merge(dict(runtime), patch, PodSpec, MERGE_RULES)


def _alone(item: Json) -> Json:
    return {**item, RETAIN: list(item)}


def _said(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _said(item) for key, item in value.items() if item not in ("", [], None)}
    return [_said(item) for item in value] if isinstance(value, list) else value
