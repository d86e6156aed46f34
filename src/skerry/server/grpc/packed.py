"""Packed fields to arrays: all numbers at once, without a loop over them."""

import numpy as np
import numpy.typing as npt

from skerry.server.grpc.h2.outbound import Buffer
from skerry.server.grpc.wire import Broken


def varints(data: Buffer) -> npt.NDArray[np.uint64]:
    """All numbers of a packed field."""
    raw = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw < 0x80)
    if not raw.size:
        return np.empty(0, np.uint64)
    if not ends.size or ends[-1] != raw.size - 1:
        raise Broken("it ends in the middle of a number")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    longest = int(lengths.max())
    if longest > 10:
        raise Broken("a number has more than ten bytes")
    values = np.zeros(ends.size, np.uint64)
    for index in range(longest):
        here = lengths > index
        values[here] |= (raw[starts[here] + index] & 0x7F).astype(np.uint64) << np.uint64(7 * index)
    return values
