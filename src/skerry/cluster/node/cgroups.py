"""Resource limits through control groups, in whichever form the machine has them.

Version 1 (a mount for each controller), version 2 (one tree), and both at once: then the controllers are in version 1
and the version 2 tree is still good for killing a whole group. Everything is made below this process's own groups, in
a group `skerry`; what cannot be made is left out, and `Group.enforces_memory` tells the caller whether somebody else
must watch the memory.

Version 2 does not let a group hold processes and hand controllers to children. So when the daemon's group holds the
daemon alone (systemd with `Delegate=yes`), the daemon first moves into a child group of its own; a group shared with
strangers is left as it is.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from skerry.kit.log import logger

log = logger(__name__)

_OURS: Final = "skerry"
_DAEMON: Final = "daemon"
_PERIOD: Final = 100_000  # microseconds; the kernel's and the kubelet's default
_LEAST_QUOTA: Final = 1_000
_LEAST_SHARES: Final = 2
_CONTROLLERS: Final = ("memory", "cpu", "pids")


@dataclass(frozen=True)
class Limits:
    """What a container may use; None is without limit."""

    memory: int | None = None  # bytes
    cpu_millis: int | None = None
    cpu_request_millis: int | None = None
    processes: int | None = None


@dataclass(frozen=True)
class Group:
    """The directories that a container's first process writes itself into."""

    paths: tuple[str, ...]
    enforces_memory: bool


@dataclass(frozen=True)
class _Hierarchy:
    directory: Path  # where our own groups go
    controllers: frozenset[str]
    unified: bool


class Cgroups:
    """Makes and removes the groups of containers."""

    def __init__(self, hierarchies: list[_Hierarchy]) -> None:
        self._hierarchies = hierarchies

    @classmethod
    def detect(cls, proc: Path = Path("/proc")) -> "Cgroups":
        """Find the hierarchies in which this process may make groups."""
        usable = []
        for hierarchy in _hierarchies(proc):
            ours = hierarchy.directory / _OURS
            try:
                ours.mkdir(exist_ok=True)
            except OSError as error:
                log.debug("control groups not usable", directory=str(ours), error=str(error))
                continue
            if hierarchy.unified:
                _hand_down(ours, hierarchy.controllers)
            usable.append(_Hierarchy(ours, hierarchy.controllers, hierarchy.unified))
        return cls(usable)

    @property
    def controllers(self) -> frozenset[str]:
        """Which limits can be enforced here."""
        return frozenset().union(*(hierarchy.controllers for hierarchy in self._hierarchies))

    def create(self, name: str, limits: Limits) -> Group:
        """Make the container's groups; a limit that cannot be set is left out."""
        paths: list[str] = []
        enforced = False
        for hierarchy in self._hierarchies:
            directory = hierarchy.directory / name
            try:
                directory.mkdir(exist_ok=True)
            except OSError as error:
                log.warning("control group not made", directory=str(directory), error=str(error))
                continue
            paths.append(str(directory))
            writes = _unified_writes(limits) if hierarchy.unified else _legacy_writes(limits)
            for controller, file, text in writes:
                if controller in hierarchy.controllers and _put(directory / file, text):
                    enforced = enforced or file in {"memory.max", "memory.limit_in_bytes"}
        return Group(tuple(paths), enforced)

    def usage(self, name: str) -> tuple[int | None, int | None]:
        """Return nanoseconds of processors and bytes in the working set; None for what no group counts."""
        cpu = memory = None
        for hierarchy in self._hierarchies:
            directory = hierarchy.directory / name
            if cpu is None:
                cpu = _cpu_time(directory, unified=hierarchy.unified)
            if memory is None and "memory" in hierarchy.controllers:
                memory = _working_set(directory, unified=hierarchy.unified)
        return cpu, memory

    def kill(self, name: str) -> None:
        """Kill whatever is left in the container's groups."""
        for hierarchy in self._hierarchies:
            directory = hierarchy.directory / name
            if not hierarchy.unified or not _put(directory / "cgroup.kill", "1", quiet=True):
                for pid in _members(directory):
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, 9)

    def remove(self, name: str) -> None:
        """Remove the container's groups; one that still holds a dying process is left for the next call."""
        for hierarchy in self._hierarchies:
            with contextlib.suppress(OSError):
                (hierarchy.directory / name).rmdir()


