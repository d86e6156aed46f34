"""Probes against real sockets; their timing against a clock that is turned by hand."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from lightkube.models.core_v1 import Container as ContainerModel
from lightkube.models.core_v1 import Probe

from skerry.cluster.node.probes import Kind, Prober, Report, Target, check, supported


def a_probe(**fields: Any) -> Any:
    return msgspec.convert(fields, type=Probe)


async def _no_exec(command: Sequence[str], seconds: float) -> tuple[int, str]:
    raise AssertionError("nothing is executed here")


def target(run: Any = _no_exec) -> Target:
    ports = [{"name": "http", "containerPort": 1}]
    return Target("127.0.0.1", msgspec.convert({"name": "main", "ports": ports}, type=ContainerModel), run)


@asynccontextmanager
async def server(answer: bytes, *, silent: bool = False) -> AsyncIterator[tuple[int, list[bytes]]]:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            if silent:
                await reader.read()
            writer.write(answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], heard
    finally:
        listening.close()
        await listening.wait_closed()


def _closed_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(("code", "success"), [(200, True), (204, True), (302, True), (399, True), (404, False)])
async def test_http_status_codes(code: int, success: bool) -> None:
    async with server(b"HTTP/1.1 %d X\r\ncontent-length: 0\r\n\r\n" % code) as (port, heard):
        headers = [{"name": "X-Probe", "value": "1"}]
        outcome = await check(a_probe(httpGet={"port": port, "path": "ready", "httpHeaders": headers}), target())
    assert success == outcome.success
    if not success:
        assert f"HTTP probe failed with statuscode: {code}" == outcome.text
    assert heard[0].startswith(b"GET /ready HTTP/1.1\r\n")
    assert b"user-agent: kube-probe/" in heard[0]
    assert b"x-probe: 1\r\n" in heard[0]


async def test_http_failures_say_why() -> None:
    port = _closed_port()
    refused = await check(a_probe(httpGet={"port": port, "path": "/x"}), target())
    why = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    assert (False, f'Get "http://127.0.0.1:{port}/x": {why}') == (refused.success, refused.text)
    async with server(b"nonsense\r\n\r\n") as (port, _):
        assert "malformed HTTP response" in (await check(a_probe(httpGet={"port": port}), target())).text
    async with server(b"") as (port, _):
        assert not (await check(a_probe(httpGet={"port": port}), target())).success


async def test_a_silent_server_times_out() -> None:
    async with server(b"", silent=True) as (port, _):
        probe = a_probe(httpGet={"port": port})
        probe.timeoutSeconds = 0.05
        outcome = await check(probe, target())
    assert "context deadline exceeded" in outcome.text


async def test_tcp() -> None:
    async with server(b"") as (port, _):
        assert (await check(a_probe(tcpSocket={"port": port}), target())).success
    port = _closed_port()
    expected = f"dial tcp 127.0.0.1:{port}: connect: connection refused"
    assert expected == (await check(a_probe(tcpSocket={"port": port}), target())).text


async def test_exec() -> None:
    async def run(command: Sequence[str], seconds: float) -> tuple[int, str]:
        if command == ["slow"]:
            raise TimeoutError
        return (0, "fine\n") if command == ["good"] else (1, "broken\n")

    assert (await check(a_probe(exec={"command": ["good"]}), target(run))).success
    bad = await check(a_probe(exec={"command": ["bad"]}), target(run))
    assert (False, "broken") == (bad.success, bad.text)
    slow = await check(a_probe(exec={"command": ["slow"]}, timeoutSeconds=2), target(run))
    assert 'command timed out: "slow" timed out after 2s' == slow.text


async def test_ports_have_names() -> None:
    outcome = await check(a_probe(tcpSocket={"port": "nope"}), target())
    assert 'couldn\'t find port: "nope" in container: "main"' == outcome.text
    assert "127.0.0.1:1" in (await check(a_probe(tcpSocket={"port": "http"}), target())).text


async def test_grpc_is_refused_clearly() -> None:
    probe = a_probe(grpc={"port": 1})
    assert "grpc probes are not supported on this node" in supported(probe)
    assert not (await check(probe, target())).success
    assert "" == supported(a_probe(tcpSocket={"port": 1}))


# Timing


class TurnedClock:
    """Sleeping moves the time on at once; the test's end is a number of seconds."""

    def __init__(self, until: float) -> None:
        self.seconds = 0.0
        self.until = until

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        if self.seconds + seconds > self.until:
            raise asyncio.CancelledError
        self.seconds += seconds


