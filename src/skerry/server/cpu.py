"""How many processors the process may really use.

The host's core count is the wrong answer inside a pod: an engine that starts a thread per core under a quota of one
spends its time throttled. The scheduler's affinity mask and the cgroup's quota are both limits; the smaller one counts.
A quota that is no whole number is rounded up: short bursts on one more thread beat idling within the quota.
"""

import math
import os
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN_CGROUP: Final = Path("/proc/self/cgroup")


def usable_processors(cgroups: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> int:
    """Return how many threads can run at once, at least one."""
    available = len(os.sched_getaffinity(0))
    quota = cpu_quota(cgroups, own)
    return available if quota is None else max(1, min(available, math.ceil(quota)))


def cpu_quota(cgroups: Path, own: Path) -> float | None:
    """Return the tightest quota, in processors, from the process's own cgroup up to the root; None without one."""
    quotas = []
    for controllers, path in _memberships(own):
        root = cgroups / controllers if controllers else cgroups
        relative = Path(path.lstrip("/"))
        # Inside a container the path may name a directory of the host that is not mounted here; its root is then ours.
        quotas += [_quota_of(root / step) for step in (relative, *relative.parents)]
    known = [quota for quota in quotas if quota is not None]
    return min(known, default=None)


def _memberships(own: Path) -> list[tuple[str, str]]:
    """The lines of /proc/self/cgroup: (controllers of version 1, or empty for version 2; path)."""
    lines = (_read(own) or "").splitlines()
    fields = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    return [
        (controllers, path) for _, controllers, path in fields if not controllers or "cpu" in controllers.split(",")
    ]


def _quota_of(directory: Path) -> float | None:
    unified = _read(directory / "cpu.max")
    pair = unified.split() if unified else [_read(directory / f"cpu.cfs_{part}_us") for part in ("quota", "period")]
    try:
        quota, period = (int(number) if number else 0 for number in pair)
    except ValueError:  # "max", or a file of another shape
        return None
    return quota / period if quota > 0 and period > 0 else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
