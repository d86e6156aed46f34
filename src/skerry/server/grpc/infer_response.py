"""ModelInferResponse, written without copying large tensors.

Answers of one model with the same shapes differ in their values only, so the rest of one is remembered.
"""

from typing import Final

import numpy as np

from skerry.server.grpc import messages, wire
from skerry.server.grpc.h2.outbound import Buffer, Parts
from skerry.server.tensors import Array, InferResponse, join_byte_strings

_REMEMBERED: Final = 1024
_SMALL: Final = 1 << 12
_RAW: Final = b"\x32"  # the tag of raw_output_contents

_known: dict[tuple[object, ...], bytes] = {}


def write_infer_response(answer: InferResponse, echo: bytes) -> Parts:
    """Encode an answer; `echo` is the encoded id and parameters of its request."""
    outputs = answer.outputs
    if len(outputs) == 1:
        only = outputs[0]
        values = only.values
        if not isinstance(values, list) and values.nbytes < _SMALL:
            key: tuple[object, ...] = (answer.model_name, answer.model_version, only.name, only.datatype, only.shape)
            head = _known.get(key)
            if head is None:
                head = _remember(key, _description(answer) + _RAW + wire.number_bytes(values.nbytes))
            return [b"".join((echo, head, values.tobytes()))]
    described = [(each.name, each.datatype, each.shape) for each in outputs]
    key = (answer.model_name, answer.model_version, *described)
    head = _known.get(key)
    parts: Parts = [echo + (head or _remember(key, _description(answer)))]
    for tensor in outputs:
        _add_raw(parts, tensor.values)
    return parts


def _remember(key: tuple[object, ...], head: bytes) -> bytes:
    if len(_known) >= _REMEMBERED:
        _known.clear()
    _known[key] = head
    return head


def _add_raw(parts: Parts, values: Array | list[bytes]) -> None:
    if isinstance(values, list):
        data: Buffer = join_byte_strings(values)
    elif values.nbytes < _SMALL:
        data = values.tobytes()
    else:
        # By way of bytes, because a memoryview of halves cannot be cast.
        data = np.ascontiguousarray(values).view(np.uint8).data
    head = b"".join((parts[-1], _RAW, wire.number_bytes(len(data))))
    if len(data) < _SMALL:
        parts[-1] = b"".join((head, data))
    else:
        parts[-1:] = (head, data, b"")


def _description(answer: InferResponse) -> bytes:
    """Everything of an answer that is not values."""
    tensors = b"".join(
        wire.put_bytes(5, messages.tensor(each.name, each.datatype, each.shape)) for each in answer.outputs
    )
    return wire.put_text(1, answer.model_name) + wire.put_text(2, answer.model_version) + tensors
