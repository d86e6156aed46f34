"""JSON headers of binary requests that were read before.

A client that sends binary tensors sends the same JSON before them each time. Once such a header has been read and
checked, the next request that begins with the same bytes, and has the same length, is cut into tensors without
looking at the JSON.
"""

from typing import Any, Final

import msgspec
import numpy as np

from skerry.server.http.messages import Buffer
from skerry.server.rest.reading import Encoding
from skerry.server.tensors import InferRequest, Tensor

_MOST_DIGITS: Final = 4
_REMEMBERED: Final = 256


class _Cut(msgspec.Struct, frozen=True, gc=False):
    """Where a tensor is in the body."""

    dtype: np.dtype[Any]
    count: int
    offset: int


class Plan(msgspec.Struct, frozen=True, gc=False):
    """How to cut a body of this length."""

    length: int
    tensors: list[tuple[str, str, tuple[int, ...]]]
    """Name, datatype and shape of each."""
    cuts: list[_Cut]
    outputs: list[str]
    encoding: Encoding


class Plans:
    """A bounded memory; a client whose headers differ each time empties it now and then, no more."""

    def __init__(self) -> None:
        self._known: dict[bytes, Plan] = {}

    def find(self, body: Buffer, header_length: bytes) -> Plan | None:
        """Return how a body with the same header was cut."""
        if len(header_length) > _MOST_DIGITS or not header_length.isdigit():
            return None
        plan = self._known.get(bytes(body[: int(header_length)]))
        return None if plan is None or plan.length != len(body) else plan

    def read(self, body: Buffer, header_length: bytes, received_at: float) -> tuple[InferRequest, Encoding] | None:
        """Cut the body as one with the same header was cut; None if there was none."""
        plan = self.find(body, header_length)
        if plan is None:
            return None
        tensors = [
            Tensor(name, datatype, shape, np.frombuffer(body, cut.dtype, cut.count, cut.offset))
            for (name, datatype, shape), cut in zip(plan.tensors, plan.cuts, strict=True)
        ]
        return InferRequest(tensors, plan.outputs, received_at), plan.encoding

    def remember(self, body: Buffer, header_length: bytes, request: InferRequest, encoding: Encoding) -> None:
        """Keep how the body was read, if it was JSON and then nothing but numbers."""
        if len(header_length) > _MOST_DIGITS:
            return
        offset = size = int(header_length)
        cuts = []
        for tensor in request.inputs:
            values = tensor.values
            if isinstance(values, list) or tensor.datatype == "BOOL":  # both are more than a view
                return
            cuts.append(_Cut(values.dtype, values.size, offset))
            offset += values.nbytes
        if offset != len(body):  # some of the values were in the JSON
            return
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        tensors = [(tensor.name, tensor.datatype, tensor.shape) for tensor in request.inputs]
        self._known[bytes(body[:size])] = Plan(len(body), tensors, cuts, request.outputs, encoding)
