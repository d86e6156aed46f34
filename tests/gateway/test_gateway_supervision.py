"""The daemon's hold on the process: started, told, adopted, replaced, started again, stopped."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from tests.gateway.harness import PATIENCE, Client, Pod, answer, read_message, request, route, until

from skerry.cluster.gateway import runfile
from skerry.cluster.gateway.process import GatewayFailed, GatewayProcess
from skerry.cluster.gateway.table import Route, Table, encode
from skerry.kit.processes import ProcessIdentity, identify

pytestmark = pytest.mark.asyncio(loop_factories=["uvloop"])  # the daemon's loop


def hold(home: Path, listen: str = "127.0.0.1:0", drain: float = 1.0) -> GatewayProcess:
    return GatewayProcess(home / "run", home / "log", listen, drain=drain)


def publish(gateway: GatewayProcess, *routes: Route) -> None:
    gateway.table_file.write_bytes(encode(Table(routes)))
    gateway.notify()


async def connect(gateway: GatewayProcess) -> Client:
    return Client(*await asyncio.open_connection("127.0.0.1", gateway.port))


async def status(gateway: GatewayProcess) -> int:
    client = await connect(gateway)
    client.send(request("GET", "/", "Connection: close"))
    raw = await client.rest()
    client.writer.close()
    return int(raw.split(b" ")[1])


async def serves(gateway: GatewayProcess) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(OSError, IndexError):
                if await status(gateway) == 200:
                    return
            await asyncio.sleep(0.01)


def pid_of(gateway: GatewayProcess) -> int:
    assert gateway.pid is not None
    return gateway.pid


def alive(identity: ProcessIdentity) -> bool:
    return identity.alive()


@asynccontextmanager
async def kept(gateway: GatewayProcess) -> AsyncIterator[None]:
    """Run the watch beside the test, and stop the process at its end."""
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.run())
        try:
            yield
        finally:
            await gateway.stop()


@pytest.fixture
async def pod() -> AsyncIterator[Pod]:
    made = Pod()
    await made.start()
    yield made
    await made.stop()


async def test_it_is_started_told_and_stopped(tmp_path: Path, pod: Pod) -> None:
    gateway = hold(tmp_path)
    await gateway.check_address()
    await gateway.ensure()
    async with kept(gateway):
        assert await status(gateway) == 503
        publish(gateway, route(pod))
        await serves(gateway)
        process = identify(pid_of(gateway))
        assert os.getsid(process.pid) == process.pid
    assert not process.alive()
    assert gateway.pid is None


async def test_a_second_daemon_adopts_what_the_first_left(tmp_path: Path, pod: Pod) -> None:
    first = hold(tmp_path)
    await first.ensure()
    publish(first, route(pod))
    await serves(first)
    client = await connect(first)
    assert (await client.get()).status == 200
    second = hold(tmp_path)
    await second.check_address()
    await second.ensure()
    assert (second.pid, second.port) == (first.pid, first.port)
    async with kept(second):
        assert (await client.get()).status == 200  # the same connection
        publish(second)
        async with asyncio.timeout(PATIENCE):
            while await status(second) != 503:
                await asyncio.sleep(0.01)
    client.writer.close()


async def test_a_process_of_another_command_line_is_replaced(tmp_path: Path, pod: Pod) -> None:
    first = hold(tmp_path)
    await first.ensure()
    publish(first, route(pod))
    await serves(first)
    process = identify(pid_of(first))
    second = hold(tmp_path, listen=f"127.0.0.1:{first.port}", drain=2.0)
    await second.check_address()
    await second.ensure()
    async with kept(second):
        assert second.pid != process.pid
        assert await status(second) == 200
        await until(lambda: not alive(process))


async def test_another_version_is_replaced(tmp_path: Path) -> None:
    first = hold(tmp_path)
    await first.ensure()
    path = tmp_path / "run" / "gateway.json"
    running = runfile.read(path)
    assert running is not None
    path.write_bytes(path.read_bytes().replace(f'"{running.version}"'.encode(), b'"0.0.0"'))
    second = hold(tmp_path)
    await second.ensure()
    async with kept(second):
        assert second.pid not in {None, running.pid}


async def test_a_killed_process_is_started_again_with_the_table(tmp_path: Path, pod: Pod) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    gateway = hold(tmp_path, listen=f"127.0.0.1:{port}")
    await gateway.ensure()
    async with kept(gateway):
        publish(gateway, route(pod))
        await serves(gateway)
        for _ in range(2):
            process = identify(pid_of(gateway))
            os.kill(process.pid, signal.SIGKILL)
            await until(lambda process=process: not alive(process))  # type: ignore[misc]
            await serves(gateway)
            assert gateway.pid != process.pid


async def test_a_busy_port_is_told_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        gateway = hold(tmp_path, listen=address)
        with pytest.raises(GatewayFailed, match=f"cannot listen on {address}: another program uses the port"):
            await gateway.check_address()
        with pytest.raises(GatewayFailed, match="cannot start the gateway: cannot listen on"):
            await gateway.ensure()
    assert gateway.pid is None
    await gateway.stop()


async def test_a_process_that_cannot_start_points_to_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(GatewayFailed, match=r"it died; see .*gateway\.log"):
        await hold(tmp_path).ensure()


async def test_a_pid_file_of_another_boot_or_process_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    own = identify(os.getpid())
    stale = runfile.Running(own.pid, own.start_time - 1, own.boot_id, "x", (), ("127.0.0.1:1",))
    runfile.write(tmp_path / "run" / "gateway.json", stale)
    gateway = hold(tmp_path)
    await gateway.ensure()
    async with kept(gateway):
        assert gateway.pid != own.pid


async def test_a_long_directory_does_without_the_admin_socket(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 25)
    gateway = hold(home)
    await gateway.ensure()
    async with kept(gateway):
        assert await status(gateway) == 503
        assert not gateway.admin_socket.exists()


DAEMON = """
import asyncio, sys
from pathlib import Path
from skerry.cluster.gateway.process import GatewayProcess
async def main():
    gateway = GatewayProcess(Path(sys.argv[1]) / "run", Path(sys.argv[1]) / "log", "127.0.0.1:0", drain=1.0)
    await gateway.ensure()
    gateway.notify()
    print("up", flush=True)
    await gateway.run()
