"""ModelInferRequest, read without copying tensors: they stay views on the message.

Most clients say the same again and again, with other values. What describes an input (name, type, shape) is remembered
by its bytes. So is a whole request but for its values, if it has the usual form: one raw tensor, at the end; then a
request of the same length that begins with the same bytes can only differ in those values.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from skerry.server.errors import InvalidRequest
from skerry.server.grpc import wire
from skerry.server.grpc.h2.outbound import Buffer
from skerry.server.grpc.packed import varints
from skerry.server.grpc.wire import FIXED32, FIXED64, VARINT, Broken
from skerry.server.tensors import BYTES, DTYPES, Array, Tensor, byte_strings, element_count

_REMEMBERED: Final = 1024
_WORTH_REMEMBERING: Final = 256
_MOST_SIZE: Final = 2**31 - 1

# The tags of ModelInferRequest: all its fields have lengths.
_NAME, _VERSION, _ID, _PARAMETER, _INPUT, _OUTPUT, _RAW = range(0x0A, 0x3B, 8)

# The fields of InferTensorContents: which types their elements may be encoded in besides packed, and their names.
_ELEMENTS: Final = {1: VARINT, 2: VARINT, 3: VARINT, 4: VARINT, 5: VARINT, 6: FIXED32, 7: FIXED64, 8: wire.BYTES}
_NAMES: Final = {
    1: "bool_contents",
    2: "int_contents",
    3: "int64_contents",
    4: "uint_contents",
    5: "uint64_contents",
    6: "fp32_contents",
    7: "fp64_contents",
    8: "bytes_contents",
}
_FIELDS: Final = {
    "BOOL": 1,
    "INT8": 2,
    "INT16": 2,
    "INT32": 2,
    "INT64": 3,
    "UINT8": 4,
    "UINT16": 4,
    "UINT32": 4,
    "UINT64": 5,
    "FP32": 6,
    "FP64": 7,
    BYTES: 8,
}
_NARROW: Final = frozenset({"INT8", "INT16", "UINT8", "UINT16"})


class Input(NamedTuple):
    """An input as written. `contents` are encoded elements by field, in pieces as they came.

    `plain` is the dtype if raw contents of just `size` bytes can be taken as they are.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    contents: dict[int, list[Buffer]] | None
    plain: np.dtype[Any] | None
    size: int


class InferMessage(msgspec.Struct, gc=False):
    """A ModelInferRequest. `echo` is its id and its parameters, encoded as the answer repeats them."""

    model_name: str
    model_version: str
    echo: bytes
    inputs: list[Input]
    outputs: list[str]
    raw: list[Buffer]


_known_inputs: dict[bytes, Input] = {}
_known_requests: dict[int, tuple[bytes, InferMessage]] = {}  # by length: all but the values


def read_infer_request(data: Buffer) -> InferMessage:
    """Read a ModelInferRequest; raises `Broken`."""
    known = _known_requests.get(len(data))
    if known is not None:
        prefix, message = known
        start = len(prefix)
        if data[:start] == prefix:
            return InferMessage(
                message.model_name, message.model_version, b"", message.inputs, message.outputs, [data[start:]]
            )
    try:
        return _read_request(data)
    except IndexError:
        raise Broken("it ends in the middle of a field") from None


def _read_request(data: Buffer) -> InferMessage:
    message = InferMessage("", "", b"", [], [], [])
    position = tag = start = 0
    end = len(data)
    while position < end:
        begin = position
        tag = data[position]
        if tag & 7 == wire.BYTES and _NAME <= tag <= _RAW:
            position += 1
        else:
            tag, position = wire.varint(data, position)
            if tag & 7 != wire.BYTES or not _NAME <= tag <= _RAW:
                position = wire.skip(data, position, tag)
                continue
        length, start = wire.varint(data, position)
        position = start + length
        if position > end:
            raise Broken("a field is longer than what is left")
        if tag == _RAW:
            message.raw.append(data[start:position])
        elif tag == _INPUT:
            message.inputs.append(_input(data[start:position]))
        elif tag in {_ID, _PARAMETER}:
            _check_echo(tag, data[start:position])
            message.echo += data[begin:position]
        else:
            _set(message, tag, data[start:position])
    if position > end:
        raise Broken("a field is longer than what is left")
    if tag == _RAW and len(message.raw) == 1 and start <= _WORTH_REMEMBERING and not message.echo:
        if len(_known_requests) >= _REMEMBERED:
            _known_requests.clear()
        known = InferMessage(message.model_name, message.model_version, b"", message.inputs, message.outputs, [])
        _known_requests[end] = (bytes(data[:start]), known)
    return message


