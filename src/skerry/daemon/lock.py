"""One daemon a data directory: a lock that the kernel drops when the process ends, and the facts of who holds it."""

import fcntl
import os
from pathlib import Path

import msgspec

from skerry.kit import files
from skerry.kit.processes import ProcessIdentity


class AlreadyRunning(Exception):
    """Another daemon holds the lock."""


class DaemonFacts(msgspec.Struct, frozen=True):
    """What `skerry status`, `down` and `kubeconfig` read of a running daemon."""

    pid: int
    start_time: int
    boot_id: str
    api_url: str
    gateway_url: str
    kubeconfig: str
    apps_domain: str

    def alive(self) -> bool:
        return ProcessIdentity(self.pid, self.start_time, self.boot_id).alive()


def take_lock(path: Path) -> int:
    """Hold the lock until the process ends; returns its file descriptor.

    Raises `AlreadyRunning`.
    """
    files.private_directory(path.parent)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunning(str(path)) from None
    return descriptor


def read_facts(path: Path) -> DaemonFacts | None:
    """Return the facts of the daemon that runs, None when none does."""
    try:
        facts = msgspec.json.decode(path.read_bytes(), type=DaemonFacts)
    except (OSError, msgspec.MsgspecError):
        return None
    return facts if facts.alive() else None
