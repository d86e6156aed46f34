"""Calls over a connection without a socket: framing, compression, deadlines, cancellation, limits."""

import asyncio
import gzip
import zlib
from collections.abc import Callable
from urllib.parse import unquote

import hpack
import pytest
from tests.server_grpc.rig import Frame, Rig, data, message, resets, rst

from skerry.server.errors import InferenceFailed, InvalidRequest, NotReady, Overloaded, TimedOut, UnknownModel
from skerry.server.grpc.calls import Later, StreamingCall
from skerry.server.grpc.framing import AT_ONCE, PREFIX_BYTES
from skerry.server.grpc.h2 import frames
from skerry.server.grpc.h2.errors import ErrorCode as Code
from skerry.server.grpc.h2.frames import DATA, END_STREAM, HEADERS
from skerry.server.grpc.h2.outbound import Buffer, Parts
from skerry.server.grpc.methods import Methods
from skerry.server.grpc.status import CallError, Status, percent_encoded, trailers

PATH = b"/test.Service/Method"
CHAT = ("content-type", "application/grpc")


class Reply:
    """What a client made of the frames of one stream."""

    def __init__(self, decoder: hpack.Decoder, written: list[Frame], stream: int = 1) -> None:
        self.fields: dict[str, str] = {}
        self.body = b""
        self.ended = False
        for each in written:
            if each.kind == HEADERS:
                fields = {str(name): str(value) for name, value in decoder.decode(each.payload)}
                self.fields |= fields if each.stream == stream else {}
            if each.stream == stream:
                self.body += each.payload if each.kind == DATA else b""
                self.ended |= each.kind in {HEADERS, DATA} and bool(each.flags & END_STREAM)

    @property
    def status(self) -> Status:
        assert self.ended
        assert self.fields[":status"] == "200"
        assert self.fields["content-type"] == "application/grpc"
        return Status(int(self.fields["grpc-status"]))

    @property
    def text(self) -> str:
        return unquote(self.fields.get("grpc-message", ""))

    @property
    def messages(self) -> list[bytes]:
        found = []
        rest = self.body
        while rest:
            size = PREFIX_BYTES + int.from_bytes(rest[1:5], "big")
            packed, content, rest = rest[0], rest[PREFIX_BYTES:size], rest[size:]
            found.append(gzip.decompress(content) if packed else content)
        return found


class Calls:
    """A rig with one method, `answer`, and one stream of messages, `Chat`, that repeats what it hears."""

    def __init__(self, answer: Callable[[Buffer], Parts | Later], *, most: int = 4 << 20) -> None:
        self.chats: list[Chat] = []

        def chat(*arguments: object) -> Chat:
            self.chats.append(Chat(*arguments))  # type: ignore[arg-type]
            return self.chats[-1]

        self.rig = Rig(Methods({PATH: answer}, {b"/test.Service/Chat": chat}), most_body=most).greet()
        self.decoder = hpack.Decoder()

    def call(self, body: bytes = message(b"hello"), *more: tuple[str, str], stream: int = 1) -> Reply:
        return self.reply(self.rig.send(self.rig.request(stream, body, *more)), stream)

    def reply(self, written: list[Frame], stream: int = 1) -> Reply:
        return Reply(self.decoder, written, stream)

    def chat(self, *more: tuple[str, str]) -> bytes:
        fields = [(":method", "POST"), (":scheme", "http"), (":path", "/test.Service/Chat"), CHAT, *more]
        return frames.frame(HEADERS, frames.END_HEADERS, 1, self.rig.block(fields=fields))


class Chat(StreamingCall):
    """Says everything again; can be told that there is no room."""

    full = False

    @property
    def room(self) -> bool:
        return not self.full and super().room

    def on_message(self, message: Buffer) -> None:
        if message == b"stop":
            raise InvalidRequest("told to stop")
        self.write([b"again ", message])

    def on_half_close(self) -> None:
        self.succeed()