asyncio.run(main())
"""


async def test_killing_the_daemon_fails_no_request(tmp_path: Path) -> None:
    """The daemon dies with its whole process group while a request is answered and others come."""
    began, go = asyncio.Event(), asyncio.Event()

    async def slow_then_quick(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen = await read_message(reader)
            if seen.first.startswith("GET /slow"):
                began.set()
                await go.wait()
            writer.write(answer(b"answered"))

    pod = Pod(slow_then_quick)
    await pod.start()
    gateway = hold(tmp_path)
    gateway.table_file.parent.mkdir(parents=True)
    gateway.table_file.write_bytes(encode(Table((route(pod),))))
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DAEMON, str(tmp_path), stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert daemon.stdout is not None
    assert await asyncio.wait_for(daemon.stdout.readline(), 20) == b"up\n"
    running = runfile.read(tmp_path / "run" / "gateway.json")
    assert running is not None
    port = int(running.listening[0].rpartition(":")[2])
    client = Client(*await asyncio.open_connection("127.0.0.1", port))
    client.send(request("GET", "/slow"))
    await asyncio.wait_for(began.wait(), PATIENCE)
    os.killpg(daemon.pid, signal.SIGKILL)
    await daemon.wait()
    go.set()
    assert (await client.answer()).body == b"answered"
    assert (await client.get()).body == b"answered"
    client.writer.close()
    await gateway.ensure()
    assert gateway.pid == running.pid
    async with kept(gateway):
        pass
    await pod.stop()
