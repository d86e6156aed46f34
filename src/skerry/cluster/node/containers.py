"""Starting, finding again and ending containers: the daemon's side of the supervisor.

A container is known by its directory. The daemon makes it, takes a lock on a file in it, and starts the supervisor with
that lock inherited: the lock belongs to the open file, so it is held exactly as long as the supervisor lives, from
before its first instruction. A daemon that comes later therefore knows for each directory which of these is true,
without looking at a single pid:

    exit.json is there                 ended, and this is how
    the lock is held by somebody       starting or running; state.json tells which processes (wait for it)
    the lock is free                   the supervisor died before it could report: 137, and the rest is swept away

The end of a supervisor is seen through a pidfd in the event loop: no polling, and it works on processes that are not
our children. Where the daemon itself is process 1 of a container they become our children again, so it also reaps.
"""

import asyncio
import contextlib
import fcntl
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from skerry.cluster.node.hardening import supervisor_command
from skerry.kit.files import replace
from skerry.kit.log import logger
from skerry.kit.processes import ProcessIdentity, boot_id

log = logger(__name__)

MARK: Final = "SKERRY_CONTAINER_ID"
UNKNOWN: Final = "ContainerStatusUnknown"
_UNKNOWN_MESSAGE: Final = "The container could not be located when the pod was terminated"
_START_SECONDS: Final = 20.0
_READY_FD: Final = 10
_LOCK_FD: Final = 11
_HIGH_FD: Final = 100
_LOG_BYTES: Final = 10 << 20
_LOG_FILES: Final = 5
_SETTLE_SECONDS: Final = 0.02


class ContainerError(Exception):
    """A container cannot be started at all; the text becomes its message."""


class Mount(Struct, frozen=True, rename="camel"):
    """One directory or file of the host, seen by the container at `path`."""

    source: str
    path: str
    read_only: bool
    sub_path: str = ""


class User(Struct, frozen=True):
    """The unprivileged user that a container runs as."""

    uid: int
    gid: int


class Program(Struct, frozen=True, rename="camel"):
    """The container's half of the spec file; `confine.py` reads it."""

    argv: list[str]
    env: dict[str, str]
    cwd: str
    isolation: str
    mounts: list[Mount]
    user: User | None
    open_files: int
    cgroups: list[str]
    directory: str


@dataclass(frozen=True)
class Launch:
    """Everything that is needed to start one attempt."""

    directory: Path
    spec_file: Path
    log_file: Path
    program: Program
    memory_limit: int = 0  # bytes that the supervisor has to watch; 0 where a control group does, or no limit
    stop_signal: int = int(signal.SIGTERM)
    stdin: bool = False
    tty: bool = False
    log_bytes: int = _LOG_BYTES
    log_files: int = _LOG_FILES


class _Identity(Struct, frozen=True, rename="camel"):
    pid: int
    start_time: int
    boot_id: str

    def process(self) -> ProcessIdentity:
        return ProcessIdentity(self.pid, self.start_time, self.boot_id)


class _State(Struct, frozen=True, rename="camel"):
    supervisor: _Identity
    child: _Identity
    started_at: datetime
    terminal: str = ""


class Exit(Struct, frozen=True, rename="camel"):
    """How an attempt ended."""

    exit_code: int
    signal: int
    reason: str
    message: str
    started_at: datetime | None
    finished_at: datetime


@dataclass
class Container:
    """A running attempt. `exited` is done when its supervisor is gone, however that came."""

    directory: Path
    pid: int
    started_at: datetime
    _pidfd: int
    terminal: str = ""  # the device, of a container with `tty: true`
    exited: "asyncio.Future[Exit]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def terminate(self) -> None:
        """Send the stop signal to the container's first process."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Kill every process of the container."""
        self._send(signal.SIGUSR1)

    def end_input(self) -> None:
        """Let the program see the end of its standard input once no client writes to it."""
        self._send(signal.SIGUSR2)

    def release(self) -> None:
        """Stop watching; the container goes on."""
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    def watch(self) -> None:
        asyncio.get_running_loop().add_reader(self._pidfd, self._ended)

    def _send(self, number: signal.Signals) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def _ended(self) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        self.release()
        if not self.exited.done():
            self.exited.set_result(read_exit(self.directory) or lost(self.directory))


async def launch(what: Launch) -> Container | Exit:
    """Start an attempt; returns when its program runs, or with how it failed to.

    Raises `ContainerError` when not even the supervisor can be started.
    """
    try:
        ready, pid = _spawn(what)
    except OSError as error:
        raise ContainerError(f"cannot start the container's supervisor: {error}") from error
    try:
        await _readable(ready)
    except TimeoutError:
        os.kill(pid, signal.SIGKILL)
    finally:
        os.close(ready)
    found = await find(what.directory) or lost(what.directory)
    if isinstance(found, Exit):
        _reap_when_dead(pid)
    return found