def echo(message: Buffer) -> Parts:
    return [b"<", message, b">"]


def raising(why: Exception) -> Callable[[Buffer], Parts]:
    def answer(_: Buffer) -> Parts:
        raise why

    return answer


class Work:
    """Answers that are still being worked on."""

    def __init__(self) -> None:
        self.futures: list[asyncio.Future[bytes]] = []

    def __call__(self, message: Buffer) -> Later:
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.futures.append(future)
        return Later(future, lambda done: [done.result()])


async def turn() -> None:
    """Let callbacks run."""
    for _ in range(3):
        await asyncio.sleep(0)


# One message, one answer.


async def test_a_call() -> None:
    reply = Calls(echo).call()
    assert (reply.status, reply.messages) == (Status.OK, [b"<hello>"])


async def test_an_answer_is_one_frame_of_each_kind() -> None:
    calls = Calls(echo)
    calls.call()
    written = calls.rig.send(calls.rig.request(3, message(b"x")))
    assert [(each.kind, each.flags) for each in written] == [(HEADERS, 4), (DATA, 0), (HEADERS, 5)]


@pytest.mark.parametrize("size", [1, 3, 5, 6, 9])
async def test_a_message_may_arrive_in_any_pieces(size: int) -> None:
    calls = Calls(echo)
    body = message(b"hello world")
    pieces = [data(1, body[start : start + size]) for start in range(0, len(body), size)]
    written = calls.rig.send(calls.rig.headers(), *pieces, data(1, ended=True))
    assert calls.reply(written).messages == [b"<hello world>"]
    assert calls.rig.listener.buffered == 0


async def test_an_empty_message() -> None:
    assert Calls(echo).call(message(b"")).messages == [b"<>"]


async def test_a_large_message_and_a_large_answer() -> None:
    calls = Calls(lambda message: [bytes(message)])
    body = bytes(range(256)) * 4096
    calls.rig.send(frames.window_update(0, 1 << 24))
    sent = message(body)
    written = calls.rig.send(calls.rig.headers())
    for start in range(0, len(sent), 100_000):
        written += calls.rig.send(data(1, sent[start : start + 100_000]))
    written += calls.rig.send(data(1, ended=True))
    while calls.rig.connection.streams:
        written += calls.rig.send(frames.window_update(1, 50_000))
    assert calls.reply(written).messages == [body]
    assert calls.rig.listener.buffered == 0


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"", Status.INTERNAL, "ended before its message"),
        (b"\0\0\0", Status.INTERNAL, "ended before its message"),
        (message(b"hello")[:-1], Status.INTERNAL, "ended before its message"),
        (message(b"a") + message(b"b"), Status.UNIMPLEMENTED, "a second one came"),
        (message(b"a") + b"\0", Status.INTERNAL, "ended before its message"),
        (b"\2\0\0\0\1a", Status.INTERNAL, "begins with 2"),
        (message(b"a", packed=True), Status.INTERNAL, "grpc-encoding says that none is"),
        (b"\0\xff\xff\xff\xff", Status.RESOURCE_EXHAUSTED, "more than the 4194304 that are taken"),
    ],
)
async def test_bodies_that_are_no_message(body: bytes, status: Status, text: str) -> None:
    calls = Calls(echo)
    reply = calls.call(body)
    assert reply.status == status
    assert text in reply.text
    assert calls.rig.listener.buffered == 0
    assert calls.call(stream=3).status == Status.OK


async def test_a_request_without_a_body() -> None:
    calls = Calls(echo)
    written = calls.rig.send(calls.rig.headers(flags=frames.END_HEADERS | END_STREAM))
    assert calls.reply(written).status == Status.INTERNAL


async def test_a_message_that_is_too_large_is_refused_at_its_first_bytes() -> None:
    calls = Calls(echo)
    written = calls.rig.send(calls.rig.headers() + data(1, b"\0\x7f\0\0\0"))
    assert calls.reply(written).status == Status.RESOURCE_EXHAUSTED
    assert resets(written) == {1: Code.NO_ERROR}
    assert calls.rig.send(data(1, bytes(1000))) == []