async def reports(
    kind: Kind, healthy_at: float, until: float, *, sick_at: float = 1e9, healthy: bool = False, **fields: Any
) -> tuple[list[tuple[float, Report]], list[float]]:
    """Probe something that is well between two moments; return reports and the times of the probes."""
    clock = TurnedClock(until)
    told: list[tuple[float, Report]] = []
    probed: list[float] = []

    async def run(command: Sequence[str], seconds: float) -> tuple[int, str]:
        probed.append(clock.seconds)
        return (0, "") if healthy_at <= clock.seconds < sick_at else (1, "no")

    probe = a_probe(exec={"command": ["x"]}, **fields)
    prober = Prober(
        kind, probe, target(run), clock, 0.05, lambda report: told.append((clock.seconds, report)), healthy=healthy
    )
    task = asyncio.create_task(prober.run())
    await asyncio.wait({task})
    return told, probed


async def test_a_ready_server_is_noticed_within_a_tenth_of_a_second() -> None:
    for ready_at in (0.0, 0.31, 1.0, 1.9):
        told, _ = await reports("readiness", ready_at, 3)
        assert told[0][1].success
        assert told[0][0] - ready_at <= 0.101


async def test_a_slow_server_is_not_pestered() -> None:
    told, probed = await reports("readiness", 600, 700)
    assert told[-1][0] - 600 <= 10
    assert len(probed) < 250
    gaps = [later - earlier for earlier, later in pairwise(probed)]
    assert max(gaps) <= 10.001


async def test_after_the_first_success_the_period_holds() -> None:
    _, probed = await reports("readiness", 0, 65, periodSeconds=10)
    assert [0, 10, 20, 30, 40, 50, 60] == probed


async def test_only_one_failure_a_period_counts() -> None:
    told, _ = await reports("startup", 1e9, 100, periodSeconds=2, failureThreshold=3)
    assert [False, False, True] == [report.settled for _, report in told]
    assert 6 <= told[-1][0] <= 8


async def test_a_startup_probe_ends_with_its_result() -> None:
    told, probed = await reports("startup", 0.2, 100)
    assert [True] == [report.success for _, report in told]
    assert probed[-1] < 0.4


async def test_readiness_comes_and_goes() -> None:
    told, _ = await reports("readiness", 0, 100, sick_at=15, periodSeconds=5, failureThreshold=3)
    settled = [(seconds, report.success) for seconds, report in told if report.settled]
    assert [(0, True), (25, False)] == settled[:2]


async def test_liveness_counts_from_its_first_failure() -> None:
    told, _ = await reports("liveness", 1e9, 100, initialDelaySeconds=5, periodSeconds=10, failureThreshold=2)
    assert [(5, False), (15, True)] == [(seconds, report.settled) for seconds, report in told][:2]


async def test_a_success_threshold_is_awaited() -> None:
    told, _ = await reports("readiness", 0, 100, successThreshold=3, periodSeconds=4)
    assert [8] == [seconds for seconds, report in told if report.settled]


async def test_an_adopted_container_stays_ready_until_it_fails() -> None:
    told, probed = await reports("readiness", 1e9, 100, healthy=True, periodSeconds=10, failureThreshold=3)
    assert [20] == [seconds for seconds, report in told if report.settled][:1]
    assert [0, 10, 20] == probed[:3]
