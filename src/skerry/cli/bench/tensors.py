"""Tensors without a tensor library: raw little-endian values, and what JSON makes of them.

The command line may not load numpy, and does not need it: values are made once and sent many times.
"""

import array
import base64
import math
import random
import struct
from dataclasses import dataclass
from typing import Any, Final

import click

# Datatype → the code of `struct`; BYTES has none, BF16 is the upper half of an FP32.
CODES: Final = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
_WORDS: Final = ("a", "bench", "of", "text", "from", "skerry", "to", "see", "how", "fast")


@dataclass(frozen=True)
class Tensor:
    """One input. `raw` is what the binary extension sends: BYTES elements each behind their length."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes

    def values(self) -> list[Any]:
        """The elements for JSON; raises `click.ClickException` for bytes that JSON cannot hold."""
        if self.datatype == "BYTES":
            return [_text(element) for element in elements_of(self.raw)]
        if self.datatype == "BF16":
            halves = struct.unpack(f"<{len(self.raw) // 2}H", self.raw)
            return [struct.unpack("<f", struct.pack("<I", half << 16))[0] for half in halves]
        size = struct.calcsize("<" + CODES[self.datatype])
        values = struct.unpack(f"<{len(self.raw) // size}{CODES[self.datatype]}", self.raw)
        if not self.datatype.startswith("FP"):
            return list(values)
        # Few digits, as a client that looks after its bandwidth sends them.
        return [round(value, 4) if math.isfinite(value) else 0.0 for value in values]


def packed(name: str, datatype: str, shape: tuple[int, ...], values: list[Any]) -> Tensor:
    """A tensor of a flat list; raises `click.ClickException` when they do not fit each other."""
    if len(values) != math.prod(shape):
        expected = math.prod(shape)
        raise click.ClickException(f"input {name}: shape {list(shape)} has {expected} elements, not {len(values)}")
    try:
        if datatype == "BYTES":
            raw = with_lengths([_encoded(value) for value in values])
        elif datatype == "BF16":
            raw = b"".join(struct.pack("<f", value)[2:] for value in values)
        else:
            raw = struct.pack(f"<{len(values)}{_code(name, datatype)}", *values)
    except (struct.error, TypeError, OverflowError) as error:
        raise click.ClickException(f"input {name}: these are no values of {datatype}: {error}") from error
    return Tensor(name, datatype, shape, raw)


def made_up(name: str, datatype: str, shape: tuple[int, ...]) -> Tensor:
    """Random values, the same in every run: numbers between 0 and 1, small integers, short words."""
    chance = random.Random(f"{name} {datatype} {shape}")  # noqa: S311 - the same data for the same model
    count = math.prod(shape)
    values: list[Any]
    if datatype == "BYTES":
        values = [chance.choice(_WORDS) for _ in range(count)]
    elif datatype in {"FP16", "FP32", "FP64", "BF16"}:
        values = [round(chance.random(), 4) for _ in range(count)]
    elif datatype == "BOOL":
        values = [chance.random() < 0.5 for _ in range(count)]
    else:
        raw = chance.randbytes(count)
        values = list(raw if datatype == "UINT8" else (byte & 1 for byte in raw))
    return packed(name, datatype, shape, values)


def with_lengths(elements: list[bytes]) -> bytes:
    """BYTES as the binary extension sends them."""
    return b"".join(struct.pack("<I", len(element)) + element for element in elements)


def elements_of(raw: bytes) -> list[bytes]:
    """The reverse."""
    found, position = [], 0
    while position < len(raw):
        (size,) = struct.unpack_from("<I", raw, position)
        found.append(raw[position + 4 : position + 4 + size])
        position += 4 + size
    return found


def flat(values: Any) -> list[Any]:
    """The elements of nested lists."""
    if not isinstance(values, list):
        return [values]
    if not any(isinstance(value, list) for value in values):
        return values
    return [element for value in values for element in flat(value)]


def swapped(raw: bytes, size: int) -> bytes:
    """Big-endian values as little-endian ones."""
    if size == 1:
        return raw
    values = array.array({2: "H", 4: "I", 8: "Q"}[size], raw)
    values.byteswap()
    return values.tobytes()


def _code(name: str, datatype: str) -> str:
    if datatype not in CODES:
        raise click.ClickException(f"input {name}: unknown datatype {datatype}; known: {', '.join(CODES)}, BF16, BYTES")
    return CODES[datatype]


def _encoded(value: Any) -> bytes:
    if isinstance(value, dict) and set(value) == {"b64"}:
        return base64.b64decode(value["b64"])
    return value if isinstance(value, bytes) else str(value).encode()


def _text(element: bytes) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise click.ClickException(
            "these bytes are no text, and JSON cannot hold them; use --encoding binary"
        ) from error
