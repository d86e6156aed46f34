"""Flow control in both directions, and what is written in which order."""

import struct

from tests.server_grpc.rig import Frame, Recorder, Rig, data, goaways, resets, rst

from skerry.server.grpc.h2 import connection, frames, stream
from skerry.server.grpc.h2.errors import ErrorCode as Code
from skerry.server.grpc.h2.frames import DATA, HEADERS, WINDOW_UPDATE, frame
from skerry.server.grpc.h2.outbound import Buffer

HALF = stream.STREAM_WINDOW >> 1


def setting(key: int, value: int) -> bytes:
    return frame(frames.SETTINGS, 0, 0, struct.pack(">HL", key, value))


def update(number: int, size: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, number, struct.pack(">L", size))


def bodies(written: list[Frame], number: int) -> bytes:
    return b"".join(each.payload for each in written if each.kind == DATA and each.stream == number)


def updates(written: list[Frame]) -> dict[int, int]:
    return {each.stream: frames.word(each.payload) for each in written if each.kind == WINDOW_UPDATE}


class Stubborn(Recorder):
    """A stream that never lets more in."""

    def on_data(self, chunk: Buffer, *, ended: bool) -> None:
        self._body += chunk


# Towards the client.


async def test_data_waits_for_the_stream_s_window() -> None:
    rig = Rig().greet()
    rig.send(setting(frames.INITIAL_WINDOW_SIZE, 10), rig.request())
    rig.stream().reply(b"0123456789abcdef")
    written = rig.out()
    assert [each.kind for each in written] == [HEADERS, DATA]
    assert bodies(written, 1) == b"0123456789"
    assert bodies(rig.send(update(1, 3)), 1) == b"abc"
    assert not rig.stream().lost
    written = rig.send(update(1, 100))
    assert [(each.kind, each.payload) for each in written[:1]] == [(DATA, b"def")]
    assert written[1].flags & frames.END_STREAM
    assert rig.stream().lost


async def test_data_waits_for_the_connection_s_window_and_streams_take_turns() -> None:
    rig = Rig().greet()
    rig.send(*(rig.request(number) for number in (1, 3, 5)))
    rig.stream(1).reply(bytes(65535))
    assert len(bodies(rig.out(), 1)) == 65535
    for number in (3, 5):
        rig.stream(number).reply(bytes(40_000))
    assert [each.kind for each in rig.out()] == [HEADERS, HEADERS]
    written = rig.send(update(0, 40_000))
    assert [each.stream for each in written] == [3, 5, 3]  # a frame of 16 KiB each, as long as there is room
    written += rig.send(update(0, 1 << 20))
    assert len(bodies(written, 3)) == len(bodies(written, 5)) == 40_000
    assert not rig.connection.streams


async def test_a_window_may_become_negative() -> None:
    rig = Rig().greet()
    rig.send(rig.request())
    recorder = rig.stream()
    recorder.start(b"")
    recorder.send([bytes(1000)], 1000)
    rig.send(setting(frames.INITIAL_WINDOW_SIZE, 100))
    assert recorder.send_window == -900
    recorder.send([b"x"], 1)
    assert bodies(rig.out(), 1) == b""
    assert bodies(rig.send(update(1, 900)), 1) == b""
    assert bodies(rig.send(update(1, 1)), 1) == b"x"


async def test_frames_are_as_large_as_the_client_takes_them() -> None:
    rig = Rig().greet()
    rig.send(setting(frames.INITIAL_WINDOW_SIZE, 1 << 20), update(0, 1 << 20), rig.request(1), rig.request(3))
    rig.stream(1).reply(bytes(40_000))
    assert [len(each.payload) for each in rig.out() if each.kind == DATA] == [16384, 16384, 7232]
    rig.send(setting(frames.MAX_FRAME_SIZE, 1 << 20))
    rig.stream(3).reply(bytes(40_000))
    assert [len(each.payload) for each in rig.out() if each.kind == DATA] == [40_000]