def _hierarchies(proc: Path) -> Iterator[_Hierarchy]:
    own: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for line in (proc / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            own.update(dict.fromkeys(controllers.split(","), path))
    for mount_point, top, kind, options in _mounts(proc):
        wanted = [controller for controller in _CONTROLLERS if controller in options] if kind == "cgroup" else [""]
        if not wanted or wanted[0] not in own:
            continue
        directory = mount_point / Path(own[wanted[0]]).relative_to(top) if _below(own[wanted[0]], top) else mount_point
        if kind == "cgroup":
            yield _Hierarchy(directory, frozenset(wanted), unified=False)
        else:
            yield _unified(directory)


def _below(path: str, top: str) -> bool:
    return Path(path).is_relative_to(top)


def _mounts(proc: Path) -> Iterator[tuple[Path, str, str, set[str]]]:
    try:
        lines = (proc / "self/mountinfo").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        left, _, right = line.partition(" - ")
        kind, _, options = [*right.split(" "), "", ""][:3]
        if kind in {"cgroup", "cgroup2"}:
            fields = left.split(" ")
            yield Path(fields[4]), fields[3], kind, set(options.split(","))


def _unified(directory: Path) -> _Hierarchy:
    if directory.name == _DAEMON:
        directory = directory.parent  # an earlier daemon of this session moved here
    offered = set(_read(directory / "cgroup.controllers").split()) & set(_CONTROLLERS)
    if offered and not _make_room(directory):
        offered = set()
    return _Hierarchy(directory, frozenset(_hand_down(directory, frozenset(offered))), unified=True)


def _make_room(directory: Path) -> bool:
    """Move the daemon out of the group, so that the group may hand its controllers to children."""
    members = _members(directory)
    if not members:
        return True
    if members != [os.getpid()]:
        log.info("control group shared with other processes, limits not enforced by it", directory=str(directory))
        return False
    with contextlib.suppress(OSError):
        (directory / _DAEMON).mkdir(exist_ok=True)
        return _put(directory / _DAEMON / "cgroup.procs", str(os.getpid()))
    return False


def _hand_down(directory: Path, controllers: frozenset[str]) -> set[str]:
    return {name for name in controllers if _put(directory / "cgroup.subtree_control", f"+{name}")}


def _unified_writes(limits: Limits) -> Iterator[tuple[str, str, str]]:
    if limits.memory is not None:
        yield "memory", "memory.max", str(limits.memory)
        yield "memory", "memory.oom.group", "1"  # as the kubelet: half a container is of no use
    if limits.cpu_millis is not None:
        yield "cpu", "cpu.max", f"{_quota(limits.cpu_millis)} {_PERIOD}"
    if limits.cpu_request_millis:
        shares = max(limits.cpu_request_millis * 1024 // 1000, _LEAST_SHARES)
        yield "cpu", "cpu.weight", str(1 + (shares - 2) * 9999 // 262142)
    if limits.processes is not None:
        yield "pids", "pids.max", str(limits.processes)


def _legacy_writes(limits: Limits) -> Iterator[tuple[str, str, str]]:
    if limits.memory is not None:
        yield "memory", "memory.limit_in_bytes", str(limits.memory)
    if limits.cpu_millis is not None:
        yield "cpu", "cpu.cfs_period_us", str(_PERIOD)
        yield "cpu", "cpu.cfs_quota_us", str(_quota(limits.cpu_millis))
    if limits.cpu_request_millis:
        yield "cpu", "cpu.shares", str(max(limits.cpu_request_millis * 1024 // 1000, _LEAST_SHARES))
    if limits.processes is not None:
        yield "pids", "pids.max", str(limits.processes)


def _cpu_time(directory: Path, *, unified: bool) -> int | None:
    if not unified:
        text = _read(directory / "cpuacct.usage").strip()
        return int(text) if text else None
    micros = _counters(directory / "cpu.stat").get("usage_usec")
    return None if micros is None else micros * 1000


def _working_set(directory: Path, *, unified: bool) -> int | None:
    """Return the memory in use without file pages that nobody has looked at lately."""
    text = _read(directory / ("memory.current" if unified else "memory.usage_in_bytes")).strip()
    if not text:
        return None
    idle = _counters(directory / "memory.stat").get("inactive_file" if unified else "total_inactive_file", 0)
    return max(0, int(text) - idle)


def _counters(path: Path) -> dict[str, int]:
    return {name: int(number) for name, number in (line.split() for line in _read(path).splitlines())}


def _quota(millis: int) -> int:
    return max(millis * _PERIOD // 1000, _LEAST_QUOTA)


def _put(path: Path, text: str, *, quiet: bool = False) -> bool:
    """Write a control file; it exists already, and the kernel takes the text in one write or refuses it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        if not quiet:
            log.debug("control file not there", file=str(path), error=str(error))
        return False
    try:
        os.write(descriptor, text.encode())
    except OSError as error:
        if not quiet:
            log.warning("control file refused", file=str(path), value=text, error=str(error))
        return False
    finally:
        os.close(descriptor)
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _members(directory: Path) -> list[int]:
    return [int(pid) for pid in _read(directory / "cgroup.procs").split()]
