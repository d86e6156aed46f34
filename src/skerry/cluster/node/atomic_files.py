"""A directory whose files change all at once, as the kubelet writes ConfigMap and Secret volumes.

    ..2026_11_22_21_30_00.123456789/   one complete set of files
    ..data -> ..2026_11_22_…           swapped by one rename
    key -> ..data/key                  what the container opens

A program that reads through `..data` sees the old set or the new one, never a mixture. A set that is the same as the
present one is not written. These directories are made anew after a reboot, so nothing is flushed to the disk.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

_DATA: Final = "..data"
_DIRECTORY_MODE: Final = 0o755


@dataclass(frozen=True)
class File:
    """Content and permissions of one file."""

    data: bytes
    mode: int


def write(directory: Path, files: Mapping[str, File], owner: int | None) -> bool:
    """Make the directory hold exactly these files; say whether anything changed. Paths must be `safe`."""
    directory.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    if _present(directory) == dict(files):
        return False
    now = time.time_ns()
    stamp = time.strftime("%Y_%m_%d_%H_%M_%S", time.gmtime(now // 10**9))
    fresh = directory / f"..{stamp}.{now % 10**9:09d}"
    _fill(fresh, files, owner)
    link = directory / "..data_tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.replace(directory / _DATA)
    _publish(directory, {PurePosixPath(path).parts[0] for path in files})
    for entry in directory.iterdir():
        if entry.name.startswith("..") and entry != fresh and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
    return True


def safe(path: str) -> bool:
    """Tell whether a path stays in the volume and cannot collide with the volume's own names."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and not parts[0].startswith("..")


def _present(directory: Path) -> dict[str, File] | None:
    data = directory / _DATA
    if not data.is_symlink():
        return None
    found = {}
    for place, _, names in os.walk(data.resolve()):
        for name in names:
            path = Path(place, name)
            relative = str(path.relative_to(data.resolve()))
            found[relative] = File(path.read_bytes(), path.stat().st_mode & 0o7777)
    return found


def _fill(directory: Path, files: Mapping[str, File], owner: int | None) -> None:
    directory.mkdir(mode=_DIRECTORY_MODE)
    directory.chmod(_DIRECTORY_MODE)
    for name, file in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        for parent in list(path.parents)[: len(Path(name).parts) - 1]:
            parent.chmod(_DIRECTORY_MODE)  # whatever the daemon's umask is
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(file.data)
            if owner is not None:
                os.fchown(descriptor, owner, owner)
            os.fchmod(descriptor, file.mode)


def _publish(directory: Path, names: set[str]) -> None:
    for name in names:
        with contextlib.suppress(FileExistsError):
            (directory / name).symlink_to(f"{_DATA}/{name}")
    for entry in directory.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
