"""The status of a pod, as the kubelet would write it: a pure function of the pod and what the node knows.

The result is JSON, for a merge patch: lists are complete (conditions of others are carried over), and fields that may
have to disappear are null.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgspec

from skerry.api.pods.defaults import quality_of_service
from skerry.cluster.node import pod_plan
from skerry.cluster.node.runtime import PodState, Run, Settings
from skerry.kit.clock import timestamp

Json = dict[str, Any]

_OURS: Final = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")


@dataclass(frozen=True)
class _Counts:
    """How many containers are in which state; what the phase follows from."""

    waiting: int = 0
    running: int = 0
    stopped: int = 0
    succeeded: int = 0


def pod_status(pod: Any, state: PodState, settings: Settings, host_ip: str, now: datetime) -> Json:
    """Compute the whole status."""
    containers = [_container_status(pod, each, state, settings, now, init=False) for each in pod.spec.containers]
    init = [_container_status(pod, each, state, settings, now, init=True) for each in pod.spec.initContainers or []]
    phase = _phase(pod, state, containers)
    ended = phase in {"Succeeded", "Failed"}
    failure = state.evicted
    return {
        "observedGeneration": pod.metadata.generation,
        "phase": phase,
        "conditions": _conditions(pod, state, phase, containers, now),
        "message": failure.message if failure else None,
        "reason": failure.reason if failure else None,
        "hostIP": host_ip,
        "hostIPs": [{"ip": host_ip}],
        "podIP": state.ip or None,
        "podIPs": [{"ip": state.ip}] if state.ip else None,
        "startTime": timestamp(state.start_time) if state.start_time else None,
        "initContainerStatuses": init or None,
        "containerStatuses": [_settled(each) for each in containers] if ended else containers,
        "qosClass": (pod.status and pod.status.qosClass) or quality_of_service(_plain(pod.spec)),
    }


def container_id(uid: str, name: str, attempt: int) -> str:
    """Name one attempt; the same for every daemon that looks at it."""
    return "skerry://" + hashlib.sha256(f"{uid}/{name}/{attempt}".encode()).hexdigest()


def _plain(spec: Any) -> Json:
    plain: Json = msgspec.to_builtins(spec)
    return plain


def _settled(status: Json) -> Json:
    return {**status, "ready": False}


def _container_status(
    pod: Any, container: Any, state: PodState, settings: Settings, now: datetime, *, init: bool
) -> Json:
    own = state.of(container.name)
    run, last = own.current, own.previous
    shown, waits = _shown_state(pod, container, state, settings, now, init=init)
    if waits and run is not None and not run.active:
        last = run
    known = run or last
    sidecar = init and container.restartPolicy == "Always"
    running = "running" in shown
    ready = running and own.startup_passed and own.ready
    if init and not sidecar:
        ready = run is not None and not run.active and run.exit_code == 0
    status: Json = {
        "name": container.name,
        "image": container.image or "",
        "imageID": known.image_id if known else "",
        "ready": ready,
        "restartCount": known.attempt if known else 0,
        "started": running and (own.startup_passed or (init and not sidecar)),
        "state": shown,
        "lastState": {"terminated": _terminated(last)} if last else {},
    }
    if known:
        status["containerID"] = known.container_id
    return status


def _shown_state(
    pod: Any, container: Any, state: PodState, settings: Settings, now: datetime, *, init: bool
) -> tuple[Json, bool]:
    """Return the `state` of a container, and whether it is a waiting one."""
    own = state.of(container.name)
    run = own.current
    if run is not None and run.phase == "running":
        return {"running": {"startedAt": timestamp(run.started_at) if run.started_at else None}}, False
    if run is not None and run.phase == "exited":
        if not _will_restart(pod, container, state, run, init=init):
            return {"terminated": _terminated(run)}, False
        until = pod_plan.held_back_until(own, settings, now)
        if until is not None and own.back_off is not None:
            message = pod_plan.back_off_message(pod, container.name, own.back_off.delay)
            return _waiting("CrashLoopBackOff", message), True
        if own.waiting is None:
            return {"terminated": _terminated(run)}, False
    if own.waiting is not None:
        return _waiting(own.waiting.reason, own.waiting.message), True
    if run is None and state.problem is not None and state.problem.reason != "FailedMount":
        return _waiting(state.problem.reason, state.problem.message), True
    uninitialised = bool(pod.spec.initContainers) and (init or not pod_plan.initialised(pod, state))
    return _waiting("PodInitializing" if uninitialised else "ContainerCreating", ""), True


def _will_restart(pod: Any, container: Any, state: PodState, run: Run, *, init: bool) -> bool:
    if state.evicted or state.gone or pod.metadata.deletionTimestamp or state.over:
        return False
    if init and container.restartPolicy != "Always":
        return run.exit_code != 0 and pod_plan.policy(pod) != "Never"
    return pod_plan.restarts(run, "Always" if init else pod_plan.policy(pod))


def _waiting(reason: str, message: str) -> Json:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def _terminated(run: Run) -> Json:
    details: Json = {"exitCode": run.exit_code, "reason": run.reason}
    if run.message:
        details["message"] = run.message
    details["startedAt"] = timestamp(run.started_at) if run.started_at else None
    details["finishedAt"] = timestamp(run.finished_at) if run.finished_at else None
    details["containerID"] = run.container_id
    return details


def _phase(pod: Any, state: PodState, containers: Sequence[Json]) -> str:
    if state.over:
        return state.over
    if state.evicted:
        return "Failed"
    if _init_failed(pod, state):
        return "Failed"
    counts = _count(containers)
    ending = bool(pod.metadata.deletionTimestamp or state.gone)
    if not pod_plan.initialised(pod, state):
        return "Failed" if ending and _nothing_runs(state) and counts.stopped else "Pending"
    if counts.waiting:
        return "Pending"
    if counts.running:
        return "Running"
    if not counts.stopped:
        return "Pending"
    if counts.stopped == counts.succeeded and (pod_plan.policy(pod) != "Always" or ending):
        return "Succeeded"
    if pod_plan.policy(pod) == "Never" or ending:
        return "Failed"
    return "Running"


def _nothing_runs(state: PodState) -> bool:
    return not any(own.active for own in state.containers.values())


def _init_failed(pod: Any, state: PodState) -> bool:
    if pod_plan.policy(pod) != "Never":
        return False
    ordinary = [each for each in pod.spec.initContainers or [] if each.restartPolicy != "Always"]
    runs = [state.of(each.name).current for each in ordinary]
    return any(run is not None and not run.active and run.exit_code != 0 for run in runs)


def _count(containers: Sequence[Json]) -> _Counts:
    waiting = running = stopped = succeeded = 0
    for container in containers:
        shown = container["state"]
        if "running" in shown:
            running += 1
        elif "terminated" in shown:
            stopped += 1
            succeeded += shown["terminated"]["exitCode"] == 0
        elif container["lastState"]:
            stopped += 1
        else:
            waiting += 1
    return _Counts(waiting, running, stopped, succeeded)


# Conditions


def _conditions(pod: Any, state: PodState, phase: str, containers: Sequence[Json], now: datetime) -> list[Json]:
    unready = [each["name"] for each in containers if not each["ready"]]
    unready += [each.name for each in pod_plan.sidecars(pod) if not state.of(each.name).ready]
    before = {each.type: each for each in (pod.status and pod.status.conditions) or []}
    sandbox = (
        bool(state.ip)
        and (state.prepared == "yes" or not _nothing_runs(state))
        and phase not in {"Succeeded", "Failed"}
    )
    containers_ready = _containers_ready(phase, unready)
    wanted = [
        ("PodReadyToStartContainers", sandbox, "", ""),
        ("Initialized", *_initialized(pod, state, phase)),
        ("Ready", *_ready(pod, before, containers_ready)),
        ("ContainersReady", *containers_ready),
    ]
    result = [_condition(pod, before, kind, holds, reason, text, now) for kind, holds, reason, text in wanted]
    return result + [_carried_over(each) for each in before.values() if each.type not in _OURS]


def _initialized(pod: Any, state: PodState, phase: str) -> tuple[bool, str, str]:
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    incomplete = [
        each.name
        for each in pod.spec.initContainers or []
        if not pod_plan.initialised(pod, state) and not _is_done(each, state)
    ]
    if not incomplete:
        return True, "", ""
    return False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(incomplete)}]"


def _is_done(container: Any, state: PodState) -> bool:
    own = state.of(container.name)
    if own.current is None:
        return False
    if container.restartPolicy == "Always":
        return own.startup_passed
    return not own.current.active and own.current.exit_code == 0


def _containers_ready(phase: str, unready: Sequence[str]) -> tuple[bool, str, str]:
    if phase == "Succeeded":
        return False, "PodCompleted", ""
    if phase == "Failed":
        return False, "PodFailed", ""
    if unready:
        return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return True, "", ""


def _ready(pod: Any, before: Mapping[str, Any], containers: tuple[bool, str, str]) -> tuple[bool, str, str]:
    if not containers[0]:
        return containers
    messages = []
    for gate in pod.spec.readinessGates or []:
        present = before.get(gate.conditionType)
        if present is None:
            messages.append(f'corresponding condition of pod readiness gate "{gate.conditionType}" does not exist.')
        elif present.status != "True":
            messages.append(
                f'the status of pod readiness gate "{gate.conditionType}" is not "True", but {present.status}'
            )
    return (False, "ReadinessGatesNotReady", ", ".join(messages)) if messages else containers


def _condition(
    pod: Any, before: Mapping[str, Any], kind: str, holds: bool, reason: str, message: str, now: datetime
) -> Json:
    status = "True" if holds else "False"
    old = before.get(kind)
    since = old.lastTransitionTime if old is not None and old.status == status else None
    condition: Json = {"type": kind, "status": status, "observedGeneration": pod.metadata.generation}
    condition |= {"lastProbeTime": None, "lastTransitionTime": timestamp(since or now)}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    return condition


def _carried_over(condition: Any) -> Json:
    plain: Json = {key: value for key, value in msgspec.to_builtins(condition).items() if value is not None}
    plain["lastProbeTime"] = timestamp(condition.lastProbeTime) if condition.lastProbeTime else None
    if condition.lastTransitionTime:
        plain["lastTransitionTime"] = timestamp(condition.lastTransitionTime)
    return plain
