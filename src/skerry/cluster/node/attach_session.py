"""`kubectl attach`: what a running container writes from now on, and its standard input if it has one.

The output is read from the log, which the supervisor writes as it comes: any number of clients can be attached, a slow
one holds nobody up, and a restarted daemon needs no pipe that died with it. The input is the FIFO in the container's
directory. With `stdinOnce` the first client that has written and leaves is the last: the program sees the end of its
input, as it does when the client ends its own.
"""

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from pathlib import Path
from typing import Final

from skerry.cluster.node.containers import Container
from skerry.cluster.node.descriptors import Inlet
from skerry.cluster.node.inotify import DirectoryWatch
from skerry.cluster.node.log_files import Cursor, content, lines_of

_NAMES: Final = {1: b"stdout", 2: b"stderr"}


class AttachSession:
    """One client of one container."""

    def __init__(self, container: Container, log_file: Path, *, stdin: bool, once: bool) -> None:
        self._container = container
        self._once = once
        self._inlet = _open_input(container.directory / "stdin") if stdin else None
        self._followers = {stream: _Follower(container, log_file, stream) for stream in _NAMES}

    async def output(self, stream: int) -> bytes:
        return await self._followers[stream].read()

    async def input(self, data: bytes) -> None:
        if self._inlet is not None:
            await self._inlet.write(data)

    def end_input(self) -> None:
        if self._inlet is None:
            return
        self._inlet.close()
        self._inlet = None
        if self._once:
            self._container.end_input()

    def resize(self, columns: int, rows: int) -> None:
        if not self._container.terminal:
            return
        with contextlib.suppress(OSError):
            terminal = os.open(self._container.terminal, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            try:
                fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            finally:
                os.close(terminal)

    async def outcome(self) -> tuple[int, str]:
        """Success: the container's own exit code stands in the pod's status, where clients look for it."""
        return 0, ""

    async def aclose(self) -> None:
        self.end_input()
        for follower in self._followers.values():
            follower.close()


class _Follower:
    """Follows one stream of the log from now until the container has ended."""

    def __init__(self, container: Container, log_file: Path, stream: int) -> None:
        self._ends = container.exited
        self._mark = _NAMES[stream]
        self._cursor = Cursor(log_file)
        self._cursor.before_last(0)
        self._watch = DirectoryWatch(log_file.parent)
        self._ends.add_done_callback(self._wake)

    async def read(self) -> bytes:
        """Return the next bytes; empty when the container has ended and all of it was read."""
        while True:
            over = self._ends.done()
            self._watch.clear()
            while raw := self._cursor.read():
                lines = (line for line in lines_of(raw) if line.split(b" ", 2)[1:2] == [self._mark])
                if text := b"".join(content(line) for line in lines):
                    return text
                await asyncio.sleep(0)
            if over:
                return b""
            await self._watch.changed()

    def close(self) -> None:
        self._ends.remove_done_callback(self._wake)
        self._watch.close()
        self._cursor.close()

    def _wake(self, _: object) -> None:
        self._watch.set()


def _open_input(fifo: Path) -> Inlet | None:
    """Open the container's input; None when it has none, or nobody reads it any more."""
    try:
        return Inlet(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError:
        return None