async def find(directory: Path) -> Container | Exit | None:
    """Find out what became of an attempt; None when it was prepared but never started."""
    deadline = asyncio.get_running_loop().time() + _START_SECONDS
    while True:
        ended = read_exit(directory)
        if ended is not None:
            return ended
        state = _read_state(directory)
        if state is not None and (container := _attach(directory, state)):
            return container
        if not _lock_is_held(directory):
            # It may have reported between the two looks.
            return read_exit(directory) or (lost(directory) if (directory / "lock").exists() else None)
        if asyncio.get_running_loop().time() > deadline:
            raise ContainerError(f"the supervisor of {directory} neither runs nor ends; end it by hand")
        await asyncio.sleep(_SETTLE_SECONDS)


def read_exit(directory: Path) -> Exit | None:
    """Read how the attempt ended, if it did."""
    try:
        return msgspec.json.decode((directory / "exit.json").read_bytes(), type=Exit)
    except (OSError, msgspec.MsgspecError):
        return None


def lost(directory: Path) -> Exit:
    """Clean up after a supervisor that ended without a report, and make up the report that it owed."""
    state = _read_state(directory)
    for pid in _marked(str(directory)):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    log.warning("supervisor lost", directory=str(directory))
    report = Exit(
        exit_code=137,
        signal=0,
        reason=UNKNOWN,
        message=_UNKNOWN_MESSAGE,
        started_at=state.started_at if state else None,
        finished_at=datetime.now(UTC),
    )
    replace(directory / "exit.json", msgspec.json.encode(report))
    return report


def _spawn(what: Launch) -> tuple[int, int]:
    """Start the supervisor; return the pipe on which it says that the program runs, and its pid."""
    what.directory.mkdir(parents=True, exist_ok=True)
    what.log_file.parent.mkdir(parents=True, exist_ok=True)
    _write_spec(what)
    lock = _take_lock(what.directory)
    ready, ready_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    ready_write = high(ready_write)
    command = [*supervisor_command(), str(what.spec_file)]
    errors = str(what.directory / "supervisor.err")
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_OPEN, 2, errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, ready_write, _READY_FD),
        (os.POSIX_SPAWN_DUP2, lock, _LOCK_FD),
    ]
    try:
        # posix_spawn: no copy of the daemon's page tables, and the daemon's threads do not matter.
        pid = os.posix_spawn(command[0], command, {}, file_actions=actions, setsid=True, setsigmask=())
    except OSError:
        os.close(ready)
        raise
    finally:
        os.close(lock)
        os.close(ready_write)
    return ready, pid


def _take_lock(directory: Path) -> int:
    lock = high(os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def _reap_when_dead(pid: int) -> None:
    """Collect a supervisor that nobody watches, or it stays a zombie for as long as the daemon lives."""
    pidfd = os.pidfd_open(pid)
    loop = asyncio.get_running_loop()

    def reap() -> None:
        loop.remove_reader(pidfd)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
        os.close(pidfd)

    loop.add_reader(pidfd, reap)


def _write_spec(what: Launch) -> None:
    header = {
        "directory": str(what.directory),
        "log": str(what.log_file),
        "logBytes": what.log_bytes,
        "logFiles": what.log_files,
        "memoryLimit": what.memory_limit,
        "stopSignal": what.stop_signal,
        "cgroups": "\t".join(what.program.cgroups),
        "readyFd": _READY_FD,
        "lockFd": _LOCK_FD,
    }
    header |= {name: 1 for name, asked in (("stdin", what.stdin), ("tty", what.tty)) if asked}
    lines = "".join(f"{key}={value}\n" for key, value in header.items())
    marked = {**what.program.env, MARK: str(what.directory)}
    program = msgspec.json.encode(msgspec.structs.replace(what.program, env=marked))
    # No rename needed: nobody looks at the file before the supervisor is started, and it does not survive a reboot.
    descriptor = os.open(what.spec_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(lines.encode() + b"\n" + program)


def high(descriptor: int) -> int:
    """Move a descriptor out of the way of the fixed numbers that the supervisor gets."""
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _HIGH_FD)
    os.close(descriptor)
    return moved


async def _readable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    seen = loop.create_future()

    def on_readable() -> None:
        if not seen.done():
            seen.set_result(None)

    loop.add_reader(descriptor, on_readable)
    try:
        async with asyncio.timeout(_START_SECONDS):
            await seen
    finally:
        loop.remove_reader(descriptor)


def _attach(directory: Path, state: _State) -> Container | None:
    """Take hold of a supervisor, and look a second time: the pid may have changed hands before the pidfd was open."""
    try:
        pidfd = os.pidfd_open(state.supervisor.pid)
    except OSError:
        return None
    if not state.supervisor.process().alive():
        os.close(pidfd)
        return None
    container = Container(directory, state.child.pid, state.started_at, pidfd, state.terminal)
    container.watch()
    return container


def _read_state(directory: Path) -> _State | None:
    try:
        state = msgspec.json.decode((directory / "state.json").read_bytes(), type=_State)
    except (OSError, msgspec.MsgspecError):
        return None
    return state if state.supervisor.boot_id == boot_id() else None


def _lock_is_held(directory: Path) -> bool:
    try:
        descriptor = os.open(directory / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _marked(value: str) -> Sequence[int]:
    """Find the processes that carry this container's mark in their environment."""
    needle = f"\0{MARK}={value}\0".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if needle in b"\0" + (entry / "environ").read_bytes() + b"\0":
                    found.append(int(entry.name))
    return found
