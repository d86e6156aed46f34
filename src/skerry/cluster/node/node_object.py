"""The Node object: what this machine is and has, kept true in the API.

Capacity is the smaller of the machine and of the control groups that the daemon itself runs in. The object is written
at the start, again when somebody removes or changes it, and when the room on the disk crosses the line; there is no
heartbeat, because the daemon and the API end together.
"""

import asyncio
import contextlib
import os
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import httpx2
from lightkube import ApiError, AsyncClient
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Node
from lightkube.types import PatchType

import skerry
from skerry.api import wellknown
from skerry.kit.clock import Clock, timestamp
from skerry.kit.log import logger
from skerry.kit.processes import boot_id
from skerry.reconcile import Change

log = logger(__name__)

KUBELET_VERSION: Final = "v1.35.0+skerry"
_LOOK_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 1.0
_LEAST_FREE_DISK: Final = 0.1  # the kubelet's eviction threshold nodefs.available
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "ppc64le": "ppc64le", "s390x": "s390x"}
_UNLIMITED: Final = 1 << 60

Json = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """What the machine has."""

    cpus: int
    memory: int
    disk: int
    pods: int

    def resources(self) -> dict[str, str]:
        """Write it as `status.capacity`."""
        return {
            "cpu": str(self.cpus),
            "memory": f"{self.memory // 1024}Ki",
            "ephemeral-storage": f"{self.disk // 1024}Ki",
            "pods": str(self.pods),
        }


def look(directory: Path, pods: int, cgroups: Path = Path("/sys/fs/cgroup")) -> Machine:
    """Look at the machine; `directory` is on the disk that pods use."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [memory, *(_memory_limit(path) for path in _own_groups(cgroups))]
    return Machine(_cpus(cgroups), min(limits), shutil.disk_usage(directory).total, pods)


class NodeObject:
    """Writes the Node."""

    def __init__(
        self, client: AsyncClient, clock: Clock, name: str, host_ip: str, machine: Machine, disk: Path
    ) -> None:
        self._client = client
        self._clock = clock
        self._name = name
        self._host_ip = host_ip
        self._machine = machine
        self._disk = disk
        self._wake = asyncio.Event()

    def changed(self, change: Change[Node]) -> None:
        """Somebody has written or removed a node."""
        metadata = change.object.metadata
        if metadata is not None and metadata.name == self._name:
            self._wake.set()

    async def run(self) -> None:
        """Keep the object true until cancelled."""
        while True:
            self._wake.clear()
            try:
                await self._write()
            except (httpx2.HTTPError, OSError) as error:
                log.warning("node not written", error=f"{type(error).__name__}: {error}")
                await self._clock.sleep(_RETRY_SECONDS)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._wake.wait()

    async def _write(self) -> None:
        labels = labels_of(self._name)
        try:
            node = await self._client.get(Node, self._name)
        except ApiError as error:
            if error.status.code != 404:
                raise
            node = await self._client.create(Node(metadata=ObjectMeta(name=self._name, labels=labels)))
            log.info("node registered", node=self._name)
        present = (node.metadata.labels if node.metadata else None) or {}
        if any(present.get(key) != value for key, value in labels.items()):
            patch = {"metadata": {"labels": labels}}
            await self._client.patch(Node, self._name, patch, patch_type=PatchType.MERGE)
        wanted = self._status(node)
        if not _holds(node.status, wanted):
            await self._client.patch(Node.Status, self._name, {"status": wanted}, patch_type=PatchType.MERGE)

    def _status(self, node: Node) -> Json:
        resources = self._machine.resources()
        before = {each.type: each for each in (node.status.conditions if node.status else None) or []}
        now = self._clock.now()
        return {
            "addresses": [
                {"type": "InternalIP", "address": self._host_ip},
                {"type": "Hostname", "address": self._name},
            ],
            "capacity": resources,
            "allocatable": resources,
            "conditions": [_condition(before, now, *each) for each in self._conditions()],
            "nodeInfo": node_info(),
        }

    def _conditions(self) -> list[tuple[str, bool, str, str]]:
        usage = shutil.disk_usage(self._disk)
        full = usage.free < usage.total * _LEAST_FREE_DISK
        disk = (
            ("DiskPressure", True, "KubeletHasDiskPressure", "kubelet has disk pressure")
            if full
            else ("DiskPressure", False, "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
        )
        return [
            ("MemoryPressure", False, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            disk,
            ("PIDPressure", False, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ("Ready", True, "KubeletReady", "kubelet is posting ready status"),
        ]


def labels_of(name: str) -> dict[str, str]:
    """The labels that every node carries."""
    return {
        wellknown.HOSTNAME_LABEL: name,
        wellknown.OS_LABEL: "linux",
        wellknown.ARCH_LABEL: architecture(),
        f"{wellknown.NODE_ROLE_PREFIX}control-plane": "",
        f"{wellknown.NODE_ROLE_PREFIX}worker": "",
    }


def architecture() -> str:
    """The machine's architecture by its Go name."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def node_info() -> Json:
    """What `kubectl get node -o wide` shows."""
    machine_id = _text(Path("/etc/machine-id"))
    return {
        "architecture": architecture(),
        "bootID": boot_id(),
        "containerRuntimeVersion": f"skerry://{skerry.__version__}",
        "kernelVersion": platform.release(),
        "kubeProxyVersion": "",
        "kubeletVersion": KUBELET_VERSION,
        "machineID": machine_id,
        "operatingSystem": "linux",
        "osImage": _os_name(),
        "systemUUID": machine_id,
    }


def _condition(before: Mapping[str, Any], now: datetime, kind: str, holds: bool, reason: str, message: str) -> Json:
    status = "True" if holds else "False"
    old = before.get(kind)
    if old is not None and old.status == status and old.lastTransitionTime and old.lastHeartbeatTime:
        since, seen = old.lastTransitionTime, old.lastHeartbeatTime
    else:
        since = seen = now
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": timestamp(seen),
        "lastTransitionTime": timestamp(since),
    }


def _holds(status: Any, wanted: Json) -> bool:
    """Tell whether the API has all of this already."""
    if status is None or status.nodeInfo is None:
        return False
    conditions = [(each.type, each.status) for each in status.conditions or []]
    return (
        status.capacity == wanted["capacity"]
        and status.allocatable == wanted["allocatable"]
        and conditions == [(each["type"], each["status"]) for each in wanted["conditions"]]
        and [(each.type, each.address) for each in status.addresses or []]
        == [(each["type"], each["address"]) for each in wanted["addresses"]]
        and all(getattr(status.nodeInfo, key) == value for key, value in wanted["nodeInfo"].items())
    )


def _own_groups(root: Path) -> list[Path]:
    """The directories of this process's own control groups, version 1 and 2."""
    found = []
    for line in _text(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        bases = [root / controllers, root] if controllers else [root, root / "unified"]
        found += [base / path.lstrip("/") for base in bases]
    return [path for path in found if path.is_dir()]


def _memory_limit(group: Path) -> int:
    for name in ("memory.max", "memory.limit_in_bytes"):
        text = _text(group / name)
        if text.isdigit() and int(text) < _UNLIMITED:
            return int(text)
    return _UNLIMITED


def _cpus(root: Path) -> int:
    count = len(os.sched_getaffinity(0))
    for group in _own_groups(root):
        quota, _, period = _text(group / "cpu.max").partition(" ")
        if not quota:
            quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            count = min(count, max(1, int(quota) // int(period)))
    return count


def _os_name() -> str:
    for line in _text(Path("/etc/os-release")).splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
