"""The `kubernetes` Python client: `stream()` for exec and attach, `portforward()`."""

import asyncio
import sys
from pathlib import Path

import pytest
from tests.node.bench import eventually
from tests.streams.talking import SLEEP, Streaming
from tests.streams.terminal import running_programs
from tests.streams.test_streams_forward import SERVER, WEB, listening

SCRIPT = Path(__file__).with_name("python_client.py")
V4 = "v4.channel.k8s.io"


async def use(server: Streaming, *words: str) -> None:
    """Run one case of the script."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SCRIPT), str(server.kubeconfig), *words,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    async with asyncio.timeout(40):
        out, _ = await process.communicate()
    assert out == b"as expected", out.decode()


async def test_commands(server: Streaming) -> None:
    await server.pod()
    await asyncio.gather(use(server, "execute"), use(server, "execute", V4), use(server, "refusals"))
    await use(server, "leave")
    await eventually(lambda: not running_programs("sleep 4244"))


async def test_attach(server: Streaming) -> None:
    await server.pod("bee", f"while read line; do echo got $line; done; {SLEEP}", stdin=True)
    await use(server, "attach")


@pytest.mark.parametrize(("case", "program", "port"), [("forward", SERVER, 8002), ("web", WEB, 8080)])
async def test_port_forward(server: Streaming, case: str, program: str, port: int) -> None:
    await listening(server, "bee", program, port)
    await use(server, case)
