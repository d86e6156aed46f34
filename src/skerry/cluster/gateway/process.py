"""The daemon's hold on the gateway process: started in its own session, adopted when it already runs, kept alive.

Killing the daemon touches neither the process nor a request in it. The next daemon reads the pid file, and adopts
the process that it names when that one lives (pid, start time and boot id) and was started as it would be now;
otherwise that one is asked to drain and a new one takes over the address.

    GatewayFailed     the process cannot be started: the address is busy, or it died; says which and what to do
"""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from skerry import __version__
from skerry.cluster.gateway import listen, runfile
from skerry.kit import files
from skerry.kit.clock import Clock, SystemClock
from skerry.kit.log import logger
from skerry.kit.processes import ProcessIdentity, identify

log = logger(__name__)

_START_SECONDS: Final = 20.0
_HAND_OVER_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.02
_RESTART_DELAYS: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_STABLE_SECONDS: Final = 10.0
_LONGEST_SOCKET_PATH: Final = 100  # the kernel's limit is 108 bytes
_LOG_ROTATES_AT: Final = 5 * 2**20
_READY_FD: Final = 3
_SYSTEM_CLOCK: Final = SystemClock()


class GatewayFailed(OSError):
    """The gateway process cannot be started."""


class _Ready(msgspec.Struct):
    """The first line of a new process on its pipe."""

    listening: tuple[str, ...] = ()
    error: str = ""


