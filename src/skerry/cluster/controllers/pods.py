"""What controllers ask of a pod: is it counted, is it ready, since when."""

from datetime import datetime

from lightkube.models.core_v1 import PodCondition
from lightkube.resources.core_v1 import Pod

from skerry.cluster.controllers.ownership import deleting, meta


def phase(pod: Pod) -> str:
    """Return the phase; a pod that no node has seen is Pending."""
    return (pod.status.phase if pod.status else None) or "Pending"


def finished(pod: Pod) -> bool:
    """Tell whether the pod ran to an end and will not run again."""
    return phase(pod) in {"Succeeded", "Failed"}


def active(pod: Pod) -> bool:
    """Tell whether the pod counts as a replica: not finished, not being deleted."""
    return not finished(pod) and not deleting(pod)


def condition(pod: Pod, kind: str) -> PodCondition | None:
    """Return one condition of the pod."""
    conditions = (pod.status.conditions if pod.status else None) or []
    return next((each for each in conditions if each.type == kind), None)


def ready(pod: Pod) -> bool:
    """Tell whether the pod takes traffic."""
    found = condition(pod, "Ready")
    return found is not None and found.status == "True"


def seconds_to_available(pod: Pod, min_ready_seconds: int, now: datetime) -> float | None:
    """Return how long until the pod counts as available, 0 when it does; None while it is not ready."""
    found = condition(pod, "Ready")
    if found is None or found.status != "True":
        return None
    since = found.lastTransitionTime or meta(pod).creationTimestamp
    if not min_ready_seconds or since is None:
        return 0.0
    return max(0.0, min_ready_seconds - (now - since).total_seconds())


def restarts(pod: Pod) -> int:
    """Return the restart count of the pod's busiest container."""
    statuses = (pod.status.containerStatuses if pod.status else None) or []
    return max((status.restartCount for status in statuses), default=0)


def all_restarts(pod: Pod) -> int:
    """Return how often the containers of the pod were restarted, together."""
    status = pod.status
    found = [
        *((status.containerStatuses if status else None) or []),
        *((status.initContainerStatuses if status else None) or []),
    ]
    return sum(each.restartCount for each in found)
