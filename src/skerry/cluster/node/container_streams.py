"""What a supervisor holds of its container: the log, the outputs that fill it, and a terminal if there is one.

Loaded into every supervisor, so the same holds as for `supervise.py`: measure before importing anything.
"""

# Pathlib is not worth its memory here.
# ruff: noqa: PTH104, PTH108, PTH208

import os
import select
import time

_CHUNK = 65536
_TYPED = 1024
_LONGEST_LINE = 16384


def now() -> str:
    """Return the time as RFC 3339 with nanoseconds."""
    moment = time.time_ns()
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(moment // 10**9))}.{moment % 10**9:09d}Z"


class Log:
    """The container's log in the format of the container runtime interface, rotated by size.

    `0.log` is the current file, `0.log.TIME.NUMBER` are older ones. A full disk loses lines, never the container.
    """

    def __init__(self, path: str, limit: int, files: int) -> None:
        self._path = path
        self._limit = limit
        self._files = files
        self._rotations = 0
        self._open()

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        self._size = os.fstat(self._descriptor).st_size

    def write(self, data: bytes) -> None:
        """Write whole lines; no file grows beyond the limit unless by a single line."""
        try:
            while data:
                room = self._limit - self._size
                cut = len(data) if len(data) <= room else data.rfind(b"\n", 0, max(room, 0)) + 1
                if cut == 0 and self._size:
                    self._rotate()
                    continue
                cut = cut or data.index(b"\n") + 1
                self._size += os.write(self._descriptor, data[:cut])
                data = data[cut:]
        except OSError:
            pass

    def _rotate(self) -> None:
        self._rotations += 1
        stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
        os.rename(self._path, f"{self._path}.{stamp}.{self._rotations:06d}")
        os.close(self._descriptor)
        self._open()
        folder, _, name = self._path.rpartition("/")
        old = sorted(entry for entry in os.listdir(folder) if entry.startswith(f"{name}."))
        for entry in old[: max(0, len(old) - self._files + 1)]:
            os.unlink(f"{folder}/{entry}")


class Stream:
    """One output pipe of the container, cut into lines."""

    def __init__(self, name: str, descriptor: int, log: Log, *, at_once: bool) -> None:
        self.descriptor = descriptor
        self._longest = 1 if at_once else _LONGEST_LINE
        self._tag = f" {name} ".encode()
        self._log = log
        self._rest = b""
        os.set_blocking(descriptor, False)

    def read(self) -> bool:
        """Log what there is; False at the end."""
        try:
            data = os.read(self.descriptor, _CHUNK)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        stamp = now().encode() + self._tag
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        output = [self._line(stamp, line) for line in lines]
        while len(self._rest) >= self._longest or (self._rest and not data):
            output.append(stamp + b"P " + self._rest[:_LONGEST_LINE] + b"\n")
            self._rest = self._rest[_LONGEST_LINE:]
        if output:
            self._log.write(b"".join(output))
        return bool(data)

    def _line(self, stamp: bytes, line: bytes) -> bytes:
        parts = b""
        while len(line) > _LONGEST_LINE:
            parts += stamp + b"P " + line[:_LONGEST_LINE] + b"\n"
            line = line[_LONGEST_LINE:]
        return parts + stamp + b"F " + line + b"\n"


class Terminal:
    """The terminal of a container with `tty: true`: bytes from the FIFO are typed on it, as fast as it takes them."""

    def __init__(self, fifo: int) -> None:
        self.master, self.slave = os.openpty()
        os.set_inheritable(self.master, False)
        self.name = os.ttyname(self.slave)
        self.fifo = fifo
        self._rest = b""

    def type(self) -> "tuple[int, int]":
        """Move on; return what to wait for next."""
        try:
            self._rest = self._rest or os.read(self.fifo, _TYPED)
            self._rest = self._rest[os.write(self.master, self._rest) :]
        except BlockingIOError:
            pass
        return (self.master, select.POLLIN | select.POLLOUT) if self._rest else (self.fifo, select.POLLIN)
