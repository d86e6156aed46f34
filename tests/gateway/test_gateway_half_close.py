"""Closing one direction of a connection whose other end may be gone."""

import asyncio
import socket
import struct

from skerry.cluster.gateway.half_close import half_close

RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Ear(asyncio.Protocol):
    """Tells when the connection has ended."""

    def __init__(self) -> None:
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


async def connected() -> tuple[asyncio.Transport, Ear, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    transport, ear = await asyncio.get_running_loop().create_connection(Ear, sock=ours)
    return transport, ear, theirs


async def test_what_was_written_goes_out_first() -> None:
    transport, ear, theirs = await connected()
    with theirs:
        transport.write(b"last words")
        half_close(transport)
        loop = asyncio.get_running_loop()
        theirs.setblocking(False)
        assert await asyncio.wait_for(loop.sock_recv(theirs, 100), 5) == b"last words"
        assert await asyncio.wait_for(loop.sock_recv(theirs, 100), 5) == b""
        assert not ear.lost.done()
    assert await asyncio.wait_for(ear.lost, 5) is None


async def test_a_peer_that_reset_the_connection_a_moment_ago() -> None:
    transport, ear, theirs = await connected()
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    theirs.close()  # the loop has not read it yet
    half_close(transport)
    await asyncio.wait_for(ear.lost, 5)
    half_close(transport)
