"""Header compression, judged by the `hpack` package."""

import re

import hpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.server.grpc.h2 import huffman
from skerry.server.grpc.h2.hpack import Decoder, literal

NAMES = st.one_of(st.sampled_from([b":path", b"te", b"cookie", b"x"]), st.binary(max_size=40))
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=300)), max_size=12)


def decoded_by_the_judge(judge: hpack.Decoder, block: bytes) -> list[tuple[bytes, bytes]] | None:
    """The fields, or None if it is no block. The judge reads integers of any size, and its errors are of all kinds."""
    try:
        return [(bytes(name), bytes(value)) for name, value in judge.decode(block, raw=True)]
    except (hpack.HPACKError, IndexError, UnicodeDecodeError):
        return None


def decoded(decoder: Decoder, block: bytes) -> list[tuple[bytes, bytes]] | None:
    try:
        return decoder.decode(block)
    except ValueError:
        return None


@given(blocks=st.lists(st.tuples(FIELDS, st.booleans(), st.sampled_from([None, 0, 100, 4096])), max_size=6))
@settings(deadline=None)
def test_what_another_encoder_writes(blocks: list[tuple[list[tuple[bytes, bytes]], bool, int | None]]) -> None:
    encoder, decoder = hpack.Encoder(), Decoder(1 << 16)
    for fields, huffman_coded, size in blocks:
        if size is not None:
            encoder.header_table_size = size
        assert decoder.decode(encoder.encode(fields, huffman=huffman_coded)) == fields


@given(st.lists(st.binary(max_size=60), max_size=4))
@settings(deadline=None)
def test_random_blocks_mean_the_same_to_the_judge_or_nothing(blocks: list[bytes]) -> None:
    judge, decoder = hpack.Decoder(), Decoder(1 << 16)
    for block in blocks:
        expected, found = decoded_by_the_judge(judge, block), decoded(decoder, block)
        if found is None:
            # The only thing refused here and taken there: integers of more than 28 bits.
            assert expected is None or re.search(rb"[\x80-\xff]{4}", block)
            return
        assert found == expected


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_huffman_code_of_anything(text: bytes) -> None:
    encoded = hpack.huffman.HuffmanEncoder(
        hpack.huffman_constants.REQUEST_CODES, hpack.huffman_constants.REQUEST_CODES_LENGTH
    ).encode(text)
    assert huffman.decode(encoded) == text


@given(st.binary(max_size=12))
@settings(deadline=None)
def test_random_bytes_as_huffman_code(data: bytes) -> None:
    try:
        expected: bytes | None = bytes(hpack.huffman_table.decode_huffman(data))
    except hpack.HPACKDecodingError:
        expected = None
    try:
        found: bytes | None = huffman.decode(data)
    except ValueError:
        found = None
    assert found == expected


@given(st.binary(max_size=400), st.binary(max_size=40_000))
@settings(deadline=None)
def test_what_is_written_here(name: bytes, value: bytes) -> None:
    assert hpack.Decoder().decode(literal(name, value), raw=True) == [(name, value)]


def test_a_list_that_is_too_large_is_read_and_not_kept() -> None:
    encoder, decoder = hpack.Encoder(), Decoder(200)
    assert decoder.decode(encoder.encode([(b"a", b"b" * 300), (b"c", b"d")])) is None
    assert decoder.decode(encoder.encode([(b"c", b"d")])) == [(b"c", b"d")]  # by its index


def test_the_table_stays_within_its_limit() -> None:
    encoder, decoder = hpack.Encoder(), Decoder(1 << 16)
    for number in range(1000):
        assert decoder.decode(encoder.encode([(b"name", b"%d" % number * 50)])) is not None
    assert len(decoder._table) < 128
    assert decoder._size <= 4096
    decoder.decode(b"\x20")
    assert not decoder._table


@pytest.mark.parametrize(
    "block", [b"\x3f\xe2\x1f", b"\x82\x20", b"\x80", b"\xbe", b"\x40\x01", b"\xff\xff\xff\xff\xff\x7f"]
)
def test_blocks_that_are_none(block: bytes) -> None:
    with pytest.raises(ValueError, match=r"table|block|integer"):
        Decoder(1 << 16).decode(block)
