"""A person at a real terminal that kubectl runs on, and a look at what runs on this machine."""

import asyncio
import contextlib
import os
import pty
import signal
import struct
import termios
from collections.abc import AsyncIterator
from fcntl import ioctl
from pathlib import Path

from tests.streams.talking import PROGRAMS, Streaming


class Typist:
    """Somebody at a terminal that a program runs on."""

    def __init__(self, master: int, process: asyncio.subprocess.Process) -> None:
        self._master = master
        self._process = process
        self._seen = ""

    def types(self, text: str) -> None:
        os.write(self._master, text.encode())

    def window(self, rows: int, columns: int) -> None:
        ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._process.send_signal(signal.SIGWINCH)

    async def sees(self, *texts: str) -> None:
        """Wait for one of the texts, and forget all up to it."""
        try:
            async with asyncio.timeout(20):
                while not any(text in self._seen for text in texts):
                    self._seen += await self._read()
        except TimeoutError:
            raise AssertionError(f"{texts} never came; seen: {self._seen!r}") from None
        text = next(text for text in texts if text in self._seen)
        self._seen = self._seen.partition(text)[2]

    async def ends(self) -> int:
        async with asyncio.timeout(20):
            with contextlib.suppress(EOFError):
                while True:
                    await self._read()
            return await self._process.wait()

    async def _read(self) -> str:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(self._master, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._master)
        try:
            return os.read(self._master, 4096).decode().replace("\r\n", "\n")
        except OSError:  # EIO: the last program on the terminal has ended
            raise EOFError from None


@contextlib.asynccontextmanager
async def person(server: Streaming, program: str, *words: str) -> AsyncIterator[Typist]:
    """Run kubectl on a terminal of 24 by 80."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {"HOME": str(server.home), "KUBECONFIG": str(server.kubeconfig), "PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec(
        PROGRAMS[program], *words, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    os.close(slave)
    try:
        yield Typist(master, process)
    finally:
        os.close(master)
        if process.returncode is None:
            process.kill()
            await process.wait()


def running_programs(line: str) -> list[int]:
    """Return the processes with this command line."""
    wanted = line.replace(" ", "\0").encode() + b"\0"
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if (entry / "cmdline").read_bytes() == wanted:
                found.append(int(entry.name))
    return found
