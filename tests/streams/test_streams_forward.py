"""`kubectl port-forward`: SPDY inside a WebSocket, to servers that really run in pods."""

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator

import pytest
from tests.streams.talking import PROGRAMS, Streaming

pytestmark = pytest.mark.skipif(not PROGRAMS, reason="kubectl is not installed")

# An echo that answers at the end of the input with how much came, so that half a close shows; and a greeting.
SERVER = """
import asyncio, os
async def count(reader, writer):
    total = 0
    while data := await reader.read(65536):
        total += len(data)
    writer.write(b"%d" % total)
    writer.close()
async def greet(reader, writer):
    writer.write(b"hello from port 8001")
    writer.close()
async def mirror(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
async def main():
    ip = os.environ["IP"]
    servers = [await asyncio.start_server(s, ip, p) for s, p in ((count, 8000), (greet, 8001), (mirror, 8002))]
    print("listening", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
IP = [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}]
WEB = """
import http.server, os
http.server.ThreadingHTTPServer((os.environ["IP"], 8080), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


async def listening(server: Streaming, name: str, program: str, port: int) -> None:
    """Start a pod with a Python program in it and wait until the port answers."""
    await server.pod(name, command=[sys.executable, "-c", program], env=IP)
    address = server.node.status(name).podIP
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(address, port)
                writer.close()
                return
            await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def forwarding(server: Streaming, program: str, *ports: str) -> AsyncIterator[list[int]]:
    """Forward, and give the local ports."""
    command = ("port-forward", "-n", "ai-demo", "bee", *ports, "--address", "127.0.0.1")
    async with server.kubectl(program).lines(*command) as lines:
        local: list[int] = []
        while len(local) < len(ports):
            found = re.match(r"Forwarding from 127\.0\.0\.1:(\d+) -> ", await anext(lines))
            assert found
            local.append(int(found[1]))
        yield local


async def talk(port: int, said: bytes) -> bytes:
    """Say something, end our half, and listen to the end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    await writer.drain()
    writer.write_eof()
    async with asyncio.timeout(20):
        answer = await reader.read(-1)
    writer.close()
    return answer


@pytest.mark.parametrize("program", sorted(PROGRAMS))
async def test_several_ports_and_connections(server: Streaming, program: str) -> None:
    await listening(server, "bee", SERVER, 8002)
    async with forwarding(server, program, ":8000", ":8001", ":8002") as (count, greet, mirror):
        assert await talk(greet, b"") == b"hello from port 8001"
        sizes = [0, 1, 70_000, 3_000_000]
        counted = await asyncio.gather(*(talk(count, b"x" * size) for size in sizes))
        assert counted == [str(size).encode() for size in sizes]
        texts = [bytes([number]) * 200_000 for number in range(8)]
        assert await asyncio.gather(*(talk(mirror, text) for text in texts)) == texts


async def test_curl_reaches_a_server(server: Streaming) -> None:
    await listening(server, "bee", WEB, 8080)
    async with forwarding(server, max(PROGRAMS), ":8080") as (port,):
        curl = await asyncio.create_subprocess_exec(
            "curl", "-sS", "-m", "20", "-w", "%{http_code}", "-o", "/dev/null", f"http://127.0.0.1:{port}/etc/passwd",
            f"http://127.0.0.1:{port}/nothing", "-o", "/dev/null", stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await curl.communicate()
        assert out == b"200404"


async def test_a_port_that_nobody_listens_on_is_told(server: Streaming) -> None:
    await server.pod()
    kubectl = server.kubectl()
    async with kubectl._started("port-forward", "-n", "ai-demo", "bee", ":9") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = (await process.stdout.readline()).decode()
        port = int(line.split(":")[1].split()[0])
        assert await talk(port, b"hello") == b""
        told = (await process.stderr.readline()).decode()
        async with asyncio.timeout(20):  # kubectl's own decision: our end of the tunnel stays open
            assert await process.wait() == 1
        uid, address = server.node.pod("bee").metadata.uid, server.node.status("bee").podIP
        assert (
            f"error forwarding port 9 to pod bee, uid {uid}: dial tcp4 {address}:9: connect: connection refused" in told
        )
