"""Clients of a soak: good ones, faulty ones, those that hang up, that only stay, that are slow.

Good clients are those of the benchmarks: every answer must have the length of the first, which was checked. A faulty
request must get an error of the protocol; what a client that hangs up gets is nobody's business.
"""

import asyncio
import json
import random
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import hpack
from benchmarks.model_server import grpc_load, load

Address = tuple[str, int]
_STALLED_SECONDS: Final = 30.0
_PER_CONNECTION: Final = 50


@dataclass(frozen=True)
class Requests:
    """What is sent to one server, and how long the good answers are."""

    rest: Address
    grpc: Address
    json: bytes
    binary: bytes
    message: bytes
    json_bytes: int
    binary_bytes: int
    message_bytes: int


async def until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        await asyncio.sleep(0.005)


# Good ones.


async def good_rest(address: Address, request: bytes, answer_bytes: int, count: int, connections: int = 4) -> load.Load:
    work = load.Load(request, answer_bytes)
    await _until_answered(work, count, [lambda: load.Client(work)] * connections, address)
    return work


async def good_grpc(requests: Requests, count: int, connections: int = 4) -> None:
    work = grpc_load.GrpcLoad(requests.message, requests.message_bytes)
    await _until_answered(work, count, [lambda: grpc_load.Client(work, 4)] * connections, requests.grpc)


async def _until_answered(
    work: "load.Load | grpc_load.GrpcLoad", count: int, makers: list[Callable[[], Any]], address: Address
) -> None:
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(make, *address) for make in makers]
    seen, since = -1, time.monotonic()
    while work.answered < count:
        if work.answered != seen:
            seen, since = work.answered, time.monotonic()
        if time.monotonic() - since > _STALLED_SECONDS:
            raise TimeoutError(f"no answer for {_STALLED_SECONDS:g} s after {seen} of {count}")
        await asyncio.sleep(0.005)
    work.running = False
    await asyncio.sleep(0.05)
    for transport, _ in made:
        transport.abort()


# Faulty ones.


def faulty_rest(good: bytes) -> list[bytes]:
    """Requests that must get an error in the protocol's form."""
    body = good.partition(b"\r\n\r\n")[2]
    document = json.loads(body)
    tensor = document["inputs"][0]

    def variant(**more: Any) -> bytes:
        return load.request_of(json.dumps({"inputs": [tensor | more]}).encode(), content_type="application/json")

    return [
        load.request_of(body[:-3]),
        load.request_of(b"\xff\xfe" * 20),
        load.request_of(b"[" * 5000),
        load.request_of(body, header_length=len(body) + 1),
        load.request_of(body, header_length=7),
        load.request_of(b"\xff\xd8\xff rubbish", content_type="image/jpeg"),
        variant(shape=[1, 5]),
        variant(shape=[2**31 - 1, 4]),
        variant(datatype="FP99"),
        variant(name="nobody"),
        variant(data=["a", None, {}, []]),
        variant(parameters={"binary_data_size": -1}, data=None),
        good.replace(b"/models/m/", b"/models/nobody/"),
        good.replace(b"POST /v2/models/m/infer", b"GET /v2/models/m/infer"),
        good.replace(b"POST /v2/models/m/infer", b"GET /nowhere"),
    ]


async def ask_badly(address: Address, requests: list[bytes], count: int) -> None:
    asked = 0
    while asked < count:
        reader, writer = await asyncio.open_connection(*address)
        try:
            for _ in range(min(_PER_CONNECTION, count - asked)):
                asked += 1
                writer.write(requests[asked % len(requests)])
                if await _closes_after_error(reader):
                    break
        finally:
            writer.close()


