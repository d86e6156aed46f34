"""A supervisor stands over each container, as conmon does under podman; it outlives the daemon.

    python -I -S -E supervisor.py SPEC_FILE        (`supervisor.py` only imports this file)

The daemon starts it in a session of its own and may die at any time: the kernel then hands the supervisor to init, and
the container notices nothing. The supervisor holds the container's output pipes and writes the log, forwards the stop
signal, reaps every descendant (it is their subreaper, so that nothing escapes by a double fork) and leaves two files in
the container's directory, both written beside their final name and renamed:

    state.json   {supervisor, child: {pid, startTime, bootId}, startedAt, terminal}     once the program runs
    exit.json    {exitCode, signal, startedAt, finishedAt, reason, message}   once all of it has ended

A container never outlives its supervisor: it is killed by the kernel (PR_SET_PDEATHSIG; this process has one thread,
so the signal means what it says).

SPEC_FILE is a few `key=value` lines for the supervisor, an empty line, and one JSON object for the container (see
`launch.py`, which writes it). The JSON is read only in the forked child: `json` and its regular expressions would cost
each container 1 MiB for as long as it lives. For the same reason there is `_signal` (no `enum`: 0.8 MiB), times are
formatted by hand and JSON is written by hand. Every import here is paid once a container: measure before adding one.

A container with `stdin: true` reads the FIFO `stdin` in its directory, which `kubectl attach` writes to. The supervisor
holds it open, so that the program sees no end when a client leaves, until it is told to let go. A container with
`tty: true` has a terminal instead of pipes; what comes through the FIFO is then typed on it. What these two write is
logged as it comes, in parts of lines: a prompt must reach the one who is attached.

Signals: TERM forwards the container's stop signal, USR1 kills all of it now, USR2 lets go of its standard input.
"""

# Pathlib and contextlib are not worth their memory here.
# ruff: noqa: PTH104, PTH106, PTH208, SIM105

import ctypes
import os
import select
import sys
import time

TYPE_CHECKING = False  # `typing` would cost as much as the rest
if TYPE_CHECKING:
    import signal
    from typing import Any

    from skerry.cluster.node.container_streams import Log, Stream, Terminal, now

    Options = dict[str, str]
else:
    import _signal as signal  # the `signal` module without its enums

    from container_streams import Log, Stream, Terminal, now

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_WATCH_MILLISECONDS = 1000
_REAP_SECONDS = 10.0
_START_FAILED = 128  # what container runtimes report for a program that could not be executed


def read(path: str) -> str:
    """Return a small file's text; empty when it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 1 << 20).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def write(path: str, text: str, flags: int = 0, *, durable: bool = False) -> None:
    """Write a small file in one go."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | flags, 0o600)
    try:
        os.write(descriptor, text.encode("utf-8", "replace"))
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace(path: str, text: str, *, durable: bool) -> None:
    """Write a file so that a reader finds the old one or the new one."""
    write(f"{path}.new", text, os.O_CREAT | os.O_TRUNC, durable=durable)
    os.rename(f"{path}.new", path)


