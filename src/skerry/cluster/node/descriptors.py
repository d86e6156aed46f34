"""Reading and writing pipes and terminals from the event loop, only as fast as the other side wants it.

Nothing is read ahead and nothing is kept: `read` asks the kernel when somebody wants bytes, and `write` returns when
the kernel has them all. What fills up is the pipe, and then the program waits.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final

_BLOCK: Final = 64 << 10


class Outlet:
    """The end of a pipe or terminal that we read."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    async def read(self) -> bytes:
        """Return what there is, waiting for it; empty at the end."""
        loop = asyncio.get_running_loop()
        while self._descriptor >= 0:
            try:
                data = os.read(self._descriptor, _BLOCK)
            except BlockingIOError:
                await _ready(loop.add_reader, loop.remove_reader, self._descriptor)
                continue
            except OSError:  # a terminal whose last program has ended says EIO
                data = b""
            if not data:
                self.close()
            return data
        return b""

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Inlet:
    """The end of a pipe or terminal that we write."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    async def write(self, data: bytes) -> None:
        """Write all of it, waiting for room; what nobody reads any more is dropped."""
        loop = asyncio.get_running_loop()
        left = memoryview(data)
        while left and self._descriptor >= 0:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                await _ready(loop.add_writer, loop.remove_writer, self._descriptor)
            except OSError:
                self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


async def _ready(watch: Callable[..., Any], forget: Callable[[int], Any], descriptor: int) -> None:
    """Wait until the descriptor can be read or written."""
    ready = asyncio.get_running_loop().create_future()

    def seen() -> None:
        if not ready.done():
            ready.set_result(None)

    watch(descriptor, seen)
    try:
        await ready
    finally:
        forget(descriptor)
