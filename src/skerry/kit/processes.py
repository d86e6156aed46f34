"""Who a process is, across restarts of ours and reboots of the machine.

A pid alone is reused; pid, start time (field 22 of `/proc/PID/stat`, clock ticks since boot) and the kernel's boot id
together are not.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


@dataclass(frozen=True)
class ProcessIdentity:
    """One process of one boot."""

    pid: int
    start_time: int
    boot_id: str

    def alive(self) -> bool:
        """Tell whether exactly this process still runs; a zombie counts as dead."""
        if self.boot_id != boot_id():
            return False
        state_and_start = _stat(self.pid)
        return state_and_start is not None and state_and_start[1] == self.start_time and state_and_start[0] not in "ZX"


def boot_id() -> str:
    """Return the kernel's random id of this boot."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> ProcessIdentity:
    """Return the identity of a running process.

    Raises `ProcessLookupError` when there is none with that pid.
    """
    state_and_start = _stat(pid)
    if state_and_start is None:
        raise ProcessLookupError(f"no process {pid}")
    return ProcessIdentity(pid, state_and_start[1], boot_id())


def _stat(pid: int) -> tuple[str, int] | None:
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command name is in parentheses and may itself hold spaces, parentheses and bytes that are no text.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return fields[0].decode(), int(fields[19])
