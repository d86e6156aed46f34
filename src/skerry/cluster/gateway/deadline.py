"""A time-out that moves with every byte and costs next to nothing.

Moving it only writes down when it is due; the loop's timer stays where it is and, when it fires too early, is set
again for the rest. So a busy connection touches its timer once per time-out, not once per request, and an idle gateway
has nothing that wakes it.
"""

import asyncio
import math
from collections.abc import Callable


class Deadline:
    """Calls `expired` when nobody moved it in time."""

    __slots__ = ("_due", "_expired", "_fires", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._due = math.inf
        self._fires = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def set(self, seconds: float) -> None:
        """Be due in so many seconds from now, whatever was said before."""
        self._due = self._loop.time() + seconds
        if self._due < self._fires:
            self._arm()

    def clear(self) -> None:
        """Be due never."""
        self._due = math.inf

    def close(self) -> None:
        """Be due never, and let go of the loop."""
        self._due = self._fires = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires = self._due
        self._timer = self._loop.call_at(self._due, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._fires = math.inf
        # Timers of uvloop have whole milliseconds, so they may fire a little early.
        if self._due - self._loop.time() < 0.001:
            self._due = math.inf
            self._expired()
        elif self._due < math.inf:
            self._arm()