async def _closes_after_error(reader: asyncio.StreamReader) -> bool:
    async with asyncio.timeout(30):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = next(int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:"))
        body = await reader.readexactly(length)
    status = int(head.split(" ")[1])
    assert 400 <= status < 500, (head, body)
    assert set(json.loads(body)) == {"error"}, body
    return "connection: close" in head


def grpc_opening(message: bytes) -> bytes:
    """All that a client says for one call."""
    block = hpack.Encoder().encode(grpc_load.FIELDS)
    body = b"\0" + struct.pack(">L", len(message)) + message
    frame = grpc_load.frame
    settings = frame(4, 0, 0) + frame(4, 1, 0)  # ours, and that the server's were read
    return b"".join((grpc_load.GREETING, settings, frame(1, 4, 1, block), frame(0, 1, 1, body)))


async def ask_badly_over_grpc(address: Address, count: int) -> None:
    """Messages that are none: a call with an error, on a connection that is fine."""
    for number in range(count):
        reader, writer = await asyncio.open_connection(*address)
        try:
            writer.write(grpc_opening(random.Random(number).randbytes(40)))
            await _until_stream_ends(reader)
        finally:
            writer.close()


async def _until_stream_ends(reader: asyncio.StreamReader, *, or_connection: bool = False) -> None:
    async with asyncio.timeout(120):
        while True:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3], "big"))
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            if kind == 7 and or_connection:
                return
            assert kind != 7, "the connection was ended for the fault of a call"
            if stream == 1 and (kind == 3 or (kind in {0, 1} and flags & 1)):
                return


async def hang_up(requests: Requests, count: int) -> None:
    """Leave in the middle of a request, or right behind it."""
    chance = random.Random(count)
    for number in range(count):
        over_grpc = number % 2
        whole = grpc_opening(requests.message) if over_grpc else requests.binary
        _, writer = await asyncio.open_connection(*(requests.grpc if over_grpc else requests.rest))
        writer.write(whole[: chance.randint(1, len(whole))] if number % 4 < 2 else whole)
        writer.transport.abort() if number % 3 else writer.close()


# Those that only stay.


@dataclass
class Idle:
    """Connections that have asked once and then stay."""

    transports: list[Any] = field(default_factory=list)

    async def open(self, requests: Requests, count: int) -> None:
        loop = asyncio.get_running_loop()
        rest = load.Load(requests.json, requests.json_bytes, running=False)
        grpc = grpc_load.GrpcLoad(requests.message, requests.message_bytes, running=False)
        for number in range(count):
            make: Callable[[], asyncio.BaseProtocol]
            if number % 2:
                make, address = (lambda: grpc_load.Client(grpc, 1)), requests.grpc
            else:
                make, address = (lambda: load.Client(rest)), requests.rest
            transport, _ = await loop.create_connection(make, *address)
            self.transports.append(transport)
        await until(lambda: rest.answered + grpc.answered == count, 60, "not every connection got its answer")

    @property
    def still_open(self) -> int:
        return sum(not transport.is_closing() for transport in self.transports)

    def close(self) -> None:
        for transport in self.transports:
            transport.abort()


# Slow ones.


async def seconds_until_dropped(work: Awaitable[None], most: float) -> float:
    """How long the server bears it; `inf` if longer than that."""
    start = time.monotonic()
    try:
        async with asyncio.timeout(most):
            await work
    except ConnectionError:
        return time.monotonic() - start
    except TimeoutError:
        return float("inf")
    return time.monotonic() - start


async def drip(address: Address, data: bytes, at_once: int) -> None:
    """Send so much, and then a byte a second, until the server closes."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(data[:at_once])
        async with asyncio.TaskGroup() as group:
            dripping = group.create_task(_drip(writer, data[at_once:]))
            while await reader.read(65536):
                pass
            dripping.cancel()
    except* ConnectionError:
        pass
    finally:
        writer.close()


async def _drip(writer: asyncio.StreamWriter, data: bytes, at_once: int = 1) -> None:
    for position in range(0, len(data), at_once):
        await asyncio.sleep(1)
        writer.write(data[position : position + at_once])
        await writer.drain()


async def drip_frames(address: Address, message: bytes) -> None:
    """A call whose message comes in whole frames of one byte, one a second, until the call or the connection ends."""
    opening = grpc_opening(message)
    body = 5 + len(message)
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(opening[: -9 - body])
        slow = b"\0" + struct.pack(">L", 1000) + bytes(100)
        frames = b"".join(grpc_load.frame(0, 0, 1, slow[at : at + 1]) for at in range(len(slow)))
        async with asyncio.TaskGroup() as group:
            dripping = group.create_task(_drip(writer, frames, 10))
            await _until_stream_ends(reader, or_connection=True)
            dripping.cancel()
    except* (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def never_read(address: Address, request: bytes) -> None:
    """Ask and ask, and take no answer."""
    _, writer = await asyncio.open_connection(*address, limit=1024)
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    try:
        while True:
            writer.write(request * 100)
            await writer.drain()
    finally:
        writer.transport.abort()
