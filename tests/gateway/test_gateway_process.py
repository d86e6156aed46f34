"""The gateway as a process: its start, its signals, its ends, and what it costs when nothing happens."""

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.gateway.harness import HOST, PATIENCE, Client, Pod, answer, read_message, request, route, until

from skerry.cluster.gateway import runfile
from skerry.cluster.gateway.table import Route, Table, encode
from skerry.kit.processes import identify

MOST_MEMORY = 25 * 2**20

pytestmark = pytest.mark.asyncio(loop_factories=["asyncio"])  # the gateway's own loop is in another process


@dataclass
class Running:
    """A gateway process and the files that it was given."""

    home: Path
    process: asyncio.subprocess.Process
    port: int

    def write(self, *routes: Route) -> None:
        (self.home / "table.json").write_bytes(encode(Table(routes)))

    async def swap(self, *routes: Route) -> None:
        """Replace the table and wait until the process uses it."""
        self.write(*routes)
        before = await self.ask("/table")
        self.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(PATIENCE):
            while await self.ask("/table") == before:
                await asyncio.sleep(0.01)

    async def ask(self, path: str) -> str:
        reader, writer = await asyncio.open_unix_connection(str(self.home / "admin.sock"))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        reply = await read_message(reader)
        writer.close()
        return reply.body.decode()

    async def connect(self) -> Client:
        return Client(*await asyncio.open_connection("127.0.0.1", self.port))

    def log(self) -> str:
        return (self.home / "log").read_text()


async def start(home: Path, *more: str, listen: str = "127.0.0.1:0") -> Running:
    arguments = ["--table", str(home / "table.json"), "--listen", listen, "--pid-file", str(home / "pid")]
    arguments += ["--admin-socket", str(home / "admin.sock"), *more]
    with (home / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "skerry.cluster.gateway", *arguments, stderr=log
        )
    await until(lambda: (home / "pid").exists() or process.returncode is not None)
    running = runfile.read(home / "pid")
    return Running(home, process, int(running.listening[0].rpartition(":")[2]) if running else 0)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Running]:
    running = await start(tmp_path, "--drain", "5", "--access-log")
    yield running
    if running.process.returncode is None:
        running.process.kill()
        await running.process.wait()


@pytest.fixture
async def pod() -> AsyncIterator[Pod]:
    made = Pod()
    await made.start()
    yield made
    await made.stop()


async def exit_code(running: Running) -> int:
    return await asyncio.wait_for(running.process.wait(), PATIENCE)


async def test_it_starts_without_a_table_and_takes_one_on_sighup(gateway: Running, pod: Pod) -> None:
    client = await gateway.connect()
    client.send(request())
    assert b"503" in await client.rest()
    client.writer.close()
    await gateway.swap(route(pod))
    client = await gateway.connect()
    assert (await client.get("/x?secret=1")).body == b"pod:"
    client.writer.close()
    await until(lambda: '"event": "request"' in gateway.log())
    line = next(line for line in gateway.log().splitlines() if '"event": "request"' in line)
    assert json.loads(line)["request"] == "GET /x"
    assert "secret" not in gateway.log()


async def test_a_table_that_cannot_be_read_changes_nothing(gateway: Running, pod: Pod) -> None:
    await gateway.swap(route(pod))
    for broken in (b"{", b'{"routes": [{"name": 1}]}', b'{"routes": [{"name": "a/b", "host": "h", "balance": "x"}]}'):
        (gateway.home / "table.json").write_bytes(broken)
        gateway.process.send_signal(signal.SIGHUP)
    await until(lambda: gateway.log().count("cannot use the routing table") >= 1)
    client = await gateway.connect()
    assert (await client.get()).status == 200
    assert json.loads(await gateway.ask("/table"))["error"]
    client.writer.close()


async def test_the_admin_socket_answers(gateway: Running, pod: Pod) -> None:
    await gateway.swap(route(pod))
    assert await gateway.ask("/healthz") == "ok\n"
    assert "skerry_gateway_connections 0\n" in await gateway.ask("/metrics")
    assert "/metrics" in await gateway.ask("/nothing")
    assert (gateway.home / "admin.sock").stat().st_mode & 0o777 == 0o600


