"""The numbers of a JSON array, from text to the bytes of a NumPy array.

`read(text, kind)` takes the text of one array of numbers, flat or nested, and gives them one after the other as FP32
("f"), FP64 ("d"), INT64 ("i") or UINT64 ("u"). For whatever else the text is, and for numbers that the kind cannot
hold, it gives None: its caller then reads the text in its own way, which also says what is wrong. Both kinds of
integers take no point and no exponent; what is beyond FP32 is infinity, what is beyond FP64 is not taken.

The reader is compiled (`_numbers.c`) where there was a compiler at the installation, five times as fast as the one
here, which does the same.
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
import numpy as np

Kind: TypeAlias = Literal["f", "d", "i", "u"]
Reader: TypeAlias = Callable[[bytes | memoryview, Kind], bytearray | None]

WIDE: Final[dict[Kind, np.dtype[Any]]] = {
    "f": np.dtype("<f4"),
    "d": np.dtype("<f8"),
    "i": np.dtype("<i8"),
    "u": np.dtype("<u8"),
}
_MOST_NESTED: Final = 100  # below the outermost list; _numbers.c has the same limit
_LISTS: Final[dict[Kind, Any]] = {
    "f": list[float],
    "d": list[float],
    "i": list[int],
    "u": list[Annotated[int, msgspec.Meta(ge=0)]],
}
_DECODERS: Final = {kind: msgspec.json.Decoder(lists).decode for kind, lists in _LISTS.items()}
_decode_any: Final = msgspec.json.Decoder().decode


def read_in_python(text: bytes | memoryview, kind: Kind, /) -> bytearray | None:
    """The reader for machines without a compiled one."""
    try:
        with np.errstate(over="ignore"):
            return bytearray(np.array(_numbers(text, kind), WIDE[kind]))
    except (msgspec.DecodeError, UnicodeDecodeError, OverflowError, RecursionError):
        return None


def _numbers(text: bytes | memoryview, kind: Kind) -> list[Any]:
    try:
        flat: list[Any] = _DECODERS[kind](text)
    except msgspec.ValidationError:  # nested perhaps
        nested = msgspec.convert(_decode_any(text), list[Any])
        flat = msgspec.convert(list(flattened(nested)), _LISTS[kind])
    return flat


def flattened(value: Any, depth: int = 0) -> Iterator[Any]:
    """The elements of lists within lists, in order; raises `RecursionError` where they are too deep."""
    if not isinstance(value, list):
        yield value
    elif depth > _MOST_NESTED:
        raise RecursionError("the data are nested too deeply")
    else:
        for element in value:
            yield from flattened(element, depth + 1)


def fastest_reader() -> Reader:
    """The compiled reader if it is there."""
    try:
        from skerry.server._numbers import read as compiled
    except ImportError:
        return read_in_python
    return compiled


read: Final = fastest_reader()
