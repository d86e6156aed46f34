"""What is left when the daemon dies, and what is loaded before anybody streams."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.node.bench import Bench, eventually
from tests.streams.terminal import running_programs

from skerry.cluster.node.containers import User
from skerry.cluster.node.exec_session import ExecSession, Surroundings

DAEMON = """
import asyncio, sys
from pathlib import Path
from skerry.cluster.node.exec_session import ExecSession, Surroundings
async def main():
    container = Surroundings("main", Path(sys.argv[1]), int(sys.argv[2]), asyncio.get_running_loop().create_future())
    script = "(trap '' HUP; sleep 4250 &); trap '' HUP; sleep 4251 & echo ready; wait"
    session = ExecSession(container, ["sh", "-c", script], stdin=False, tty=sys.argv[3] == "tty")
    sys.stdout.write((await session.output(1)).decode())
    sys.stdout.flush()
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path)
    yield made
    await made.aclose()


@pytest.mark.parametrize("streams", ["pipes", "tty"])
async def test_a_killed_daemon_leaves_no_command(bench: Bench, streams: str) -> None:
    what = bench.build("sleep", "4249")
    container = await bench.start(what)
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DAEMON, str(what.spec_file), str(container.pid), streams, stdout=asyncio.subprocess.PIPE
    )
    assert daemon.stdout is not None
    assert (await daemon.stdout.readline()).strip() == b"ready"
    await eventually(lambda: bool(running_programs("sleep 4250") and running_programs("sleep 4251")))
    daemon.kill()
    await daemon.wait()
    await eventually(lambda: not running_programs("sleep 4250") and not running_programs("sleep 4251"))
    assert running_programs("sleep 4249")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give containers users of their own")
async def test_a_terminal_belongs_to_the_user_of_the_container(bench: Bench) -> None:
    """Programs that open the terminal again, by its name or as /dev/tty, must be able to."""
    what = bench.build("sleep", "4252", user=User(54321, 54321))
    container = await bench.start(what)
    surroundings = Surroundings("main", what.spec_file, container.pid, container.exited)
    script = "id -u; stat -c %u $(tty); echo again >$(tty); echo and again >/dev/tty; exit 6"
    session = ExecSession(surroundings, ["sh", "-c", script], stdin=False, tty=True)
    seen = b""
    while data := await session.output(1):
        seen += data
    assert seen == b"54321\r\n54321\r\nagain\r\nand again\r\n"
    assert await session.outcome() == (6, "")
    await session.aclose()


def test_nothing_is_loaded_for_streams_that_nobody_asked_for() -> None:
    script = "import sys, skerry.daemon.platform; print('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    late = {"skerry.daemon.websocket", "skerry.cluster.node.exec_session", "skerry.cluster.node.attach_session", "pty"}
    loaded = set(done.stdout.split())
    assert not late & loaded
    assert not [name for name in loaded if name.startswith("skerry.cluster.apiserver.streams")]
