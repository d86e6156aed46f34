"""HTTP/2 by the letter: what a client may do wrong, and with which code it is answered.

The cases follow the sections of RFC 9113, as h2spec does. Each is sent to a fresh connection; what counts is the code
of the GOAWAY or of the RST_STREAM, and that nothing is left behind.
"""

import struct
from collections.abc import Callable

import pytest
from tests.server_grpc.rig import HANDSHAKE, REQUEST, Rig, data, goaways, resets, rst

from skerry.server.grpc.h2 import frames
from skerry.server.grpc.h2.errors import ErrorCode as Code
from skerry.server.grpc.h2.frames import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    frame,
)

PAIR = struct.Struct(">HL")
Sends = Callable[[Rig], bytes]


def setting(key: int, value: int) -> bytes:
    return frame(SETTINGS, 0, 0, PAIR.pack(key, value))


def update(stream: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">L", size))


def fields(*pairs: tuple[str, str]) -> Sends:
    """A request with these fields, and no others."""
    return lambda rig: frame(HEADERS, END_HEADERS | END_STREAM, 1, rig.block(fields=list(pairs)))


def with_field(name: str, value: str) -> Sends:
    return lambda rig: rig.headers(1, (name, value), flags=END_HEADERS | END_STREAM)


def raw(block: bytes) -> Sends:
    return lambda _: frame(HEADERS, END_HEADERS | END_STREAM, 1, block)


def half_closed(rest: bytes) -> Sends:
    return lambda rig: rig.request() + rest


def opened(rest: bytes) -> Sends:
    return lambda rig: rig.headers() + rest


