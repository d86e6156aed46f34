"""What to do next for one pod: a pure function of the pod, what runs, and the time.

The order is the kubelet's. A pod that has to end is ended: the containers together, then the sidecars, the stop signal
first and SIGKILL when the grace period is over; when nothing runs any more the pod is finished with. Otherwise its
volumes are made, its init containers run one after the other, each to success (a sidecar only until it has started),
and then the containers run side by side, restarted as the restart policy says, with a growing delay.

`Plan.again_at` is when the answer will change although nothing else does.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from skerry.cluster.node.runtime import BackOff, ContainerState, PodState, Run, Settings, go_duration


@dataclass(frozen=True)
class Prepare:
    """Make address and volumes."""


@dataclass(frozen=True)
class Start:
    """Start the next attempt of a container."""

    container: str
    attempt: int
    back_off: BackOff | None = None  # what holds from now on; None for a first start


@dataclass(frozen=True)
class Stop:
    """Ask a container to end; it is killed at the deadline."""

    container: str
    deadline: datetime
    message: str


@dataclass(frozen=True)
class Kill:
    """End a container now."""

    container: str


@dataclass(frozen=True)
class DelayRestart:
    """Say (as an event) that a container waits before it is started again."""

    container: str


@dataclass(frozen=True)
class Evict:
    """The pod has failed as a whole."""

    reason: str
    message: str


@dataclass(frozen=True)
class Finish:
    """Nothing runs any more and the pod is to go: clean up, and delete the object when there is one."""


Action = Prepare | Start | Stop | Kill | DelayRestart | Evict | Finish


@dataclass
class Plan:
    """What to do now, and when to ask again."""

    actions: list[Action] = field(default_factory=list)
    again_at: datetime | None = None

    def again(self, moment: datetime | None) -> None:
        if moment is not None and (self.again_at is None or moment < self.again_at):
            self.again_at = moment


def plan(pod: Any, state: PodState, settings: Settings, now: datetime) -> Plan:
    """Decide."""
    result = Plan()
    deadline = ending_deadline(pod, state, now)
    if deadline is not None:
        _end(pod, state, settings, now, deadline, result)
        return result
    if state.over or is_over(pod, state):
        _end_sidecars(pod, state, settings, now, result)
        return result
    late = active_deadline(pod, state)
    if late is not None and now >= late:
        message = "Pod was active on the node longer than the specified deadline"
        result.actions.append(Evict("DeadlineExceeded", message))
        return result
    result.again(late)
    if state.prepared != "yes":
        _prepare(state, now, result)
        return result
    if _initialise(pod, state, settings, now, result):
        for container in pod.spec.containers:
            _keep_running(container.name, policy(pod), state, settings, now, result)
    return result


def ending_deadline(pod: Any, state: PodState, now: datetime) -> datetime | None:
    """When the pod's containers have to be dead; None for a pod that may run."""
    deadlines = [moment for moment in (state.gone, state.closing, pod.metadata.deletionTimestamp) if moment]
    if state.evicted:
        deadlines.append(now + grace(pod))
    return min(deadlines) if deadlines else None


def grace(pod: Any) -> timedelta:
    """The pod's own grace period."""
    seconds = pod.spec.terminationGracePeriodSeconds
    return timedelta(seconds=30 if seconds is None else seconds)


def policy(pod: Any) -> str:
    """The pod's restart policy."""
    return pod.spec.restartPolicy or "Always"


def sidecars(pod: Any) -> list[Any]:
    """Init containers that keep running beside the others."""
    return [container for container in pod.spec.initContainers or [] if container.restartPolicy == "Always"]


def active_deadline(pod: Any, state: PodState) -> datetime | None:
    """When the pod has run long enough (`activeDeadlineSeconds`)."""
    if pod.spec.activeDeadlineSeconds is None or state.start_time is None:
        return None
    deadline: datetime = state.start_time + timedelta(seconds=pod.spec.activeDeadlineSeconds)
    return deadline


def restarts(run: Run, restart_policy: str) -> bool:
    """Tell whether an ended attempt is followed by another one."""
    if restart_policy == "OnFailure":
        return run.exit_code != 0
    return restart_policy == "Always"


def is_over(pod: Any, state: PodState) -> bool:
    """Tell whether every container has ended for good, or an init container has failed for good."""
    if state.evicted:
        return True
    for container in pod.spec.initContainers or []:
        run = state.of(container.name).current
        failed = run is not None and not run.active and run.exit_code != 0
        if failed and container.restartPolicy != "Always" and policy(pod) == "Never":
            return True
    runs = [state.of(container.name).current for container in pod.spec.containers]
    return all(run is not None and not run.active and not restarts(run, policy(pod)) for run in runs)


def initialised(pod: Any, state: PodState) -> bool:
    """Tell whether all init containers have done their part."""
    if any(state.of(container.name).current for container in pod.spec.containers):
        return True
    return all(_init_done(container, state.of(container.name)) for container in pod.spec.initContainers or [])


