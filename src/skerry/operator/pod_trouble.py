"""What keeps a pod from serving, read from its status: one reason, one container, one sentence.

KServe looks at one container of one pod, and only at some of its states, so a missing image, too little memory or an
unschedulable pod are all shown as `Pending`. Here every container, init container and the scheduler's condition are
looked at, the worst first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lightkube.models.core_v1 import ContainerStateTerminated, ContainerStatus
from lightkube.resources.core_v1 import Pod

from skerry.operator.events import OOM_KILLED, Failure, Finding
from skerry.operator.model_source import MODELCAR, MODELCAR_INIT, STORAGE_INITIALIZER

CRASH_LOOP: Final = "CrashLoopBackOff"
_IMAGE_REASONS: Final = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError"}
)
_START_REASONS: Final = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "PostStartHookError"}
)
_MODEL_CONTAINERS: Final = frozenset({STORAGE_INITIALIZER, MODELCAR, MODELCAR_INIT})
_HINTS: Final = {
    "ErrImageNeverPull": "bring the image to this machine first, or change imagePullPolicy",
    OOM_KILLED: "raise resources.limits.memory, or serve a smaller model",
    "CreateContainerConfigError": "make the ConfigMap or Secret that it refers to",
    "Unschedulable": "free or add what is asked for, or lower resources.requests",
}
_LONGEST_TAIL: Final = 400


@dataclass(frozen=True)
class Trouble:
    """What keeps a pod from serving."""

    reason: str
    message: str
    failure: Failure
    pod: str
    exit_code: int | None = None

    def finding(self) -> Finding:
        return Finding(
            self.reason,
            self.message,
            self.failure,
            invalid_spec=False,
            location=self.pod,
            exit_code=self.exit_code,
        )


def trouble_of(pod: Pod) -> Trouble | None:
    """Return what keeps the pod from serving; None while it is starting or when it serves."""
    name = (pod.metadata.name if pod.metadata else None) or ""
    status = pod.status
    if status is None:
        return None
    for condition in status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False" and condition.reason == "Unschedulable":
            text = f"pod {name} cannot be scheduled: {condition.message or 'no node fits'}"
            return Trouble("Unschedulable", _with_hint(text, "Unschedulable"), Failure.RUNTIME_UNHEALTHY, name)
    for container in [*(status.initContainerStatuses or []), *(status.containerStatuses or [])]:
        if found := _container_trouble(name, container):
            return found
    if status.phase == "Failed":
        reason = status.reason or "Failed"
        text = f"pod {name} failed: {status.message or reason}"
        return Trouble(reason, text, Failure.RUNTIME_UNHEALTHY, name)
    return None


def starting(pod: Pod) -> str | None:
    """Say what a pod without trouble is waiting for."""
    name = (pod.metadata.name if pod.metadata else None) or ""
    return next(_steps(name, pod), None)


def _steps(name: str, pod: Pod) -> Iterator[str]:
    status = pod.status
    if status is None or not (status.initContainerStatuses or status.containerStatuses):
        yield f"pod {name} is waiting for a node"
        return
    for container in status.initContainerStatuses or []:
        if container.state and container.state.running and not container.started:
            yield f"init container {container.name} of pod {name} is running"
    for container in status.containerStatuses or []:
        if container.ready:
            continue
        state = container.state
        if state and state.running:
            yield f"container {container.name} of pod {name} is running, its readiness probe does not pass yet"
        elif state and state.waiting:
            yield f"container {container.name} of pod {name} is waiting: {state.waiting.reason or 'not started'}"


def _container_trouble(pod: str, container: ContainerStatus) -> Trouble | None:
    where = f"container {container.name} of pod {pod}"
    state, last = container.state, container.lastState.terminated if container.lastState else None
    if state and state.waiting and (reason := state.waiting.reason):
        if reason in _IMAGE_REASONS:
            # The message names the image: with an image volume it is not the container's own.
            text = f"{where}: cannot get its image: {state.waiting.message or container.image}"
            return Trouble(reason, _with_hint(text, reason), _failure(container), pod)
        if reason in _START_REASONS:
            text = f"{where} cannot be started: {state.waiting.message or reason}"
            return Trouble(reason, _with_hint(text, reason), _failure(container), pod)
        if reason == CRASH_LOOP:
            return _ended(pod, container, last, CRASH_LOOP)
    if state and state.terminated and _failed(state.terminated):
        return _ended(pod, container, state.terminated, state.terminated.reason or "Error")
    if last and _failed(last) and not container.ready and not (state and state.terminated):
        # It is being started again after a failure; that it runs at this moment does not mean that it is well.
        return _ended(pod, container, last, last.reason or "Error")
    return None


def _ended(pod: str, container: ContainerStatus, end: ContainerStateTerminated | None, reason: str) -> Trouble:
    where = f"container {container.name} of pod {pod}"
    if end is None:
        return Trouble(reason, f"{where} keeps failing", _failure(container), pod)
    if end.reason == OOM_KILLED:
        text = _with_hint(f"{where} was killed for want of memory", OOM_KILLED)
        return Trouble(OOM_KILLED, text, Failure.RUNTIME_UNHEALTHY, pod, end.exitCode)
    said = f": {_tail(end.message)}" if end.message else ""
    text = f"{where} ended with exit code {end.exitCode}{said}"
    if not said:
        now = container.state.terminated if container.state else None
        which = "" if end is now else " --previous"
        text += f"; see its log: kubectl logs {pod} -c {container.name}{which}"
    return Trouble(reason, text, _failure(container), pod, end.exitCode)


def _failed(end: ContainerStateTerminated) -> bool:
    return bool(end.exitCode) or end.reason == OOM_KILLED


def _failure(container: ContainerStatus) -> Failure:
    waiting = container.state.waiting if container.state else None
    if waiting and waiting.reason in {*_IMAGE_REASONS, *_START_REASONS} and container.name not in _MODEL_CONTAINERS:
        return Failure.RUNTIME_UNHEALTHY
    return Failure.MODEL_LOAD_FAILED


def _tail(message: str) -> str:
    """Return the last lines of a termination message on one line."""
    lines = [line.strip() for line in message.strip().splitlines() if line.strip()]
    text = " | ".join(lines[-3:])
    return text if len(text) <= _LONGEST_TAIL else "…" + text[-_LONGEST_TAIL:]


def _with_hint(text: str, reason: str) -> str:
    hint = _HINTS.get(reason)
    return f"{text}; {hint}" if hint else text
