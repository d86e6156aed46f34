"""What `skerry status` says of one model.

A model that is scaled to 0 is Ready for KServe, because its Deployment has all the pods that it wants. Nobody answers
for it, though, so here it is not; and since somebody wanted that, it is no trouble either. The same holds for one that
the annotation `serving.kserve.io/stop` has stopped.
"""

from collections.abc import Sequence
from typing import Any, Final

from skerry.api.serving_admission import AUTOSCALER_CLASS_ANNOTATION

Item = dict[str, Any]

SCALED: Final = "Scaled to 0"
STOPPED: Final = "Stopped"
_STOP_ANNOTATION: Final = "serving.kserve.io/stop"


def model_status(item: Item, deployments: Sequence[Item], route: str) -> Item:
    """Say whether the model answers, where, and what keeps it from that."""
    meta, state = item["metadata"], item.get("status") or {}
    ready, reason, message = ready_of(item)
    replicas = _replicas(item, deployments)
    failure = ((state.get("modelStatus") or {}).get("lastFailureInfo") or {}).get("message", "")
    off, message = "", "" if ready == "True" else failure or message
    if reason == STOPPED:
        off, replicas, message = STOPPED, 0, _started_by(meta)
    elif ready == "True" and replicas == 0:
        off, ready, message = SCALED, "False", f"no request wakes it; this does: {_woken_by(item)}"
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "ready": ready,
        "replicas": replicas,
        "off": off,
        "route": route,
        "url": state.get("url", ""),
        "message": message,
    }


def ready_of(item: Item) -> tuple[str, str, str]:
    """Return the status, the reason and the message of the condition Ready."""
    for condition in (item.get("status") or {}).get("conditions") or []:
        if condition["type"] == "Ready":
            return condition["status"], condition.get("reason", ""), condition.get("message", "")
    return "Unknown", "", ""


def _replicas(item: Item, deployments: Sequence[Item]) -> int | None:
    """Return how many pods are wanted, None where there is no Deployment."""
    uid = item["metadata"].get("uid")
    for deployment in deployments:
        if any(owner["uid"] == uid for owner in deployment["metadata"].get("ownerReferences") or []):
            wanted: int = deployment["spec"].get("replicas", 1)
            return wanted
    return None


def _woken_by(item: Item) -> str:
    meta = item["metadata"]
    scaler = (meta.get("annotations") or {}).get(AUTOSCALER_CLASS_ANNOTATION)
    if scaler == "none" and item["spec"]["predictor"].get("minReplicas") == 0:
        # The operator would put the Deployment back to what is written here.
        change = '\'{"spec":{"predictor":{"minReplicas":1}}}\''
        return f"kubectl patch isvc -n {meta['namespace']} {meta['name']} --type=merge -p {change}"
    return f"kubectl scale deployment -n {meta['namespace']} {meta['name']}-predictor --replicas=1"


def _started_by(meta: Item) -> str:
    command = f"kubectl annotate isvc -n {meta['namespace']} {meta['name']} {_STOP_ANNOTATION}-"
    return f"the annotation {_STOP_ANNOTATION} is true; this starts it: {command}"