def held_back_until(container: ContainerState, settings: Settings, now: datetime) -> datetime | None:
    """The end of the restart delay of an ended container, when that is still to come."""
    run, back_off = container.current, container.back_off
    if run is None or run.active or back_off is None or run.finished_at is None:
        return None
    if run.finished_at - back_off.raised_at > settings.back_off_reset:
        return None
    until = run.finished_at + back_off.delay
    return until if until > now else None


def back_off_message(pod: Any, name: str, delay: timedelta) -> str:
    """The kubelet's words for a container that waits to be restarted."""
    full = f"{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"
    return f"back-off {go_duration(delay)} restarting failed container={name} pod={full}"


def _init_done(container: Any, state: ContainerState) -> bool:
    run = state.current
    if run is None:
        return False
    if container.restartPolicy == "Always":
        return run.phase == "running" and state.startup_passed
    return run.phase == "exited" and run.exit_code == 0


def _prepare(state: PodState, now: datetime, result: Plan) -> None:
    problem = state.problem
    if state.prepared == "running":
        return
    if problem is None or (problem.retry_at is not None and problem.retry_at <= now):
        result.actions.append(Prepare())
    else:
        result.again(problem.retry_at)


def _initialise(pod: Any, state: PodState, settings: Settings, now: datetime, result: Plan) -> bool:
    """Run the init containers in order; True when the containers may start."""
    past = any(state.of(container.name).current for container in pod.spec.containers)
    for container in pod.spec.initContainers or []:
        sidecar = container.restartPolicy == "Always"
        if past and not sidecar:
            continue
        own = state.of(container.name)
        if sidecar or not _init_done(container, own):
            # A failed init container is tried again unless the pod is never restarted.
            again = "Always" if sidecar else "OnFailure"
            _keep_running(container.name, again, state, settings, now, result)
        if not past and not _init_done(container, own):
            return False
    return True


def _keep_running(
    name: str, restart_policy: str, state: PodState, settings: Settings, now: datetime, result: Plan
) -> None:
    own = state.of(name)
    run = own.current
    if own.active:
        if own.unhealthy is not None:
            _stop(name, own, now + own.unhealthy.grace, settings, now, result, own.unhealthy.message)
        return
    if run is not None and not restarts(run, restart_policy):
        return
    if own.waiting is not None and not (own.waiting.retry_at is not None and own.waiting.retry_at <= now):
        result.again(own.waiting.retry_at)
        return
    if run is None:
        result.actions.append(Start(name, own.next_attempt))
        return
    until = held_back_until(own, settings, now)
    if until is not None:
        result.actions.append(DelayRestart(name))
        result.again(until)
        return
    result.actions.append(Start(name, own.next_attempt, raised(own, settings, now)))


def raised(container: ContainerState, settings: Settings, now: datetime) -> BackOff:
    """The delay that follows the present one."""
    run, present = container.current, container.back_off
    finished = run.finished_at if run is not None else None
    if present is None or (finished is not None and finished - present.raised_at > settings.back_off_reset):
        return BackOff(settings.first_back_off, now)
    return BackOff(min(present.delay * 2, settings.longest_back_off), now)


def _end(pod: Any, state: PodState, settings: Settings, now: datetime, deadline: datetime, result: Plan) -> None:
    """End everything: the containers first, the sidecars after them in reverse order."""
    for names in _ending_order(pod):
        active = [name for name in names if state.of(name).active]
        for name in active:
            _stop(name, state.of(name), deadline, settings, now, result)
        if active:
            return
    if state.gone or (pod.metadata.deletionTimestamp and not state.closing):
        result.actions.append(Finish())


def _ending_order(pod: Any) -> Iterator[list[str]]:
    beside = [container.name for container in sidecars(pod)]
    ordinary = [container.name for container in pod.spec.initContainers or [] if container.name not in beside]
    yield [*(container.name for container in pod.spec.containers), *ordinary]
    for name in reversed(beside):
        yield [name]


def _end_sidecars(pod: Any, state: PodState, settings: Settings, now: datetime, result: Plan) -> None:
    for container in reversed(sidecars(pod)):
        own = state.of(container.name)
        if own.active:
            _stop(container.name, own, now + grace(pod), settings, now, result)
            return


def _stop(
    name: str, own: ContainerState, deadline: datetime, settings: Settings, now: datetime, result: Plan, why: str = ""
) -> None:
    """Ask to end, then insist. A deadline only ever comes nearer."""
    run = own.current
    if own.starting or run is None:
        return  # it can be asked as soon as it runs
    due = deadline if run.stop_deadline is None else min(deadline, run.stop_deadline)
    if now >= due:
        if run.killed_at is None or now >= run.killed_at + settings.kill_again:
            result.actions.append(Kill(name))
        result.again(now + settings.kill_again)
    elif run.stop_deadline is None or due < run.stop_deadline:
        result.actions.append(Stop(name, due, why or f"Stopping container {name}"))
        result.again(due)
    else:
        result.again(due)
