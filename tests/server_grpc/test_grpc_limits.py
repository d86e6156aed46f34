"""Clients that cost without asking for anything, and clients that stop in the middle. Time is the test's."""

import struct

import pytest
from tests.server_grpc.rig import HANDSHAKE, Recorder, Rig, data, goaways, resets, rst

from skerry.server.grpc.h2 import connection, frames, guard, stream
from skerry.server.grpc.h2.errors import ErrorCode as Code
from skerry.server.grpc.h2.frames import ACK, CONTINUATION, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame

CHEAP = {
    "PING": frame(PING, 0, 0, bytes(8)),
    "SETTINGS": frame(SETTINGS, 0, 0),
    "ACKs nobody asked for": frame(SETTINGS, ACK, 0),
    "PRIORITY": frame(frames.PRIORITY, 0, 9, bytes(5)),
    "unknown frames": frame(0xEE, 0, 0),
    "empty DATA": data(1),
    "DATA of one byte": data(1, b"x"),
    "DATA for a stream that is over": data(3, b"x"),
    "RST_STREAM for a stream that is over": rst(3),
    "WINDOW_UPDATE by one byte": frame(WINDOW_UPDATE, 0, 1, struct.pack(">L", 1)),
    "WINDOW_UPDATE of the connection by one byte": frame(WINDOW_UPDATE, 0, 0, struct.pack(">L", 1)),
}


@pytest.mark.parametrize("cheap", CHEAP.values(), ids=CHEAP)
async def test_cheap_frames_in_bulk_end_the_connection(cheap: bytes) -> None:
    rig = Rig().greet()
    rig.send(rig.headers(1) + rig.headers(3) + rst(3))
    assert goaways(rig.send(cheap * (guard.MOST_CHEAP_FRAMES + 10))) == [Code.ENHANCE_YOUR_CALM]


async def test_the_same_frames_are_welcome_when_time_passes_or_requests_come() -> None:
    rig = Rig().greet()
    for second in range(5):
        assert goaways(rig.send(CHEAP["PING"] * (guard.MOST_CHEAP_FRAMES - 10))) == []
        rig.wait(1)
        del second
    for number in range(1, 4001, 2):
        rig.send(rig.request(number) + CHEAP["PING"] * 8)
        rig.stream(number).reply()
    assert goaways(rig.out()) == []


async def test_streams_that_are_opened_and_reset_at_once() -> None:
    rig = Rig().greet()
    written = []
    for number in range(1, 5001, 2):
        written += rig.send(rig.headers(number) + rst(number))
    assert goaways(written) == [Code.ENHANCE_YOUR_CALM]
    assert len(rig.streams) == guard.MOST_RESETS + 1
    assert not rig.connection.streams


async def test_streams_that_the_server_is_made_to_reset() -> None:
    rig = Rig().greet()
    written = []
    for number in range(1, 5001, 2):
        written += rig.send(rig.headers(number) + frame(WINDOW_UPDATE, 0, number, bytes(4)))
    assert goaways(written) == [Code.ENHANCE_YOUR_CALM]


async def test_resets_at_a_human_pace_are_fine() -> None:
    rig = Rig().greet()
    number = -1
    for _ in range(60):
        for _ in range(guard.RESETS_PER_SECOND):
            number += 2
            assert goaways(rig.send(rig.headers(number) + rst(number))) == []
        rig.wait(1)


async def test_more_streams_than_were_offered_are_refused_unheard() -> None:
    rig = Rig().greet()
    for number in range(1, 2 * connection.MOST_STREAMS, 2):
        rig.send(rig.headers(number))
    assert resets(rig.send(rig.headers(601, ("late", "x")))) == {601: Code.REFUSED_STREAM}
    assert 601 not in rig.streams
    rig.stream(1).reply()
    rig.send(rig.request(603, b"", ("late", "x")))  # the table knows what the refused one has added
    assert rig.stream(603).head.fields[b"late"] == b"x"


async def test_a_header_block_without_end() -> None:
    rig = Rig().greet()
    rig.send(rig.headers(flags=0))
    written = rig.send(*(frame(CONTINUATION, 0, 1, b"") for _ in range(100)))
    assert goaways(written) == [Code.ENHANCE_YOUR_CALM]


async def test_a_header_block_of_a_megabyte() -> None:
    rig = Rig().greet()
    rig.send(rig.headers(flags=0))
    written = rig.send(*(frame(CONTINUATION, 0, 1, bytes(16384)) for _ in range(64)))
    assert goaways(written) == [Code.ENHANCE_YOUR_CALM]


