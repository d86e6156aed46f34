"""Every state in which the client has the next move ends by itself. In this process, with short deadlines."""

import asyncio
import contextlib
import gc
import json
import time
from collections.abc import AsyncIterator

import pytest

from skerry.server.errors import StartError
from skerry.server.http import listener, protocol
from skerry.server.http.listener import Listener
from skerry.server.http.messages import Later, Reply, Request, Response

GET = b"GET / HTTP/1.1\r\nhost: h\r\n\r\n"
SHORT = 0.2


class Place:
    """A listener with a handler that the test controls."""

    def __init__(self) -> None:
        self.listener = Listener(self.handle, max_body=1 << 20, max_buffered=1 << 21)
        self.later: list[asyncio.Future[Response]] = []
        self.answer: bytes | None = b""

    def handle(self, request: Request) -> Response | Later:
        if request.target == b"/broken":
            raise ZeroDivisionError
        if self.answer is not None:
            return Response(body=self.answer)
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self.later.append(future)
        return Later(future, lambda done: done.result())

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        [server] = self.listener._servers
        return await asyncio.open_connection(*server.sockets[0].getsockname()[:2])


@pytest.fixture
async def place(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    monkeypatch.setattr(listener, "_SWEEP_SECONDS", SHORT / 4)
    for name in ("IDLE_SECONDS", "HEAD_SECONDS", "READ_SECONDS", "WRITE_SECONDS", "LINGER_SECONDS"):
        monkeypatch.setattr(protocol, name, SHORT)
    made = Place()
    await made.listener.listen(["127.0.0.1"], 0)
    yield made
    await made.listener.close(0)
    for connection in tuple(made.listener.connections):
        connection._transport.abort()
    await quiet(made)


async def quiet(place: Place) -> None:
    async with asyncio.timeout(10):
        while place.listener.connections:
            await asyncio.sleep(0.01)


async def everything(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(10):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def test_an_idle_connection_is_closed(place: Place) -> None:
    reader, writer = await place.open()
    assert await everything(reader) == b""
    writer.close()


async def test_one_that_was_used_and_is_idle_again_is_closed(place: Place) -> None:
    reader, writer = await place.open()
    writer.write(GET)
    assert (await everything(reader)).startswith(b"HTTP/1.1 200 OK")
    writer.close()


@pytest.mark.parametrize("part", [b"GET / HT", GET[:-2], b"POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\n12345"])
async def test_half_a_request_is_answered_with_408(place: Place, part: bytes) -> None:
    reader, writer = await place.open()
    writer.write(part)
    answer = await everything(reader)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"error": "the request took too long to arrive"}
    writer.close()


async def test_a_head_that_drips_is_not_given_more_time(place: Place) -> None:
    reader, writer = await place.open()
    answer = asyncio.ensure_future(reader.readline())
    writer.write(b"GET / HTTP/1.1\r\nx: ")
    async with asyncio.timeout(10):
        while not answer.done():
            writer.write(b"a")
            await asyncio.sleep(SHORT / 8)
    assert answer.result().startswith(b"HTTP/1.1 408 ")
    writer.close()


@pytest.mark.parametrize("known", [False, True])
async def test_a_body_that_drips_is_not_given_more_time_and_one_that_flows_is(
    place: Place, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    monkeypatch.setattr(protocol, "_STRIDE", 100)
    request = b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n"
    reader, writer = await place.open()
    if known:  # heads that were seen before are read in another way
        for _ in range(2):
            writer.write(request % 3000 + bytes(3000))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.write(request % 3000)
    for _ in range(10):
        writer.write(bytes(300))
        await asyncio.sleep(SHORT / 4)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    writer.write(request % 3000)
    start = time.monotonic()
    with contextlib.suppress(ConnectionError):
        while not reader.at_eof() and time.monotonic() < start + 20 * SHORT:
            writer.write(b"x")
            await asyncio.sleep(SHORT / 8)
            if has_come(reader):
                break
    assert time.monotonic() - start < 5 * SHORT
    assert (await everything(reader)).startswith(b"HTTP/1.1 408")
    writer.close()


def has_come(reader: asyncio.StreamReader) -> bool:
    """Whether something has come."""
    return bool(reader._buffer)  # type: ignore[attr-defined]


async def test_work_is_not_hurried_by_deadlines(place: Place) -> None:
    place.answer = None
    reader, writer = await place.open()
    writer.write(GET)
    await asyncio.sleep(3 * SHORT)
    place.later[0].set_result(Response(body=b"late"))
    assert (await everything(reader)).endswith(b"\r\n\r\nlate")
    writer.close()


async def test_a_client_that_stops_reading_is_dropped(place: Place) -> None:
    place.answer = bytes(64 << 20)
    _, writer = await place.open()
    writer.write(GET)
    await quiet(place)
    writer.close()


async def test_a_client_that_leaves_cancels_its_work(place: Place) -> None:
    place.answer = None
    _, writer = await place.open()
    writer.write(GET)
    async with asyncio.timeout(10):
        while not place.later:
            await asyncio.sleep(0.01)
        writer.close()
        while not place.later[0].cancelled():
            await asyncio.sleep(0.01)
    assert place.listener.buffered == 0


@pytest.mark.parametrize("leaves", [True, False])
async def test_a_large_body_that_is_read_in_place_and_does_not_end(place: Place, leaves: bool) -> None:
    whole = b"POST / HTTP/1.1\r\ncontent-length: 300000\r\n\r\n" + bytes(300_000)
    reader, writer = await place.open()
    writer.write(whole)
    async with asyncio.timeout(10):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(whole[:200_000])  # now the head is known
        await writer.drain()
        [connection] = place.listener.connections
        while connection._in_place is None:
            await asyncio.sleep(0.01)
    if leaves:
        writer.close()
    else:
        assert (await everything(reader)).startswith(b"HTTP/1.1 408 ")
        writer.close()
    await quiet(place)
    assert place.listener.buffered == 0


class Lane:
    """Takes everything and keeps it."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []

    def handle(self, request: Request, reply: Reply) -> None:
        if request.target == b"/broken":
            raise ZeroDivisionError
        self.replies.append(reply)


async def test_a_lane_is_told_of_a_client_that_left(place: Place) -> None:
    lane = Lane()
    place.listener.lanes = lambda _: lane
    _, writer = await place.open()
    writer.write(b"POST / HTTP/1.1\r\ncontent-length: 1000\r\n\r\n" + bytes(1000))
    async with asyncio.timeout(10):
        while not lane.replies:
            await asyncio.sleep(0.01)
    [reply] = lane.replies
    open_ = [reply.open]
    assert place.listener.busy()
    await asyncio.sleep(2 * SHORT)  # longer than any deadline: work is not hurried
    open_.append(reply.open)
    writer.close()
    await quiet(place)
    assert [*open_, reply.open] == [True, True, False]
    reply.answer(Response())
    reply.hand_back()
    assert not place.later
    assert place.listener.buffered == 0


async def test_what_a_lane_hands_back_is_worked_on_and_the_next_waits(place: Place) -> None:
    lane = Lane()
    place.listener.lanes = lambda _: lane
    place.answer = None
    reader, writer = await place.open()
    writer.write(GET * 2 + b"GET /broken HTTP/1.1\r\n\r\n" + b"rubbish\r\n\r\n")
    async with asyncio.timeout(10):
        while not lane.replies:
            await asyncio.sleep(0.01)
        lane.replies[0].hand_back()
        assert len(lane.replies) == len(place.later) == 1
        place.later[0].set_result(Response(body=b"first"))
        while len(lane.replies) < 2:
            await asyncio.sleep(0.01)
    lane.replies[1].answer(Response(body=b"second"))
    answer = await everything(reader)
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"500", b"400"]
    assert answer.index(b"first") < answer.index(b"second")
    writer.close()


async def test_a_connection_that_is_closed_is_gone(place: Place) -> None:
    """Without waiting for the garbage collector, which a quiet server hardly ever runs."""
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            reader, writer = await place.open()
            writer.write(b"POST / HTTP/1.1\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc")
            await everything(reader)
            writer.close()
        await quiet(place)
        await asyncio.sleep(0.05)
        assert not [found for found in gc.get_objects() if isinstance(found, protocol.Connection)]
    finally:
        gc.enable()


async def test_answers_of_a_pipeline_wait_for_their_turn(place: Place) -> None:
    place.answer = None
    reader, writer = await place.open()
    writer.write(GET * 3 + b"rubbish\r\n\r\n")
    for number in range(3):
        async with asyncio.timeout(10):
            while len(place.later) <= number:
                await asyncio.sleep(0.01)
        place.later[number].set_result(Response(body=b"%d" % number))
    answer = await everything(reader)
    assert [part[:3] for part in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"200", b"400"]
    writer.close()


async def test_a_handler_that_breaks_is_one_answer(place: Place) -> None:
    reader, writer = await place.open()
    writer.write(b"GET /broken HTTP/1.1\r\n\r\n" + GET)
    answer = await everything(reader)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b'{"error":"Internal server error: ZeroDivisionError"}HTTP/1.1 200 OK' in answer
    writer.close()


async def test_what_was_buffered_is_given_back(place: Place) -> None:
    reader, writer = await place.open()
    writer.write(b"POST / HTTP/1.1\r\ncontent-length: 1000\r\n\r\n" + bytes(1000))
    assert (await everything(reader)).startswith(b"HTTP/1.1 200 OK")
    writer.close()
    _, writer = await place.open()
    writer.write(b"POST / HTTP/1.1\r\ncontent-length: 1000\r\n\r\n" + bytes(500))
    await quiet(place)
    assert place.listener.buffered == 0
    writer.close()


async def test_closing_waits_for_what_runs_and_no_longer(place: Place) -> None:
    place.answer = None
    reader, writer = await place.open()
    idle_reader, idle_writer = await place.open()
    writer.write(GET)
    async with asyncio.timeout(10):
        while not place.later:
            await asyncio.sleep(0.01)
    asyncio.get_running_loop().call_later(SHORT, place.later[0].set_result, Response(body=b"done"))
    await place.listener.close(10)
    answer = await everything(reader)
    assert b"connection: close\r\n" in answer
    assert answer.endswith(b"done")
    assert await everything(idle_reader) == b""
    writer.close()
    idle_writer.close()


async def test_a_host_that_does_not_exist() -> None:
    made = Listener(lambda _: Response(), max_body=1, max_buffered=1)
    with pytest.raises(StartError, match="cannot listen on no-such-host.invalid:1: "):
        await made.listen(["no-such-host.invalid"], 1)
