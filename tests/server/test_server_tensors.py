"""The framing of BYTES tensors."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.server.errors import InvalidRequest
from skerry.server.tensors import byte_strings, join_byte_strings


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.binary(max_size=50), max_size=20))
def test_what_is_joined_can_be_split_again(elements: list[bytes]) -> None:
    assert byte_strings(join_byte_strings(elements), len(elements)) == elements


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=200), st.integers(0, 2**40))
def test_any_bytes_are_elements_or_an_invalid_request(data: bytes, count: int) -> None:
    try:
        elements = byte_strings(data, count)
    except InvalidRequest:
        return
    assert len(elements) == count
    assert join_byte_strings(elements) == data


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"", 1),
        (b"\x01\0\0", 1),
        (b"\x05\0\0\0abc", 1),
        (b"\xff\xff\xff\xffabc", 1),
        (b"\x01\0\0\0ab", 1),
        (b"\x01\0\0\0a", 0),
    ],
)
def test_lengths_must_tile_the_buffer(data: bytes, count: int) -> None:
    with pytest.raises(InvalidRequest, match="Inputs inside buffer does not match expected format"):
        byte_strings(data, count)
