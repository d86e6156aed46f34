"""What can go wrong on either side, and the answer that it gets.

The pods here refuse, hang, break off and talk nonsense; the clients smuggle, dawdle and flood.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from tests.gateway.harness import HOST, Client, FrontDoor, answer, front_door, read_head, read_message, request, route

from skerry.cluster.gateway.limits import Limits, Timeouts
from skerry.cluster.gateway.table import Endpoint, Route, Share

QUICK = Timeouts(connect=0.2, head=0.2, keep_alive=0.2, client=0.2, linger=0.1)


async def dead_endpoint() -> Endpoint:
    """Return an address where nobody listens."""
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return Endpoint("127.0.0.1", port)


def replace_cookie(endpoint: Endpoint, cookie: str) -> Endpoint:
    return Endpoint(endpoint.address, endpoint.port, cookie)


def saying(*pieces: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    """Make a pod that reads a request, says this and closes."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()

    return handle


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read for ever and say nothing."""
    del writer
    while await reader.read(65536):
        pass


class TestUnavailable:
    """503 with the page."""

    async def _page(self, client: Client) -> None:
        client.send(request())
        head = await read_head(client.reader)
        assert head.first == "HTTP/1.0 503 Service Unavailable"
        assert head.get("content-type") == "text/html"
        assert head.get("connection") == "close"
        assert head.get("cache-control") == "private, max-age=0, no-cache, no-store"
        assert b"Application is not available" in await client.rest()

    async def test_no_route_has_the_host(self, door: FrontDoor) -> None:
        await self._page(await door.connect())

    async def test_the_route_has_no_ready_pod(self, door: FrontDoor) -> None:
        door.swap(Route(name="a/b", host=HOST, services=(Share(),)))
        await self._page(await door.connect())

    async def test_every_pod_refuses(self, door: FrontDoor) -> None:
        door.swap(Route(name="a/b", host=HOST, services=(Share((await dead_endpoint(), await dead_endpoint())),)))
        await self._page(await door.connect())

    async def test_head_gets_no_page(self, door: FrontDoor) -> None:
        client = await door.connect()
        client.send(request("HEAD"))
        assert (await read_head(client.reader)).status == 503
        assert await client.closed()

    async def test_a_body_under_way_does_not_take_the_page_back(self, door: FrontDoor) -> None:
        client = await door.connect()
        client.send(request("POST", "/", "Content-Length: 10000000"), b"x" * 1_000_000)
        assert (await read_head(client.reader)).status == 503
        assert b"Application is not available" in await client.rest()


class TestSecondAttempt:
    """A request is sent again only where it cannot have been acted on."""

    async def test_another_pod_takes_over_when_one_refuses(self, door: FrontDoor) -> None:
        pod = await door.pod()
        door.swap(Route(name="a/b", host=HOST, services=(Share((await dead_endpoint(), pod.endpoint)),)))
        for _ in range(20):
            client = await door.connect()
            client.send(request("POST", "/", body=b"x"))
            assert (await client.answer()).body == b"pod:x"

    async def test_a_body_goes_on_after_a_refusal(self, door: FrontDoor) -> None:
        """Reading stops while a pod is connected to; it must begin again, on a kept connection too."""
        pod = await door.pod()
        door.serve(pod)
        client = await door.connect()
        await client.get()  # leaves a connection to keep
        rule = route(pod, cookie="pin")
        dead = replace_cookie(await dead_endpoint(), "dead")
        door.swap(Route(rule.name, HOST, services=(Share((*rule.services[0].endpoints, dead)),), cookie="pin"))
        client.send(request("POST", "/", "Cookie: pin=dead", "Content-Length: 10"), b"01234")
        await asyncio.sleep(0.05)
        client.send(b"56789")
        assert (await client.answer()).body == b"pod:0123456789"
        assert pod.connections == 1

    async def test_a_killed_pod_between_two_requests_is_not_noticed(self, door: FrontDoor) -> None:
        first, second = await door.pod(name="first"), await door.pod(name="second")
        door.serve(first, second)
        client = await door.connect()
        while not (first.connections and second.connections):
            client.send(request("POST", "/", body=b"x"))
            await client.answer()
        await first.stop()
        for _ in range(10):
            client.send(request("POST", "/", body=b"x"))
            assert (await client.answer()).body == b"second:x"

    async def test_a_pod_that_comes_back_is_found_with_a_kept_connection_gone(self, door: FrontDoor) -> None:
        pod = await door.pod()
        door.serve(pod)
        client = await door.connect()
        for _ in range(5):
            assert (await client.get()).status == 200
            port = pod.port
            await pod.stop()
            await pod.start(port)

    async def test_a_connection_closed_at_the_same_moment_is_tried_again(self, door: FrontDoor) -> None:
        served = 0

        async def one_request_a_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal served
            request = await read_message(reader)
            served += 1
            writer.write(answer(request.body))
            await writer.drain()
            # Not announced by `Connection: close`: the next request finds a connection that dies under it.
            await reader.read(1)

        door.serve(await door.pod(one_request_a_connection))
        client = await door.connect()
        for number in range(10):
            client.send(request("POST", "/", body=b"%d" % number))
            assert (await client.answer()).body == b"%d" % number
        assert served == 10

    async def test_a_large_body_is_not_replayed(self) -> None:
        async with front_door(limits=replace(Limits(), replay=10)) as door:

            async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await read_message(reader)
                writer.write(answer())
                await writer.drain()
                await reader.read(1)

            door.serve(await door.pod(pod))
            client = await door.connect()
            assert (await client.get()).status == 200
            client.send(request("POST", "/", body=b"x" * 100))
            assert (await client.answer()).status == 502

    async def test_a_request_that_kills_its_pod_is_not_passed_round(self, door: FrontDoor) -> None:
        async def dies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_message(reader)

        pods = [await door.pod(dies) for _ in range(3)]
        door.serve(*pods)
        client = await door.connect()
        assert (await client.get()).status == 502
        assert sum(pod.connections for pod in pods) == 1


class TestBrokenAnswers:
    """502, or a visible break where a part has gone out."""

    @pytest.mark.parametrize(
        "said",
        [
            b"",
            b"HTTP/1.1 200 OK\r\nContent-Le",
            b"SSH-2.0-OpenSSH\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
            b"HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
            b"HTTP/1.1 200 OK\r\nA: " + b"b" * 40_000 + b"\r\n\r\n",
            b"HTTP/2.0 200 OK\r\n\r\n",
        ],
    )
    async def test_a_head_that_cannot_be_read_is_a_bad_gateway(self, door: FrontDoor, said: bytes) -> None:
        door.serve(await door.pod(saying(said)))
        client = await door.connect()
        client.send(request())
        reply = await client.answer()
        assert reply.status == 502
        assert reply.body.startswith(b"502 Bad Gateway: the pod")
        assert await client.closed()

    @pytest.mark.parametrize(
        "said",
        [
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        ],
    )
    async def test_a_body_that_breaks_off_ends_with_the_connection(self, door: FrontDoor, said: bytes) -> None:
        door.serve(await door.pod(saying(said)))
        client = await door.connect()
        client.send(request())
        assert (await read_head(client.reader)).status == 200
        assert not (await client.rest()).endswith(b"0\r\n\r\n")

    async def test_more_than_the_answer_is_not_taken_for_the_next_one(self, door: FrontDoor) -> None:
        door.serve(await door.pod(saying(answer(b"first") + answer(b"poison"))))
        client = await door.connect()
        for _ in range(5):
            assert (await client.get()).body == b"first"

    async def test_an_answer_that_nobody_asked_for_closes_the_connection(self, door: FrontDoor) -> None:
        async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_message(reader)
            writer.write(answer(b"first"))
            await writer.drain()
            await asyncio.sleep(0.05)
            with contextlib.suppress(ConnectionError):
                writer.write(answer(b"poison"))
                await writer.drain()
                await reader.read()

        door.serve(await door.pod(pod))
        client = await door.connect()
        assert (await client.get()).body == b"first"
        await asyncio.sleep(0.1)
        assert (await client.get()).body == b"first"


class TestTimeouts:
    """Each with the time-outs shortened."""

    async def test_a_pod_that_does_not_answer_is_a_504(self) -> None:
        async with front_door() as door:
            pod = await door.pod(silent)
            door.swap(route(pod, timeout=0.2))
            client = await door.connect()
            client.send(request("POST", "/", body=b"x" * 1000))
            reply = await client.answer()
            assert (reply.status, reply.body) == (504, b"504 Gateway Timeout: the pod did not answer within 0.2 s\n")
            assert await client.closed()

    async def test_each_byte_of_an_answer_starts_the_time_anew(self) -> None:
        async def slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_message(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
            for _ in range(8):
                await asyncio.sleep(0.05)
                writer.write(b"x")
                await writer.drain()

        async with front_door() as door:
            door.swap(route(await door.pod(slowly), timeout=0.25))
            client = await door.connect()
            client.send(request())
            assert (await client.answer()).body == b"xxxxxxxx"

    async def test_a_pod_that_stops_in_the_middle_breaks_the_answer_off(self) -> None:
        async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_message(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf")
            await reader.read()

        async with front_door() as door:
            door.swap(route(await door.pod(half), timeout=0.2))
            client = await door.connect()
            client.send(request())
            await read_head(client.reader)
            assert await client.rest() == b"half"

    async def test_a_head_that_does_not_come_is_a_408(self) -> None:
        async with front_door(QUICK) as door:
            client = await door.connect()
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n")
            assert (await client.answer()).status == 408

    async def test_dripping_bytes_does_not_buy_time(self) -> None:
        async with front_door(QUICK) as door:
            client = await door.connect()

            async def drip() -> None:
                client.send(b"GET / HTTP/1.1\r\nA: ")
                while True:
                    await asyncio.sleep(0.05)
                    client.send(b"x")

            async with asyncio.timeout(3):
                task = asyncio.ensure_future(drip())
                try:
                    assert (await client.answer()).status == 408
                finally:
                    task.cancel()

    @pytest.mark.parametrize("first", [b"", b"GET / HTTP/1.1\r\nHost: demo.apps.localhost\r\n\r\n"])
    async def test_a_connection_without_requests_is_closed_silently(self, first: bytes) -> None:
        async with front_door(QUICK) as door:
            door.serve(await door.pod())
            client = await door.connect()
            client.send(first)
            if first:
                await client.answer()
            assert await asyncio.wait_for(client.rest(), 3) == b""

    async def test_a_body_that_stops_coming_is_a_408(self) -> None:
        async with front_door(QUICK) as door:
            door.serve(await door.pod(silent))
            client = await door.connect()
            client.send(request("POST", "/", "Content-Length: 100"), b"part")
            assert (await client.answer()).status == 408

    async def test_a_client_that_does_not_read_is_cut_off(self) -> None:
        async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_message(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()

        async with front_door(QUICK) as door:
            door.serve(await door.pod(flood))
            client = await door.connect()
            client.send(request())
            async with asyncio.timeout(5):
                while door.gateway.clients:
                    await asyncio.sleep(0.02)

    async def test_a_quiet_tunnel_ends(self) -> None:
        async def switch(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            await reader.read()

        async with front_door(QUICK) as door:
            door.swap(route(await door.pod(switch), tunnel_timeout=0.2))
            client = await door.connect()
            client.send(request("GET", "/", "Connection: upgrade", "Upgrade: x"))
            await read_head(client.reader)
            assert await asyncio.wait_for(client.rest(), 3) == b""


SMUGGLED: list[tuple[str, int]] = [
    ("POST / HTTP/1.1\r\nHost: H\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: H\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
    ("POST / HTTP/1.1\r\nHost: H\r\nContent-Length: 3, 3\r\n\r\nabc", 400),
    ("POST / HTTP/1.1\r\nHost: H\r\nContent-Length: +3\r\n\r\nabc", 400),
    ("POST / HTTP/1.1\r\nHost: H\r\nContent-Length: 0x3\r\n\r\nabc", 400),
    ("POST / HTTP/1.1\r\nHost: H\r\nContent-Length: 99999999999999999999\r\n\r\nabc", 400),
    ("POST / HTTP/1.1\r\nHost: H\r\nContent-Length : 3\r\n\r\nabc", 400),
    ("POST / HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: xchunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    ("POST / HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: H\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", 400),
    ("POST / HTTP/1.0\r\nHost: H\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: H\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n", 400),
    ("GET / HTTP/1.1\nHost: H\n\n", 400),
    ("GET / HTTP/1.1\r\nHost: H\nX: y\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: H\rX: y\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: H\r\nX: y\r\n folded\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n Host: H\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: H\r\nX: a\0b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nX: y\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: H\r\nHost: H\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: H@evil\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: H/path\r\n\r\n", 400),
    ("GET foo HTTP/1.1\r\nHost: H\r\n\r\n", 400),
    ("GET / HTTP/1.1 \r\nHost: H\r\n\r\n", 400),
    ("GET / HTTP/1.2\r\nHost: H\r\n\r\n", 400),
    ("GET / HTTP/2.0\r\nHost: H\r\n\r\n", 505),
    ("BREW / HTTP/1.1\r\nHost: H\r\n\r\n", 501),
    ("CONNECT H:443 HTTP/1.1\r\nHost: H\r\n\r\n", 405),
    ("GET / HTTP/1.1\r\nHost: H\r\nExpect: 200-maybe\r\n\r\n", 417),
    ("GET / HTTP/1.1\r\nHost: H\r\n" + "A: b\r\n" * 150 + "\r\n", 431),
    ("GET / HTTP/1.1\r\nHost: H\r\nA: " + "b" * 33_000 + "\r\n\r\n", 431),
    ("GET /" + "a" * 33_000, 431),
]


@pytest.mark.parametrize(("sent", "status"), SMUGGLED)
async def test_what_two_parsers_could_read_differently_is_refused(door: FrontDoor, sent: str, status: int) -> None:
    pod = await door.pod()
    door.serve(pod)
    client = await door.connect()
    client.send(sent.replace("H", HOST, 1) if sent.startswith("CONNECT") else sent.replace(": H", f": {HOST}"))
    reply = await client.answer()
    assert (reply.status, reply.get("connection")) == (status, "close")
    assert await client.closed()
    assert not pod.requests


async def test_a_refused_request_ends_the_pipeline(door: FrontDoor) -> None:
    pod = await door.pod()
    door.serve(pod)
    client = await door.connect()
    client.send(request(), b"GET / HTTP/1.1\r\n\r\n", request("GET", "/hidden"))
    assert (await client.answer()).status == 200
    assert (await client.answer()).status == 400
    assert await client.closed()
    assert [seen.first for seen in pod.requests] == ["GET / HTTP/1.1"]


class TestOtherProtocols:
    """The first bytes decide; what is not spoken is refused in its own words."""

    async def test_http2_is_told_to_go_away(self, door: FrontDoor) -> None:
        client = await door.connect()
        for byte in b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":
            client.send(bytes([byte]))
            await client.writer.drain()
        said = await client.rest()
        assert said[:9] == b"\0\0\0\x04\0\0\0\0\0"  # SETTINGS
        assert said[12] == 7  # GOAWAY
        assert said[22:26] == b"\0\0\0\x0d"  # HTTP_1_1_REQUIRED
        assert b"HTTP/1.1" in said

    async def test_tls_gets_an_alert(self, door: FrontDoor) -> None:
        client = await door.connect()
        client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
        assert (await client.rest())[:1] == b"\x15"

    async def test_a_method_that_begins_like_the_preface_is_http1(self, door: FrontDoor) -> None:
        door.serve(await door.pod())
        client = await door.connect()
        for byte in request("POST", "/", body=b"x"):
            client.send(bytes([byte]))
            await client.writer.drain()
        assert (await client.answer()).body == b"pod:x"


async def test_no_more_connections_than_allowed() -> None:
    async with front_door(limits=replace(Limits(), connections=2)) as door:
        door.serve(await door.pod())
        first, second = await door.connect(), await door.connect()
        assert (await first.get()).status == 200
        assert (await second.get()).status == 200
        third = await door.connect()
        assert (await read_head(third.reader)).status == 503
