"""Heads that are not parsed again mean what the parser said of them, however requests are cut and joined."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import cast

import pytest

from skerry.server.http.heads import Heads
from skerry.server.http.listener import Listener
from skerry.server.http.messages import Later, Reply, Request, Response

REQUESTS = [
    b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n",
    b"GET /b HTTP/1.1\r\nhost: h\r\nContent-Type: x/y\r\n\r\n",
    b"POST /c HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\n12345",
    b"POST /d HTTP/1.1\r\nInference-Header-Content-Length: 3\r\ncontent-length: 5\r\n\r\n\r\n\r\nx",
    b"POST /e HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
    b"POST /f HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"\r\nGET /g HTTP/1.1\r\nhost: h\r\n\r\n",
    b"POST /h HTTP/1.1\r\ncontent-length: 100000\r\n\r\n" + bytes(range(250)) * 400,  # read in place when it is known
]


class Recorder:
    """A listener that notes what it was asked."""

    def __init__(self) -> None:
        self.seen: list[Request] = []
        self.listener = Listener(self.handle, max_body=1 << 20, max_buffered=1 << 21)

    def handle(self, request: Request) -> Response | Later:
        self.seen.append(request)
        return Response(body=b"%d" % len(self.seen))


class Together:
    """A lane that answers at the end of the turn, or hands back, or answers at once, in turns."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._count = 0
        self._loop = asyncio.get_running_loop()

    def handle(self, request: Request, reply: Reply) -> Response | Later | None:
        self._count += 1
        match self._count % 4:
            case 0:
                return self._recorder.handle(request)
            case 1:
                self._loop.call_soon(reply.hand_back)
            case _:
                self._loop.call_soon(lambda: reply.answer(cast("Response", self._recorder.handle(request))))
        return None


@pytest.fixture(params=["one by one", "in a lane"])
async def recorder(request: pytest.FixtureRequest) -> AsyncIterator[Recorder]:
    made = Recorder()
    if request.param == "in a lane":
        lane = Together(made)
        made.listener.lanes = lambda _: lane
    await made.listener.listen(["127.0.0.1"], 0)
    yield made
    await made.listener.close(0)


async def send(recorder: Recorder, pieces: list[bytes], count: int) -> None:
    """Send the pieces one after the other and read the answers."""
    [server] = recorder.listener._servers
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    before = len(recorder.seen)
    async with asyncio.timeout(20):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        for _ in range(count):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK")
            await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
    writer.close()
    await writer.wait_closed()
    assert len(recorder.seen) - before == count


async def test_known_and_unknown_requests_mean_the_same(recorder: Recorder) -> None:
    for request in REQUESTS:
        recorder.seen.clear()
        for _ in range(3):
            await send(recorder, [request] * 2, 2)
        assert all(seen == recorder.seen[0] for seen in recorder.seen)
    targets = [seen.target for seen in recorder.seen]
    assert targets == [b"/h"] * 6
    assert recorder.listener.heads.find(REQUESTS[7], 0) is not None


@pytest.mark.parametrize("cut", [1, 7, 100, 5000])
async def test_pipelines_in_pieces(recorder: Recorder, cut: int) -> None:
    for _ in range(2):
        recorder.seen.clear()
        whole = b"".join(REQUESTS + REQUESTS[::-1])
        pieces = [whole[start : start + cut] for start in range(0, len(whole), cut)]
        await send(recorder, pieces if cut > 1 else [whole[:300], whole[300:]], 2 * len(REQUESTS))
        half = len(REQUESTS)
        assert [seen.target for seen in recorder.seen[:half]] == [b"/%c" % letter for letter in b"abcdefgh"]
        assert recorder.seen[:half] == recorder.seen[half:][::-1]
        assert [len(seen.body) for seen in recorder.seen[:half]] == [0, 0, 5, 5, 0, 3, 0, 100_000]
    assert recorder.listener.buffered == 0


async def test_any_cut_of_any_pipeline(recorder: Recorder) -> None:
    chance = random.Random(7)
    for _ in range(150):
        recorder.seen.clear()
        requests = chance.choices(REQUESTS, k=chance.randint(1, 6))
        pieces = []
        for request in requests:
            cut = chance.randint(1, 60)
            pieces += [piece for piece in (request[:cut], request[cut:]) if piece]
        await send(recorder, pieces, len(requests))
        for request, seen in zip(requests, recorder.seen, strict=True):
            assert seen.target in request
            assert seen.body == (b"abc" if seen.target == b"/f" else request.lstrip().split(b"\r\n\r\n", 1)[1])
    assert recorder.listener.buffered == 0


def heads_of(
    raw: bytes, method: bytes = b"GET", target: bytes = b"/a", headers: dict[bytes, bytes] | None = None
) -> Heads:
    heads = Heads()
    heads.remember(raw, method, target, headers or {})
    return heads


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n\r\nGET /a HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nx: y\nz: 1\r\n\r\n",
        b"GET /a HTTP/1.0\r\n\r\n",
        b"GET /a HTTP/1.1\r\nhost: h\r\n",
        b"GET /a HTTP/1.1\r\nx: " + b"y" * 5000 + b"\r\n\r\n",
    ],
)
def test_what_is_odd_is_not_remembered(raw: bytes) -> None:
    assert heads_of(raw).find(raw, 0) is None


@pytest.mark.parametrize("name", [b"expect", b"transfer-encoding"])
def test_a_head_that_depends_on_more_is_not_remembered(name: bytes) -> None:
    raw = b"GET /a HTTP/1.1\r\nhost: h\r\n\r\n"
    assert heads_of(raw, headers={name: b"x"}).find(raw, 0) is None
    assert heads_of(raw).find(raw, 0) is not None


def test_the_memory_is_bounded() -> None:
    heads = Heads()
    for number in range(5000):
        heads.remember(b"GET /%d HTTP/1.1\r\n\r\n" % number, b"GET", b"/%d" % number, {})
    assert len(heads._known) <= 512
