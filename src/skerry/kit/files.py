"""The one door through which files are written (a test forbids `open(..., "w")` elsewhere).

A file is replaced as a whole: written beside the old one, flushed to the disk, renamed over it, and the directory
flushed as well. After a power cut a reader finds either the old content or the new one.
"""

import os
import threading
from pathlib import Path
from typing import Final

_PRIVATE: Final = 0o600
_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def replace(path: Path, data: bytes, *, mode: int = _PRIVATE) -> None:
    """Write `data` to `path` so that a crash leaves the old file or the new one, never a part.

    Raises `OSError` when the directory is missing or the disk is full; the old file is then untouched.
    """
    # No two threads of the machine have the same number at the same time, so no two writers share the name.
    temporary = path.with_name(f".{path.name}.{threading.get_native_id()}.new")
    descriptor = _open_new(temporary, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def _open_new(path: Path, mode: int) -> int:
    try:
        return os.open(path, _NEW, mode)
    except FileExistsError:
        # A writer that had this number once died here. Its file may have another mode, or be somebody's link.
        path.unlink()
        return os.open(path, _NEW, mode)


def sync_directory(path: Path) -> None:
    """Make renames, creations and removals inside the directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_directory(path: Path) -> Path:
    """Make the directory and its parents where they are missing, readable by their owner alone; give it back."""
    for one in (*reversed(path.parents), path):
        one.mkdir(mode=0o700, exist_ok=True)
    return path
