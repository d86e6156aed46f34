"""Wakes a reader when a directory changes: inotify, which the standard library does not have."""

import asyncio
import contextlib
import ctypes
import os
from pathlib import Path
from typing import Final

_MODIFY: Final = 0x2
_MOVED_TO: Final = 0x80
_CREATE: Final = 0x100
_DELETE_SELF: Final = 0x400
_BUFFER: Final = 16 << 10  # an event is at most 272 bytes long


class DirectoryWatch:
    """One watched directory. Where the kernel has no watch left, `changed` just comes back after a while."""

    def __init__(self, directory: Path, fallback_seconds: float = 0.25) -> None:
        self._fallback = fallback_seconds
        self._event = asyncio.Event()
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            return
        mask = _MODIFY | _MOVED_TO | _CREATE | _DELETE_SELF
        if libc.inotify_add_watch(self._descriptor, os.fsencode(directory), mask) < 0:
            os.close(self._descriptor)
            self._descriptor = -1
            return
        asyncio.get_running_loop().add_reader(self._descriptor, self._readable)

    def clear(self) -> None:
        """Forget what has changed so far; call it before looking."""
        self._event.clear()

    def set(self) -> None:
        """Wake the reader for another reason."""
        self._event.set()

    async def changed(self) -> None:
        """Return when something has changed since `clear`."""
        if self._descriptor >= 0:
            await self._event.wait()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._fallback):
                await self._event.wait()

    def close(self) -> None:
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _readable(self) -> None:
        try:
            while os.read(self._descriptor, _BUFFER):
                pass
        except BlockingIOError:
            pass
        self._event.set()
