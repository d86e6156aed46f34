"""Lifecycle hooks of containers."""

import asyncio
from pathlib import Path
from typing import Any

from skerry.cluster.node import probes
from skerry.cluster.node.exec_in import exec_in


class _HookProbe:
    """A hook's action in the shape of a probe, so that both reach the container the same way."""

    def __init__(self, action: Any, seconds: float) -> None:
        self.httpGet = action.httpGet
        self.tcpSocket = None
        self.exec = action.exec
        self.grpc = None
        self.timeoutSeconds = seconds


async def before_stop(container: Any, pod_ip: str, spec_file: Path, pid: int, seconds: float) -> str:
    """Run the container's preStop hook within its grace period; return what went wrong."""
    hook = container.lifecycle.preStop if container.lifecycle is not None else None
    if hook is None:
        return ""
    if hook.sleep is not None:
        await asyncio.sleep(min(float(hook.sleep.seconds), seconds))
        return ""

    async def run(command: Any, limit: float) -> tuple[int, str]:
        return await exec_in(spec_file, pid, command, limit)

    target = probes.Target(pod_ip, container, run)
    outcome = await probes.check(_HookProbe(hook, seconds), target)
    return "" if outcome.success else f"PreStopHook failed: {outcome.text}"
