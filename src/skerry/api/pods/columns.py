"""What `kubectl get pods` prints; above all the STATUS cell, which is worked out from phase, reason and containers.

The order matters and is the real printer's: an init container that is not done hides everything else, then the first
container with something to say wins, then deletion.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from skerry.api.cells import AGE_COLUMN, NAME_COLUMN, NONE, moment, since, spec, status
from skerry.api.registry import Column, Object

_NODE_LOST: Final = "NodeLost"
_TERMINAL: Final = frozenset({"Succeeded", "Failed"})


@dataclass
class _Tally:
    """What is gathered while walking over the container statuses."""

    ready: int = 0
    restarts: int = 0
    restarted: datetime | None = None

    def add(self, container: Mapping[str, Any]) -> None:
        self.restarts += container.get("restartCount") or 0
        ended = moment(_state(container, "lastState", "terminated").get("finishedAt"))
        if ended is not None and (self.restarted is None or ended > self.restarted):
            self.restarted = ended


@dataclass(frozen=True)
class PodSummary:
    """The cells that belong together."""

    reason: str
    ready: int
    total: int
    restarts: int
    restarted: datetime | None


def _state(container: Mapping[str, Any], which: str, state: str) -> dict[str, Any]:
    found: dict[str, Any] = (container.get(which) or {}).get(state) or {}
    return found


def _has(container: Mapping[str, Any], state: str) -> bool:
    return (container.get("state") or {}).get(state) is not None


def _ending(terminated: Mapping[str, Any]) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _condition(pod: Object, kind: str) -> Mapping[str, Any]:
    for condition in status(pod).get("conditions") or []:
        if condition.get("type") == kind:
            found: Mapping[str, Any] = condition
            return found
    return {}


def _restartable(pod: Object) -> set[str]:
    containers = spec(pod).get("initContainers") or []
    return {container["name"] for container in containers if container.get("restartPolicy") == "Always"}


def summary(pod: Object) -> PodSummary:
    """Work out READY, STATUS and RESTARTS."""
    sidecars = _restartable(pod)
    reason = status(pod).get("reason") or status(pod).get("phase") or ""
    if _condition(pod, "PodScheduled").get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    starting, tally, sidecar_tally = _initialisation(pod, sidecars)
    if starting is not None:
        reason = starting
    if starting is None or _condition(pod, "Initialized").get("status") == "True":
        sidecar_tally.ready = tally.ready
        tally = sidecar_tally
        reason = _running(pod, reason, tally)
    if pod["metadata"].get("deletionTimestamp"):
        reason = _deleting(pod, reason)
    total = len(spec(pod).get("containers") or []) + len(sidecars)
    return PodSummary(reason, tally.ready, total, tally.restarts, tally.restarted)


def _deleting(pod: Object, reason: str) -> str:
    if status(pod).get("reason") == _NODE_LOST:
        return "Unknown"
    return reason if status(pod).get("phase") in _TERMINAL else "Terminating"


def _initialisation(pod: Object, sidecars: set[str]) -> tuple[str | None, _Tally, _Tally]:
    """Say what the first unfinished init container does; None when all are done."""
    tally, sidecar_tally = _Tally(), _Tally()
    total = len(spec(pod).get("initContainers") or [])
    for index, container in enumerate(status(pod).get("initContainerStatuses") or []):
        tally.add(container)
        sidecar = container.get("name") in sidecars
        if sidecar:
            sidecar_tally.add(container)
        terminated = _state(container, "state", "terminated")
        if _has(container, "terminated") and not terminated.get("exitCode"):
            continue
        if sidecar and container.get("started"):
            tally.ready += 1 if container.get("ready") else 0
            continue
        if _has(container, "terminated"):
            return f"Init:{_ending(terminated)}", tally, sidecar_tally
        waiting = _state(container, "state", "waiting").get("reason")
        if waiting and waiting != "PodInitializing":
            return f"Init:{waiting}", tally, sidecar_tally
        return f"Init:{index}/{total}", tally, sidecar_tally
    return None, tally, sidecar_tally


def _running(pod: Object, reason: str, tally: _Tally) -> str:
    running = False
    # Backwards, so that the first container that waits or ended has the last word.
    for container in reversed(status(pod).get("containerStatuses") or []):
        tally.add(container)
        waiting = _state(container, "state", "waiting").get("reason")
        if waiting:
            reason = waiting
        elif _has(container, "terminated"):
            reason = _ending(_state(container, "state", "terminated"))
        elif container.get("ready") and _has(container, "running"):
            running = True
            tally.ready += 1
    if reason == "Completed" and running:
        return "Running" if _condition(pod, "Ready").get("status") == "True" else "NotReady"
    return reason


def _ready(pod: Object, _now: datetime) -> str:
    found = summary(pod)
    return f"{found.ready}/{found.total}"


def _restarts(pod: Object, now: datetime) -> str:
    found = summary(pod)
    if found.restarts and found.restarted is not None:
        return f"{found.restarts} ({since(found.restarted.isoformat(), now)} ago)"
    return str(found.restarts)


def _ip(pod: Object, _now: datetime) -> str:
    addresses = status(pod).get("podIPs") or []
    return (addresses[0].get("ip") if addresses else status(pod).get("podIP")) or NONE


def _gates(pod: Object, _now: datetime) -> str:
    gates = spec(pod).get("readinessGates") or []
    passed = sum(_condition(pod, gate.get("conditionType", "")).get("status") == "True" for gate in gates)
    return f"{passed}/{len(gates)}" if gates else NONE


POD_COLUMNS: Final = (
    NAME_COLUMN,
    Column("Ready", _ready),
    Column("Status", lambda pod, _: summary(pod).reason),
    Column("Restarts", _restarts),
    AGE_COLUMN,
    Column("IP", _ip, priority=1),
    Column("Node", lambda pod, _: spec(pod).get("nodeName") or NONE, priority=1),
    Column("Nominated Node", lambda pod, _: status(pod).get("nominatedNodeName") or NONE, priority=1),
    Column("Readiness Gates", _gates, priority=1),
)
