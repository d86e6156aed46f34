"""The process that stands over one command of `kubectl exec`: `supervisor.py --attend SPEC_FILE PID COMMAND…`.

It lives as long as the command. Standard input and outputs are the command's own; descriptor 3 is held open by the
daemon, and its end means that nobody listens any more: the client has left, the container has ended, or the daemon was
killed. Whatever the command has started, in the background or by a double fork, then dies, as it does when the command
itself ends; that is why there is a process for it, and not only a death signal, which does not reach grandchildren.

The exit code is the command's, 128 and the signal where one killed it.
"""

import ctypes
import os
import select

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from skerry.cluster.node import supervise
else:
    import _signal as signal

    import supervise

_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_CONTROL = 3


def main(arguments: "list[str]") -> None:
    """Run the command to its end."""
    os.set_inheritable(_CONTROL, False)
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    wake, sender = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(sender)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    command = os.fork()
    if command == 0:
        _become(arguments)
    _let_go()
    code = _wait(command, wake)
    supervise.end_descendants(command, ())
    os._exit(code)


def _become(arguments: "list[str]") -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.setsid()
    __import__("confine").execute(arguments[0], int(arguments[1]), arguments[2:])


def _let_go() -> None:
    """Close the command's streams here, or their readers would never see the end of them."""
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def _wait(command: int, wake: int) -> int:
    """Return the exit code; that of a killed process when nobody listens any more."""
    poller = select.poll()
    poller.register(wake, select.POLLIN)
    poller.register(_CONTROL, select.POLLIN)
    while True:
        for descriptor, _ in poller.poll():
            if descriptor == _CONTROL:
                return 128 + signal.SIGKILL
            os.read(wake, 64)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return 128 + signal.SIGKILL
            if pid == command:
                number = status & 0x7F
                return 128 + number if number else status >> 8
            if pid == 0:
                break