async def test_sigterm_lets_requests_finish_and_exits_0(gateway: Running) -> None:
    began, go = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        began.set()
        await go.wait()
        writer.write(answer(b"finished"))
        await writer.drain()

    pod = Pod(slow)
    await pod.start()
    await gateway.swap(route(pod))
    idle = await gateway.connect()
    client = await gateway.connect()
    client.send(request())
    await asyncio.wait_for(began.wait(), PATIENCE)
    gateway.process.terminate()
    assert await idle.closed()
    await until(lambda: not (gateway.home / "pid").exists())
    with pytest.raises(ConnectionRefusedError):
        await gateway.connect()
    go.set()
    reply = await client.answer()
    assert (reply.body, reply.get("connection")) == (b"finished", "close")
    assert await exit_code(gateway) == 0
    await pod.stop()
    for connection in (idle, client):
        connection.writer.close()


async def test_what_does_not_finish_in_time_is_cut(tmp_path: Path) -> None:
    gateway = await start(tmp_path, "--drain", "0.2")

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del writer
        await reader.read()

    pod = Pod(never)
    await pod.start()
    await gateway.swap(route(pod))
    client = await gateway.connect()
    client.send(request())
    await until(lambda: pod.connections == 1)
    gateway.process.terminate()
    assert await exit_code(gateway) == 0
    assert await client.closed()
    client.writer.close()
    await pod.stop()


async def test_a_busy_port_ends_it_with_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        gateway = await start(tmp_path, listen=address)
        assert await exit_code(gateway) == 1
    (line,) = [line for line in gateway.log().splitlines() if not line.startswith("{")]
    assert line.startswith(f"cannot listen on {address}: another program uses the port; stop it")


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ("nonsense", "is not ADDRESS:PORT"),
        ("192.0.2.1:8080", "has no such address"),
        ("127.0.0.1:99999", "ADDRESS:PORT"),
    ],
)
async def test_an_impossible_address_is_told(tmp_path: Path, listen: str, said: str) -> None:
    gateway = await start(tmp_path, listen=listen)
    assert await exit_code(gateway) == 1
    assert said in gateway.log()


async def test_it_listens_on_several_addresses(tmp_path: Path, pod: Pod) -> None:
    gateway = await start(tmp_path, "--listen", "127.0.0.2:0", "--listen", "[::1]:0")
    await gateway.swap(route(pod))
    running = runfile.read(tmp_path / "pid")
    assert running is not None
    assert len(running.listening) == 3
    for address in running.listening:
        host, _, port = address.rpartition(":")
        client = Client(*await asyncio.open_connection(host.strip("[]"), int(port)))
        assert (await client.get()).status == 200
        client.writer.close()
    gateway.process.terminate()
    assert await exit_code(gateway) == 0
    assert pod.requests[-1].get("forwarded") == f'for="[::1]";host={HOST};proto=http'


async def test_the_pid_file_says_who_listens(gateway: Running) -> None:
    running = runfile.read(gateway.home / "pid")
    assert running is not None
    assert running.identity == identify(gateway.process.pid)
    assert running.listening == (f"127.0.0.1:{gateway.port}",)
    assert "--access-log" in running.arguments


async def test_it_is_small_and_sleeps(gateway: Running, pod: Pod) -> None:
    """Memory is a budget; a process without traffic must not wake up at all."""
    await gateway.swap(route(pod))
    client = await gateway.connect()
    for _ in range(10):
        await client.get()
    proc = Path("/proc") / str(gateway.process.pid)
    resident = re.search(r"VmRSS:\s+(\d+) kB", (proc / "status").read_text())
    assert resident is not None
    assert int(resident[1]) * 1024 < MOST_MEMORY
    await asyncio.sleep(0.2)
    before = _switches(proc)
    await asyncio.sleep(1)
    assert _switches(proc) - before <= 1
    client.writer.close()


def _switches(proc: Path) -> int:
    found = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (proc / "status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


async def test_it_loads_no_tls(gateway: Running) -> None:
    maps = Path(f"/proc/{gateway.process.pid}/maps").read_text()
    assert "uvloop" in maps
    assert "libssl" not in maps


async def test_it_gives_up_its_pid_file_only_if_it_is_its_own(gateway: Running) -> None:
    path = gateway.home / "pid"
    other = runfile.read(path)
    assert other is not None
    runfile.write(path, runfile.Running(os.getpid(), 1, "x", "y", (), ()))
    gateway.process.terminate()
    assert await exit_code(gateway) == 0
    assert path.exists()
