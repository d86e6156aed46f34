"""Port-forward as kubectl does it: SPDY/3.1 inside a WebSocket, any number of connections over one tunnel.

For each connection the client opens two streams with the same `requestid`: `streamtype` error, on which only the
server speaks and only of failures, and `streamtype` data. Both say the `port`. When the pod has said all, both streams
end; what the client still has to say reaches the pod until the client gives up its half.

The tunnel is read in order and SPDY's windows are not used (kubectl's library has none), so a pod that reads slowly
holds back the other connections of the same kubectl once its queue is full: as with a kubelet.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from skerry.cluster.apiserver.podstreams import Dialled
from skerry.cluster.apiserver.replies import Connection
from skerry.cluster.apiserver.streams import spdy
from skerry.kit.log import logger
from skerry.machinery.status import StatusError

log = logger(__name__)

_BLOCK: Final = 32 << 10
_QUEUE: Final = 16
_MOST_STREAMS: Final = 512

Dial = Callable[[int], Awaitable[Dialled]]


@dataclass
class _Forward:
    """One connection of the client: its two streams, and the bytes on their way to the pod (empty: the end)."""

    port: int
    data: int = 0
    error: int = 0
    queue: "asyncio.Queue[bytes]" = field(default_factory=lambda: asyncio.Queue(_QUEUE))
    task: "asyncio.Task[None] | None" = None


async def talk(connection: Connection, dial: Dial) -> None:
    """Forward until the client leaves."""
    async with asyncio.TaskGroup() as group:
        tunnel = _Tunnel(connection, dial, group)
        try:
            await tunnel.listen()
        except spdy.SpdyError as error:
            log.info("port-forward broken off", why=str(error))
            await connection.send(spdy.control(spdy.GOAWAY, bytes(4) + spdy.PROTOCOL_ERROR.to_bytes(4, "big")))
        finally:
            tunnel.close()


class _Tunnel:
    """The server's end."""

    def __init__(self, connection: Connection, dial: Dial, group: asyncio.TaskGroup) -> None:
        self._connection = connection
        self._dial = dial
        self._group = group
        self._reader = spdy.SpdyReader()
        self._writer = spdy.SpdyWriter()
        self._newest = 0
        self._by_request: dict[str, _Forward] = {}  # of which one stream is missing
        self._by_stream: dict[int, _Forward] = {}

    async def listen(self) -> None:
        while (piece := await self._connection.receive()) is not None:
            for event in self._reader.feed(piece.data):
                await self._on(event)

    def close(self) -> None:
        for forward in self._by_stream.values():
            if forward.task is not None:
                forward.task.cancel()

    async def _on(self, event: spdy.Event) -> None:
        match event:
            case spdy.Opened():
                await self._opened(event)
            case spdy.Data(stream, data, fin):
                forward = self._by_stream.get(stream)
                if forward is not None and stream == forward.data:
                    if data:
                        await forward.queue.put(data)
                    if fin:
                        await forward.queue.put(b"")
            case spdy.Reset(stream):
                self._reset(stream)
            case spdy.Pinged(number):
                await self._connection.send(spdy.pong(number))
            case spdy.Leaving():
                pass  # what it opened goes on

    async def _opened(self, event: spdy.Opened) -> None:
        stream, headers = event.stream, event.headers
        if stream <= self._newest or not stream % 2:
            raise spdy.SpdyError("a stream out of order")
        self._newest = stream
        kind, port, request = headers.get("streamtype"), headers.get("port", ""), headers.get("requestid", "")
        forward = self._by_request.get(request) or _Forward(int(port) if _is_port(port) else 0)
        taken = forward.data if kind == "data" else forward.error
        if len(self._by_stream) >= _MOST_STREAMS or kind not in {"data", "error"} or not forward.port or taken:
            await self._connection.send(spdy.reset(stream, spdy.REFUSED_STREAM))
            return
        if kind == "data":
            forward.data = stream
        else:
            forward.error = stream
        self._by_stream[stream] = forward
        self._by_request[request] = forward
        await self._connection.send(self._writer.reply(stream))
        if forward.data and forward.error:
            del self._by_request[request]
            forward.task = self._group.create_task(self._forward(forward))

    def _reset(self, stream: int) -> None:
        forward = self._by_stream.pop(stream, None)
        if forward is None:
            return
        if forward.task is not None:
            forward.task.cancel()
        else:
            self._by_request = {name: each for name, each in self._by_request.items() if each is not forward}

    async def _forward(self, forward: _Forward) -> None:
        try:
            await self._carry(forward)
        finally:
            for stream in (forward.data, forward.error):
                self._by_stream.pop(stream, None)
            while not forward.queue.empty():
                forward.queue.get_nowait()  # lets go of a `put` that waits for room

    async def _carry(self, forward: _Forward) -> None:
        try:
            reader, writer = await self._dial(forward.port)
        except StatusError as error:
            await self._connection.send(spdy.data(forward.error, error.message.encode(), fin=True))
            await self._connection.send(spdy.data(forward.data, b"", fin=True))
            return
        writing = self._group.create_task(_write(forward.queue, writer))
        try:
            why = await self._read(reader, forward.data)
            await self._connection.send(spdy.data(forward.data, b"", fin=True))
            await self._connection.send(spdy.data(forward.error, why.encode(), fin=True))
            await writing
        finally:
            writing.cancel()
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, stream: int) -> str:
        """Pass on what the pod says; return what broke it off."""
        try:
            while block := await reader.read(_BLOCK):
                await self._connection.send(spdy.data(stream, block))
        except OSError as error:
            return f"error forwarding: {error.strerror or error}"
        return ""


async def _write(queue: "asyncio.Queue[bytes]", writer: asyncio.StreamWriter) -> None:
    """Write what the client says until it ends its half; a pod that takes no more gets none of the rest."""
    with contextlib.suppress(OSError, RuntimeError):  # uvloop's word for a connection that is closed
        while block := await queue.get():
            writer.write(block)
            await writer.drain()
        writer.write_eof()
        return
    while await queue.get():
        pass


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 1 << 16
