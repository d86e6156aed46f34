"""Some room on the disk that is kept for the day on which there is none.

On a full disk a daemon that starts cannot even say where it listens. So a file of a megabyte stands ready to be given
up for the few small files that a start has to write; it is made again at the next start that finds room.
"""

import contextlib
import errno
import os
import shutil
from pathlib import Path
from typing import Final

from skerry.kit import files

_SIZE: Final = 1 << 20
_PLENTY: Final = 4 << 20  # it is made only where so much is free


class Reserve:
    """The file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self) -> None:
        """Make the file if it is missing and there is room; no error, whatever happens."""
        with contextlib.suppress(OSError):
            if self._path.exists() or shutil.disk_usage(self._path.parent).free < _PLENTY:
                return
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, _SIZE)
            finally:
                os.close(descriptor)

    def replace(self, path: Path, data: bytes) -> None:
        """Write a file as `files.replace` does, on a full disk in the place of the reserve.

        Raises `OSError`.
        """
        try:
            files.replace(path, data)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT} or not self._path.exists():
                raise
            self._path.unlink()
            files.sync_directory(self._path.parent)
            files.replace(path, data)
