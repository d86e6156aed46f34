"""Places where a test may end the process as a power cut would: with SIGKILL, between two instructions.

`SKERRY_FAILPOINT=NAME:N` kills at the N-th time that the place is reached. Without the variable `reach` is one look at
a constant.
"""

import os
import signal
from typing import Final

_WANTED, _, _TIMES = os.environ.get("SKERRY_FAILPOINT", "").partition(":")
_seen = 0

# Every name that is reached somewhere; the crash test walks them, so that none goes without a test.
NAMES: Final = (
    "writer.begun",
    "writer.changed",
    "writer.compacted",
    "writer.committed",
    "ceiling.raised",
    "vacuum.done",
    "copy.written",
    "copy.verified",
    "copy.kept",
    "repair.built",
    "repair.staged",
    "repair.aside",
    "repair.cleared",
    "repair.installed",
)


def reach(name: str) -> None:
    """End the process here if this place and this time are the ones that were asked for."""
    if name == _WANTED:
        _die()


def _die() -> None:
    global _seen  # noqa: PLW0603 - one count a process, in tests only
    _seen += 1
    if _seen == int(_TIMES or 1):
        os.kill(os.getpid(), signal.SIGKILL)
