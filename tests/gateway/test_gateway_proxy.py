"""What passes through the gateway, and how: bodies both ways, connections kept, fields added and taken away.

Both sides are real sockets. The client writes raw bytes, so that nothing is tidied up on the way.
"""

import asyncio

import pytest
from tests.gateway.harness import HOST, Client, FrontDoor, answer, read_head, read_message, request, route, until

from skerry.cluster.gateway.table import Forwarded, Route


async def test_a_request_reaches_the_pod_and_its_answer_comes_back(door: FrontDoor) -> None:
    pod = await door.pod()
    door.serve(pod)
    client = await door.connect()
    client.send(request("POST", "/v2/models/m/infer?a=b", "Content-Type: application/json", body=b'{"x":1}'))
    reply = await client.answer()
    assert reply.status == 200
    assert reply.body == b'pod:{"x":1}'
    assert reply.fields == (("content-length", "11"), ("content-type", "text/plain"))
    seen = pod.requests[0]
    assert seen.first == "POST /v2/models/m/infer?a=b HTTP/1.1"
    assert seen.get("host") == HOST
    assert seen.get("content-type") == "application/json"


async def test_connections_are_kept_on_both_sides(door: FrontDoor) -> None:
    pod = await door.pod()
    door.serve(pod)
    client = await door.connect()
    for number in range(20):
        client.send(request("POST", f"/{number}", body=b"x" * number))
        assert (await client.answer()).body == b"pod:" + b"x" * number
    assert pod.connections == 1


async def test_pipelined_requests_are_answered_in_their_order(door: FrontDoor) -> None:
    pod = await door.pod()
    door.serve(pod)
    client = await door.connect()
    client.send(*(request("POST", f"/{number}", body=f"{number}".encode()) for number in range(50)))
    for number in range(50):
        assert (await client.answer()).body == f"pod:{number}".encode()
    assert [seen.first.split(" ")[1] for seen in pod.requests] == [f"/{number}" for number in range(50)]


async def test_a_request_in_many_small_pieces_is_the_same_request(door: FrontDoor) -> None:
    pod = await door.pod()
    door.serve(pod)
    client = await door.connect()
    for byte in request("POST", "/slow", body=b"0123456789"):
        client.send(bytes([byte]))
        await client.writer.drain()
        await asyncio.sleep(0)
    assert (await client.answer()).body == b"pod:0123456789"


async def test_chunked_bodies_keep_their_chunks_and_trailers(door: FrontDoor) -> None:
    body = b"5;note=1\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 6\r\n\r\n"

    async def pod_answers_chunked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen = await read_message(reader)
            assert seen.body == body
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n" + seen.body)

    door.serve(await door.pod(pod_answers_chunked))
    client = await door.connect()
    for _ in range(2):
        client.send(request("POST", "/", "Transfer-Encoding: chunked"), body)
        reply = await client.answer()
        assert reply.body == body
        assert reply.get("transfer-encoding") == "chunked"


async def test_an_answer_streams_while_it_is_made(door: FrontDoor) -> None:
    more = asyncio.Event()

    async def tokens(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await more.wait()
        writer.write(b"6\r\nsecond\r\n0\r\n\r\n")
        await writer.drain()

    door.serve(await door.pod(tokens))
    client = await door.connect()
    client.send(request())
    await read_head(client.reader)
    assert await client.reader.readexactly(10) == b"5\r\nfirst\r\n"
    more.set()
    assert await client.reader.readexactly(16) == b"6\r\nsecond\r\n0\r\n\r\n"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_answers_without_a_body_end_with_their_head(door: FrontDoor, status: str) -> None:
    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_message(reader)
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 7\r\nETag: x\r\n\r\n".encode())

    door.serve(await door.pod(pod))
    client = await door.connect()
    for _ in range(2):
        client.send(request())
        reply = await client.answer(body=False)
        assert (reply.status, reply.get("etag")) == (int(status[:3]), "x")


async def test_an_answer_to_head_has_the_length_and_no_body(door: FrontDoor) -> None:
    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen = await read_message(reader)
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000 * seen.first.startswith("GET")
            )

    door.serve(await door.pod(pod))
    client = await door.connect()
    client.send(request("HEAD"), request())
    assert (await client.answer(body=False)).get("content-length") == "1000"
    assert (await client.answer()).body == b"x" * 1000


async def test_a_body_that_ends_with_the_connection_is_passed_on_so(door: FrontDoor) -> None:
    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nas long as it ")
        await writer.drain()
        writer.write(b"lasts")
        await writer.drain()

    door.serve(await door.pod(pod))
    client = await door.connect()
    client.send(request())
    head = await read_head(client.reader)
    assert head.get("connection") == "close"
    assert await client.rest() == b"as long as it lasts"


