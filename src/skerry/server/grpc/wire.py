"""Protobuf's encoding: numbers of variable length, and fields of a number and a type.

Reading is strict where the official runtime is and forgiving where it is: unknown fields are passed over, of whatever
type; text must be UTF-8.
"""

from collections.abc import Iterator
from typing import Final

from skerry.server.errors import InvalidRequest
from skerry.server.grpc.h2.outbound import Buffer

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
_GROUP: Final = 3
_GROUP_END: Final = 4
FIXED32: Final = 5
_MOST_NESTED: Final = 100
_MOST_TAG: Final = 2**32
_SIGN: Final = 1 << 63
_BITS: Final = (1 << 64) - 1


class Broken(InvalidRequest):
    """The bytes are no protobuf message."""

    def __init__(self, what: str) -> None:
        super().__init__(f"cannot read the message: {what}")


def varint(data: Buffer, position: int) -> tuple[int, int]:
    """A number at a position, and the position behind it; `IndexError` at the end of the data."""
    byte = data[position]
    position += 1
    if byte < 0x80:
        return byte, position
    value = byte & 0x7F
    for shift in range(7, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _BITS, position
    raise Broken("a number has more than ten bytes")


def fields(data: Buffer) -> Iterator[tuple[int, int, int | Buffer]]:
    """Yield (number, type, value) for every field; the value is a number only for VARINT. Raises `Broken`."""
    position = 0
    end = len(data)
    while position < end:
        try:
            tag, position = varint(data, position)
            kind = tag & 7
            if kind == VARINT:
                number, position = varint(data, position)
                yield tag >> 3, VARINT, number
                continue
            start, position = _extent(data, position, tag)
        except IndexError:
            raise Broken("it ends in the middle of a field") from None
        if position > end:
            raise Broken("a field is longer than what is left")
        yield tag >> 3, kind, data[start:position]


def skip(data: Buffer, position: int, tag: int) -> int:
    """The position behind the value of a field that is not looked at."""
    return _extent(data, position, tag)[1]


def _extent(data: Buffer, position: int, tag: int, depth: int = 0) -> tuple[int, int]:
    """Where the value of a field begins and ends."""
    if tag < 8 or tag >= _MOST_TAG:
        raise Broken("a field has an impossible number")
    match tag & 7:
        case 2:
            length, position = varint(data, position)
            return position, position + length
        case 1:
            return position, position + 8
        case 5:
            return position, position + 4
        case 0:
            return position, varint(data, position)[1]
        case 3 if depth < _MOST_NESTED:
            return position, _group_end(data, position, tag >> 3, depth)
        case _:
            raise Broken("a field has an impossible type")


def _group_end(data: Buffer, position: int, number: int, depth: int) -> int:
    while True:
        tag, position = varint(data, position)
        if tag & 7 == _GROUP_END:
            if tag >> 3 != number:
                raise Broken("a group ends that was not begun")
            return position
        position = _extent(data, position, tag, depth + 1)[1]
        if position > len(data):
            raise Broken("a field is longer than what is left")


def text(data: Buffer) -> str:
    """A string field; raises `Broken` if it is not UTF-8."""
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError:
        raise Broken("a text is not UTF-8") from None


def signed(number: int) -> int:
    """A number as int64."""
    return number - (1 << 64) if number & _SIGN else number


# Writing.


def number_bytes(value: int) -> bytes:
    """A number, which may be negative, as a varint."""
    value &= _BITS
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def put_bytes(number: int, value: Buffer) -> bytes:
    """A field of bytes, or of a message."""
    return b"".join((number_bytes(number << 3 | BYTES), number_bytes(len(value)), value))


def put_text(number: int, value: str) -> bytes:
    """A field of text; nothing for an empty one."""
    return put_bytes(number, value.encode()) if value else b""


def put_number(number: int, value: int) -> bytes:
    """A field of a number or a truth value; nothing for zero."""
    return number_bytes(number << 3 | VARINT) + number_bytes(value) if value else b""
