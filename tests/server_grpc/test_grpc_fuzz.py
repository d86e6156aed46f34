"""Anything may come in. The server must not break: every byte sequence ends in answers, resets or a GOAWAY.

A defect would show as INTERNAL_ERROR or as an exception here. After the client has hung up nothing may be left: no
stream, no reserved memory, no waiting work.
"""

import asyncio
import gc
import random
from typing import Any

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server_grpc.rig import HANDSHAKE, Frame, Rig, data, message

from skerry.server.grpc.calls import Later
from skerry.server.grpc.framing import MessageReader
from skerry.server.grpc.h2 import frames
from skerry.server.grpc.h2.errors import ErrorCode as Code
from skerry.server.grpc.h2.outbound import Buffer, Parts
from skerry.server.grpc.h2.stream import Stream
from skerry.server.grpc.infer_request import read_infer_request, tensors_of
from skerry.server.grpc.methods import Methods
from skerry.server.grpc.services import health, reflection

STREAMS = st.sampled_from([0, 1, 1, 1, 3, 3, 5, 7, 2, 2**31 - 1])
FLAGS = st.integers(0, 255) | st.sampled_from([0, 1, 4, 5, 8])
ENCODED = st.sampled_from(["/test.Service/Method", "/test.Service/Later", "/grpc.health.v1.Health/Watch", "/x"])


class Service:
    """Methods of all kinds, one of which answers only when it is told to."""

    def __init__(self) -> None:
        self.futures: list[asyncio.Future[bytes]] = []

    def later(self, _: Buffer) -> Later:
        self.futures.append(asyncio.get_running_loop().create_future())
        return Later(self.futures[-1], lambda done: [done.result()])

    def methods(self) -> Methods:
        state = health.Health(())
        unary: dict[bytes, Any] = {b"/test.Service/Method": self.method, b"/test.Service/Later": self.later}
        return Methods({**unary, **state.unary()}, {**state.streaming(), **reflection.streaming()})

    def method(self, message: Buffer) -> Parts:
        request = read_infer_request(message)
        tensors_of(request)
        return [request.echo, bytes(len(message))]


def check(rig: Rig, service: Service, written: list[Frame]) -> None:
    """What must hold after anything at all."""
    assert Code.INTERNAL_ERROR not in [each.code for each in written if each.kind in {frames.GOAWAY, frames.RST_STREAM}]
    assert len([each for each in written if each.kind == frames.GOAWAY]) <= 2
    for future in service.futures:
        if not future.done():
            future.set_result(b"late")
    rig.out()
    if not rig.lost:
        rig.hang_up()
    assert not rig.connection.streams
    assert not rig.connection.outbound.waiting
    assert rig.listener.buffered == 0
    assert not rig.listener.connections
    assert all(future.done() for future in service.futures)


@st.composite
def some_frames(draw: st.DrawFn) -> list[bytes]:
    """Frames that are right, frames that are nearly right, and bytes."""
    rig = Rig.__new__(Rig)
    rig.encoder = hpack.Encoder()
    found: list[bytes] = []
    for _ in range(draw(st.integers(1, 12))):
        stream = draw(STREAMS)
        match draw(st.integers(0, 6)):
            case 0:
                path = draw(ENCODED)
                fields = [
                    (":method", "POST"),
                    (":scheme", "http"),
                    (":path", path),
                    ("content-type", "application/grpc"),
                ]
                fields += draw(
                    st.lists(st.sampled_from([("grpc-timeout", "5S"), ("grpc-encoding", "gzip"), ("a", "b")]))
                )
                flags = draw(st.sampled_from([4, 5, 0, 0x24, 0x0C]))
                found.append(frames.frame(frames.HEADERS, flags, stream, rig.encoder.encode(fields)))
            case 1:
                body = message(draw(st.binary(max_size=50)), packed=draw(st.booleans()))
                found.append(data(stream, body[: draw(st.integers(0, 60))], ended=draw(st.booleans())))
            case 2:
                kind, flags = draw(st.integers(0, 12)), draw(FLAGS)
                found.append(frames.frame(kind, flags, stream, draw(st.binary(max_size=40))))
            case 3:
                payload = draw(st.sampled_from([bytes(4), b"\0\0\0\x01", b"\x7f\xff\xff\xff", b"\0\0\xff\xff"]))
                found.append(frames.frame(draw(st.sampled_from([3, 8])), 0, stream, payload))
            case 4:
                pairs = draw(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 2**32 - 1)), max_size=3))
                found.append(frames.settings(dict(pairs)))
            case 5:
                found.append(frames.frame(frames.CONTINUATION, draw(FLAGS), stream, draw(st.binary(max_size=20))))
            case _:
                found.append(draw(st.binary(max_size=30)))
    return found