def quoted(text: str) -> str:
    """Return a JSON string."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char >= " " else f"\\u{ord(char):04x}" for char in plain) + '"'


def identity(pid: int) -> str:
    """Return JSON that names a process across pid reuse and reboots."""
    # The command name is in parentheses and may itself hold spaces and parentheses.
    start = read(f"/proc/{pid}/stat").rpartition(") ")[2].split()[19]
    boot = read("/proc/sys/kernel/random/boot_id").strip()
    return f'{{"pid": {pid}, "startTime": {start}, "bootId": {quoted(boot)}}}'


def children(pid: int) -> "list[int]":
    """Return the child processes; empty where the kernel does not tell."""
    found = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += [int(child) for child in read(f"/proc/{pid}/task/{thread}/children").split()]
    except OSError:
        pass
    return found


def memory_in_use(pid: int) -> int:
    """Return the bytes of a process tree that are not file pages.

    A mapped model file can be dropped by the kernel at any time, so it does not count against the limit.
    """
    total = 0
    for line in read(f"/proc/{pid}/status").splitlines():
        if line.startswith(("RssAnon:", "RssShmem:")):
            total += int(line.split()[1]) * 1024
    return total + sum(memory_in_use(child) for child in children(pid))


def end_descendants(leader: int, cgroups: "list[str] | tuple[()]") -> None:
    """End every process that a container or command left behind; orphans become our children, so none is missed."""
    deadline = time.monotonic() + _REAP_SECONDS
    while time.monotonic() < deadline:
        for path in cgroups:
            try:
                write(f"{path}/cgroup.kill", "1")
            except OSError:
                pass  # a v1 hierarchy, or a kernel before 5.14
        for pid in children(os.getpid()):
            os.kill(pid, signal.SIGKILL)
        try:
            os.killpg(leader, signal.SIGKILL)  # all there is on a kernel that does not list children
        except OSError:
            pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.002)


class Supervisor:
    """Runs one container to its end."""

    def __init__(self, options: "Options", spec_file: str) -> None:
        self._options = options
        self._spec_file = spec_file
        self._directory = options["directory"]
        self._cgroups = [path for path in options.get("cgroups", "").split("\t") if path]
        self._limit = int(options.get("memoryLimit", "0"))
        self._child = 0
        self._status = 0
        self._started = now()
        self._out_of_memory = False
        self._input = -1  # our hold on the FIFO
        self._terminal: Terminal | None = None

    def run(self) -> None:
        """Start the program, serve it, leave its exit code."""
        log = Log(self._options["log"], int(self._options["logBytes"]), int(self._options["logFiles"]))
        wake = self._catch_signals()
        outputs, complaint = self._start(log)
        if complaint:
            self._ended(_START_FAILED, 0, "StartError", complaint)
            self._tell_daemon()
            return
        who = f'"supervisor": {identity(os.getpid())}, "child": {identity(self._child)}'
        where = f', "terminal": {quoted(self._terminal.name)}' if self._terminal else ""
        state = f'{{{who}, "startedAt": {quoted(self._started)}{where}}}\n'
        replace(f"{self._directory}/state.json", state, durable=False)
        self._tell_daemon()
        self._serve(outputs, wake)
        end_descendants(self._child, self._cgroups)
        for output in outputs:
            while output.read() and self._readable(output.descriptor):
                pass
        self._report()

    def _catch_signals(self) -> int:
        receiver, sender = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(sender)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, lambda *_: None)
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        return receiver

    def _start(self, log: Log) -> "tuple[list[Stream], str]":
        """Fork the container; return its outputs, and what went wrong when its program did not start."""
        outputs, theirs = self._open_streams(log)
        verdict, verdict_write = os.pipe2(os.O_CLOEXEC)
        parent = os.getpid()
        self._started = now()
        self._child = os.fork()
        if self._child == 0:
            become(self._spec_file, theirs, verdict_write, parent)
        for descriptor in {*theirs, verdict_write}:
            # The terminal stays open here: a program that closes it and opens it again must find it.
            if descriptor and not (self._terminal and descriptor == self._terminal.slave):
                os.close(descriptor)
        complaint = b""
        while chunk := os.read(verdict, 4096):  # ends when the program is executed: the pipe closes itself
            complaint += chunk
        os.close(verdict)
        if complaint:
            os.waitpid(self._child, 0)
        return outputs, complaint.decode("utf-8", "replace")

    def _open_streams(self, log: Log) -> "tuple[list[Stream], tuple[int, int, int]]":
        """Return the outputs that we read, and the child's standard streams."""
        source, interactive = 0, "stdin" in self._options
        if interactive:
            path = f"{self._directory}/stdin"
            os.mkfifo(path, 0o600)
            source = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            self._input = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        if "tty" in self._options:
            self._terminal = Terminal(source if interactive else -1)
            slave = self._terminal.slave
            return [Stream("stdout", self._terminal.master, log, at_once=True)], (slave, slave, slave)
        os.set_blocking(source, True)
        out, out_write = os.pipe2(os.O_CLOEXEC)
        err, err_write = os.pipe2(os.O_CLOEXEC)
        outputs = [Stream("stdout", out, log, at_once=interactive), Stream("stderr", err, log, at_once=interactive)]
        return outputs, (source, out_write, err_write)

    def _tell_daemon(self) -> None:
        ready = int(self._options.get("readyFd", "-1"))
        if ready < 0:
            return
        try:
            os.write(ready, b".")
        except OSError:
            pass  # the daemon died meanwhile; the next one reads state.json
        os.close(ready)

    def _serve(self, outputs: "list[Stream]", wake: int) -> None:
        poller = select.poll()
        poller.register(wake, select.POLLIN)
        streams = {output.descriptor: output for output in outputs}
        for descriptor in streams:
            poller.register(descriptor, select.POLLIN)
        if self._terminal and self._terminal.fifo >= 0:
            poller.register(self._terminal.fifo, select.POLLIN)
        timeout = _WATCH_MILLISECONDS if self._limit else None
        while True:
            for descriptor, events in poller.poll(timeout):
                if descriptor == wake:
                    self._on_signals(os.read(wake, 64))
                elif descriptor not in streams or events & select.POLLOUT:
                    self._type(poller)
                elif not streams[descriptor].read():
                    poller.unregister(descriptor)
            if self._reap():
                return
            if self._limit and memory_in_use(self._child) > self._limit:
                self._out_of_memory = True
                os.kill(self._child, signal.SIGKILL)

    def _type(self, poller: "select.poll") -> None:
        assert self._terminal
        master, fifo = self._terminal.master, self._terminal.fifo
        poller.register(master, select.POLLIN)
        poller.register(fifo, 0)
        poller.register(*self._terminal.type())

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            try:
                if number == signal.SIGTERM:
                    os.kill(self._child, int(self._options.get("stopSignal", "15")))
                elif number == signal.SIGUSR1:
                    os.kill(self._child, signal.SIGKILL)
                elif number == signal.SIGUSR2 and self._input >= 0 and not self._terminal:
                    os.close(self._input)
                    self._input = -1
            except ProcessLookupError:
                pass

    def _reap(self) -> bool:
        """Collect dead descendants; True when the container's first process is among them."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == self._child:
                self._status = status
                return True
            if pid == 0:
                return False

    def _readable(self, descriptor: int) -> bool:
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        return bool(poller.poll(0))

    def _report(self) -> None:
        number = self._status & 0x7F
        code = 128 + number if number else self._status >> 8
        if self._out_of_memory or (number == signal.SIGKILL and self._kernel_killed()):
            reason = "OOMKilled"
        else:
            reason = "Error" if code else "Completed"
        self._ended(code, number, reason, "")

    def _kernel_killed(self) -> bool:
        for path in self._cgroups:
            for name in ("memory.events", "memory.oom_control"):
                for line in read(f"{path}/{name}").splitlines():
                    word, _, count = line.partition(" ")
                    if word == "oom_kill" and count.strip() != "0":
                        return True
        return False

    def _ended(self, code: int, number: int, reason: str, message: str) -> None:
        times = f'"startedAt": {quoted(self._started)}, "finishedAt": {quoted(now())}'
        what = f'"exitCode": {code}, "signal": {number}, "reason": {quoted(reason)}, "message": {quoted(message)}'
        for path in self._cgroups:
            try:
                os.rmdir(path)
            except OSError:
                pass  # the daemon tries again when it removes the pod
        replace(f"{self._directory}/exit.json", f"{{{what}, {times}}}\n", durable=True)


def become(spec_file: str, streams: "tuple[int, int, int]", verdict: int, parent: int) -> "Any":
    """Turn this forked child into the container's program; never returns."""
    try:
        confine = __import__("confine")
        confine.become(confine.load(spec_file), streams, parent)
    except BaseException as error:  # noqa: BLE001 - whatever went wrong must reach the parent, not its code path
        os.write(verdict, (str(error) or repr(error)).encode("utf-8", "replace"))
    os._exit(_START_FAILED)


def options_of(spec_file: str) -> "Options":
    """Read the supervisor's own lines at the top of the file."""
    header = read(spec_file).partition("\n\n")[0]
    return dict(line.split("=", 1) for line in header.splitlines())


def main(arguments: "list[str]") -> None:
    """Supervise, or do one of the small errands that need the same code in a process of their own."""
    if arguments[0] == "--probe":
        sys.stdout.write(__import__("confine").possible())
        return
    if arguments[0] == "--exec":
        __import__("confine").execute(arguments[1], int(arguments[2]), arguments[3:])
        return
    if arguments[0] == "--attend":
        __import__("attend").main(arguments[1:])
        return
    options = options_of(arguments[0])
    for name in ("readyFd", "lockFd"):
        if name in options:
            os.set_inheritable(int(options[name]), False)
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    Supervisor(options, arguments[0]).run()
