"""The small messages: written field by field, read by the number of the field."""

from collections.abc import Iterable

from skerry.server.grpc import wire
from skerry.server.grpc.h2.outbound import Buffer


def texts(data: Buffer, *numbers: int) -> list[str]:
    """The text fields of these numbers, empty where there is none; all other fields are passed over."""
    found = dict.fromkeys(numbers, "")
    for number, kind, value in wire.fields(data):
        if number in found and kind == wire.BYTES:
            assert not isinstance(value, int)
            found[number] = wire.text(value)
    return list(found.values())


def flag(data: Buffer, number: int) -> bool:
    """A truth value."""
    found = False
    for each, kind, value in wire.fields(data):
        if each == number and kind == wire.VARINT:
            found = bool(value)
    return found


def tensor(name: str, datatype: str, shape: Iterable[int]) -> bytes:
    """What describes a tensor, in metadata and in answers."""
    sizes = b"".join(map(wire.number_bytes, shape))
    return wire.put_text(1, name) + wire.put_text(2, datatype) + (wire.put_bytes(3, sizes) if sizes else b"")
