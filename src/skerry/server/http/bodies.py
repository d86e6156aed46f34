"""Large bodies, read to where they stay.

Read as other bytes are, a body of half a megabyte becomes an object for each piece, and then all are copied to one
place. Here the transport writes to that place at once. Room for the whole body is taken when it begins, and none of it
is touched before it is filled: a length that lies costs its sender as much as the server.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from skerry.server.memory import room

WORTHWHILE: Final = 1 << 16


class BodyReader(asyncio.BufferedProtocol):
    """Stands in for a connection's protocol until its body is complete."""

    def __init__(self, owner: asyncio.Protocol, begun: bytes, length: int, moved: Callable[[int], None]) -> None:
        """Tell `moved` of each piece; with the last one the owner takes the transport back. Raises `MemoryError`."""
        self._owner = owner
        self._moved = moved
        self._room = room(length)
        self._room[: len(begun)] = begun
        self._filled = len(begun)

    @property
    def body(self) -> memoryview:
        """What was read, when it is complete."""
        return self._room

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._room[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        self._moved(nbytes)

    # Everything else goes to the owner.

    def eof_received(self) -> bool | None:
        return self._owner.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._owner.connection_lost(exc)

    def pause_writing(self) -> None:
        self._owner.pause_writing()

    def resume_writing(self) -> None:
        self._owner.resume_writing()
