"""What a running gateway process says of itself in its pid file, for the daemon that comes back.

The process writes the file when it listens and takes it away when it has stopped listening; so a file whose process
lives names a gateway that serves, and a later daemon can tell whether it is the one it would have started.
"""

from pathlib import Path

import msgspec

from skerry.kit import files
from skerry.kit.processes import ProcessIdentity


class Running(msgspec.Struct, frozen=True):
    """Identity, version and command line of a gateway process, and the addresses it listens on."""

    pid: int
    start_time: int
    boot_id: str
    version: str
    arguments: tuple[str, ...]
    listening: tuple[str, ...]

    @property
    def identity(self) -> ProcessIdentity:
        return ProcessIdentity(self.pid, self.start_time, self.boot_id)


def write(path: Path, running: Running) -> None:
    """Say that this process serves."""
    files.replace(path, msgspec.json.encode(running) + b"\n")


def read(path: Path) -> Running | None:
    """Return what the file says, None where there is no file or not a readable one."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Running)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def remove(path: Path, pid: int) -> None:
    """Take the file away if it is still this process's own."""
    running = read(path)
    if running is not None and running.pid == pid:
        path.unlink(missing_ok=True)