async def test_many_large_messages_at_once_are_refused() -> None:
    calls = Calls(echo, most=1 << 20)
    written = []
    for number in (1, 3, 5):
        begin = message(bytes(1 << 20))[: 200 << 10]
        written += calls.rig.send(calls.rig.headers(number) + data(number, begin), *([data(number, begin)] * 3))
    assert calls.reply(written, 5).status == Status.RESOURCE_EXHAUSTED
    assert len(calls.rig.connection.streams) == 2
    calls.rig.hang_up()
    assert calls.rig.listener.buffered == 0


# How a call ends.


@pytest.mark.parametrize(
    ("why", "status"),
    [
        (InvalidRequest("wrong"), Status.INVALID_ARGUMENT),
        (UnknownModel("who"), Status.NOT_FOUND),
        (NotReady("soon"), Status.UNAVAILABLE),
        (Overloaded("later", retry_after=7), Status.UNAVAILABLE),
        (TimedOut("slow"), Status.DEADLINE_EXCEEDED),
        (InferenceFailed("broke"), Status.INTERNAL),
        (CallError(Status.ABORTED, "own"), Status.ABORTED),
    ],
)
async def test_errors_and_their_codes(why: Exception, status: Status) -> None:
    reply = Calls(raising(why)).call()
    assert (reply.status, reply.text) == (status, str(why))
    pushback = {"later": "7000", "soon": "1000"}.get(str(why))
    assert reply.fields.get("grpc-retry-pushback-ms") == pushback


async def test_a_defect_is_one_failed_call() -> None:
    calls = Calls(raising(ZeroDivisionError("secret")))
    reply = calls.call()
    assert (reply.status, reply.text) == (Status.INTERNAL, "Internal server error: ZeroDivisionError")
    assert not calls.rig.wire.ended


async def test_a_method_that_does_not_exist() -> None:
    calls = Calls(echo)
    fields = [(":method", "POST"), (":scheme", "http"), (":path", "/a.B/C"), CHAT]
    reply = calls.reply(calls.rig.send(frames.frame(HEADERS, 4, 1, calls.rig.block(fields=fields))))
    assert (reply.status, reply.text[:29]) == (Status.UNIMPLEMENTED, "there is no method /a.B/C; as")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(":method", "GET"), CHAT], "405"),
        ([(":method", "POST")], "415"),
        ([(":method", "POST"), ("content-type", "application/json")], "415"),
        ([(":method", "POST"), ("content-type", "application/grpcx")], "415"),
    ],
)
async def test_requests_that_are_no_calls(fields: list[tuple[str, str]], status: str) -> None:
    calls = Calls(echo)
    head = [fields[0], (":scheme", "http"), (":path", "/test.Service/Method"), *fields[1:]]
    reply = calls.reply(calls.rig.send(frames.frame(HEADERS, 5, 1, calls.rig.block(fields=head))))
    assert reply.fields[":status"] == status
    assert reply.ended


@pytest.mark.parametrize("kind", ["application/grpc+proto", "application/grpc; charset=utf-8"])
async def test_kinds_of_content_that_are_grpc(kind: str) -> None:
    calls = Calls(echo)
    fields = [(":method", "POST"), (":scheme", "http"), (":path", "/test.Service/Method"), ("content-type", kind)]
    sent = frames.frame(HEADERS, 4, 1, calls.rig.block(fields=fields)) + data(1, message(b""), ended=True)
    assert calls.reply(calls.rig.send(sent)).status == Status.OK


