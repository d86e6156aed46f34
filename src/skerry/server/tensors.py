"""Tensors and their types, as the Open Inference Protocol names them.

A `Tensor` is a name, a datatype, a shape and the values: a NumPy array, or a list of byte strings for `BYTES`. Arrays
may be views on a request's bytes; whoever keeps one longer than the request copies it.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from skerry.server import bfloat16
from skerry.server.bfloat16 import BF16
from skerry.server.errors import InvalidRequest

Array: TypeAlias = npt.NDArray[Any]
BYTES: Final = "BYTES"
_LENGTH_BYTES: Final = 4

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    BF16: np.dtype("<u2"),  # halves of FP32, see bfloat16
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}

# By what NumPy calls them: halves are no numbers to it.
DATATYPES: Final = {dtype: name for name, dtype in DTYPES.items() if name != BF16}


class Dim(msgspec.Struct, frozen=True):
    """What one dimension may be: exactly `low`, or anything up to `high`, which is None where there is no limit."""

    low: int
    high: int | None

    @property
    def fixed(self) -> bool:
        return self.low == self.high

    def accepts(self, size: int) -> bool:
        return self.low <= size and (self.high is None or size <= self.high)

    def __str__(self) -> str:
        if self.fixed:
            return str(self.low)
        return "-1" if self.high is None else f"[{self.low}~{self.high}]"


ANY: Final = Dim(0, None)


class TensorSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a model says about one of its inputs or outputs, as clients see it (after `--layout` and the like)."""

    name: str
    datatype: str
    dims: tuple[Dim, ...]
    layout: str = ""

    @property
    def fixed_shape(self) -> tuple[int, ...] | None:
        """The only shape that it can have, if there is only one."""
        return tuple(dim.low for dim in self.dims) if all(dim.fixed for dim in self.dims) else None

    @property
    def usual_shape(self) -> tuple[int, ...]:
        """A shape that it can have, and the likeliest: one where anything goes."""
        return tuple(dim.low if dim.fixed else max(dim.low, 1) for dim in self.dims)

    @property
    def shape(self) -> list[int]:
        """The shape for metadata; -1 where it may vary."""
        return [dim.low if dim.fixed else -1 for dim in self.dims]

    @property
    def expected(self) -> str:
        """The shape for messages, ranges included."""
        return "(" + ",".join(map(str, self.dims)) + ")"


class Tensor(msgspec.Struct, gc=False):
    """Named values; a list for `BYTES` and only for that."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Array | list[bytes]


class InferRequest(msgspec.Struct, gc=False):
    """An inference as every transport hands it over.

    `outputs` are the names wanted, all where there is none; `received_at` is `time.perf_counter()` when the transport
    had the whole request. How the answer is to be encoded stays with the transport.
    """

    inputs: list[Tensor]
    outputs: list[str] = []
    received_at: float = 0.0


class InferResponse(msgspec.Struct, gc=False):
    """The answer, with outputs in the order to send them."""

    model_name: str
    model_version: str
    outputs: list[Tensor]


def element_count(shape: Sequence[int]) -> int:
    """How many values a shape holds; 1 for a scalar."""
    return math.prod(shape)


def array_of(values: Any, datatype: str) -> Array:
    """Numbers as an array of a datatype; raises `OverflowError` for whole numbers beyond it."""
    return bfloat16.of_floats(values) if datatype == BF16 else np.array(values, DTYPES[datatype])


def numbers_of(values: Array, datatype: str) -> Array:
    """The values of a tensor as numbers."""
    return bfloat16.to_floats(values) if datatype == BF16 else values


def byte_strings(data: bytes | memoryview, count: int) -> list[bytes]:
    """Split `BYTES` elements: each is a 32-bit little-endian length and that many bytes."""
    view = memoryview(data)
    elements: list[bytes] = []
    offset = 0
    # Counted against the data before anything is allocated: a lying shape must not cost memory.
    while offset + _LENGTH_BYTES <= len(view) and len(elements) < count:
        end = offset + _LENGTH_BYTES + int.from_bytes(view[offset : offset + _LENGTH_BYTES], "little")
        if end > len(view):
            break
        elements.append(bytes(view[offset + _LENGTH_BYTES : end]))
        offset = end
    if len(elements) != count or offset != len(view):
        raise InvalidRequest(
            "Inputs inside buffer does not match expected format."
            f" - {count} elements of 4-byte length and content do not fill exactly {len(view)} bytes"
        )
    return elements


def join_byte_strings(elements: Sequence[bytes]) -> bytes:
    """The opposite of `byte_strings`."""
    return b"".join(part for element in elements for part in (len(element).to_bytes(4, "little"), element))