CONNECTION_ENDS: dict[str, tuple[Sends, Code]] = {
    # 4.2, 6: sizes
    "a DATA frame beyond the limit": (opened(frames.head(0, 0, 1, (1 << 18) + 1)), Code.FRAME_SIZE_ERROR),
    "a HEADERS frame beyond the limit": (lambda _: frames.head(1, 0, 1, (1 << 16) + 1), Code.FRAME_SIZE_ERROR),
    "SETTINGS of 3 bytes": (lambda _: frame(SETTINGS, 0, 0, b"abc"), Code.FRAME_SIZE_ERROR),
    "an ACK of SETTINGS that carries settings": (
        lambda _: frame(SETTINGS, ACK, 0, PAIR.pack(1, 1)),
        Code.FRAME_SIZE_ERROR,
    ),
    "PING of 7 bytes": (lambda _: frame(PING, 0, 0, b"1234567"), Code.FRAME_SIZE_ERROR),
    "RST_STREAM of 3 bytes": (opened(frame(RST_STREAM, 0, 1, b"abc")), Code.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of 3 bytes": (lambda _: frame(WINDOW_UPDATE, 0, 0, b"abc"), Code.FRAME_SIZE_ERROR),
    "GOAWAY of 7 bytes": (lambda _: frame(GOAWAY, 0, 0, b"1234567"), Code.FRAME_SIZE_ERROR),
    # 4.3: compression
    "an index that no table has": (raw(b"\xbe"), Code.COMPRESSION_ERROR),
    "the index 0": (raw(b"\x80"), Code.COMPRESSION_ERROR),
    "a block that stops in a string": (raw(b"\x82\x00\x05ab"), Code.COMPRESSION_ERROR),
    "a table that was not offered": (raw(b"\x3f\xe2\x1f\x82"), Code.COMPRESSION_ERROR),
    "a change of the table's size behind a field": (raw(b"\x82\x20"), Code.COMPRESSION_ERROR),
    "Huffman code with too much padding": (raw(b"\x00\x81\xff\x01a"), Code.COMPRESSION_ERROR),
    "an endless integer": (raw(b"\xff\x80\x80\x80\x80\x80\x80\x01"), Code.COMPRESSION_ERROR),
    # 5.1: states
    "DATA on an idle stream": (lambda _: data(1, b"x"), Code.PROTOCOL_ERROR),
    "RST_STREAM on an idle stream": (lambda _: rst(1), Code.PROTOCOL_ERROR),
    "WINDOW_UPDATE on an idle stream": (lambda _: update(1, 1), Code.PROTOCOL_ERROR),
    "CONTINUATION on an idle stream": (lambda _: frame(CONTINUATION, END_HEADERS, 1, b""), Code.PROTOCOL_ERROR),
    "CONTINUATION behind a whole block": (opened(frame(CONTINUATION, END_HEADERS, 1, b"")), Code.PROTOCOL_ERROR),
    # 5.1.1: numbers
    "a stream with an even number": (lambda rig: rig.headers(2), Code.PROTOCOL_ERROR),
    "a stream below the last one": (lambda rig: rig.headers(5) + rig.headers(3), Code.PROTOCOL_ERROR),
    "HEADERS on stream 0": (lambda rig: rig.headers(0), Code.PROTOCOL_ERROR),
    "DATA on stream 0": (lambda _: data(0, b"x"), Code.PROTOCOL_ERROR),
    "PRIORITY on stream 0": (lambda _: frame(PRIORITY, 0, 0, bytes(5)), Code.PROTOCOL_ERROR),
    "RST_STREAM on stream 0": (lambda _: rst(0), Code.PROTOCOL_ERROR),
    "SETTINGS on a stream": (lambda _: frame(SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "PING on a stream": (lambda _: frame(PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "GOAWAY on a stream": (lambda _: frame(GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    # 6.1, 6.2: padding
    "DATA with more padding than payload": (opened(frame(0, PADDED, 1, b"\x05abc")), Code.PROTOCOL_ERROR),
    "padded DATA without a length": (opened(frame(0, PADDED, 1)), Code.PROTOCOL_ERROR),
    "HEADERS with more padding than payload": (
        lambda _: frame(HEADERS, PADDED | END_HEADERS, 1, b"\x05abc"),
        Code.PROTOCOL_ERROR,
    ),
    "HEADERS too short for their priority": (
        lambda _: frame(HEADERS, WITH_PRIORITY | END_HEADERS, 1, b"abc"),
        Code.FRAME_SIZE_ERROR,
    ),
    # 6.5.2: settings
    "ENABLE_PUSH of 2": (lambda _: setting(frames.ENABLE_PUSH, 2), Code.PROTOCOL_ERROR),
    "a window beyond 2^31-1": (lambda _: setting(frames.INITIAL_WINDOW_SIZE, 1 << 31), Code.FLOW_CONTROL_ERROR),
    "frames below 16 KiB": (lambda _: setting(frames.MAX_FRAME_SIZE, 16383), Code.PROTOCOL_ERROR),
    "frames beyond 16 MiB": (lambda _: setting(frames.MAX_FRAME_SIZE, 1 << 24), Code.PROTOCOL_ERROR),
    "windows of streams that grow too large": (
        lambda rig: rig.headers() + update(1, frames.MOST_WINDOW - 65535) + setting(frames.INITIAL_WINDOW_SIZE, 65536),
        Code.FLOW_CONTROL_ERROR,
    ),
    # 6.6, 6.9, 6.10
    "PUSH_PROMISE from a client": (opened(frame(PUSH_PROMISE, END_HEADERS, 1, bytes(5))), Code.PROTOCOL_ERROR),
    "WINDOW_UPDATE of the connection by 0": (lambda _: update(0, 0), Code.PROTOCOL_ERROR),
    "the connection's window beyond 2^31-1": (lambda _: update(0, frames.MOST_WINDOW), Code.FLOW_CONTROL_ERROR),
    "another frame inside of a header block": (
        lambda rig: rig.headers(flags=0) + frame(PING, 0, 0, bytes(8)),
        Code.PROTOCOL_ERROR,
    ),
    "DATA inside of a header block": (lambda rig: rig.headers(flags=0) + data(1), Code.PROTOCOL_ERROR),
    "CONTINUATION of another stream": (
        lambda rig: rig.headers(flags=0) + frame(CONTINUATION, END_HEADERS, 3, b""),
        Code.PROTOCOL_ERROR,
    ),
}

STREAM_ENDS: dict[str, tuple[Sends, Code]] = {
    # 5.1: states
    "DATA on a half-closed stream": (half_closed(data(1, b"x")), Code.STREAM_CLOSED),
    "trailers on a half-closed stream": (
        lambda rig: rig.request() + frame(HEADERS, END_HEADERS | END_STREAM, 1, b""),
        Code.STREAM_CLOSED,
    ),
    "trailers that end nothing": (opened(frame(HEADERS, END_HEADERS, 1, b"")), Code.PROTOCOL_ERROR),
    # 6.3, 6.9
    "PRIORITY of 4 bytes": (opened(frame(PRIORITY, 0, 1, bytes(4))), Code.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of a stream by 0": (opened(update(1, 0)), Code.PROTOCOL_ERROR),
    "a stream's window beyond 2^31-1": (opened(update(1, frames.MOST_WINDOW)), Code.FLOW_CONTROL_ERROR),
    # 8.1, 8.2: fields
    "a name in upper case": (raw(b"\x82\x86\x84\x00\x01X\x01y"), Code.PROTOCOL_ERROR),
    "a name with a space": (with_field("a b", "c"), Code.PROTOCOL_ERROR),
    "an empty name": (with_field("", "c"), Code.PROTOCOL_ERROR),
    "a value with a line break": (with_field("a", "b\r\nc"), Code.PROTOCOL_ERROR),
    "a value with a zero": (with_field("a", "b\0c"), Code.PROTOCOL_ERROR),
    "a value that begins with a space": (with_field("a", " b"), Code.PROTOCOL_ERROR),
    "a field of connections": (with_field("connection", "keep-alive"), Code.PROTOCOL_ERROR),
    "te that is not trailers": (fields(*REQUEST[:4], ("te", "gzip")), Code.PROTOCOL_ERROR),
    "transfer-encoding": (with_field("transfer-encoding", "chunked"), Code.PROTOCOL_ERROR),
    # 8.3: pseudo-fields
    "an unknown pseudo-field": (fields(*REQUEST[:4], (":other", "x")), Code.PROTOCOL_ERROR),
    "a pseudo-field of responses": (fields(*REQUEST[:4], (":status", "200")), Code.PROTOCOL_ERROR),
    "a pseudo-field behind others": (fields(*REQUEST[:2], ("a", "b"), REQUEST[2]), Code.PROTOCOL_ERROR),
    "two methods": (fields(*REQUEST[:3], (":method", "POST")), Code.PROTOCOL_ERROR),
    "no method": (fields(*REQUEST[1:]), Code.PROTOCOL_ERROR),
    "no scheme": (fields(REQUEST[0], *REQUEST[2:]), Code.PROTOCOL_ERROR),
    "no path": (fields(*REQUEST[:2], *REQUEST[3:]), Code.PROTOCOL_ERROR),
    "an empty path": (fields(*REQUEST[:2], (":path", "")), Code.PROTOCOL_ERROR),
    "a pseudo-field in trailers": (
        opened(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x82")),
        Code.PROTOCOL_ERROR,
    ),
    # 8.1.1: length
    "content-length that is no number": (with_field("content-length", "1x"), Code.PROTOCOL_ERROR),
    "less than content-length": (lambda rig: rig.request(1, b"ab", ("content-length", "3")), Code.PROTOCOL_ERROR),
    "more than content-length": (lambda rig: rig.request(1, b"ab", ("content-length", "1")), Code.PROTOCOL_ERROR),
    "nothing instead of content-length": (with_field("content-length", "1"), Code.PROTOCOL_ERROR),
    "fields of 20 KiB": (with_field("a", "b" * 20_000), Code.ENHANCE_YOUR_CALM),
}


@pytest.mark.parametrize(("sends", "code"), CONNECTION_ENDS.values(), ids=CONNECTION_ENDS)
async def test_the_connection_ends(sends: Sends, code: Code) -> None:
    rig = Rig().greet()
    written = rig.send(sends(rig))
    assert goaways(written) == [code]
    assert rig.wire.ended
    assert not rig.connection.streams
    assert rig.send(rig.request(101)) == []  # nothing is listened to any more
    rig.wait(3)
    assert rig.wire.aborted


@pytest.mark.parametrize(("sends", "code"), STREAM_ENDS.values(), ids=STREAM_ENDS)
async def test_the_stream_ends_and_others_go_on(sends: Sends, code: Code) -> None:
    rig = Rig().greet()
    written = rig.send(sends(rig))
    assert resets(written) == {1: code}
    assert goaways(written) == []
    assert not rig.connection.streams
    rig.send(rig.request(3, b"hello"))
    assert (rig.stream(3).body, rig.stream(3).ends) == (b"hello", 1)


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
async def test_frames_may_arrive_in_any_pieces(size: int) -> None:
    rig = Rig()
    sent = HANDSHAKE + rig.headers(1) + data(1, b"a" * 50, padding=3) + data(1, b"b" * 40, ended=True, padding=0)
    sent += rig.request(3, b"c" * 5000) + frame(PING, 0, 0, b"12345678")
    written = rig.send(*(sent[start : start + size] for start in range(0, len(sent), size)))
    assert (rig.stream(1).body, rig.stream(1).ends) == (b"a" * 50 + b"b" * 40, 1)
    assert (rig.stream(3).body, rig.stream(3).ends) == (b"c" * 5000, 1)
    assert [each.payload for each in written if each.kind == PING] == [b"12345678"]


async def test_the_first_frame_must_be_settings() -> None:
    rig = Rig()
    assert goaways(rig.send(frames.PREFACE + frame(PING, 0, 0, bytes(8)))) == [Code.PROTOCOL_ERROR]


async def test_what_is_not_http2_is_sent_away() -> None:
    rig = Rig()
    assert goaways(rig.send(b"SSH-2.0-OpenSSH\r\n")) == [Code.PROTOCOL_ERROR]


async def test_http1_gets_an_answer_that_a_person_can_read() -> None:
    rig = Rig()
    rig.connection.data_received(b"GET /v2/health/ready HTTP/1.1\r\nhost: x\r\n\r\n")
    assert rig.wire.written.startswith(b"HTTP/1.1 505 ")
    assert b"--rest_port" in rig.wire.written
    assert rig.wire.ended


async def test_a_header_block_may_come_in_many_frames() -> None:
    rig = Rig().greet()
    block = rig.block(("x", "y" * 3000))
    parts = [block[start : start + 200] for start in range(0, len(block), 200)]
    sent = frame(HEADERS, END_STREAM, 1, parts[0])
    sent += b"".join(frame(CONTINUATION, 0, 1, part) for part in parts[1:-1])
    rig.send(sent + frame(CONTINUATION, END_HEADERS, 1, parts[-1]))
    assert rig.stream().head.fields[b"x"] == b"y" * 3000
    assert rig.stream().ends == 1


async def test_padding_and_priority_of_headers_are_taken_off() -> None:
    rig = Rig().greet()
    payload = b"\x04" + bytes(5) + rig.block() + bytes(4)
    rig.send(frame(HEADERS, PADDED | WITH_PRIORITY | END_HEADERS | END_STREAM, 1, payload))
    assert rig.stream().ends == 1


async def test_trailers_end_a_request() -> None:
    rig = Rig().greet()
    trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, rig.block(fields=[("a", "b")]))
    rig.send(rig.headers() + data(1, b"body") + trailers)
    assert (rig.stream().body, rig.stream().ends) == (b"body", 1)


async def test_unknown_frames_settings_and_priorities_are_ignored() -> None:
    rig = Rig().greet()
    written = rig.send(frame(0xEE, 0xFF, 7, b"?"), setting(0xFF, 7), frame(PRIORITY, 0, 9, bytes(5)), rig.request())
    assert [(each.kind, each.flags) for each in written] == [(SETTINGS, ACK)]
    assert rig.stream().ends == 1


async def test_a_recycled_block_means_what_it_meant_only_while_the_table_stays() -> None:
    rig = Rig().greet()
    rig.send(rig.request(1, b"", ("x", "1")), rig.request(3, b"", ("x", "1")), rig.request(5, b"", ("x", "1")))
    block = rig.block(("x", "1"))
    rig.send(rig.request(7, b"", ("x", "2")))  # the table moves on: the same indices are other fields now
    rig.send(frame(HEADERS, END_HEADERS | END_STREAM, 9, rig.block(("x", "1"))))
    assert [rig.stream(number).head.fields[b"x"] for number in (1, 3, 5, 7, 9)] == [b"1", b"1", b"1", b"2", b"1"]
    assert block != rig.block(("x", "2"))


async def test_values_of_one_name_are_joined() -> None:
    rig = Rig().greet()
    rig.send(rig.request(1, b"", ("a", "b"), ("a", "c")))
    assert rig.stream().head.fields[b"a"] == b"b,c"


# Streams that are over.


async def test_frames_for_a_stream_that_the_server_has_reset_are_ignored() -> None:
    rig = Rig().greet()
    rig.send(rig.headers())
    rig.stream().reset(Code.CANCEL)
    assert resets(rig.out()) == {1: Code.CANCEL}
    trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, rig.block(fields=[("seen", "later")]))
    assert rig.send(data(1, b"x"), update(1, 5), rst(1), trailers) == []
    rig.send(rig.request(3, b"", ("seen", "later")))  # by its index in the table
    assert rig.stream(3).head.fields[b"seen"] == b"later"


async def test_data_for_a_stream_that_is_long_over() -> None:
    rig = Rig().greet()
    rig.send(rig.request())
    rig.stream().reply()
    rig.out()
    assert resets(rig.send(data(1, b"x"))) == {1: Code.STREAM_CLOSED}
    assert rig.send(data(1, b"x")) == []


async def test_headers_for_a_stream_that_is_over_end_the_connection() -> None:
    rig = Rig().greet()
    rig.send(rig.request())
    rig.stream().reply()
    assert goaways(rig.send(rig.headers(1))) == [Code.STREAM_CLOSED]


async def test_an_answer_before_the_end_of_the_request_asks_the_client_to_stop() -> None:
    rig = Rig().greet()
    rig.send(rig.headers() + data(1, b"begin"))
    rig.stream().reply(b"no")
    written = rig.out()
    assert [each.kind for each in written] == [HEADERS, 0, HEADERS, RST_STREAM]
    assert resets(written) == {1: Code.NO_ERROR}
    assert rig.send(data(1, b"rest", ended=True)) == []


async def test_a_reset_and_a_hang_up_reach_the_stream_once() -> None:
    rig = Rig().greet()
    rig.send(rig.headers(1) + rig.headers(3))
    rig.send(rst(1))
    assert (rig.stream(1).lost, rig.stream(3).lost) == (True, False)
    rig.hang_up()
    assert rig.stream(3).lost
    assert not rig.listener.connections


# Going down.


async def test_draining_is_in_two_steps() -> None:
    rig = Rig().greet()
    rig.send(rig.request(1))
    rig.connection.drain()
    goaway, ping = rig.out()
    assert (frames.word(goaway.payload), goaway.code) == (frames.MOST_STREAM, Code.NO_ERROR)
    rig.send(rig.request(3))  # it was on its way
    (goaway,) = rig.send(frame(PING, ACK, 0, ping.payload))
    assert (frames.word(goaway.payload), goaway.code) == (3, Code.NO_ERROR)
    assert resets(rig.send(rig.request(5))) == {5: Code.REFUSED_STREAM}
    rig.stream(1).reply()
    assert not rig.wire.ended
    rig.stream(3).reply()
    assert [each.stream for each in rig.out()] == [1, 1, 3, 3]
    assert rig.wire.ended


async def test_a_client_that_does_not_confirm_is_left_after_a_second() -> None:
    rig = Rig().greet()
    rig.connection.drain()
    rig.out()
    (goaway,) = rig.wait(2)
    assert goaway.kind == GOAWAY
    assert rig.wire.ended


async def test_a_client_that_goes_away_gets_its_answers() -> None:
    rig = Rig().greet()
    rig.send(rig.request())
    rig.send(frames.goaway(0, Code.NO_ERROR))
    rig.stream().reply()
    assert [each.kind for each in rig.out()] == [HEADERS, HEADERS]
    assert rig.wire.ended
