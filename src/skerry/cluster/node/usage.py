"""What running containers use of processors and memory, for metrics.k8s.io.

Every fifteen seconds each container's counters are read: those of its control group where there is one, else those of
its processes. Two readings make a rate; the time between them is the window that clients are told. A container that has
been read once counts from its start, when nothing had been used yet, once it is ten seconds old. A pod is known when
all its running containers are; what ended is forgotten with the next reading, so nothing grows.

Facts: metrics-server `pkg/storage`; working set as cadvisor has it, usage without inactive file pages.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from skerry.api.metrics import Amounts, NodeUsage, PodUsage
from skerry.kit.clock import Clock

FRESH: Final = timedelta(seconds=10)
_NEW: Final = timedelta(seconds=60)
_NANO: Final = 10**9
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Measured:
    """Counters at one moment: nanoseconds of processors since the start, bytes of memory now."""

    cpu: int
    memory: int


@dataclass(frozen=True)
class Running:
    """One attempt of a container that runs."""

    uid: str
    container: str
    attempt: int
    pid: int
    started_at: datetime
    group: str  # the name of its control groups


@dataclass(frozen=True)
class _Reading:
    at: datetime
    value: Measured


@dataclass(frozen=True)
class _Pair:
    before: _Reading
    now: _Reading

    @property
    def window(self) -> timedelta:
        return self.now.at - self.before.at

    def amounts(self) -> Amounts:
        used = max(0, self.now.value.cpu - self.before.value.cpu)
        return Amounts(round(used / self.window.total_seconds()), self.now.value.memory)


@dataclass(frozen=True)
class Meters:
    """How counters are read; None for what is gone."""

    container: Callable[[Running], Measured | None]
    machine: Callable[[], Measured | None]


class UsageMeter:
    """Keeps the last two readings of everything that runs."""

    def __init__(self, clock: Clock, node: str, running: Callable[[], Iterable[Running]], meters: Meters) -> None:
        self._clock = clock
        self._node = node
        self._running = running
        self._meters = meters
        self._last: dict[Running, _Reading] = {}
        self._pairs: dict[Running, _Pair] = {}
        self._last_of_machine: _Reading | None = None
        self._machine: _Pair | None = None

    async def run(self, seconds: float) -> None:
        """Read all counters again and again until cancelled."""
        while True:
            self.read()
            await self._clock.sleep(seconds)

    def read(self) -> None:
        """Read all counters once: a few small files for each container."""
        last, pairs = {}, {}
        for running in self._running():
            value = self._meters.container(running)
            if value is None:
                continue
            now = _Reading(self._clock.now(), value)
            last[running] = now
            before = self._last.get(running) or _at_start(running, now)
            if before is not None and before.at < now.at:
                pairs[running] = _Pair(before, now)
        self._last, self._pairs = last, pairs
        machine = self._meters.machine()
        if machine is not None:
            reading = _Reading(self._clock.now(), machine)
            if self._last_of_machine is not None and self._last_of_machine.at < reading.at:
                self._machine = _Pair(self._last_of_machine, reading)
            self._last_of_machine = reading

    def pods(self) -> Mapping[str, PodUsage]:
        """Return the usage of each pod that is known, by its uid."""
        by_pod: dict[str, list[Running]] = {}
        for running in self._last:
            by_pod.setdefault(running.uid, []).append(running)
        return {
            uid: _of_pod([(running.container, self._pairs[running]) for running in containers])
            for uid, containers in by_pod.items()
            if all(running in self._pairs for running in containers)
        }

    def node(self) -> tuple[str, NodeUsage] | None:
        """Return the name of the node and what all of the machine uses."""
        pair = self._machine
        return None if pair is None else (self._node, NodeUsage(pair.now.at, pair.window, pair.amounts()))


def _at_start(running: Running, now: _Reading) -> _Reading | None:
    # What an earlier daemon has started is not new: the mean of its whole life would tell nothing of now.
    if not FRESH <= now.at - running.started_at <= _NEW:
        return None
    return _Reading(running.started_at, Measured(0, 0))


def _of_pod(containers: list[tuple[str, _Pair]]) -> PodUsage:
    earliest = min((pair for _, pair in containers), key=lambda pair: pair.now.at)
    return PodUsage(earliest.now.at, earliest.window, {name: pair.amounts() for name, pair in containers})


def of_processes(pid: int, proc: Path = Path("/proc")) -> Measured | None:
    """Add up a process and its descendants, for machines without usable control groups.

    Memory is what the kernel cannot take back, the same figure that the supervisor holds against a limit.
    """
    stat = _text(proc / str(pid) / "stat")
    if not stat:
        return None
    # The command name is in parentheses and may itself hold spaces and parentheses.
    fields = stat.rpartition(") ")[2].split()
    ticks = sum(int(field) for field in fields[11:15])  # with the time of children that have ended
    memory = sum(
        int(line.split()[1]) * 1024
        for line in _text(proc / str(pid) / "status").splitlines()
        if line.startswith(("RssAnon:", "RssShmem:"))
    )
    cpu = ticks * _NANO // _TICKS
    for child in _children(proc / str(pid)):
        found = of_processes(child, proc)
        if found is not None:
            cpu, memory = cpu + found.cpu, memory + found.memory
    return Measured(cpu, memory)


def of_machine(proc: Path = Path("/proc")) -> Measured | None:
    """Read what everything on the machine uses: all but idle time, all memory but what is available."""
    first = _text(proc / "stat").partition("\n")[0].split()
    meminfo = {
        line.partition(":")[0]: int(line.split()[1]) * 1024
        for line in _text(proc / "meminfo").splitlines()
        if line.startswith(("MemTotal:", "MemAvailable:"))
    }
    if len(first) < 8 or len(meminfo) < 2:
        return None
    user, nice, system, _idle, _iowait, irq, soft_irq = (int(number) for number in first[1:8])
    busy = user + nice + system + irq + soft_irq
    return Measured(busy * _NANO // _TICKS, meminfo["MemTotal"] - meminfo["MemAvailable"])


def _children(process: Path) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in (process / "task").iterdir():
            found += [int(child) for child in _text(thread / "children").split()]
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
