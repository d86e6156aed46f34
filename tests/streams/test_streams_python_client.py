"""The `kubernetes` Python client: `stream()` for exec and attach, `portforward()`."""

import asyncio
import sys
from pathlib import Path

from tests.node.bench import eventually
from tests.streams.talking import SLEEP, Streaming
from tests.streams.terminal import running_programs
from tests.streams.test_streams_forward import SERVER, WEB, listening

SCRIPT = Path(__file__).with_name("python_client.py")
CASES = ("execute", "execute/v4", "refusals", "leave", "attach", "forward", "web")


async def test_what_users_write_works(server: Streaming) -> None:
    await asyncio.gather(
        server.pod("bee"),
        server.pod("typed", f"while read line; do echo got $line; done; {SLEEP}", stdin=True),
        listening(server, "ports", SERVER, 8002),
        listening(server, "web", WEB, 8080),
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        str(server.kubeconfig),
        *CASES,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(50):
        out, _ = await process.communicate()
    assert out.decode().splitlines() == [f"{case} as expected" for case in CASES]
    await eventually(lambda: not running_programs("sleep 4244"))
