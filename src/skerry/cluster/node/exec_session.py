"""One command of `kubectl exec`, from the daemon's side: its streams, its terminal, its end.

The command runs below a process of its own (see `attend.py`) that ends it when our end of the control pipe is closed,
however that comes about. The daemon holds pipes or the master of a terminal and reads them only when the client takes
more, so nothing piles up here.
"""

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import termios
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from skerry.cluster.node.containers import Exit, high
from skerry.cluster.node.descriptors import Inlet, Outlet
from skerry.cluster.node.hardening import supervisor_command
from skerry.kit.log import logger
from skerry.machinery import status

log = logger(__name__)

_CONTROL: Final = 3
_END_SECONDS: Final = 15.0
_KILLED: Final = 137
_HEARSAY_SECONDS: Final = 0.5
_TROUBLE: Final = "error executing command in container"


@dataclass(frozen=True)
class Surroundings:
    """The running container that a command is to run in."""

    name: str
    spec_file: Path
    pid: int
    ended: "asyncio.Future[Exit]"


class ExecSession:
    """A running command."""

    def __init__(self, container: Surroundings, command: Sequence[str], *, stdin: bool, tty: bool) -> None:
        """Start it; raises `StatusError` when there are no resources left to."""
        self._container = container
        self._terminal = -1
        self._outlets: dict[int, Outlet] = {}
        self._inlet: Inlet | None = None
        given: list[int] = []
        try:
            streams = self._open_terminal(given) if tty else self._open_pipes(given, stdin=stdin)
            self._control = self._start(command, streams, given)
        except (OSError, ValueError) as error:  # no descriptors or processes left; a command with a NUL in it
            self._close()
            raise status.internal(f"{_TROUBLE}: cannot start a process: {error}") from error
        finally:
            for descriptor in given:
                os.close(descriptor)
        self._exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self._pidfd, self._reap)
        container.ended.add_done_callback(self._container_ended)

    async def output(self, stream: int) -> bytes:
        outlet = self._outlets.get(stream)
        return await outlet.read() if outlet is not None else b""

    async def input(self, data: bytes) -> None:
        if self._inlet is not None:
            await self._inlet.write(data)

    def end_input(self) -> None:
        if self._inlet is not None and self._terminal < 0:
            self._inlet.close()

    def resize(self, columns: int, rows: int) -> None:
        if self._terminal >= 0:
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    async def outcome(self) -> tuple[int, str]:
        code = await asyncio.shield(self._exited)
        if code == _KILLED:
            # Whoever ends a container kills all of it, and is heard of a moment after the command.
            await asyncio.wait({self._container.ended}, timeout=_HEARSAY_SECONDS)
        return code, f"the container {self._container.name} has ended" if self._container.ended.done() else ""

    async def aclose(self) -> None:
        self._container.ended.remove_done_callback(self._container_ended)
        self._let_go()
        self._close()
        try:
            async with asyncio.timeout(_END_SECONDS):
                await asyncio.shield(self._exited)
        except TimeoutError:
            log.warning("a command does not end", container=self._container.name, pid=self._pid)

    # Starting

    def _open_terminal(self, given: list[int]) -> tuple[int, int, int]:
        master, slave = pty.openpty()
        given.append(slave)
        self._terminal = master
        self._outlets[1] = Outlet(os.dup(master))
        self._inlet = Inlet(os.dup(master))
        return slave, slave, slave

    def _open_pipes(self, given: list[int], *, stdin: bool) -> tuple[int, int, int]:
        ends = []
        for stream in (1, 2):
            ours, theirs = os.pipe2(os.O_CLOEXEC)
            self._outlets[stream] = Outlet(ours)
            given.append(theirs)
            ends.append(theirs)
        if stdin:
            source, ours = os.pipe2(os.O_CLOEXEC)
            self._inlet = Inlet(ours)
        else:
            source = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        given.append(source)
        return source, ends[0], ends[1]

    def _start(self, command: Sequence[str], streams: tuple[int, int, int], given: list[int]) -> int:
        theirs, ours = os.pipe2(os.O_CLOEXEC)
        theirs = high(theirs)
        given.append(theirs)
        raised = [high(os.dup(stream)) for stream in streams]
        given += raised
        container = self._container
        line = [*supervisor_command(), "--attend", str(container.spec_file), str(container.pid), *command]
        actions = [(os.POSIX_SPAWN_DUP2, each, number) for number, each in enumerate([*raised, theirs])]
        try:
            self._pid = os.posix_spawn(line[0], line, {}, file_actions=actions, setsid=True, setsigmask=())
            self._pidfd = os.pidfd_open(self._pid)
        except (OSError, ValueError):
            os.close(ours)
            raise
        return ours

    # Ending

    def _container_ended(self, end: "asyncio.Future[Exit]") -> None:
        self._let_go()

    def _let_go(self) -> None:
        if self._control >= 0:
            os.close(self._control)
            self._control = -1

    def _close(self) -> None:
        for outlet in self._outlets.values():
            outlet.close()
        if self._inlet is not None:
            self._inlet.close()
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        ended: Any = None
        with contextlib.suppress(ChildProcessError):
            ended = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        os.close(self._pidfd)
        self._let_go()
        clean = ended is not None and ended.si_code == os.CLD_EXITED
        if not self._exited.done():
            self._exited.set_result(ended.si_status if clean else _KILLED)