class GatewayProcess:
    """One gateway process; a daemon has one of these."""

    def __init__(
        self,
        run_dir: Path,
        log_dir: Path,
        listen: str | Sequence[str],
        *,
        drain: float = 10.0,
        clock: Clock = _SYSTEM_CLOCK,
    ) -> None:
        """`listen`: one ADDRESS:PORT or several; `drain`: seconds that open requests get when the process ends."""
        self.table_file = run_dir / "table.json"
        self.admin_socket = run_dir / "admin.sock"
        self._run_dir = run_dir
        self._log_file = log_dir / "gateway.log"
        self._pid_file = run_dir / "gateway.json"
        self._addresses = (listen,) if isinstance(listen, str) else tuple(listen)
        self._drain = drain
        self._clock = clock
        self._process: ProcessIdentity | None = None
        self._listening: tuple[str, ...] = ()
        self._news = False
        self._stop = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """The process's pid, None while there is none."""
        return self._process.pid if self._process is not None and self._process.alive() else None

    @property
    def port(self) -> int:
        """The port of the first address, the real one where 0 was asked for; known after `ensure`."""
        return listen.parse_address((self._listening or self._addresses)[0]).port

    async def check_address(self) -> None:
        """Raise `GatewayFailed` when something else holds an address; a gateway of ours may."""
        ours = self._running()
        held = set(ours.listening) if ours is not None else set()
        for text in self._addresses:
            try:
                address = listen.parse_address(text)
                if str(address) not in held:
                    listen.bind(address).close()
            except listen.CannotListen as error:
                raise GatewayFailed(str(error)) from error

    async def ensure(self) -> None:
        """Have a process that listens: adopt the living one or start one. Raises `GatewayFailed`."""
        files.private_directory(self._run_dir)
        files.private_directory(self._log_file.parent)
        running = self._running()
        if running is not None and self._fits(running):
            self._process, self._listening = running.identity, running.listening
            log.info("gateway adopted", pid=running.pid, addresses=", ".join(running.listening))
            return
        if running is not None:
            await self._hand_over(running)
        await self._start()

    def notify(self) -> None:
        """Tell the process that the table has changed; one that is still starting is told when it can listen."""
        self._news = True
        if self._process is not None and self._process.alive():
            self._signal(self._process, signal.SIGHUP)
            self._news = False

    async def run(self) -> None:
        """Start the process again whenever it ends, until `stop` or cancellation."""
        failures = 0
        while not self._stop.is_set():
            began = self._clock.monotonic()
            if self._process is not None:
                await self._exited(self._process)
                if self._stop.is_set():
                    return
                log.warning("gateway died; it is started again", pid=self._process.pid)
                self._process = None
                # Where any free port was asked for, clients know by now which one it was.
                self._addresses = self._listening or self._addresses
            if self._clock.monotonic() - began > _STABLE_SECONDS:
                failures = 0
            await self._clock.sleep(_RESTART_DELAYS[min(failures, len(_RESTART_DELAYS) - 1)])
            failures += 1
            try:
                await self.ensure()
            except GatewayFailed as error:
                log.error("cannot start the gateway", error=str(error))

    async def stop(self) -> None:
        """End the process: it stops listening at once and gets its time to drain."""
        self._stop.set()
        process = self._process
        if process is None:
            return
        self._signal(process, signal.SIGTERM)
        try:
            async with asyncio.timeout(self._drain + _HAND_OVER_SECONDS):
                await self._exited(process)
        except TimeoutError:
            log.warning("gateway did not end; it is killed", pid=process.pid)
            self._signal(process, signal.SIGKILL)
            await self._exited(process)
        self._process = None

    async def stop_leftover(self) -> bool:
        """End a process that a dead daemon has left; return whether there was one."""
        running = self._running()
        if running is not None:
            self._process = running.identity
            await self.stop()
        return running is not None

    # The pieces.

    def _running(self) -> runfile.Running | None:
        running = runfile.read(self._pid_file)
        return running if running is not None and running.identity.alive() else None

    def _fits(self, running: runfile.Running) -> bool:
        """Tell whether a running process is what would be started now; port 0 is content with any."""
        if running.version != __version__ or len(running.listening) != len(self._addresses):
            return False
        wanted = [
            there if given == f"{there.rpartition(':')[0]}:0" else given
            for given, there in zip(self._addresses, running.listening, strict=True)
        ]
        return running.arguments in {self._arguments(), self._arguments(wanted)}

    def _arguments(self, addresses: Sequence[str] | None = None) -> tuple[str, ...]:
        arguments = ["--table", str(self.table_file), "--pid-file", str(self._pid_file), "--drain", f"{self._drain:g}"]
        for address in addresses or self._addresses:
            arguments += ["--listen", address]
        if len(os.fsencode(self.admin_socket)) <= _LONGEST_SOCKET_PATH:
            arguments += ["--admin-socket", str(self.admin_socket)]
        return tuple(arguments)

    async def _hand_over(self, running: runfile.Running) -> None:
        """Make a process that does not fit give its address up; what it has open it finishes by itself."""
        log.info("gateway replaced", pid=running.pid, version=running.version)
        self._signal(running.identity, signal.SIGTERM)
        deadline = self._clock.monotonic() + _HAND_OVER_SECONDS
        while self._running() is not None:
            if self._clock.monotonic() > deadline:
                raise GatewayFailed(
                    f"cannot replace the running gateway: process {running.pid} does not let go; end it"
                )
            await self._clock.sleep(_POLL_SECONDS)

    async def _start(self) -> None:
        self._news = False
        receiving, sending = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            pid = self._spawn(sending)
            os.close(sending)
            sending = -1
            ready = await self._ready(receiving, pid)
        finally:
            os.close(receiving)
            if sending >= 0:
                os.close(sending)
        try:
            self._process, self._listening = identify(pid), ready.listening
        except ProcessLookupError:
            raise GatewayFailed(f"cannot start the gateway: it died at once; see {self._log_file}") from None
        log.info("gateway started", pid=pid, addresses=", ".join(ready.listening))
        if self._news:
            self.notify()

    def _spawn(self, ready_fd: int) -> int:
        self._rotate_log()
        command = [sys.executable, "-m", "skerry.cluster.gateway", *self._arguments(), "--ready-fd", str(_READY_FD)]
        # Descriptors above 2 are close-on-exec in Python; only what is named here is inherited.
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(self._log_file), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, ready_fd, _READY_FD),
        ]
        return os.posix_spawn(sys.executable, command, os.environ, file_actions=actions, setsid=True)

    def _rotate_log(self) -> None:
        with suppress(FileNotFoundError):
            if self._log_file.stat().st_size > _LOG_ROTATES_AT:
                self._log_file.replace(self._log_file.with_suffix(".log.1"))

    async def _ready(self, descriptor: int, pid: int) -> _Ready:
        try:
            async with asyncio.timeout(_START_SECONDS):
                line = await _read_line(descriptor)
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(os.waitpid, pid, 0)
            raise GatewayFailed(
                f"cannot start the gateway: it was not ready after {_START_SECONDS:g} s; see {self._log_file}"
            ) from None
        ready = msgspec.json.decode(line, type=_Ready) if line else _Ready(error=f"it died; see {self._log_file}")
        if ready.error:
            await asyncio.to_thread(os.waitpid, pid, 0)
            raise GatewayFailed(f"cannot start the gateway: {ready.error}")
        return ready

    @staticmethod
    def _signal(process: ProcessIdentity, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(process.pid)
            try:
                # Between opening and this look the pid cannot be given to another process.
                if process.alive():
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)

    @staticmethod
    async def _exited(process: ProcessIdentity) -> None:
        """Return when the process has ended; take its exit code where it is a child of ours."""
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            return
        try:
            if process.alive():
                await _readable(descriptor)
        finally:
            os.close(descriptor)
        _reap(process.pid)


def _reap(pid: int) -> None:
    """Take the exit code of an ended child; an adopted process belongs to init."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(descriptor, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(descriptor)


async def _read_line(descriptor: int) -> bytes:
    """Read up to the end of the line or of the pipe."""
    line = b""
    while not line.endswith(b"\n"):
        await _readable(descriptor)
        piece = os.read(descriptor, 65536)
        if not piece:
            break
        line += piece
    return line