def test_texts_for_grpc_message() -> None:
    assert percent_encoded("all good: 100%\n") == b"all good: 100%25%0A"
    assert percent_encoded("für") == b"f%C3%BCr"
    assert unquote(percent_encoded("\x00\x7f€").decode()) == "\x00\x7f€"
    assert percent_encoded("\ud800") == b"?"
    long = percent_encoded("€" * 5000)
    assert unquote(long.decode()) == "€" * 682 + "…"
    assert len(trailers(InvalidRequest("€" * 5000))) < 8192


# Deadlines.


async def test_a_deadline_ends_a_call_that_waits() -> None:
    work = Work()
    calls = Calls(work)
    assert calls.rig.send(calls.rig.request(1, message(b""), ("grpc-timeout", "20m"))) == []
    assert len(work.futures) == 1
    async with asyncio.timeout(5):
        while not work.futures[0].cancelled():
            await asyncio.sleep(0.001)
    assert calls.reply(calls.rig.out()).status == Status.DEADLINE_EXCEEDED


async def test_a_deadline_ends_a_request_that_does_not_arrive() -> None:
    calls = Calls(echo)
    calls.rig.send(calls.rig.headers(1, ("grpc-timeout", "1S")))
    calls.rig.listener.clock = asyncio.get_running_loop().time() + 2
    reply = calls.reply(calls.rig.wait(1))
    assert reply.status == Status.DEADLINE_EXCEEDED


async def test_a_request_without_deadline_that_does_not_arrive() -> None:
    calls = Calls(echo)
    calls.rig.send(calls.rig.headers())
    assert calls.rig.wait(29) == []
    assert calls.reply(calls.rig.wait(3)).status == Status.DEADLINE_EXCEEDED


async def test_a_request_that_drips_is_not_given_more_time_and_one_that_flows_is() -> None:
    for size, waits in ((1, False), (100, True)):
        calls = Calls(echo)
        whole = message(bytes(10_000))
        calls.rig.send(calls.rig.headers())
        written: list[Frame] = []
        for second in range(40):
            part = whole[second * size : (second + 1) * size]
            written += calls.rig.send(data(1, part)) + calls.rig.wait(1)
            if written:
                break
        assert (not written) is waits, size
        if written:
            assert calls.reply(written).status == Status.DEADLINE_EXCEEDED


@pytest.mark.parametrize("text", ["", "1", "S", "123456789S", "1.5S", "-1S", "1x", "1S "])
async def test_timeouts_that_are_none(text: str) -> None:
    rig = Calls(echo)
    written = rig.rig.send(rig.rig.request(1, message(b""), ("grpc-timeout", text)))
    if text.endswith(" "):
        assert resets(written) == {1: Code.PROTOCOL_ERROR}
    else:
        assert rig.reply(written).status == Status.INVALID_ARGUMENT


@pytest.mark.parametrize("text", ["99999999H", "1M", "1S", "5000m", "100000u", "99999999n"])
async def test_timeouts_of_every_unit(text: str) -> None:
    assert Calls(echo).call(message(b""), ("grpc-timeout", text)).status == Status.OK


# Cancellation.


async def test_a_reset_cancels_what_waits() -> None:
    work = Work()
    calls = Calls(work)
    calls.rig.send(calls.rig.request(1, message(b"")), calls.rig.request(3, message(b"")))
    calls.rig.send(rst(1))
    assert [future.cancelled() for future in work.futures] == [True, False]
    work.futures[1].set_result(b"done")
    await turn()
    assert calls.reply(calls.rig.out(), 3).messages == [b"done"]


async def test_a_hang_up_cancels_what_waits() -> None:
    work = Work()
    calls = Calls(work)
    calls.rig.send(calls.rig.request(1, message(bytes(100_000))))
    assert calls.rig.listener.buffered > 100_000
    calls.rig.hang_up()
    assert work.futures[0].cancelled()
    assert calls.rig.listener.buffered == 0
    await turn()


async def test_an_answer_that_comes_when_the_client_has_gone() -> None:
    work = Work()
    calls = Calls(work)
    calls.rig.send(calls.rig.request(1, message(b"")))
    work.futures[0].set_result(b"late")
    calls.rig.send(rst(1))
    await turn()
    assert calls.rig.out() == []


