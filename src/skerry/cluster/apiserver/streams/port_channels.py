"""Port-forward in channels (v4): two for each port of the query, 2n for its bytes and 2n+1 for what went wrong.

The first message on each channel is the port's number, two bytes, little-endian. There is one connection for each port
and no way to end one of them alone: the WebSocket closes when the last has ended.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

from skerry.cluster.apiserver.podstreams import Dialled
from skerry.cluster.apiserver.replies import Connection
from skerry.machinery.status import StatusError

_BLOCK = 32 << 10

Dial = Callable[[int], Awaitable[Dialled]]


class _Port:
    """One port and its connection, which is made at once."""

    def __init__(self, connection: Connection, index: int, number: int) -> None:
        self._connection = connection
        self._data = bytes((2 * index,))
        self._error = bytes((2 * index + 1,))
        self._number = number
        self._writer: asyncio.Future[asyncio.StreamWriter | None] = asyncio.get_running_loop().create_future()

    async def announce(self) -> None:
        number = self._number.to_bytes(2, "little")
        await self._connection.send(self._data + number)
        await self._connection.send(self._error + number)

    async def run(self, dial: Dial) -> None:
        """Connect, and pass on what the pod sends."""
        try:
            reader, writer = await dial(self._number)
        except StatusError as error:
            self._writer.set_result(None)
            await self._connection.send(self._error + error.message.encode())
            return
        self._writer.set_result(writer)
        try:
            while data := await reader.read(_BLOCK):
                await self._connection.send(self._data + data)
        except OSError as error:
            await self._connection.send(self._error + str(error).encode())
        finally:
            writer.close()

    async def write(self, data: bytes) -> None:
        """Pass on to the pod; what a closed connection cannot take is lost, as it would be on the way."""
        writer = await asyncio.shield(self._writer)
        if writer is not None and not writer.is_closing():
            with contextlib.suppress(OSError, RuntimeError):  # uvloop's word for a connection that is closed
                writer.write(data)
                await writer.drain()


async def talk(connection: Connection, numbers: Sequence[int], dial: Dial) -> None:
    """Forward until the client leaves or all connections have ended."""
    ports = [_Port(connection, index, number) for index, number in enumerate(numbers)]
    for port in ports:
        await port.announce()
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(port.run(dial)) for port in ports]
        listening = group.create_task(_listen(connection, ports))
        ended = group.create_task(asyncio.wait(running))
        await asyncio.wait({listening, ended}, return_when=asyncio.FIRST_COMPLETED)
        for task in (*running, listening, ended):
            task.cancel()


async def _listen(connection: Connection, ports: Sequence[_Port]) -> None:
    channel = -1
    while (piece := await connection.receive()) is not None:
        data = piece.data
        if piece.begins:
            channel, data = (data[0] if data else -1), data[1:]
        index, odd = divmod(channel, 2)
        if data and not odd and 0 <= index < len(ports):
            await ports[index].write(data)