async def test_a_small_block_that_unpacks_to_megabytes_ends_its_stream_only() -> None:
    rig = Rig().greet()
    rig.send(rig.request(1, b"", ("x", "y" * 3000)))
    index = next(byte for byte in range(0xBE, 0xFF) if rig.block(("x", "y" * 3000)).endswith(bytes((byte,))))
    bomb = rig.block() + bytes((index,)) * 10_000  # thirty megabytes
    assert resets(rig.send(frame(frames.HEADERS, 5, 3, bomb))) == {3: Code.ENHANCE_YOUR_CALM}
    rig.send(rig.request(5))
    assert rig.stream(5).ends == 1


async def test_too_many_settings_at_once() -> None:
    rig = Rig().greet()
    assert goaways(rig.send(frame(SETTINGS, 0, 0, bytes(6 * 33)))) == [Code.ENHANCE_YOUR_CALM]


# Time.


async def test_a_client_that_says_nothing() -> None:
    rig = Rig()
    rig.wait(11)
    assert rig.wire.aborted


async def test_a_client_that_begins_and_stops() -> None:
    rig = Rig()
    rig.send(HANDSHAKE[:20])
    rig.wait(11)
    assert rig.wire.aborted


async def test_settings_that_are_never_acknowledged() -> None:
    rig = Rig()
    rig.send(frames.PREFACE + frames.settings({}))
    assert goaways(rig.wait(11)) == [Code.SETTINGS_TIMEOUT]


@pytest.mark.parametrize("part", [b"\x00", frames.head(PING, 0, 0, 8) + b"123"], ids=["of a head", "of a payload"])
async def test_a_frame_that_is_not_finished(part: bytes) -> None:
    rig = Rig().greet()
    rig.send(part)
    assert goaways(rig.wait(11)) == [Code.PROTOCOL_ERROR]


async def test_a_frame_that_trickles_in() -> None:
    rig = Rig().greet()
    written = []
    for byte in frame(SETTINGS, 0, 0, bytes(60)):
        written += rig.send(bytes((byte,))) + rig.wait(1)
    assert goaways(written) == [Code.PROTOCOL_ERROR]


async def test_a_header_block_that_is_not_finished() -> None:
    rig = Rig().greet()
    rig.send(rig.headers(flags=0))
    assert goaways(rig.wait(11)) == [Code.PROTOCOL_ERROR]


async def test_an_idle_connection_is_asked_to_go_after_five_minutes() -> None:
    rig = Rig().greet()
    assert rig.wait(300) == []
    assert goaways(rig.wait(5)) == [Code.NO_ERROR, Code.NO_ERROR]
    rig.wait(5)
    assert rig.wire.ended


async def test_a_connection_that_pings_may_stay() -> None:
    rig = Rig().greet()
    for _ in range(100):
        rig.send(CHEAP["PING"])
        rig.wait(20)
    assert not rig.wire.ended


async def test_a_quiet_client_with_a_call_is_asked_whether_it_is_there() -> None:
    rig = Rig().greet()
    rig.send(rig.request())
    written = rig.wait(75)
    assert {each.kind for each in written} == {PING}
    rig.send(frame(PING, ACK, 0, written[0].payload))
    rig.wait(60)
    assert not rig.wire.aborted
    rig.wait(30)
    assert rig.wire.aborted


async def test_a_client_that_does_not_read() -> None:
    rig = Rig().greet()
    rig.wire.in_buffer = 100_000
    rig.connection.pause_writing()
    rig.wait(25)
    rig.wire.in_buffer = 50_000  # it does read, slowly
    rig.wait(25)
    assert not rig.wire.aborted
    rig.wait(10)
    assert rig.wire.aborted


async def test_a_client_that_opens_no_window() -> None:
    class Patient(Recorder):
        def on_second(self, clock: float) -> None:
            if self.stuck(clock):
                self.reset(Code.CANCEL)

    rig = Rig(Patient).greet()
    rig.send(frame(SETTINGS, 0, 0, struct.pack(">HL", frames.INITIAL_WINDOW_SIZE, 1)), rig.request())
    rig.stream().reply(b"hello")
    rig.wait(20)
    rig.send(frame(WINDOW_UPDATE, 0, 1, struct.pack(">L", 1)))  # this counts as moving
    rig.wait(int(stream.WRITE_SECONDS))
    assert not rig.stream().lost
    rig.wait(2)
    assert rig.stream().lost
    assert not [each for each in rig.out() if each.kind != RST_STREAM]
