"""Bodies end where they end, however the bytes arrive; what is malformed is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.cluster.gateway.framing import Chunked, Empty, Framing, Length, MalformedBody

CHUNKS = st.lists(st.binary(min_size=1, max_size=300), max_size=8)
EXTENSIONS = st.sampled_from([b"", b";a", b" ;a=b", b';q="x y"'])
TRAILERS = st.lists(st.sampled_from([b"X-Sum: 1", b"a:", b"B: \t c "]), max_size=3)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[start:stop] for start, stop in zip([0, *places], [*places, len(data)], strict=True)]


def feed(framing: Framing, pieces: list[bytes]) -> bytes:
    """Feed everything, also what follows the body; return what was taken."""
    taken = b""
    for piece in pieces:
        count = framing.take(piece)
        assert count == len(piece) or framing.done
        taken += piece[:count]
    return taken


@given(
    chunks=CHUNKS, extension=EXTENSIONS, trailers=TRAILERS, behind=st.binary(max_size=30), cuts=st.lists(st.integers(0))
)
def test_a_chunked_body_is_taken_whole_and_nothing_behind_it(
    chunks: list[bytes], extension: bytes, trailers: list[bytes], behind: bytes, cuts: list[int]
) -> None:
    raw = b"".join(b"%X%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    raw += b"0\r\n" + b"".join(trailer + b"\r\n" for trailer in trailers) + b"\r\n"
    payload: list[bytes] = []
    framing = Chunked(payload)
    assert feed(framing, split(raw + behind, cuts)) == raw
    assert framing.done
    assert b"".join(payload) == b"".join(chunks)


@given(length=st.integers(0, 500), sent=st.binary(max_size=700), cuts=st.lists(st.integers(0)))
def test_a_length_is_counted(length: int, sent: bytes, cuts: list[int]) -> None:
    framing = Length(length)
    assert feed(framing, split(sent, cuts)) == sent[:length]
    assert framing.done == (len(sent) >= length)


def test_an_empty_body_takes_nothing() -> None:
    assert Empty().take(b"next request") == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\na\r\n",
        b"0x1\r\na\r\n",
        b" 1\r\na\r\n",
        b"1 \r\na\r\n",
        b"1\na\n0\n\n",
        b"1\r\nab\r\n",
        b"1\r\na\n",
        b"1;a\rb\r\na\r\n",
        b"1;\0\r\na\r\n",
        b"1" * 16 + b"\r\n",
        b"1;" + b"a" * 5000,
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n folded: 1\r\n\r\n",
        b"0\r\nContent-Length: 3\r\n\r\n",
        b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"0\r\nHost: evil\r\n\r\n",
    ],
)
@given(cuts=st.lists(st.integers(0), max_size=4))
def test_a_body_that_can_be_read_in_two_ways_is_refused(raw: bytes, cuts: list[int]) -> None:
    with pytest.raises(MalformedBody):
        feed(Chunked(), split(raw, cuts))


def test_trailers_without_end_are_refused() -> None:
    with pytest.raises(MalformedBody):
        feed(Chunked(), [b"0\r\n", b"c: d\r\n" * 6000])