@given(some_frames(), st.integers(1, 200), st.booleans())
@settings(max_examples=300, deadline=None)
def test_frames_of_all_kinds(sent: list[bytes], size: int, patient: bool) -> None:
    async def play() -> None:
        service = Service()
        rig = Rig(service.methods(), most_body=10_000)
        stream = HANDSHAKE + b"".join(sent)
        written = rig.send(*(stream[start : start + size] for start in range(0, len(stream), size)))
        for _ in range(3):
            await asyncio.sleep(0)
        written += rig.wait(40 if patient else 1)
        check(rig, service, written + rig.out())

    asyncio.run(play())


@given(st.binary(max_size=400), st.integers(1, 100))
@settings(deadline=None)
def test_bytes_instead_of_a_greeting(sent: bytes, size: int) -> None:
    async def play() -> None:
        rig = Rig()
        for start in range(0, len(sent), size):
            if not rig.wire.ended:
                rig.connection.data_received(sent[start : start + size])
        rig.connection.outbound.flush()
        rig.wire.written.clear()
        rig.wait(15)
        assert rig.wire.ended or rig.wire.aborted or rig.wire.closed
        rig.hang_up()

    asyncio.run(play())


@given(st.lists(st.binary(max_size=3000), max_size=5), st.lists(st.integers(1, 1500), min_size=1, max_size=8))
@settings(deadline=None)
def test_messages_in_any_pieces(bodies: list[bytes], sizes: list[int]) -> None:
    reader = MessageReader(3000)
    rest = b"".join(map(message, bodies))
    found: list[bytes] = []
    turn = 0
    while rest:
        size = sizes[turn % len(sizes)]
        turn += 1
        found += [bytes(body) for _, body in reader.feed(memoryview(rest)[:size])]
        rest = rest[size:]
        assert reader.room <= 4 * 3000
        assert reader.partial is (found != bodies and sum(len(body) + 5 for body in found) < turns(sizes, turn))
    assert found == bodies
    assert not reader.partial
    assert reader.room == 0


def turns(sizes: list[int], count: int) -> int:
    """How many bytes have been fed."""
    return sum(sizes[turn % len(sizes)] for turn in range(count))


@pytest.mark.parametrize("seed", range(8))
async def test_a_good_client_whose_bytes_are_damaged(seed: int) -> None:
    """A long, valid conversation, with a few bytes changed somewhere."""
    chance = random.Random(seed)
    whole = Rig().greet()
    talk = bytearray()
    for number in range(1, 61, 2):
        body = message(bytes(chance.randrange(256) for _ in range(chance.randrange(200))))
        talk += whole.headers(number, ("x", str(chance.randrange(9)))) + data(number, body[:20])
        talk += data(number, body[20:], ended=True)
    for _ in range(60):
        damaged = bytearray(talk)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        service = Service()
        rig = Rig(service.methods()).greet()
        size = chance.randrange(1, 500)
        written = rig.send(*(bytes(damaged[start : start + size]) for start in range(0, len(damaged), size)))
        check(rig, service, written + rig.wait(1))


async def test_ten_thousand_calls_leave_nothing_behind() -> None:
    """Calls that succeed, fail, are cancelled, wait: the books are balanced."""
    before = streams_in_memory()
    service = Service()
    rig = Rig(service.methods()).greet()
    rig.send(frames.window_update(0, 1 << 30))
    number = 1
    for round_ in range(2000):
        for kind in range(5):
            path = ["Method", "Later", "Later", "Missing", "Method"][kind]
            fields = [(":method", "POST"), (":scheme", "http"), (":path", f"/test.Service/{path}")]
            head = rig.block(fields=[*fields, ("content-type", "application/grpc")])
            rig.send(
                frames.frame(frames.HEADERS, 4, number, head)
                + data(number, message(b"")[: 5 - (kind == 4)], ended=True)
            )
            if kind == 1:
                rig.send(frames.rst_stream(number, Code.CANCEL))
                rig.connection.guard._resets = 0
            number += 2
        service.futures[-1].set_result(b"done")
        await asyncio.sleep(0)
        del round_
    assert not rig.connection.streams
    assert rig.listener.buffered == 0
    rig.streams.clear()
    service.futures.clear()
    assert streams_in_memory() == before


def streams_in_memory() -> int:
    gc.collect()
    return sum(isinstance(each, Stream) for each in gc.get_objects())
