"""Tables change under traffic: no request fails, and what was begun is finished where it was begun."""

import asyncio
from typing import Any

import pytest
from tests.gateway.harness import HOST, Client, FrontDoor, answer, read_head, read_message, request, route, until

from skerry.cluster.gateway.endpoint import Endpoint
from skerry.cluster.gateway.exchange import Exchange
from skerry.cluster.gateway.table import Route

CLIENTS = 200
ROUNDS = 15


async def load(client: Client, swapping: asyncio.Event, failures: list[str], counts: list[int]) -> None:
    """Send requests one after the other until the swaps are over, and a few more."""
    number = 0
    left = 3
    while left:
        left -= swapping.is_set()
        body = f"{number}".encode()
        client.send(request("POST", f"/{number}", body=body))
        reply = await client.answer()
        if reply.status != 200 or reply.body.partition(b":")[2] != body:
            failures.append(f"{reply.first} {reply.body!r}")
        number += 1
    counts.append(number)


async def test_two_hundred_clients_do_not_notice_the_swaps(door: FrontDoor) -> None:
    pods = [await door.pod(name=name) for name in "abc"]
    door.serve(*pods)
    clients = [await door.connect() for _ in range(CLIENTS)]
    swapped = asyncio.Event()
    failures: list[str] = []
    counts: list[int] = []
    async with asyncio.timeout(50), asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(load(client, swapped, failures, counts))
        for turn in range(ROUNDS):
            chosen = [pods[turn % 3], pods[(turn + 1) % 3]] if turn % 2 else [pods[turn % 3]]
            more: dict[str, Any] = {"cookie": "pin"} if turn % 4 == 0 else {}
            door.swap(route(*chosen, **more))
            await asyncio.sleep(0.03)
        swapped.set()
    assert failures == []
    assert len(counts) == CLIENTS
    assert all(pod.requests for pod in pods)


async def test_pods_killed_one_after_the_other_fail_no_request(door: FrontDoor) -> None:
    """A rolling update as the gateway sees it: the new pod is in the table before the old one is killed."""
    pods = [await door.pod(name="0")]
    door.serve(*pods)
    clients = [await door.connect() for _ in range(20)]
    swapped = asyncio.Event()
    failures: list[str] = []
    async with asyncio.timeout(50), asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(load(client, swapped, failures, []))
        for turn in range(1, 6):
            old = pods[-1]
            leaving = door.gateway.routes.hosts[HOST.encode()][0].targets[0].endpoint
            await until(lambda pod=old: len(pod.requests) > 50)  # type: ignore[misc]
            pods.append(await door.pod(name=str(turn)))
            door.serve(pods[-1])
            await until(lambda endpoint=leaving: endpoint.active == 0)  # type: ignore[misc]
            await old.stop()
        swapped.set()
    assert failures == []
    assert all(pod.requests for pod in pods)


async def test_a_request_whose_pod_is_gone_asks_the_new_table(door: FrontDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look into the table and the connection, both pods and table may change."""
    old, new = await door.pod(name="old"), await door.pod(name="new")
    door.serve(old)
    connect = door.gateway.connect

    def after_a_swap(endpoint: Endpoint, exchange: Exchange) -> None:
        door.swap(route(new, forwarded="never"))
        connect(endpoint, exchange)

    monkeypatch.setattr(door.gateway, "connect", after_a_swap)
    await old.stop()
    client = await door.connect()
    client.send(request("POST", "/", body=b"x"))
    assert (await client.answer()).body == b"new:x"
    assert new.requests[0].get("x-forwarded-for") is None


class TestDrain:
    """An endpoint that leaves the table keeps what it has begun."""

    async def test_an_open_request_is_finished_by_its_pod(self, door: FrontDoor) -> None:
        go = asyncio.Event()

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_message(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
            await go.wait()
            writer.write(b"later")
            await writer.drain()
            assert await reader.read() == b""  # not kept for more

        old, new = await door.pod(slow), await door.pod(name="new")
        door.serve(old)
        client = await door.connect()
        client.send(request())
        await read_head(client.reader)
        door.serve(new)
        go.set()
        assert await client.reader.readexactly(10) == b"firstlater"
        assert (await client.get()).body == b"new:"

    async def test_a_request_waits_for_its_answer_after_the_route_is_gone(self, door: FrontDoor) -> None:
        go = asyncio.Event()

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_message(reader)
            await go.wait()
            writer.write(answer(b"still"))
            await writer.drain()

        pod = await door.pod(slow)
        door.serve(pod)
        client = await door.connect()
        client.send(request())
        await until(lambda: pod.connections == 1)
        door.swap()
        go.set()
        assert (await client.answer()).body == b"still"
        client.send(request())
        assert (await read_head(client.reader)).status == 503

    async def test_idle_connections_to_a_pod_that_left_are_closed(self, door: FrontDoor) -> None:
        pod = await door.pod()
        door.serve(pod)
        client = await door.connect()
        await client.get()
        assert pod._writers
        door.swap()
        await until(lambda: not pod._writers)


async def test_the_head_that_a_client_repeats_is_routed_anew_after_a_swap(door: FrontDoor) -> None:
    """What was worked out for a head must not outlive the table that it came from."""
    first, second = await door.pod(name="first"), await door.pod(name="second")
    client = await door.connect()
    for pod in (first, second, first):
        door.serve(pod)
        for _ in range(3):
            assert (await client.get()).body == f"{pod.name}:".encode()
    door.swap(Route("a/b", HOST, services=route(second).services, cookie="pin"))
    assert (await client.get()).get("set-cookie") == "pin=cookie-of-second; path=/; HttpOnly"


async def test_everything_is_counted(door: FrontDoor) -> None:
    door.swap(route(await door.pod()), route(name="ai-demo/empty", host="empty.example"))
    client = await door.connect()
    for _ in range(3):
        client.send(request("POST", "/", body=b"12345"))
        await client.answer()
    for host in ("empty.example", "unknown.example"):
        other = await door.connect()
        other.send(request(host=host))
        await other.rest()
    text = door.gateway.metrics()
    for line in (
        'requests_total{namespace="ai-demo",route="demo",code="200"} 3',
        'requests_total{namespace="ai-demo",route="empty",code="503"} 1',
        'requests_total{namespace="",route="",code="503"} 1',
        'request_bytes_total{namespace="ai-demo",route="demo"} 15',
        'response_bytes_total{namespace="ai-demo",route="demo"} 27',
        'requests_in_flight{namespace="ai-demo",route="demo"} 0',
        'request_seconds_count{namespace="ai-demo",route="demo"} 3',
        'request_seconds_bucket{namespace="ai-demo",route="demo",le="+Inf"} 3',
    ):
        assert f"skerry_gateway_{line}\n" in text
