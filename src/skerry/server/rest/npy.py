"""One array in NumPy's file format, versions 1 to 3.

The header is a Python dict as text. It is read by a pattern for the three keys that it must have, never evaluated, and
objects (which would mean pickle) are no datatype here. What the header promises is compared with the bytes that are
there before anything is made of it, so a lying shape costs nothing.
"""

import re
from math import prod
from typing import Final

import msgspec
import numpy as np

from skerry.server.errors import InvalidRequest
from skerry.server.tensors import DATATYPES, DTYPES, Tensor

MAGIC: Final = b"\x93NUMPY"
_MAGIC_BYTES: Final = len(MAGIC)
_LENGTH_BYTES: Final = {1: 2, 2: 4, 3: 4}
_MOST_HEADER: Final = 1 << 13
_MOST_DIMENSIONS: Final = 32
_ITEM: Final = re.compile(
    rb"\s*(['\"])(descr|fortran_order|shape)\1\s*:\s*(?:(['\"])([<>|=]?[a-z]\d{1,2})\3|(True|False)|\(([\d\s,]*)\))\s*(,|\Z)"
)


class _Header(msgspec.Struct, frozen=True):
    descr: bytes
    columns_first: bool
    shape: tuple[int, ...]


def read_array(data: memoryview, name: str) -> Tensor:
    """The array as the tensor `name`; its values are a view on the data where they can be. Raises `InvalidRequest`."""
    header, offset = _read_header(data, name)
    dtype = np.dtype(header.descr.decode())
    datatype = DATATYPES.get(dtype.newbyteorder("<"))
    if datatype is None:
        raise _wrong(name, f"values of type {header.descr.decode()} have no datatype in this protocol")
    expected, actual = prod(header.shape) * dtype.itemsize, len(data) - offset
    if expected != actual:
        raise _wrong(name, f"shape {header.shape} of {datatype} takes {expected} bytes, and {actual} follow the header")
    if datatype == "BOOL":  # any byte but zero is true; NumPy would keep the byte
        values = np.frombuffer(data, np.uint8, offset=offset).astype(np.bool_)
    else:
        values = np.frombuffer(data, dtype, offset=offset).astype(DTYPES[datatype], copy=False)
    if header.columns_first:
        values = values.reshape(header.shape, order="F").ravel()
    return Tensor(name, datatype, header.shape, values)


def is_array(data: memoryview) -> bool:
    """Whether the data begin as an npy file does."""
    return bytes(data[:_MAGIC_BYTES]) == MAGIC


def _read_header(data: memoryview, name: str) -> tuple[_Header, int]:
    version = data[_MAGIC_BYTES] if len(data) > _MAGIC_BYTES + 1 and is_array(data) else 0
    if version not in _LENGTH_BYTES:
        raise _wrong(name, "it does not begin as format 1, 2 or 3 does")
    begin = 8 + _LENGTH_BYTES[version]
    end = begin + int.from_bytes(data[8:begin], "little")
    if end > min(len(data), begin + _MOST_HEADER):
        raise _wrong(name, f"its header is cut off, or longer than {_MOST_HEADER} bytes")
    text = bytes(data[begin:end]).strip()
    if text[:1] != b"{" or text[-1:] != b"}":
        raise _wrong(name, "its header is no dict")
    return _understood(text[1:-1].rstrip(), name), end


def _understood(text: bytes, name: str) -> _Header:
    found: dict[bytes, re.Match[bytes]] = {}
    position = 0
    while position < len(text):
        item = _ITEM.match(text, position)
        if item is None or item[2] in found:
            raise _wrong(name, f"its header is not understood from byte {position} on; objects and records are refused")
        found[item[2]] = item
        position = item.end()
    try:
        descr, order, shape = found[b"descr"][4], found[b"fortran_order"][5], found[b"shape"][6]
        sizes = tuple(int(size) for size in shape.split(b",") if size.strip())
    except (KeyError, ValueError, AttributeError):
        raise _wrong(name, "its header needs descr, fortran_order and shape") from None
    if descr is None or order is None or len(sizes) > _MOST_DIMENSIONS:
        raise _wrong(name, "its header needs descr, fortran_order and shape")
    if max(sizes, default=0) >= 2**63:
        raise _wrong(name, "a dimension has more than 64 bits")
    return _Header(descr, order == b"True", sizes)


def _wrong(name: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"cannot read the npy array: {why}; input name: {name}")