async def test_nothing_is_written_while_the_socket_is_full() -> None:
    rig = Rig().greet()
    rig.send(rig.request())
    rig.wire.in_buffer = 100_000
    rig.connection.pause_writing()
    assert not rig.wire.is_reading()
    rig.stream().reply(b"hello")
    assert [each.kind for each in rig.out()] == [HEADERS]
    rig.connection.resume_writing()
    assert rig.wire.is_reading()
    assert bodies(rig.out(), 1) == b"hello"


async def test_a_reset_stream_leaves_nothing_to_write() -> None:
    rig = Rig().greet()
    rig.send(setting(frames.INITIAL_WINDOW_SIZE, 0), rig.request())
    rig.stream().reply(b"hello")
    rig.send(rst(1))
    assert not rig.connection.outbound.waiting
    assert rig.send(update(0, 1000)) == []


async def test_a_turn_is_one_write() -> None:
    class Replying(Recorder):
        def on_data(self, chunk: Buffer, *, ended: bool) -> None:
            self.reply(b"hello")

    rig = Rig(Replying).greet()
    before = rig.wire.writes
    rig.send(b"".join(rig.request(number) for number in range(1, 41, 2)) + frame(frames.PING, 0, 0, bytes(8)))
    assert rig.wire.writes == before + 1


async def test_a_turn_answers_some_requests_and_the_next_turn_the_others() -> None:
    rig = Rig().greet()
    rig.send(b"".join(rig.request(number) for number in range(1, 401, 2)))
    assert len(rig.streams) == 64
    assert not rig.wire.is_reading()
    rig.connection._next_turn()
    assert len(rig.streams) == 128
    rig.connection._next_turn()
    rig.connection._next_turn()
    assert len(rig.streams) == 200
    assert rig.wire.is_reading()
    assert all(isinstance(each, Recorder) and each.ends == 1 for each in rig.streams.values())


# From the client.


async def test_the_client_is_let_in_as_its_data_are_taken() -> None:
    rig = Rig().greet()
    written = rig.send(rig.headers(), *(data(1, bytes(16384)) for _ in range(33)))
    assert updates(written) == {1: 33 * 16384}
    assert len(rig.stream().body) == 33 * 16384


async def test_data_in_frames_that_arrive_piecemeal_count_once() -> None:
    rig = Rig().greet()
    sent = b"".join(data(1, bytes(200_000), padding=255) for _ in range(4))
    written = rig.send(rig.headers(), *(sent[start : start + 50_000] for start in range(0, len(sent), 50_000)))
    assert len(rig.stream().body) == 800_000
    assert sum(updates(written).values()) == 3 * 200_256


async def test_a_stream_that_takes_nothing_stops_its_client_and_no_other() -> None:
    rig = Rig(Stubborn).greet()
    written = rig.send(rig.headers(), *(data(1, bytes(1 << 18)) for _ in range(4)))
    assert updates(written) == {}
    written = rig.send(rig.headers(3), data(1, b"x"), data(3, b"y"))
    assert resets(written) == {1: Code.FLOW_CONTROL_ERROR}
    assert rig.stream(3).body == b"y"


async def test_a_client_that_ignores_the_connection_s_window_is_sent_away() -> None:
    rig = Rig().greet()
    rig.connection._window = 1000
    rig.send(rig.headers())
    assert goaways(rig.send(data(1, bytes(1001)))) == [Code.FLOW_CONTROL_ERROR]


async def test_the_connection_s_window_is_given_back_for_dead_streams_too() -> None:
    rig = Rig().greet()
    rig.send(rig.headers())
    rig.stream().reset(Code.CANCEL)
    sent = connection.CONNECTION_WINDOW // 2 // 200_000 + 1
    written = rig.send(*(data(1, bytes(200_000)) for _ in range(sent)))
    assert updates(written) == {0: sent * 200_000}
