"""WebSocket frames and SPDY frames as bytes: however they are cut, and whatever else arrives."""

import contextlib
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.cluster.apiserver.streams import spdy
from skerry.daemon import websocket_frames as ws

KEY = b"\x01\x02\x03\x04"


def client_frame(opcode: int, data: bytes, *, fin: bool = True, key: bytes = KEY) -> bytes:
    """A frame as a client sends it."""
    plain = ws.frame(opcode, data)
    head = plain[: len(plain) - len(data)]
    return bytes((head[0] if fin else head[0] & 0x7F, head[1] | 0x80)) + head[2:] + key + ws.unmasked(data, key)


def fed(reader: ws.FrameReader, data: bytes, cuts: list[int]) -> list[ws.Event]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [event for start, end in pairwise(edges) for event in reader.feed(data[start:end])]


def messages(events: list[ws.Event]) -> list[bytes | ws.Event]:
    """Put the pieces of messages together."""
    found: list[bytes | ws.Event] = []
    text = b""
    for event in events:
        if not isinstance(event, ws.Piece):
            found.append(event)
            continue
        text += event.data
        if event.last:
            found.append(text)
            text = b""
    return found


@given(
    st.lists(st.one_of(st.binary(max_size=300), st.integers(120, 70_000).map(bytes)), max_size=5),
    st.binary(min_size=4, max_size=4),
    st.lists(st.integers(0, 1 << 20), max_size=20),
)
def test_messages_survive_any_cut(texts: list[bytes], key: bytes, cuts: list[int]) -> None:
    sent = b"".join(client_frame(ws.BINARY, text, key=key) for text in texts)
    assert messages(fed(ws.FrameReader(), sent, cuts)) == texts


@given(st.lists(st.binary(max_size=50), min_size=2, max_size=5), st.lists(st.integers(0, 1 << 20), max_size=20))
def test_a_message_in_frames_with_a_ping_between(parts: list[bytes], cuts: list[int]) -> None:
    last = len(parts) - 1
    frames = [client_frame(ws.TEXT if n == 0 else 0, part, fin=n == last) for n, part in enumerate(parts)]
    sent = frames[0] + client_frame(ws.PING, b"?") + b"".join(frames[1:])
    assert messages(fed(ws.FrameReader(), sent, cuts)) == [ws.Ping(b"?"), b"".join(parts)]


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_noise_is_refused_and_never_kept(noise: list[bytes]) -> None:
    reader = ws.FrameReader()
    with contextlib.suppress(ws.ProtocolError):
        for chunk in noise:
            list(reader.feed(chunk))
            assert len(reader._buffer) <= 14 + 125


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (ws.frame(ws.BINARY, b"x"), "masked"),
        (b"\xc2\x80" + KEY, "reserved"),
        (client_frame(3, b""), "unknown opcode"),
        (client_frame(ws.PING, b"", fin=False), "control frame"),
        (b"\x89\xfe\x00\x80" + KEY, "control frame"),
        (client_frame(ws.CONTINUATION, b""), "continuation of nothing"),
        (client_frame(ws.BINARY, b"", fin=False) + client_frame(ws.BINARY, b""), "message inside"),
        (b"\x82\xff\xff" + bytes(7) + KEY, "too long"),
        (client_frame(ws.CLOSE, b"\x03"), "proper code"),
        (client_frame(ws.CLOSE, (1005).to_bytes(2, "big")), "proper code"),
        (client_frame(ws.CLOSE, (1000).to_bytes(2, "big") + b"\xff"), "UTF-8"),
    ],
)
def test_what_a_client_must_not_send(sent: bytes, why: str) -> None:
    with pytest.raises(ws.ProtocolError, match=why):
        list(ws.FrameReader().feed(sent))


def test_a_length_costs_nothing() -> None:
    """A client that announces a frame of many gigabytes is handed on as it sends."""
    reader = ws.FrameReader()
    head = b"\x82\xff" + (1 << 40).to_bytes(8, "big") + bytes(4)
    for _ in range(3):
        assert list(reader.feed(head + bytes(1000))) == [ws.Piece(bytes(1000), last=False)]
        assert not reader._buffer
        head = b""


# SPDY

HEADERS = st.dictionaries(
    st.text(st.characters(max_codepoint=127, categories=["Ll"]), min_size=1, max_size=9),
    st.text(st.characters(max_codepoint=255), max_size=20),
    max_size=5,
)


def syn(writer: spdy.SpdyWriter, stream: int, headers: dict[str, str], flags: int = 0) -> bytes:
    body = stream.to_bytes(4, "big") + bytes(6) + writer.block(list(headers.items()))
    return spdy.control(spdy.SYN_STREAM, body, flags)


@given(
    st.lists(st.tuples(HEADERS, st.binary(max_size=500)), max_size=5), st.lists(st.integers(0, 1 << 20), max_size=20)
)
def test_streams_survive_any_cut(streams: list[tuple[dict[str, str], bytes]], cuts: list[int]) -> None:
    writer, reader = spdy.SpdyWriter(), spdy.SpdyReader()
    sent, wanted = b"", []
    for number, (headers, text) in enumerate(streams):
        stream = 2 * number + 1
        sent += syn(writer, stream, headers) + spdy.control(4, bytes(4)) + spdy.data(stream, text, fin=True)
        wanted.append((spdy.Opened(stream, headers, fin=False), text))
    edges = sorted({0, len(sent), *(cut % (len(sent) + 1) for cut in cuts)})
    events = [event for start, end in pairwise(edges) for event in reader.feed(sent[start:end])]
    opened = [event for event in events if isinstance(event, spdy.Opened)]
    data = [event for event in events if isinstance(event, spdy.Data)]
    found = [(each, b"".join(piece.data for piece in data if piece.stream == each.stream)) for each in opened]
    assert found == wanted
    assert [piece.stream for piece in data if piece.fin] == [each.stream for each in opened]


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_noise_is_no_spdy(noise: list[bytes]) -> None:
    reader = spdy.SpdyReader()
    with contextlib.suppress(spdy.SpdyError):
        for chunk in noise:
            list(reader.feed(chunk))


@given(st.binary(max_size=200))
def test_noise_in_a_header_block(noise: bytes) -> None:
    with contextlib.suppress(spdy.SpdyError):
        list(spdy.SpdyReader().feed(spdy.control(spdy.SYN_STREAM, bytes(10) + noise)))


def test_a_header_block_that_explodes_is_refused() -> None:
    pack = zlib.compressobj(zdict=spdy.DICTIONARY)
    bomb = pack.compress(bytes(10 << 20)) + pack.flush(zlib.Z_SYNC_FLUSH)
    with pytest.raises(spdy.SpdyError, match="too long"):
        list(spdy.SpdyReader().feed(spdy.control(spdy.SYN_STREAM, bytes(10) + bomb)))


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (b"\x80\x02\x00\x01" + bytes(4), "version"),
        (b"\x80\x03\x00\x01\x00\xff\xff\xff", "too long"),
        (spdy.control(spdy.RST_STREAM, bytes(4)), "too short"),
        (spdy.control(spdy.SYN_STREAM, bytes(10) + b"nonsense"), "unpacked"),
    ],
)
def test_what_breaks_a_session(sent: bytes, why: str) -> None:
    with pytest.raises(spdy.SpdyError, match=why):
        list(spdy.SpdyReader().feed(sent))
