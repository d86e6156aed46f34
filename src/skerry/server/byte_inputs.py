"""What a `BYTES` tensor means to a model that does not take strings: the three readings of OVMS.

- the input's elements are strings: they go in as they are
- the input is UINT8 with two dimensions: one string a row, padded with zeros to one more than the longest
- the input has four dimensions: each element is an encoded picture
"""

import enum
from typing import Final

import numpy as np

from skerry.server.errors import InvalidRequest
from skerry.server.layouts import takes_pictures
from skerry.server.tensors import BYTES, Array, Tensor, TensorSpec

_LARGEST_PACKED: Final = 1 << 30


class Reading(enum.Enum):
    """How the byte strings are understood."""

    STRINGS = "strings"
    ROWS = "rows"
    PICTURES = "pictures"


def reading_of(spec: TensorSpec) -> Reading | None:
    """How this input understands byte strings; None if it does not."""
    if spec.datatype == BYTES:
        return Reading.STRINGS
    if spec.datatype == "UINT8" and len(spec.dims) == 2:
        return Reading.ROWS
    return Reading.PICTURES if len(spec.dims) == 4 else None


def check_one_dimension(tensor: Tensor) -> None:
    """Pictures and packed strings come as a plain list."""
    if len(tensor.shape) != 1:
        raise InvalidRequest(
            "Invalid number of shape dimensions - Expected number of input shape dimensions: 1;"
            f" Actual: {len(tensor.shape)}; input name: {tensor.name}"
        )


def check_batch(tensor: Tensor, spec: TensorSpec, position: int | None) -> None:
    """The number of elements is the batch."""
    batch = spec.dims[position or 0]
    if not batch.accepts(tensor.shape[0]):
        raise InvalidRequest(
            f"Invalid input batch size - Expected: {batch}; Actual: {tensor.shape[0]}; input name: {tensor.name}"
        )


def check_pictures(tensor: Tensor, spec: TensorSpec) -> None:
    """What can be said about pictures before they are decoded."""
    check_one_dimension(tensor)
    check_batch(tensor, spec, 0)
    if not takes_pictures(spec.layout, len(spec.dims)):
        raise InvalidRequest(
            "Received binary image input but resource not configured to accept NHWC layout"
            f" - the layout of {tensor.name} is {spec.layout}; start the server with --layout=NHWC:{spec.layout}"
        )


def packed_rows(tensor: Tensor, spec: TensorSpec) -> tuple[Array, tuple[int, int]]:
    """Pack strings into rows of bytes."""
    check_one_dimension(tensor)
    check_batch(tensor, spec, 0)
    strings = tensor.values
    assert isinstance(strings, list)
    width = max((len(string) for string in strings), default=0) + 1
    if len(strings) * width > _LARGEST_PACKED:
        raise InvalidRequest(f"cannot pack the strings of {tensor.name}: together they would take more than 1 GiB")
    if not spec.dims[1].accepts(width):
        raise InvalidRequest(
            f"Invalid input shape - Expected: {spec.expected};"
            f" Actual: ({len(strings)},{width}); input name: {tensor.name}"
        )
    rows = np.zeros((len(strings), width), np.uint8)
    for row, string in zip(rows, strings, strict=True):
        row[: len(string)] = np.frombuffer(string, np.uint8)
    return rows.reshape(-1), (len(strings), width)
