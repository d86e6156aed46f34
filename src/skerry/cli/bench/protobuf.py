"""The few messages of the Open Inference Protocol that are needed, as protobuf's wire format has them.

A message is a row of fields: a key (number and kind), then a number or a length and bytes. That is all there is to know
here, so a protobuf library (10 MiB) and generated code are not worth it.
"""

from collections.abc import Iterator

from skerry.cli.bench.tensors import Tensor


def number(value: int) -> bytes:
    """A varint; negative ones have ten bytes."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(field: int, value: str | bytes) -> bytes:
    """A field with a length."""
    raw = value.encode() if isinstance(value, str) else value
    return number(field << 3 | 2) + number(len(raw)) + raw


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field; raises `ValueError` for what is no message."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        kind = key & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield key >> 3, value
            continue
        if kind == 2:
            size, position = _varint(message, position)
        elif kind in {1, 5}:
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"field kind {kind}")
        if position + size > len(message):
            raise ValueError("a field is cut off")
        yield key >> 3, message[position : position + size]
        position += size


def _varint(message: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if position >= len(message):
            raise ValueError("a number is cut off")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, position
        shift += 7
    raise ValueError("a number has no end")


def strings(message: bytes, field: int) -> list[str]:
    """All values of a text field."""
    return [value.decode() for found, value in fields(message) if found == field and isinstance(value, bytes)]


def signed(message: bytes, field: int) -> list[int]:
    """All values of a repeated int64 field, packed or not."""
    found: list[int] = []
    for key, value in fields(message):
        if key != field:
            continue
        if isinstance(value, int):
            found.append(value)
            continue
        position = 0
        while position < len(value):
            one, position = _varint(value, position)
            found.append(one)
    return [one - (1 << 64) if one >> 63 else one for one in found]


def infer_request(model: str, version: str, tensors: tuple[Tensor, ...]) -> bytes:
    """ModelInferRequest with raw contents."""
    parts = [text(1, model)]
    if version:
        parts.append(text(2, version))
    for tensor in tensors:
        shape = b"".join(number(size) for size in tensor.shape)
        parts.append(text(5, text(1, tensor.name) + text(2, tensor.datatype) + text(3, shape)))
    parts += [text(7, tensor.raw) for tensor in tensors]
    return b"".join(parts)