async def test_work_that_is_given_up_elsewhere() -> None:
    work = Work()
    calls = Calls(work)
    calls.rig.send(calls.rig.request(1, message(b"")))
    work.futures[0].cancel()
    await turn()
    assert calls.reply(calls.rig.out()).status == Status.UNAVAILABLE


async def test_work_that_fails() -> None:
    work = Work()
    calls = Calls(work)
    calls.rig.send(calls.rig.request(1, message(b"")), calls.rig.request(3, message(b"")))
    work.futures[0].set_exception(InferenceFailed("broke"))
    work.futures[1].set_exception(ZeroDivisionError())
    await turn()
    written = calls.rig.out()
    assert calls.reply(written, 1).text == "broke"
    calls.decoder = hpack.Decoder()
    assert calls.reply(written, 3).text == "Internal server error: ZeroDivisionError"


# Compression.

GZIP = (("grpc-encoding", "gzip"), ("grpc-accept-encoding", "identity, gzip"))


async def test_gzip_both_ways() -> None:
    body = b"hello " * 1000
    reply = Calls(echo).call(message(gzip.compress(body), packed=True), *GZIP)
    assert (reply.status, reply.messages) == (Status.OK, [b"<" + body + b">"])
    assert reply.fields["grpc-encoding"] == "gzip"
    assert len(reply.body) < 200


async def test_gzip_is_not_sent_to_a_client_that_does_not_say_it_takes_it() -> None:
    reply = Calls(echo).call(message(gzip.compress(b"a"), packed=True), GZIP[0])
    assert "grpc-encoding" not in reply.fields
    assert reply.messages == [b"<a>"]


async def test_deflate_is_understood_and_plain_messages_are_still_plain() -> None:
    calls = Calls(echo)
    deflate = ("grpc-encoding", "deflate")
    assert calls.call(message(zlib.compress(b"a"), packed=True), deflate).messages == [b"<a>"]
    assert calls.call(message(b"b"), deflate, stream=3).messages == [b"<b>"]


async def test_an_encoding_that_is_not_known() -> None:
    reply = Calls(echo).call(message(b"a", packed=True), ("grpc-encoding", "zstd"))
    assert reply.status == Status.UNIMPLEMENTED
    assert reply.fields["grpc-accept-encoding"] == "identity, gzip, deflate"


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: data + b"x", lambda _: b"no gzip"])
async def test_what_cannot_be_unpacked(damage: Callable[[bytes], bytes]) -> None:
    reply = Calls(echo).call(message(damage(gzip.compress(b"hello")), packed=True), *GZIP)
    assert reply.status == Status.INTERNAL


@pytest.mark.parametrize("most", [100_000, 8 << 20], ids=["small limit", "large limit"])
async def test_a_little_that_unpacks_to_very_much(most: int) -> None:
    calls = Calls(echo, most=most)
    bomb = gzip.compress(bytes(20 << 20))
    written = calls.rig.send(calls.rig.request(1, message(bomb, packed=True), *GZIP))
    async with asyncio.timeout(10):
        while calls.rig.connection.streams:
            await asyncio.sleep(0.001)
    assert calls.reply(written + calls.rig.out()).status == Status.RESOURCE_EXHAUSTED


async def test_what_takes_long_to_unpack_does_not_stop_the_loop() -> None:
    calls = Calls(lambda message: [b"%d" % len(message)], most=16 << 20)
    written = calls.rig.send(calls.rig.request(1, message(gzip.compress(bytes(3 * AT_ONCE)), packed=True), *GZIP))
    assert written == []
    async with asyncio.timeout(10):
        while calls.rig.connection.streams:
            await asyncio.sleep(0.001)
    assert calls.reply(calls.rig.out()).messages == [b"%d" % (3 * AT_ONCE)]
    assert calls.rig.listener.buffered == 0


