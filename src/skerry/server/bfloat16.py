"""BF16: the upper half of an FP32. NumPy has no such type.

So the values of a BF16 tensor are its halves as they are, in an array of UINT16: they go from the wire to the engine
and back without being touched. Only where they are to be read or were written as numbers (JSON, Python code, tables)
they are made of floats, rounded to the nearest, and floats of them.
"""

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]

BF16: Final = "BF16"
_QUIET: Final = 0x40  # what makes a NaN of the upper half of any NaN


def of_floats(values: Any) -> Array:
    """The halves of numbers, rounded to the nearest, ties to even; beyond the largest is infinity."""
    with np.errstate(over="ignore"):
        floats = np.ascontiguousarray(values, np.float32)
    bits = floats.view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1)).astype(np.uint32)) >> 16
    return np.where(np.isnan(floats), (bits >> 16) | _QUIET, rounded).astype(np.uint16)


def to_floats(halves: Array) -> Array:
    """The numbers that halves are."""
    return (halves.astype(np.uint32) << 16).view(np.float32)
