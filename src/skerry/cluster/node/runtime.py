"""What the node knows of its pods at one moment: plain values, from which `pod_plan` and `pod_status` conclude.

The worker of a pod owns these values and replaces them; nothing else changes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal


@dataclass(frozen=True)
class Settings:
    """The kubelet's time constants; tests shorten them."""

    first_back_off: timedelta = timedelta(seconds=10)
    longest_back_off: timedelta = timedelta(seconds=300)
    fast_probe_seconds: float = 0.05
    kill_again: timedelta = timedelta(seconds=2)
    usage_seconds: float = 15.0  # between two readings of what containers use
    drain_seconds: float = 0.4
    """How long a ready container with ports goes on after its pod's deletion, while requests are turned elsewhere.

    Kubernetes sends the stop signal at once and leaves the race with the endpoints to a `preStop` sleep in every
    manifest; here the same machine does both.
    """

    @property
    def back_off_reset(self) -> timedelta:
        """A container that ran this long starts again with the first delay."""
        return 2 * self.longest_back_off


@dataclass(frozen=True)
class Waiting:
    """Why a container is not started: what the last try found. `retry_at` None: only a change of objects can help."""

    reason: str
    message: str
    failures: int = 1
    retry_at: datetime | None = None


@dataclass(frozen=True)
class Run:
    """One attempt of a container."""

    attempt: int
    container_id: str
    image_id: str
    phase: Literal["running", "exited"]
    started_at: datetime | None = None
    finished_at: datetime | None = None
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    stop_deadline: datetime | None = None  # when SIGKILL follows the stop signal; None: nobody asked it to stop
    killed_at: datetime | None = None

    @property
    def active(self) -> bool:
        return self.phase != "exited"


@dataclass(frozen=True)
class BackOff:
    """The delay before the next restart, and when it was last raised."""

    delay: timedelta
    raised_at: datetime


@dataclass(frozen=True)
class Unhealthy:
    """A probe wants the container restarted."""

    message: str
    grace: timedelta


@dataclass(frozen=True)
class ContainerState:
    """One container: its last two attempts, and what keeps it from the next one.

    After a reboot an attempt that ended is `previous` and nothing is current: the pod begins anew, init containers too.
    """

    current: Run | None = None
    previous: Run | None = None
    waiting: Waiting | None = None
    back_off: BackOff | None = None
    startup_passed: bool = False
    ready: bool = False
    unhealthy: Unhealthy | None = None
    starting: bool = False  # the next attempt is being started just now

    @property
    def active(self) -> bool:
        return self.starting or (self.current is not None and self.current.active)

    @property
    def next_attempt(self) -> int:
        last = self.current or self.previous
        return last.attempt + 1 if last else 0


@dataclass(frozen=True)
class PodState:
    """One pod."""

    ip: str = ""
    start_time: datetime | None = None
    prepared: Literal["no", "running", "yes"] = "no"
    problem: Waiting | None = None  # the volumes cannot be made
    containers: Mapping[str, ContainerState] = field(default_factory=dict)
    evicted: Waiting | None = None  # reason and message of a pod that the node ended
    gone: datetime | None = None  # the object is not in the API any more; when to kill
    closing: datetime | None = None  # the node stops all its pods; when to kill
    over: str = ""  # the phase in which the API already has the pod, when that is Succeeded or Failed

    def of(self, name: str) -> ContainerState:
        return self.containers.get(name) or ContainerState()


def go_duration(duration: timedelta) -> str:
    """Write a duration as Go does: `10s`, `1m20s`, `5m0s`; back-off messages carry it."""
    seconds = int(duration.total_seconds())
    if duration.total_seconds() < 1:
        return f"{duration.total_seconds() * 1000:g}ms"
    hours, minutes = seconds // 3600, seconds % 3600 // 60
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if seconds >= 60 else ""
    return f"{text}{seconds % 60}s"
