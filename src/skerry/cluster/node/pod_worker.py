"""Looks after one pod: asks the plan what to do, does it, writes the status, and waits until something changes.

Everything slow (pulling an image, starting a program, a hook) runs as a task of the worker's own group and only
leaves a new `PodState` behind, so the loop can always answer a deletion. The worker is the only one that changes its
state. It can be thrown away at any moment: what it must know stands in the pod's directories and in the API.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from lightkube.resources.core_v1 import Pod

from skerry.cluster.node import container_start, pod_plan
from skerry.cluster.node.container_start import PodSurroundings
from skerry.cluster.node.containers import Container, Exit, find, launch
from skerry.cluster.node.context import NodeContext
from skerry.cluster.node.hooks import before_stop
from skerry.cluster.node.layout import PodRecord
from skerry.cluster.node.log_files import tail_text
from skerry.cluster.node.pod_health import PodHealth
from skerry.cluster.node.pod_object import PodObject
from skerry.cluster.node.pod_status import container_id
from skerry.cluster.node.pod_volumes import PodVolumes
from skerry.cluster.node.runtime import PodState, Run, Waiting
from skerry.cluster.node.usage import Running
from skerry.cluster.node.volumes import ImageVolumeError, Source, VolumeError
from skerry.kit.log import logger
from skerry.kit.processes import boot_id

log = logger(__name__)

_MESSAGE_LINES: Final = 80
_LOG_MESSAGE_BYTES: Final = 2048
_MESSAGE_BYTES: Final = 4096
_AGAIN_AFTER_FAILED_WRITE: Final = 1.0
_CONFIG_RETRY: Final = timedelta(seconds=60)


class PodWorker:
    """The loop of one pod."""

    def __init__(self, context: NodeContext, pod: Pod, record: PodRecord | None) -> None:
        """`record`: what an earlier daemon has left of this pod."""
        assert pod.metadata is not None
        self.uid = str(pod.metadata.uid)
        self._context = context
        self._object = PodObject(context, pod)
        self._directories = context.directories.of(str(pod.metadata.namespace), str(pod.metadata.name), self.uid)
        self._record = record
        self._state = PodState(ip=record.ip if record else "")
        self._containers: dict[str, Container] = {}
        self._volumes = PodVolumes(context, self._object, self._directories, record)
        self._sources: Mapping[str, Source] = {}
        self._delays_told: set[tuple[str, int]] = set()
        self._wake = asyncio.Event()
        self.looked = asyncio.Event()  # what the API says of the pod has been compared with what runs, once
        self._refresh = False
        self._preparing: asyncio.Task[None] | None = None
        self._finished = False
        self._health: PodHealth | None = None
        self._group: asyncio.TaskGroup | None = None

    # What others tell the worker

    def update(self, pod: Pod) -> None:
        """Take a newer version of the object."""
        if self._object.update(pod):
            self._wake.set()

    def vanish(self) -> None:
        """The object is not in the API any more: end the pod soon, and clean up."""
        if self._state.gone is None:
            self._set(gone=self._context.clock.now() + timedelta(seconds=1))

    def close(self, grace: timedelta) -> None:
        """The node stops: end the containers and leave the object as it is."""
        now = self._context.clock.now()
        self._set(closing=now + min(grace, pod_plan.grace(self._object.pod)))

    def objects_changed(self, kind: str, name: str) -> None:
        """Look again at what depends on a ConfigMap or Secret."""
        if self._object.refers_to(kind, name):
            self._refresh = True
            self._wake.set()

    def renew_tokens(self) -> None:
        """Write the volumes again when a token in them grows old."""
        if self._state.prepared == "yes" and self._volumes.tokens_due():
            self._refresh = True
            self._wake.set()

    def running(self, container: str) -> tuple[Container, int] | None:
        """Return what runs of a container and which attempt it is, for those who look inside."""
        found = self._containers.get(container)
        run = self._state.of(container).current
        return (found, run.attempt) if found is not None and run is not None else None

    def containers_running(self) -> list[Running]:
        """Return what runs now, for those who measure it."""
        found = []
        for name, container in self._containers.items():
            run = self._state.of(name).current
            if run is not None and run.active:
                group = container_start.group_name(self._object.pod, name, run.attempt)
                found.append(Running(self.uid, name, run.attempt, container.pid, container.started_at, group))
        return found

    @property
    def namespace(self) -> str:
        return self._object.namespace

    @property
    def idle(self) -> bool:
        """Nothing of the pod runs."""
        return not any(own.active for own in self._state.containers.values())

    # The loop

    async def run(self) -> None:
        """Look after the pod until it is finished with, or until cancelled: then its containers go on."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._health = PodHealth(self._context, self._object, group, self._directories, self._change_container)
                await self._adopt()
                while not self._finished:
                    await self._step()
                self._health.stop_all()
        finally:
            self.looked.set()  # nobody shall wait for a worker that is gone
            for container in self._containers.values():
                container.release()

    async def _step(self) -> None:
        self._wake.clear()
        if self._refresh:
            self._refresh = False
            await self._look_again()
        now, asked = self._context.clock.now(), self._object.asked
        plan = pod_plan.plan(self._object.pod, self._state, self._context.settings, now)
        finish = False
        for action in plan.actions:
            finish = self._act(action) or finish
        if finish:
            await self._finish()
            return
        written = await self._object.publish(self._state)
        self.looked.set()
        if self._object.asked != asked:
            # The answer to our write told of a deletion before the watch did, which will have nothing new to tell.
            self._wake.set()
        await self._wait(plan.again_at, None if written else _AGAIN_AFTER_FAILED_WRITE)

    async def _wait(self, until: datetime | None, at_most: float | None) -> None:
        seconds = at_most
        if until is not None:
            left = max(0.0, (until - self._context.clock.now()).total_seconds())
            seconds = left if at_most is None else min(left, at_most)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()

    def _act(self, action: pod_plan.Action) -> bool:
        """Begin one action; True for the last one."""
        assert self._group is not None
        match action:
            case pod_plan.Prepare():
                self._set(prepared="running")
                self._preparing = self._group.create_task(self._prepare())
            case pod_plan.Start(name, attempt, back_off):
                self._change_container(name, starting=True, waiting=None, back_off=back_off)
                self._group.create_task(self._start(name, attempt))
            case pod_plan.Stop(name, deadline, message):
                self._change_run(name, stop_deadline=deadline)
                self._context.report.normal(self._object.pod, "Killing", message)
                self._group.create_task(self._stop(name, deadline))
            case pod_plan.Kill(name):
                self._change_run(name, killed_at=self._context.clock.now())
                if name in self._containers:
                    self._containers[name].kill()
            case pod_plan.DelayRestart(name):
                self._tell_delay(name)
            case pod_plan.Evict(reason, message):
                self._set(evicted=Waiting(reason, message))
                self._context.report.warning(self._object.pod, reason, message)
            case pod_plan.Finish():
                return True
        return False

    # Changes of state

    def _set(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)
        self._wake.set()

    def _change_container(self, name: str, **changes: Any) -> None:
        own = replace(self._state.of(name), **changes)
        self._set(containers={**self._state.containers, name: own})

    def _change_run(self, name: str, **changes: Any) -> None:
        run = self._state.of(name).current
        if run is not None:
            self._change_container(name, current=replace(run, **changes))

    # Beginning

    async def _adopt(self) -> None:
        """Find what an earlier daemon has left of the pod."""
        pod = self._object.pod
        status = pod.status
        known = status.startTime if status is not None else None
        self._set(start_time=known or self._context.clock.now().replace(microsecond=0))
        if self._record is None:
            if status is not None and status.phase in {"Succeeded", "Failed"}:
                self._set(over=status.phase)
            return
        rebooted = self._record.boot_id != boot_id()
        for container in self._object.containers:
            await self._adopt_container(container, rebooted=rebooted)
        if status is not None and status.phase in {"Succeeded", "Failed"} and self.idle:
            self._set(over=status.phase)

    async def _adopt_container(self, container: Any, *, rebooted: bool) -> None:
        name = container.name
        runs: list[Run] = []
        for attempt in self._directories.attempts(name)[-2:]:
            found = await find(self._directories.attempt(name, attempt))
            if isinstance(found, Container):
                self._containers[name] = found
                runs.append(self._run_of(name, attempt, found))
                self._watch(name, found)
            elif found is not None:
                runs.append(self._ended_run(name, self._run_of(name, attempt, None), found))
        if not runs:
            return
        restartable = pod_plan.policy(self._object.pod) != "Never" or container.restartPolicy == "Always"
        if rebooted and restartable and not (runs[-1].reason == "Completed" and self._keeps_success()):
            self._change_container(name, previous=runs[-1])
            return
        self._change_container(name, current=runs[-1], previous=runs[-2] if len(runs) > 1 else None)
        if runs[-1].active and self._health is not None:
            log.info("container adopted", pod=self._object.name, container=name, pid=self._containers[name].pid)
            self._health.adopt(container, self._containers[name], runs[-1])

    def _keeps_success(self) -> bool:
        return pod_plan.policy(self._object.pod) == "OnFailure"

    def _run_of(self, name: str, attempt: int, container: Container | None) -> Run:
        image_id = ""
        with contextlib.suppress(Exception):
            image = next(each.image for each in self._object.containers if each.name == name)
            image_id = f"native://{self._context.starter.native.find(image or '').name}"
        return Run(
            attempt=attempt,
            container_id=container_id(self.uid, name, attempt),
            image_id=image_id,
            phase="running",
            started_at=container.started_at if container else None,
        )

    # Volumes

    async def _prepare(self) -> None:
        try:
            self._set(ip=self._context.addresses.allocate(self.uid))
            self._sources = await self._volumes.prepare(self._state.ip)
        except (ImageVolumeError, VolumeError, OSError) as error:
            self._set(prepared="no", problem=self._volumes.problem(error, self._state.problem))
        else:
            self._set(prepared="yes", problem=None)

    async def _look_again(self) -> None:
        """A ConfigMap or Secret has changed: write volumes again, and let waiting containers try at once."""
        now = self._context.clock.now()
        if self._state.problem is not None and self._state.problem.reason == "FailedMount":
            self._set(problem=replace(self._state.problem, retry_at=now))
        for name, own in self._state.containers.items():
            if own.waiting is not None and own.waiting.reason == "CreateContainerConfigError":
                self._change_container(name, waiting=replace(own.waiting, retry_at=now))
        if self._state.prepared == "yes":
            await self._volumes.refresh(self._state.ip)

    # Starting and ending containers

    async def _start(self, name: str, attempt: int) -> None:
        context, pod = self._context, self._object.pod
        container = next(each for each in self._object.containers if each.name == name)
        user = context.users.of(self._object.namespace)
        facts = self._volumes.facts(self._state.ip)
        surround = PodSurroundings(self._directories, self._sources, facts, user)
        try:
            ready = await asyncio.to_thread(container_start.prepare, context.starter, surround, pod, container, attempt)
            present = f'Container image "{container.image}" already present on machine (native: {ready.native})'
            context.report.normal(pod, "Pulled", present)
            context.report.normal(pod, "Created", f"Created container: {name}")
            started = await launch(ready.launch)
        except Exception as error:  # noqa: BLE001 - whatever it is, this container waits with it and the pod goes on
            self._refused(name, error)
            return
        self._directories.forget_old_attempts(name)
        run = Run(
            attempt=attempt,
            container_id=container_id(self.uid, name, attempt),
            image_id=ready.image_id,
            phase="running",
            started_at=started.started_at,
        )
        previous = self._state.of(name).current or self._state.of(name).previous
        fresh = {"previous": previous, "starting": False, "waiting": None, "unhealthy": None}
        if isinstance(started, Exit):
            ended = self._ended_run(name, run, started)
            context.report.warning(pod, "Failed", f"Error: {started.message or started.reason}")
            self._change_container(name, current=ended, startup_passed=False, ready=False, **fresh)
            return
        self._containers[name] = started
        self._change_container(name, current=run, startup_passed=False, ready=False, **fresh)
        context.report.normal(pod, "Started", f"Started container {name}")
        assert self._health is not None
        self._health.begin(container, started, run)
        self._watch(name, started)

    def _refused(self, name: str, error: Exception) -> None:
        reason, message = container_start.refusal(error)
        if reason == "CreateContainerError":
            log.warning("container not prepared", pod=self._object.name, container=name, error=repr(error))
        before = self._state.of(name).waiting
        failures = before.failures + 1 if before else 1
        self._context.report.warning(self._object.pod, "Failed", f"Error: {message}")
        retry = self._context.retry_at(failures)
        if reason == "CreateContainerConfigError":
            retry = self._context.clock.now() + _CONFIG_RETRY  # a change of the object wakes it before
        self._change_container(name, starting=False, waiting=Waiting(reason, message, failures, retry))

    def _watch(self, name: str, container: Container) -> None:
        assert self._group is not None
        self._group.create_task(self._await_end(name, container))

    async def _await_end(self, name: str, container: Container) -> None:
        end = await container.exited
        self._containers.pop(name, None)
        run = self._state.of(name).current
        assert run is not None
        assert self._health is not None
        self._health.stop(name)
        ended = self._ended_run(name, run, end)
        log.info("container ended", pod=self._object.name, container=name, exit_code=end.exit_code, reason=end.reason)
        self._context.starter.cgroups.remove(container_start.group_name(self._object.pod, name, run.attempt))
        self._change_container(name, current=ended, ready=False, startup_passed=False, unhealthy=None)

    def _ended_run(self, name: str, run: Run, end: Exit) -> Run:
        message = end.message or self._termination_message(name, run.attempt, end)
        return replace(
            run,
            phase="exited",
            started_at=end.started_at or run.started_at,
            finished_at=end.finished_at,
            exit_code=end.exit_code,
            reason=end.reason,
            message=message,
        )

    def _termination_message(self, name: str, attempt: int, end: Exit) -> str:
        """What the container wrote for its owner, else the end of its log when it failed."""
        with contextlib.suppress(OSError):
            file = self._directories.attempt(name, attempt) / "termination-log"
            with file.open("rb") as stream:
                if text := stream.read(_MESSAGE_BYTES).decode("utf-8", "replace"):
                    return text
        if end.exit_code == 0:
            return ""
        return tail_text(self._directories.log_file(name, attempt), _MESSAGE_LINES, _LOG_MESSAGE_BYTES)

    async def _stop(self, name: str, deadline: datetime) -> None:
        container = self._containers.get(name)
        if container is None:
            return
        assert self._health is not None
        self._health.restrain(name)
        spec = next((each for each in self._object.containers if each.name == name), None)
        left = (deadline - self._context.clock.now()).total_seconds()
        if spec is not None and left > 0:
            if spec.ports and self._state.of(name).ready and self._object.pod.metadata.deletionTimestamp:
                await self._context.clock.sleep(min(self._context.settings.drain_seconds, left / 4))
            attempt = self._state.of(name).next_attempt - 1
            spec_file = self._directories.spec(name, attempt)
            failure = await before_stop(spec, self._state.ip, spec_file, container.pid, left)
            if failure:
                self._context.report.warning(self._object.pod, "FailedPreStopHook", failure)
        container.terminate()

    def _tell_delay(self, name: str) -> None:
        run = self._state.of(name).current
        key = (name, run.attempt if run else 0)
        if key in self._delays_told:
            return
        self._delays_told.add(key)
        full = f"{self._object.name}_{self._object.namespace}({self.uid})"
        message = f"Back-off restarting failed container {name} in pod {full}"
        self._context.report.warning(self._object.pod, "BackOff", message)

    # The end

    async def _finish(self) -> None:
        """Clean up; the object goes first, so that a crash leaves directories that the next start finds."""
        if self._preparing is not None:
            self._preparing.cancel()
            await asyncio.wait({self._preparing})
        if self._state.gone is None:
            await self._object.publish(self._state)
            while not await self._object.delete():
                await self._context.clock.sleep(_AGAIN_AFTER_FAILED_WRITE)
        await self._context.images.release(self.uid)
        await asyncio.to_thread(self._directories.remove)
        self._context.addresses.release(self.uid)
        self._finished = True
        log.info("pod removed", pod=self._object.name, namespace=self._object.namespace)