class TestHttp10:
    """Clients of HTTP/1.0: one request a connection unless they ask, and no chunks."""

    async def test_the_connection_closes_after_the_answer(self, door: FrontDoor) -> None:
        door.serve(await door.pod())
        client = await door.connect()
        client.send(f"GET / HTTP/1.0\r\nHost: {HOST}\r\n\r\n")
        reply = await client.answer()
        assert (reply.first, reply.get("connection")) == ("HTTP/1.1 200 OK", "close")
        assert await client.closed()

    async def test_keep_alive_is_kept_when_asked_for(self, door: FrontDoor) -> None:
        door.serve(await door.pod())
        client = await door.connect()
        for _ in range(2):
            client.send(f"GET / HTTP/1.0\r\nHost: {HOST}\r\nConnection: keep-alive\r\n\r\n")
            reply = await client.answer()
            assert (reply.status, reply.get("connection")) == (200, "keep-alive")

    async def test_chunks_are_taken_away(self, door: FrontDoor) -> None:
        async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_message(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
            await writer.drain()
            writer.write(b"7\r\n, world\r\n0\r\n\r\n")
            await writer.drain()

        door.serve(await door.pod(pod))
        client = await door.connect()
        client.send(f"GET / HTTP/1.0\r\nHost: {HOST}\r\nConnection: keep-alive\r\n\r\n")
        head = await read_head(client.reader)
        assert head.get("transfer-encoding") is None
        assert await client.rest() == b"hello, world"

    async def test_without_a_host_there_is_no_route(self, door: FrontDoor) -> None:
        door.serve(await door.pod())
        client = await door.connect()
        client.send("GET / HTTP/1.0\r\n\r\n")
        assert (await read_head(client.reader)).status == 503


class TestContinue:
    """Expect: 100-continue."""

    async def test_the_pod_decides(self, door: FrontDoor) -> None:
        async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await read_head(reader)
            assert head.get("expect") == "100-continue"
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            body = await reader.readexactly(int(head.get("content-length") or 0))
            writer.write(answer(body))
            await read_head(reader)

        door.serve(await door.pod(pod))
        client = await door.connect()
        client.send(request("POST", "/", "Expect: 100-continue", "Content-Length: 5"))
        assert (await read_head(client.reader)).first == "HTTP/1.1 100 Continue"
        client.send(b"hello")
        assert (await client.answer()).body == b"hello"

    async def test_a_refusal_ends_the_connection(self, door: FrontDoor) -> None:
        async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(answer(b"too large", "413 Content Too Large"))
            await reader.read()

        door.serve(await door.pod(pod))
        client = await door.connect()
        client.send(request("POST", "/", "Expect: 100-continue", "Content-Length: 5"))
        reply = await client.answer()
        assert (reply.status, reply.get("connection")) == (413, "close")
        assert await client.closed()


async def test_an_early_answer_arrives_although_the_client_still_sends(door: FrontDoor) -> None:
    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(answer(b"no", "401 Unauthorized"))
        await writer.drain()
        await reader.read(2**24)

    door.serve(await door.pod(pod))
    client = await door.connect()
    client.send(request("POST", "/", "Content-Length: 1000000"), b"x" * 100_000)
    reply = await client.answer()
    assert (reply.status, reply.body) == (401, b"no")
    client.send(b"x" * 100_000)  # thrown away, and no reset takes the answer back
    assert await client.closed()


class TestBackPressure:
    """Nothing but heads is buffered: a slow side slows the other one down."""

    BODY = 64 * 2**20

    async def test_a_slow_client_slows_the_pod(self, door: FrontDoor) -> None:
        sent = 0

        async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal sent
            await read_message(reader)
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {self.BODY}\r\n\r\n".encode())
            while sent < self.BODY:
                writer.write(b"x" * 65536)
                sent += 65536
                await writer.drain()

        door.serve(await door.pod(pod))
        client = await door.connect()
        client.send(request())
        await read_head(client.reader)
        await self._stalls(lambda: sent)
        left = self.BODY
        while left:
            left -= len(await client.reader.read(2**20))
        assert sent == self.BODY

    async def test_a_slow_pod_slows_the_client(self, door: FrontDoor) -> None:
        go = asyncio.Event()

        async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            await go.wait()
            left = self.BODY
            while left:
                left -= len(await reader.read(2**20))
            writer.write(answer())
            await writer.drain()

        door.serve(await door.pod(pod))
        client = await door.connect()
        client.send(request("POST", "/", f"Content-Length: {self.BODY}"))
        sent = 0

        async def send() -> None:
            nonlocal sent
            while sent < self.BODY:
                client.send(b"x" * 65536)
                sent += 65536
                await client.writer.drain()

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            await self._stalls(lambda: sent)
            go.set()
        assert (await client.answer()).status == 200

    async def _stalls(self, count: "object") -> None:
        """Wait until the count no longer grows; most of the body must still be where it was made."""
        assert callable(count)
        before = -1
        while count() != before:
            before = count()
            await asyncio.sleep(0.1)
        assert count() < self.BODY / 2


class TestTunnel:
    """Upgrade: from the 101 on the bytes are the two ends' business."""

    @staticmethod
    async def shouting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        assert (head.get("connection"), head.get("upgrade")) == ("upgrade", "websocket")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi;")
        while piece := await reader.read(1000):
            writer.write(piece.upper())
            await writer.drain()

    async def _upgrade(self, door: FrontDoor, behind: bytes = b"") -> Client:
        client = await door.connect()
        client.send(request("GET", "/ws", "Connection: keep-alive, Upgrade", "Upgrade: websocket"), behind)
        head = await read_head(client.reader)
        assert (head.status, head.get("connection"), head.get("upgrade")) == (101, "upgrade", "websocket")
        return client

    async def test_bytes_pass_both_ways(self, door: FrontDoor) -> None:
        door.serve(await door.pod(self.shouting))
        client = await self._upgrade(door, behind=b"early;")
        assert await client.reader.readexactly(9) == b"hi;EARLY;"
        client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert await client.reader.readexactly(18) == b"GET / HTTP/1.1\r\n\r\n"

    async def test_each_side_may_end(self, door: FrontDoor) -> None:
        door.serve(await door.pod(self.shouting))
        client = await self._upgrade(door)
        client.send(b"bye")
        client.writer.write_eof()
        assert await client.rest() == b"hi;BYE"
        await until(lambda: not door.gateway.clients)

    async def test_a_pod_may_decline(self, door: FrontDoor) -> None:
        door.serve(await door.pod())
        client = await door.connect()
        for _ in range(2):
            reply = await client.get("/ws", "Connection: Upgrade", "Upgrade: websocket")
            assert (reply.status, reply.body) == (200, b"pod:")

    async def test_h2c_is_not_smuggled_through(self, door: FrontDoor) -> None:
        pod = await door.pod()
        door.serve(pod)
        client = await door.connect()
        await client.get("/", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
        seen = pod.requests[0]
        assert (seen.get("upgrade"), seen.get("connection"), seen.get("http2-settings")) == (None, None, None)

    async def test_nobody_is_switched_unasked(self, door: FrontDoor) -> None:
        async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_head(reader)
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: surprise\r\n\r\n")
            await reader.read()

        door.serve(await door.pod(pod))
        client = await door.connect()
        assert (await client.get()).status == 502


class TestFields:
    """Fields that the gateway adds and takes away."""

    async def test_forwarded_fields_tell_where_the_request_came_from(self, door: FrontDoor) -> None:
        pod = await door.pod()
        door.serve(pod)
        client = await door.connect()
        await client.get("/", "X-Forwarded-For: 9.9.9.9", host=f"{HOST.upper()}:8080")
        seen = pod.requests[0]
        host = f"{HOST}:8080"
        assert seen.get("host") == host
        assert seen.all("x-forwarded-for") == ["9.9.9.9", "127.0.0.1"]
        assert seen.all("x-forwarded-host") == [host]
        assert seen.all("x-forwarded-port") == [str(door.port)]
        assert seen.all("x-forwarded-proto") == ["http"]
        assert seen.all("forwarded") == [f"for=127.0.0.1;host={host};proto=http"]

    @pytest.mark.parametrize(
        ("policy", "sources", "protocols"),
        [
            ("append", ["9.9.9.9", "127.0.0.1"], ["https", "http"]),
            ("replace", ["127.0.0.1"], ["http"]),
            ("if-none", ["9.9.9.9"], ["https"]),
            ("never", ["9.9.9.9"], ["https"]),
        ],
    )
    async def test_the_route_chooses_the_policy(
        self, door: FrontDoor, policy: Forwarded, sources: list[str], protocols: list[str]
    ) -> None:
        pod = await door.pod()
        door.swap(route(pod, forwarded=policy))
        client = await door.connect()
        await client.get("/", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-Proto: https")
        seen = pod.requests[0]
        assert seen.all("x-forwarded-for") == sources
        assert seen.all("x-forwarded-proto") == protocols
        assert len(seen.all("x-forwarded-host")) == (policy != "never")

    async def test_hop_by_hop_fields_end_here(self, door: FrontDoor) -> None:
        async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(await read_message(reader))
            writer.write(
                answer(
                    b"ok", "200 OK", "Connection: keep-alive, X-Pod", "Keep-Alive: timeout=5", "X-Pod: 1", "X-Both: 2"
                )
            )
            await reader.read()

        seen: list[object] = []
        door.serve(await door.pod(pod))
        client = await door.connect()
        reply = await client.get(
            "/",
            "Connection: keep-alive, X-Mine",
            "Keep-Alive: 300",
            "X-Mine: 1",
            "TE: trailers",
            "Proxy: http://evil",
            "Proxy-Connection: keep-alive",
            "X-Both: 2",
        )
        names = {name.lower() for name, _ in seen[0].fields}  # type: ignore[attr-defined]
        assert not names & {"connection", "keep-alive", "x-mine", "te", "proxy", "proxy-connection"}
        assert "x-both" in names
        assert reply.fields == (("content-length", "2"), ("x-both", "2"))

    async def test_an_absolute_target_names_the_host(self, door: FrontDoor) -> None:
        pod = await door.pod()
        door.serve(pod)
        client = await door.connect()
        await client.get(f"http://{HOST.upper()}/path?x", host="elsewhere.example")
        assert pod.requests[0].first == "GET /path?x HTTP/1.1"
        assert pod.requests[0].all("host") == [HOST]


class TestCookies:
    """A client is pinned to a pod by a cookie, exactly as the router does it."""

    NAME = "56bb4b6df4f80f0b59f56aa0a5a91c1a"

    def _route(self, *pods: object) -> Route:
        return route(*pods, cookie=self.NAME)  # type: ignore[arg-type]

    async def test_the_first_answer_sets_it(self, door: FrontDoor) -> None:
        pod = await door.pod()
        door.swap(self._route(pod))
        client = await door.connect()
        reply = await client.get()
        assert reply.get("set-cookie") == f"{self.NAME}=cookie-of-pod; path=/; HttpOnly"
        assert reply.fields[-1][0] == "set-cookie"

    async def test_a_client_that_has_it_stays_with_its_pod(self, door: FrontDoor) -> None:
        first, second = await door.pod(name="first"), await door.pod(name="second")
        door.swap(self._route(first, second))
        client = await door.connect()
        for _ in range(20):
            reply = await client.get("/", f"Cookie: a=1; {self.NAME}=cookie-of-second; b=2")
            assert (reply.body, reply.get("set-cookie")) == (b"second:", None)
        assert {seen.get("cookie") for seen in second.requests} == {"a=1; b=2"}

    async def test_a_cookie_of_a_pod_that_is_gone_is_replaced(self, door: FrontDoor) -> None:
        pod = await door.pod()
        door.swap(self._route(pod))
        client = await door.connect()
        reply = await client.get("/", f"Cookie: {self.NAME}=cookie-of-another")
        assert reply.get("set-cookie") == f"{self.NAME}=cookie-of-pod; path=/; HttpOnly"
        assert pod.requests[0].get("cookie") is None

    async def test_a_weight_of_zero_is_reached_by_cookie_only(self, door: FrontDoor) -> None:
        old, new = await door.pod(name="old"), await door.pod(name="new")
        shares = (self._route(new).services[0], type(self._route().services[0])((old.endpoint,), 0))
        door.swap(Route(name="a/b", host=HOST, services=shares, cookie=self.NAME))
        client = await door.connect()
        assert {(await client.get()).body for _ in range(10)} == {b"new:"}
        assert (await client.get("/", f"Cookie: {self.NAME}=cookie-of-old")).body == b"old:"

    async def test_what_a_cache_may_keep_is_made_private(self, door: FrontDoor) -> None:
        async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                await read_message(reader)
                writer.write(answer(b"ok", "200 OK", "ETag: x"))

        door.swap(self._route(await door.pod(pod)))
        client = await door.connect()
        assert (await client.get()).get("cache-control") == "private"
        assert (await client.get("/", f"Cookie: {self.NAME}=cookie-of-pod")).get("cache-control") is None


async def test_the_client_may_close_its_side_when_it_said_so(door: FrontDoor) -> None:
    pod = await door.pod()
    door.serve(pod)
    client = await door.connect()
    client.send(request("GET", "/", "Connection: close"))
    client.writer.write_eof()
    reply = await client.answer()
    assert (reply.status, reply.get("connection")) == (200, "close")
    assert await client.closed()


async def test_a_client_that_leaves_takes_its_request_along(door: FrontDoor) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def pod(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_message(reader)
        began.set()
        assert await reader.read() == b""
        ended.set()

    door.serve(await door.pod(pod))
    client = await door.connect()
    client.send(request())
    await asyncio.wait_for(began.wait(), 5)
    client.writer.close()
    await asyncio.wait_for(ended.wait(), 5)
    assert 'code="499"} 1' in door.gateway.metrics()
