"""The log files of one attempt, read as one stream: rotated files in order, then the current one.

    0.log.20261122-213000.000001    older
    0.log                           current

A line is `TIME STREAM TAG TEXT`; tag P says that the line goes on in the next one.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_BLOCK: Final = 64 << 10


def files_of(log: Path) -> list[Path]:
    """All files of an attempt, oldest first."""
    return [*sorted(log.parent.glob(f"{log.name}.*")), *([log] if log.exists() else [])]


@dataclass
class Cursor:
    """A place in the log; `read` moves it on, over rotations too."""

    log: Path
    _descriptor: int = -1
    _rest: bytes = field(default=b"", repr=False)

    def at_start(self) -> None:
        """Go to the oldest line."""
        self.close()
        for file in files_of(self.log)[:1]:
            self._descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)

    def before_last(self, lines: int) -> None:
        """Go to where only so many lines follow."""
        self.close()
        for file in reversed(files_of(self.log)):
            offset, found = _back(file, lines)
            self.close()
            self._descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            lines -= found
            if lines <= 0:
                return

    def read(self) -> bytes:
        """Return the next whole lines; empty when there are none yet."""
        while True:
            if self._descriptor < 0 and not self._open_next(None):
                return b""
            data = os.read(self._descriptor, _BLOCK)
            if not data and not self._open_next(os.fstat(self._descriptor).st_ino):
                return b""
            whole, newline, rest = (self._rest + data).rpartition(b"\n")
            self._rest = rest
            if newline:
                return whole + newline

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open_next(self, inode: int | None) -> bool:
        """Open the file after the one that was read to its end; a file that was removed meanwhile counts as oldest."""
        opened = []
        for file in files_of(self.log):
            try:
                opened.append(os.open(file, os.O_RDONLY | os.O_CLOEXEC))
            except FileNotFoundError:
                continue  # renamed between the two calls; it is found under its other name next time
        inodes = [os.fstat(descriptor).st_ino for descriptor in opened]
        wanted = inodes.index(inode) + 1 if inode in inodes else 0
        chosen = opened[wanted] if wanted < len(opened) else -1
        for descriptor in opened:
            if descriptor != chosen:
                os.close(descriptor)
        if chosen < 0:
            return False
        self.close()
        self._descriptor = chosen
        self._rest = b""
        return True


def tail_text(log: Path, lines: int, limit: int) -> str:
    """Return the end of what the container wrote, without times and tags."""
    cursor = Cursor(log)
    cursor.before_last(lines)
    text = b""
    try:
        while raw := cursor.read():
            text = (text + b"".join(content(line) for line in lines_of(raw)))[-limit:]
    finally:
        cursor.close()
    return text.decode("utf-8", "replace")


def lines_of(raw: bytes) -> list[bytes]:
    """Cut at newlines only: a carriage return is the container's own."""
    return [line + b"\n" for line in raw.split(b"\n")[:-1]]


def content(line: bytes) -> bytes:
    """Return the text of one line; with its line end unless the next line continues it."""
    parts = line.split(b" ", 3)
    if len(parts) < 4:
        return b"\n" if len(parts) == 3 and parts[2].startswith(b"F") else b""
    return parts[3] if parts[2] == b"F" else parts[3].rstrip(b"\n")


def _back(file: Path, lines: int) -> tuple[int, int]:
    """Find the offset before the last lines of a file, and how many there were."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        end = os.fstat(descriptor).st_size
        if not end or not lines:
            return end, 0
        found = 0
        position = end
        while position > 0:
            start = max(0, position - _BLOCK)
            block = os.pread(descriptor, position - start, start)
            at = len(block)
            while (at := block.rfind(b"\n", 0, at)) >= 0:
                if start + at == end - 1:
                    continue  # the end of the last line
                found += 1
                if found == lines:
                    return start + at + 1, lines
            position = start
        return 0, found + 1
    finally:
        os.close(descriptor)
