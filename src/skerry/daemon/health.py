"""What `skerry status` tells of the past: what was repaired, and why the last start failed.

A file, not the API: it must be readable when there is no API, and when the API is what was damaged.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from skerry.kit import files
from skerry.kit.clock import timestamp

_KEPT: Final = 10


class Notice(msgspec.Struct, frozen=True):
    """Something that happened, once."""

    time: str
    reason: str
    message: str


class Health(msgspec.Struct, frozen=True, rename="camel"):
    """The file."""

    cannot_start: str = ""
    notices: list[Notice] = []


def read_health(path: Path) -> Health:
    """Return what the file says; nothing when it is missing or damaged."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Health)
    except (OSError, msgspec.MsgspecError):
        return Health()


def note(path: Path, reason: str, message: str, now: datetime) -> None:
    """Add a notice. A disk that is full keeps it from being written, and nothing else."""
    with contextlib.suppress(OSError), _alone(path):
        health = read_health(path)
        notices = [*health.notices, Notice(timestamp(now), reason, message)][-_KEPT:]
        _write(path, Health(health.cannot_start, notices))


def note_start(path: Path, cannot_start: str = "") -> None:
    """Remember why a start failed, or that it did not."""
    with contextlib.suppress(OSError), _alone(path):
        health = read_health(path)
        if health.cannot_start != cannot_start:
            _write(path, Health(cannot_start, health.notices))


def acknowledge(path: Path, seen: Sequence[Notice]) -> None:
    """Remove the notices that somebody has seen; one that came since stays.

    Raises `OSError`.
    """
    with _alone(path):
        health = read_health(path)
        left = [notice for notice in health.notices if notice not in seen]
        if left != health.notices:
            _write(path, Health(health.cannot_start, left))


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others out between reading and writing: the daemon notes things while somebody acknowledges others."""
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _write(path: Path, health: Health) -> None:
    files.replace(path, msgspec.json.encode(health))
