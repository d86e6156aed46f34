"""The WebSocket protocol over real sockets: handshakes, rules, back-pressure, clients that vanish."""

import asyncio
import base64
import contextlib
import functools
import os
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.node.bench import eventually
from tests.streams.talking import Streaming
from tests.streams.terminal import running_programs
from tests.streams.test_streams_frames import client_frame, syn
from uvicorn.server import ServerState

from skerry.cluster.apiserver.auth import BEARER_SUBPROTOCOL
from skerry.cluster.apiserver.streams import spdy
from skerry.daemon import websocket_frames as ws
from skerry.daemon.websocket import WebSocketProtocol

Received = tuple[int, bytes]


class Client:
    """A client that can break every rule."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def upgrade(self, path: str, *fields: str, version: str = "13", key: str = "") -> str:
        """Ask for the upgrade; return the head of the answer."""
        key = key or base64.b64encode(os.urandom(16)).decode()
        lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: Upgrade", "Upgrade: websocket", *fields]
        lines += [f"Sec-WebSocket-Version: {version}", f"Sec-WebSocket-Key: {key}"]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    def send(self, opcode: int, data: bytes) -> None:
        self.writer.write(client_frame(opcode, data))

    async def receive(self) -> Received:
        first, size = await self.reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.reader.readexactly(8), "big")
        return first & 0xF, await self.reader.readexactly(size)

    async def until(self, opcode: int) -> bytes:
        """Skip what comes before such a frame."""
        async with asyncio.timeout(20):
            while True:
                found, data = await self.receive()
                if found == opcode:
                    return data


@contextlib.asynccontextmanager
async def connected(server: Streaming) -> AsyncIterator[Client]:
    trust = ssl.create_default_context(cafile=str(server.pki.ca_certificate))
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trust)
    try:
        async with asyncio.timeout(30):
            yield Client(reader, writer)
    finally:
        writer.transport.abort()


@contextlib.asynccontextmanager
async def echoing(app: Any, **limits: float) -> AsyncIterator[Callable[[], Any]]:
    """Serve an ASGI application over plain TCP; gives a function that connects."""
    config = uvicorn.Config(app, log_config=None)
    config.load()
    state, loop = ServerState(), asyncio.get_running_loop()
    made = functools.partial(WebSocketProtocol, config, state, {}, **limits)
    listening = await loop.create_server(made, "127.0.0.1", 0)
    writers: list[asyncio.StreamWriter] = []

    async def connect() -> Client:
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
        writers.append(writer)
        return Client(reader, writer)

    try:
        async with asyncio.timeout(30):
            yield connect
    finally:
        for writer in writers:
            writer.transport.abort()
        listening.close()
        await asyncio.gather(*state.tasks, return_exceptions=True)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": message["bytes"]})


EXEC = "/api/v1/namespaces/ai-demo/pods/bee/exec?command=cat&stdin=1&stdout=1"
CHANNELS = "Sec-WebSocket-Protocol: v5.channel.k8s.io"


async def test_handshakes(server: Streaming) -> None:
    await server.pod()
    bearer = f"Authorization: Bearer {server.token}"
    encoded = base64.urlsafe_b64encode(server.token.encode()).decode().rstrip("=")
    answers = {}
    for name, fields, more in [
        ("fine", (bearer, CHANNELS), {}),
        ("browser", (f"{CHANNELS}, {BEARER_SUBPROTOCOL}{encoded}",), {}),
        ("preference", (bearer, "Sec-WebSocket-Protocol: x, v4.channel.k8s.io, v5.channel.k8s.io"), {}),
        ("two lines", (bearer, "Sec-WebSocket-Protocol: chat", CHANNELS), {}),
        ("nobody", (CHANNELS,), {}),
        ("wrong token", (f"{CHANNELS}, {BEARER_SUBPROTOCOL}!!!",), {}),
        ("nothing in common", (bearer, "Sec-WebSocket-Protocol: chat"), {}),
        ("old", (bearer, CHANNELS), {"version": "8"}),
        ("no key", (bearer, CHANNELS), {"key": "short"}),
    ]:
        async with connected(server) as client:
            answers[name] = await client.upgrade(EXEC, *fields, **more)
    said = {name: answer.split()[1] for name, answer in answers.items()}
    assert said == {
        "fine": "101",
        "browser": "101",
        "preference": "101",
        "two lines": "101",
        "nobody": "401",
        "wrong token": "401",
        "nothing in common": "400",
        "old": "426",
        "no key": "400",
    }
    assert "Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n" in answers["browser"]
    assert "Sec-WebSocket-Protocol: v4.channel.k8s.io\r\n" in answers["preference"]


async def test_what_has_no_conversation_is_refused(server: Streaming) -> None:
    bearer = f"Authorization: Bearer {server.token}"
    for path, code in [("/api/v1/pods", "400"), ("/api/v1/nothing", "404"), ("/version", "400")]:
        async with connected(server) as client:
            assert (await client.upgrade(path, bearer, CHANNELS)).split()[1] == code
    async with connected(server) as client:
        client.writer.write(
            f"POST {EXEC} HTTP/1.1\r\nHost: x\r\n{bearer}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n".encode()
        )
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert b"404" in head.splitlines()[0]  # there is no such pod; that is said before how to ask for one


async def test_the_words_of_a_command_go_both_ways(server: Streaming) -> None:
    await server.pod()
    async with connected(server) as client:
        await client.upgrade(EXEC, f"Authorization: Bearer {server.token}", CHANNELS)
        client.writer.write(client_frame(ws.TEXT, b"\x00he", fin=False) + client_frame(ws.CONTINUATION, b"llo"))
        client.send(ws.PING, b"?")
        seen: list[Received] = []
        while sum(len(data) - 1 for opcode, data in seen if opcode == ws.BINARY) < len("hello"):
            seen.append(await client.receive())
        assert (ws.PONG, b"?") in seen
        assert b"".join(data[1:] for opcode, data in seen if opcode == ws.BINARY) == b"hello"
        client.send(ws.BINARY, b"\x04not a size")
        client.send(ws.BINARY, b"\x09no such channel")
        client.send(ws.BINARY, b"")
        client.send(ws.BINARY, b"\xff\x00")  # the end of the input
        assert await client.until(ws.BINARY) == b'\x03{"metadata":{},"status":"Success"}'
        assert await client.until(ws.CLOSE) == (1000).to_bytes(2, "big")


async def test_a_command_that_cannot_be_one(server: Streaming) -> None:
    await server.pod()
    async with connected(server) as client:
        await client.upgrade(EXEC.replace("cat", "a%00b"), f"Authorization: Bearer {server.token}", CHANNELS)
        said = await client.until(ws.BINARY)
        assert said[:1] == b"\x03"
        assert b"error executing command in container: cannot start a process: embedded null byte" in said


async def test_a_slow_client_makes_the_command_wait(server: Streaming) -> None:
    await server.pod()
    flood = "head -c 50000000 /dev/zero"
    script = quote(f"{flood} && exec sleep 4245")
    path = f"/api/v1/namespaces/ai-demo/pods/bee/exec?command=sh&command=-c&command={script}&stdout=1"
    async with connected(server) as client:
        await client.upgrade(path, f"Authorization: Bearer {server.token}", CHANNELS)
        size = 0
        while size < 1_000_000:
            size += len((await client.receive())[1]) - 1
        seen = [0]

        def stands_still() -> bool:
            seen.append(written(flood))
            return len(seen) > 30 and len(set(seen[-30:])) == 1

        await eventually(stands_still)
        assert seen[-1] < 30_000_000
        while size < 50_000_000:
            size += len((await client.receive())[1]) - 1
        await eventually(lambda: bool(running_programs("sleep 4245")))
    await eventually(lambda: not running_programs("sleep 4245"))


async def test_input_that_nobody_reads_is_held_back(server: Streaming) -> None:
    """The client is stopped by TCP, not by our memory; and when it leaves, that is seen nevertheless."""
    await server.pod()
    path = EXEC.replace("command=cat", "command=sleep&command=4246")
    async with connected(server) as client:
        await client.upgrade(path, f"Authorization: Bearer {server.token}", CHANNELS)
        sent = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                while sent < 100 << 20:
                    client.send(ws.BINARY, b"\0" + bytes(1 << 20))
                    await client.writer.drain()
                    sent += 1 << 20
        assert sent < 30 << 20
        await eventually(lambda: bool(running_programs("sleep 4246")))


async def test_a_broken_rule_ends_the_connection() -> None:
    async with echoing(echo) as connect:
        client = await connect()
        await client.upgrade("/")
        client.writer.write(ws.frame(ws.BINARY, b"not masked"))
        assert await client.until(ws.CLOSE) == (1002).to_bytes(2, "big") + b"a frame of a client must be masked"
        assert await client.reader.read() == b""


async def test_pings_are_sent_and_silence_is_the_end() -> None:
    async with echoing(echo, ping_seconds=0.02, silent_seconds=0.2) as connect:
        client = await connect()
        await client.upgrade("/")
        for _ in range(20):  # alive for twice the time, since it answers
            assert await client.until(ws.PING) == b""
            client.send(ws.PONG, b"")
        with contextlib.suppress(ConnectionError):
            await client.reader.read()  # to the end, which comes although nobody asked for it


async def test_an_application_that_does_not_listen_is_ended_with_its_client() -> None:
    ended = asyncio.Event()

    async def deaf(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with echoing(deaf) as connect:
        client = await connect()
        await client.upgrade("/")
        client.writer.transport.abort()
        await ended.wait()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.one_of(st.binary(max_size=30), st.builds(client_frame, st.integers(0, 15), st.binary(max_size=140))))
)
def test_noise_never_breaks_the_server(caplog: pytest.LogCaptureFixture, noise: list[bytes]) -> None:
    async def play() -> None:
        async with echoing(echo) as connect:
            bad, good = await connect(), await connect()
            await bad.upgrade("/")
            bad.writer.write(b"".join(noise))
            bad.writer.write_eof()
            await bad.reader.read()
            await good.upgrade("/")
            good.send(ws.BINARY, b"still there")
            assert await good.until(ws.BINARY) == b"still there"

    asyncio.run(play())
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_broken_tunnel_says_goodbye(server: Streaming) -> None:
    await server.pod()
    bearer = f"Authorization: Bearer {server.token}"
    tunnel = "Sec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io"
    path = "/api/v1/namespaces/ai-demo/pods/bee/portforward"
    writer = spdy.SpdyWriter()
    refused = {"streamtype": "data", "port": "99999", "requestid": "1"}
    half = {"streamtype": "error", "port": "80", "requestid": "2"}
    for sent, answer in [
        (b"\x80\x02\x00\x01" + bytes(4), spdy.GOAWAY),  # SPDY/2
        (syn(writer, 1, refused), spdy.RST_STREAM),
        (syn(spdy.SpdyWriter(), 1, half), spdy.SYN_REPLY),
        (syn(spdy.SpdyWriter(), 2, half), spdy.GOAWAY),  # an even number is the server's
        (spdy.control(spdy.PING, b"\0\0\0\7"), spdy.PING),
    ]:
        async with connected(server) as client:
            await client.upgrade(path, bearer, tunnel)
            client.send(ws.BINARY, sent)
            frame = await client.until(ws.BINARY)
            assert int.from_bytes(frame[2:4], "big") == answer
    async with connected(server) as client:  # a port that nobody listens on, and the tunnel goes on
        await client.upgrade(path, bearer, tunnel)
        writer = spdy.SpdyWriter()
        both = [{"streamtype": kind, "port": "9", "requestid": "7"} for kind in ("error", "data")]
        client.send(ws.BINARY, b"".join(syn(writer, 2 * n + 1, headers) for n, headers in enumerate(both)))
        said = [await client.until(ws.BINARY) for _ in range(4)]
        assert said[2][:4] == (1).to_bytes(4, "big")
        assert b"connection refused" in said[2]
        assert said[3] == spdy.data(3, b"", fin=True)
        client.send(ws.BINARY, spdy.control(spdy.PING, b"\0\0\0\7"))
        assert await client.until(ws.BINARY) == spdy.pong(7)
    async with connected(server) as client:  # without ports the other protocol cannot say where to
        assert (await client.upgrade(path, bearer, "Sec-WebSocket-Protocol: v4.channel.k8s.io")).split()[1] == "400"


def written(line: str) -> int:
    """Return how many bytes a program has written."""
    (pid,) = running_programs(line)
    rows = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(row.split()[1]) for row in rows if row.startswith("wchar"))
