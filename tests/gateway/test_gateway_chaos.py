"""Everything at once: clients that leave, pods that break off, tables that change. Nothing may leak or crash.

What each request gets is decided elsewhere; here only what is left afterwards counts.
"""

import asyncio
import logging
import random
from contextlib import suppress

import pytest
from tests.gateway.harness import HOST, FrontDoor, Handler, read_head, read_message, request, route, until

from skerry.cluster.gateway.table import Endpoint, Route, Share

CLIENTS = 60
SECONDS = 1.2


def rude_pod(rng: random.Random) -> Handler:
    """Make a pod that answers most requests, and does something else to the others."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_message(reader) if rng.random() < 0.9 else await read_head(reader)
            match rng.randrange(10):
                case 0:
                    writer.transport.abort()
                    return
                case 1:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nonly this")
                    return
                case 2:
                    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
                    await asyncio.sleep(0.002)
                    writer.write(b"0\r\n\r\n")
                case 3:
                    writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 200_000)
                    await writer.drain()
                    return
                case 4:
                    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
                    await asyncio.sleep(0.002)
                    return
                case 5:
                    await asyncio.sleep(0.01)
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                case _:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()

    return handle


async def rude_client(door: FrontDoor, rng: random.Random, stop: asyncio.Event) -> None:
    """Connect, send one thing or another, and leave in one way or another, again and again."""
    while not stop.is_set():
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        for _ in range(rng.randrange(1, 5)):
            if writer.transport.is_closing():
                break
            match rng.randrange(7):
                case 0:
                    writer.write(request("POST", "/", "Content-Length: 300000") + b"x" * rng.randrange(200_000))
                case 1:
                    writer.write(request("POST", "/", "Transfer-Encoding: chunked") + b"5\r\nhello\r\n0\r\n\r\n")
                case 2:
                    writer.write(request("GET", "/", "Connection: upgrade", "Upgrade: x") + b"tunnel")
                case 3:
                    writer.write(b"nonsense\r\n\r\n")
                case 4:
                    writer.write(request()[: rng.randrange(1, 30)])
                case _:
                    writer.write(request("GET", f"/{rng.randrange(5)}") * rng.randrange(1, 4))
            with suppress(TimeoutError, ConnectionError):
                await asyncio.wait_for(reader.read(rng.randrange(1, 100_000)), rng.choice([0.001, 0.02]))
        if rng.random() < 0.5:
            writer.transport.abort()
        else:
            writer.close()
        await asyncio.sleep(0)


async def test_nothing_is_left_after_a_wild_time(door: FrontDoor, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(11)
    pods = [await door.pod(rude_pod(rng), name=f"{number}") for number in range(3)]
    dead = Share((Endpoint("127.0.0.1", 1),))
    stop = asyncio.Event()
    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(rude_client(door, rng, stop))
            for turn in range(30):
                chosen = rng.sample(pods, rng.randrange(1, 4))
                rule = route(*chosen, cookie="pin" if turn % 2 else "")
                door.swap(Route(rule.name, HOST, services=(*rule.services, dead), cookie=rule.cookie))
                await asyncio.sleep(SECONDS / 30)
            stop.set()
        await until(lambda: not door.gateway.clients)
    door.swap()
    await until(lambda: not any(pod._writers for pod in pods))
    assert "requests_in_flight{" in door.gateway.metrics()
    busy = [live for live in door.gateway._registry._endpoints.values() if live.active or live.idle]
    assert busy == []
    crashes = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert crashes == []


async def test_every_attempt_is_given_back(door: FrontDoor) -> None:
    """The count of requests under way, by which pods are chosen, returns to nothing."""
    rng = random.Random(5)
    pods = [await door.pod(rude_pod(rng)) for _ in range(2)]
    door.serve(*pods)
    stop = asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for _ in range(20):
            group.create_task(rude_client(door, rng, stop))
        await asyncio.sleep(0.5)
        stop.set()
    await until(lambda: not door.gateway.clients)
    live = door.gateway.routes.hosts[HOST.encode()][0]
    assert [target.endpoint.active for target in live.targets] == [0, 0]
    assert live.tally.in_flight == 0
    assert sum(live.tally.codes.values()) > 100