def _set(message: InferMessage, tag: int, value: Buffer) -> None:
    if tag == _NAME:
        message.model_name = wire.text(value)
    elif tag == _VERSION:
        message.model_version = wire.text(value)
    else:
        message.outputs.append(_output(value))


def _check_echo(tag: int, data: Buffer) -> None:
    if tag == _ID:
        wire.text(data)
    else:
        _check_parameter(data)


def _check_parameter(data: Buffer) -> None:
    """An entry of a map from texts to InferParameter."""
    for number, kind, value in wire.fields(data):
        if kind != wire.BYTES:
            continue
        assert not isinstance(value, int)
        if number == 1:
            wire.text(value)
        elif number == 2:
            for inner, inner_kind, content in wire.fields(value):
                if inner == 3 and inner_kind == wire.BYTES:
                    assert not isinstance(content, int)
                    wire.text(content)


def _input(data: Buffer) -> Input:
    if len(data) > _WORTH_REMEMBERING:
        return _read_input(data)
    key = bytes(data)
    known = _known_inputs.get(key)
    if known is None:
        known = _read_input(key)
        if known.contents is None:
            if len(_known_inputs) >= _REMEMBERED:
                _known_inputs.clear()
            _known_inputs[key] = known
    return known


def _read_input(data: Buffer) -> Input:
    name = datatype = ""
    shape: list[int] = []
    contents: dict[int, list[Buffer]] | None = None
    for number, kind, value in wire.fields(data):
        if isinstance(value, int):
            if number == 3:
                shape.append(wire.signed(value))
        elif kind != wire.BYTES:
            continue
        elif number == 1:
            name = wire.text(value)
        elif number == 2:
            datatype = wire.text(value)
        elif number == 3:
            shape += [wire.signed(int(size)) for size in varints(value)]
        elif number == 4:
            _check_parameter(value)
        elif number == 5:
            contents = contents or {}
            _add_contents(contents, value)
    plain = None if contents or not _sound(shape) or datatype == "BOOL" else DTYPES.get(datatype)
    size = element_count(shape) * plain.itemsize if plain is not None else -1
    return Input(name, datatype, tuple(shape), contents, plain, size)


def _sound(shape: Sequence[int]) -> bool:
    return not shape or 0 <= min(shape) <= max(shape) <= _MOST_SIZE


def _add_contents(contents: dict[int, list[Buffer]], data: Buffer) -> None:
    """Add what a field `contents` holds; one that is given twice is one message in two parts."""
    for number, kind, value in wire.fields(data):
        if number not in _ELEMENTS or kind not in {_ELEMENTS[number], wire.BYTES}:
            continue
        piece = wire.number_bytes(value) if isinstance(value, int) else value
        if kind == wire.BYTES:
            _check_packed(number, piece)
        contents.setdefault(number, []).append(piece)


def _check_packed(number: int, piece: Buffer) -> None:
    width = {6: 4, 7: 8}.get(number, 1)
    if len(piece) % width:
        raise Broken(f"{_NAMES[number]} ends in the middle of a number")
    if _ELEMENTS[number] == VARINT and len(piece) and piece[-1] >= 0x80:
        raise Broken(f"{_NAMES[number]} ends in the middle of a number")


def _output(data: Buffer) -> str:
    name = ""
    for number, kind, value in wire.fields(data):
        if kind == wire.BYTES:
            assert not isinstance(value, int)
            if number == 1:
                name = wire.text(value)
            elif number == 2:
                _check_parameter(value)
    return name