# Many messages.


async def test_a_stream_of_messages() -> None:
    calls = Calls(echo)
    written = calls.rig.send(calls.chat(), data(1, message(b"a") + message(b"b")[:3]), data(1, message(b"b")[3:]))
    written += calls.rig.send(data(1, message(b""), ended=True))
    reply = calls.reply(written)
    assert (reply.status, reply.messages) == (Status.OK, [b"again a", b"again b", b"again "])


async def test_a_stream_that_ends_in_the_middle_of_a_message() -> None:
    calls = Calls(echo)
    written = calls.rig.send(calls.chat(), data(1, message(b"abc")[:6], ended=True))
    assert calls.reply(written).status == Status.INTERNAL


async def test_an_error_ends_a_stream_behind_what_was_said() -> None:
    calls = Calls(echo)
    written = calls.rig.send(calls.chat(), data(1, message(b"a") + message(b"stop") + message(b"b")))
    reply = calls.reply(written)
    assert (reply.status, reply.messages) == (Status.INVALID_ARGUMENT, [b"again a"])
    assert calls.rig.listener.buffered == 0


async def test_a_stream_without_room_keeps_its_client_waiting() -> None:
    calls = Calls(echo)
    calls.rig.send(calls.chat())
    calls.chats[0].full = True
    written = calls.rig.send(*(data(1, message(bytes(100_000))) for _ in range(10)))
    assert written == []
    assert calls.rig.listener.buffered == 10 * 100_005
    calls.chats[0].full = False
    calls.rig.send(frames.window_update(0, 1 << 24), frames.window_update(1, 1 << 24))
    calls.chats[0].go_on()
    written = calls.rig.out()
    assert [each.stream for each in written if each.kind == frames.WINDOW_UPDATE] == [1]
    assert len(calls.reply(written + calls.rig.send(data(1, ended=True))).messages) == 10
    assert calls.rig.listener.buffered == 0


async def test_a_stream_waits_for_a_client_that_does_not_read() -> None:
    calls = Calls(echo)
    written = calls.rig.send(calls.chat(), *(data(1, message(bytes(30_000))) for _ in range(10)))
    assert calls.rig.listener.buffered == 7 * 30_005  # two fit into the window, the third waits, the others behind it
    written += calls.rig.send(frames.window_update(0, 1 << 24), frames.window_update(1, 1 << 24), data(1, ended=True))
    assert len(calls.reply(written).messages) == 10


async def test_messages_of_a_stream_may_be_packed() -> None:
    calls = Calls(echo, most=16 << 20)
    large = gzip.compress(bytes(2 * AT_ONCE))
    calls.rig.send(frames.window_update(0, 1 << 24), frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 24}))
    sent = message(gzip.compress(b"a"), packed=True) + message(large, packed=True) + message(b"c")
    written = calls.rig.send(calls.chat(("grpc-encoding", "gzip")), data(1, sent, ended=True))
    async with asyncio.timeout(10):
        while calls.rig.connection.streams:
            await asyncio.sleep(0.001)
    found = calls.reply(written + calls.rig.out()).messages
    assert found == [b"again a", b"again " + bytes(2 * AT_ONCE), b"again c"]


async def test_a_deadline_ends_a_stream() -> None:
    calls = Calls(echo)
    written = calls.rig.send(calls.chat(("grpc-timeout", "20m")), data(1, message(b"a")))
    async with asyncio.timeout(5):
        while calls.rig.connection.streams:
            await asyncio.sleep(0.001)
    reply = calls.reply(written + calls.rig.out())
    assert (reply.status, reply.messages) == (Status.DEADLINE_EXCEEDED, [b"again a"])


async def test_a_drain_ends_a_stream() -> None:
    calls = Calls(echo)
    written = calls.rig.send(calls.chat())
    calls.rig.connection.drain()
    assert calls.reply(written + calls.rig.out()).status == Status.UNAVAILABLE
