"""The probes of one pod: which run for which container, and what their results change.

A startup probe holds the others back. Without one a container has started when it runs; without a readiness probe it
is ready when it has started. Startup and liveness ask for a restart, readiness never does.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from skerry.cluster.node import pod_plan
from skerry.cluster.node.containers import Container
from skerry.cluster.node.context import NodeContext
from skerry.cluster.node.exec_in import exec_in
from skerry.cluster.node.layout import PodDirectories
from skerry.cluster.node.pod_object import PodObject
from skerry.cluster.node.probes import Kind, Prober, Report, Target, supported
from skerry.cluster.node.runtime import Run, Unhealthy

Change = Callable[..., None]


class PodHealth:
    """Runs the probers of a pod; `change(container, **fields)` is how results reach the pod's state."""

    def __init__(
        self,
        context: NodeContext,
        pod: PodObject,
        group: asyncio.TaskGroup,
        directories: PodDirectories,
        change: Change,
    ) -> None:
        self._context = context
        self._pod = pod
        self._group = group
        self._directories = directories
        self._change = change
        self._tasks: dict[tuple[str, Kind], asyncio.Task[None]] = {}

    def begin(self, container: Any, running: Container, run: Run) -> None:
        """A container has been started."""
        if container.startupProbe is not None:
            self._start("startup", container, running, run)
        else:
            self._started(container, running, run)

    def adopt(self, container: Any, running: Container, run: Run) -> None:
        """A running container was found: what the API says of it holds until a probe says otherwise."""
        shown = self._shown(container.name, run)
        if shown is None or not shown.started:
            self.begin(container, running, run)
            return
        self._change(container.name, startup_passed=True, ready=bool(shown.ready) or container.readinessProbe is None)
        if container.readinessProbe is not None:
            self._start("readiness", container, running, run, healthy=bool(shown.ready))
        if container.livenessProbe is not None:
            self._start("liveness", container, running, run)

    def stop(self, name: str) -> None:
        """A container has ended."""
        for kind in ("startup", "readiness", "liveness"):
            self._cancel(name, kind)

    def restrain(self, name: str) -> None:
        """A container is about to end: nothing may ask for its restart."""
        self._cancel(name, "startup")
        self._cancel(name, "liveness")

    def stop_all(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def _cancel(self, name: str, kind: Kind) -> None:
        task = self._tasks.pop((name, kind), None)
        if task is not None:
            task.cancel()

    def _started(self, container: Any, running: Container, run: Run) -> None:
        self._change(container.name, startup_passed=True, ready=container.readinessProbe is None)
        for kind in ("readiness", "liveness"):
            if getattr(container, f"{kind}Probe") is not None:
                self._start(kind, container, running, run)

    def _start(self, kind: Kind, container: Any, running: Container, run: Run, *, healthy: bool = False) -> None:
        probe = getattr(container, f"{kind}Probe")
        problem = supported(probe)
        if problem:
            self._context.report.warning(self._pod.pod, "Unhealthy", f"{kind.capitalize()} probe cannot run: {problem}")
            if kind == "liveness":
                return
        spec_file = self._directories.spec(container.name, run.attempt)

        async def execute(command: Sequence[str], limit: float) -> tuple[int, str]:
            return await exec_in(spec_file, running.pid, command, limit)

        target = Target(self._context_ip(), container, execute)

        def tell(report: Report) -> None:
            self._heard(container, running, run, report)

        prober = Prober(
            kind, probe, target, self._context.clock, self._context.settings.fast_probe_seconds, tell, healthy=healthy
        )
        self._tasks[container.name, kind] = self._group.create_task(prober.run())

    def _context_ip(self) -> str:
        return self._context.addresses.allocate(str(self._pod.pod.metadata.uid))

    def _heard(self, container: Any, running: Container, run: Run, report: Report) -> None:
        name = container.name
        if not report.success:
            message = f"{report.kind.capitalize()} probe failed: {report.text}"
            self._context.report.warning(self._pod.pod, "Unhealthy", message)
        if not report.settled:
            return
        if report.kind == "readiness":
            self._change(name, ready=report.success)
        elif report.kind == "startup" and report.success:
            self._started(container, running, run)
        elif not report.success:
            message = f"Container {name} failed {report.kind} probe, will be restarted"
            self._change(name, unhealthy=Unhealthy(message, self._grace(container, report.kind)))

    def _grace(self, container: Any, kind: Kind) -> timedelta:
        seconds = getattr(container, f"{kind}Probe").terminationGracePeriodSeconds
        return pod_plan.grace(self._pod.pod) if seconds is None else timedelta(seconds=seconds)

    def _shown(self, name: str, run: Run) -> Any | None:
        status = self._pod.pod.status
        known = [*(status.initContainerStatuses or []), *(status.containerStatuses or [])] if status else []
        return next((each for each in known if each.name == name and each.containerID == run.container_id), None)
