"""Locks between processes: the daemon and the command line write to one store.

`flock` belongs to the open file, so it also works between threads, and it ends with the process that holds it: there is
never a stale lock to clean up.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from skerry.images.errors import StoreError

_POLL: Final = 0.02


@contextmanager
def held(path: Path, *, shared: bool = False, patience: float) -> Iterator[None]:
    """Hold the lock at `path` inside the block, waiting at most `patience` seconds for it.

    Blocks the thread. Raises `StoreError` when somebody else holds it all that time.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(descriptor, path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, patience)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, path: Path, kind: int, patience: float) -> None:
    # Polled: a blocking flock has no time-out, and a signal for one would not reach a worker thread.
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise StoreError(
                    f"cannot lock {path}: another skerry process has held it for {patience:.0f} s; "
                    "try again when it is done"
                ) from None
            time.sleep(_POLL)
        else:
            return