def tensors_of(message: InferMessage) -> list[Tensor]:
    """The inputs with their values; raises `InvalidRequest`."""
    raw = message.raw
    if len(raw) == 1 == len(message.inputs) and message.inputs[0].size == len(raw[0]):
        name, datatype, shape, _, plain, _ = message.inputs[0]
        return [Tensor(name, datatype, shape, np.frombuffer(raw[0], plain))]
    if not raw:
        return [_tensor(each, None) for each in message.inputs]
    if len(raw) != len(message.inputs):
        raise InvalidRequest(
            "Passing buffers both in ModelInferRequest::InferInputTensor::contents and in"
            " ModelInferRequest::raw_input_contents is not allowed"
            f" - Size of raw_input_contents: {len(raw)} is different than number of inputs: {len(message.inputs)}"
        )
    return [
        Tensor(each.name, each.datatype, each.shape, np.frombuffer(data, each.plain))
        if each.size == len(data)
        else _tensor(each, data)
        for each, data in zip(message.inputs, raw, strict=True)
    ]


def _tensor(given: Input, raw: Buffer | None) -> Tensor:
    name, datatype, shape, contents = given[:4]
    if datatype not in DTYPES and datatype != BYTES:
        raise InvalidRequest(
            f"Could not parse input content. Unsupported data precision detected - {datatype}; input name: {name}"
        )
    if not _sound(shape):
        raise InvalidRequest(f"Invalid input shape - Actual: ({','.join(map(str, shape))}); input name: {name}")
    count = element_count(shape)
    if raw is None:
        return Tensor(name, datatype, shape, _typed_values(given, count))
    if contents and any(map(len, contents.values())):
        raise InvalidRequest(
            "Passing buffers both in ModelInferRequest::InferInputTensor::contents and in"
            " ModelInferRequest::raw_input_contents is not allowed"
            f" - Detected buffer in InferInputTensor contents for input: {name}"
        )
    return Tensor(name, datatype, shape, _raw_values(name, datatype, count, raw))


def _raw_values(name: str, datatype: str, count: int, raw: Buffer) -> Array | list[bytes]:
    if datatype == BYTES:
        return byte_strings(raw, count)
    dtype = DTYPES[datatype]
    if len(raw) != count * dtype.itemsize:
        raise InvalidRequest(
            f"Invalid content size of tensor proto - Expected: {count * dtype.itemsize} bytes;"
            f" Actual: {len(raw)} bytes; input name: {name}"
        )
    if datatype == "BOOL":  # any byte but zero is true; NumPy would keep the byte
        return np.frombuffer(raw, np.uint8).astype(np.bool_)
    return np.frombuffer(raw, dtype)


def _typed_values(given: Input, count: int) -> Array | list[bytes]:
    name, datatype = given.name, given.datatype
    contents = given.contents or {}
    field = _FIELDS.get(datatype)
    if field is None:
        raise InvalidRequest(f"{datatype} has no typed contents: send raw_input_contents; input name: {name}")
    if wrong := [_NAMES[number] for number, pieces in contents.items() if number != field and any(map(len, pieces))]:
        raise InvalidRequest(
            f"Invalid input precision - {datatype} belongs in {_NAMES[field]}, not in {wrong[0]}; input name: {name}"
        )
    pieces = contents.get(field, [])
    values: Array | list[bytes]
    if datatype == BYTES:
        values = [bytes(piece) for piece in pieces]
    else:
        values = _numbers(given, pieces[0] if len(pieces) == 1 else b"".join(pieces))
    if len(values) != count:
        raise InvalidRequest(
            "Invalid number of values in tensor proto container"
            f" - Expected: {count} values; Actual: {len(values)} values; input name: {name}"
        )
    return values


def _numbers(given: Input, data: Buffer) -> Array:
    datatype = given.datatype
    dtype = DTYPES[datatype]
    if datatype in {"FP32", "FP64"}:
        return np.frombuffer(data, dtype)
    numbers = varints(data)
    if datatype == "BOOL":
        return numbers.astype(np.bool_)
    if datatype in {"INT64", "UINT64"}:
        return numbers.astype(dtype)
    # 32 bits, as protobuf cuts them.
    values = numbers.astype(np.uint32).view(np.int32 if dtype.kind == "i" else np.uint32)
    if datatype in _NARROW and values.size:
        bounds = np.iinfo(dtype)
        if not bounds.min <= values.min() <= values.max() <= bounds.max:
            raise InvalidRequest(
                f"Invalid input precision - a value is outside of {bounds.min}..{bounds.max}; input name: {given.name}"
            )
    return values.astype(dtype)
