"""The body of an inference request: JSON, JSON with binary tensors behind it, or a picture by itself.

JSON is parsed with msgspec, which checks types while it reads. Before that, the numbers of large JSON are cut out of it
(`rest/large.py`) and go from text to an array by themselves. Both know the same types: an integer has no `.0`, a
boolean is no number; and only msgspec refuses: what is not right about a cut text is read again as a whole.
Binary tensors are not copied: their values are views on the body.
"""

import math
from typing import Annotated, Any, Final, TypeAlias

import msgspec
import numpy as np

from skerry.server.bfloat16 import BF16
from skerry.server.errors import InvalidRequest
from skerry.server.json_numbers import WIDE, Kind, flattened, read
from skerry.server.rest import large
from skerry.server.tensors import (
    BYTES,
    DTYPES,
    Array,
    InferRequest,
    Tensor,
    array_of,
    byte_strings,
    element_count,
)

HEADER_LENGTH: Final = b"inference-header-content-length"
_NDARRAY: Final = "Could not parse input content. Not valid ndarray detected"
_MOST_DIGITS: Final = 18
_FLOATS: Final = frozenset({"FP16", BF16, "FP32", "FP64"})
# FP16 is made of FP64, because two roundings could differ from one; BF16 is rounded from FP32 everywhere.
_KINDS: Final[dict[str, Kind]] = {
    **dict.fromkeys(("INT8", "INT16", "INT32", "INT64"), "i"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32", "UINT64"), "u"),
    "FP16": "d",
    BF16: "f",
    "FP32": "f",
    "FP64": "d",
}

Parameters: TypeAlias = dict[str, str | bool | int | float]
Size = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class Input(msgspec.Struct):
    """An input as written; its data are left as text until the datatype is known."""

    name: str
    shape: list[Size]
    datatype: str
    parameters: Parameters = {}
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Output(msgspec.Struct):
    """An output that is asked for."""

    name: str
    parameters: Parameters = {}


class Body(msgspec.Struct):
    """The JSON of an inference request; unknown fields are ignored."""

    inputs: Annotated[list[Input], msgspec.Meta(min_length=1)]
    outputs: list[Output] = []
    id: str = ""
    parameters: Parameters = {}


class Encoding(msgspec.Struct, frozen=True):
    """How the client wants its answer: its own words back, and which outputs as raw bytes."""

    id: str = ""
    parameters: Parameters = {}
    binary: frozenset[str] = frozenset()
    """Names of outputs; with `all_binary` it is the exceptions."""
    all_binary: bool = False

    def is_binary(self, name: str) -> bool:
        return (name in self.binary) is not self.all_binary


JSON_ONLY: Final = Encoding()
_decode_body: Final = msgspec.json.Decoder(Body).decode
_decode_any: Final = msgspec.json.Decoder().decode


def element_type(datatype: str) -> Any:
    """What an element of JSON data may be. msgspec knows no bounds beyond 64 bits; NumPy checks those."""
    match datatype:
        case "BOOL":
            return bool
        case "FP16" | "BF16" | "FP32" | "FP64":
            return float
        case "INT64" | "UINT64":
            return int
    bounds = np.iinfo(DTYPES[datatype])
    return Annotated[int, msgspec.Meta(ge=int(bounds.min), le=int(bounds.max))]


_LISTS: Final[dict[str, Any]] = {BYTES: list[str]} | {name: list[element_type(name)] for name in DTYPES}  # type: ignore[misc]


_DECODERS: Final = {name: msgspec.json.Decoder(kind).decode for name, kind in _LISTS.items()}


def read_request(
    body: bytes, header_length: bytes | None, received_at: float, *, missing: bool = False
) -> tuple[InferRequest, Encoding]:
    """Read the body of `/infer`; `header_length` is the value of `Inference-Header-Content-Length`.

    `missing` is whether the model knows missing values: then `null` is one, a NaN. For others it is a mistake.
    """
    size = len(body) if header_length is None else _header_size(header_length, len(body))
    json = body[:size]
    parsed, arrays = _large(json) or (_decode(json), None)
    tail = _Tail(memoryview(body)[size:], extended=header_length is not None)
    inputs = [
        Tensor(
            item.name,
            item.datatype,
            tuple(item.shape),
            _values(
                item,
                None if arrays is None else arrays[index],
                tail,
                last=index == len(parsed.inputs) - 1,
                missing=missing,
            ),
        )
        for index, item in enumerate(parsed.inputs)
    ]
    tail.check_end()
    names = [output.name for output in parsed.outputs]
    return InferRequest(inputs, names, received_at), _encoding(parsed)


def read_picture(body: bytes, name: str, received_at: float) -> InferRequest:
    """A picture as the whole body, for a model's only input."""
    return InferRequest([Tensor(name, BYTES, (1,), [body])], [], received_at)


def _header_size(text: bytes, available: int) -> int:
    if not text.isdigit():
        raise InvalidRequest("Inference-Header-Content-Length header is invalid and couldn't be parsed")
    size = int(text) if len(text) <= _MOST_DIGITS else available + 1
    if size > available:
        raise InvalidRequest(
            f"Inference-Header-Content-Length header exceeds actual payload length, which is {available} bytes"
        )
    return size


def _decode(json: bytes) -> Body:
    try:
        return _decode_body(json)
    except msgspec.ValidationError as why:
        raise _structure_error(why) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as why:
        raise InvalidRequest(f"The file is not valid json - {why}") from None


def _large(json: bytes) -> tuple[Body, list[Array | None]] | None:
    """Parse a large request, its arrays of numbers apart; None where the general way is faster or has to decide."""
    if len(json) < large.WORTHWHILE or (cut := large.cut(json)) is None:
        return None
    try:
        parsed = _decode_body(cut.rest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    arrays: list[Array | None] = []
    for item in parsed.inputs:
        text = None if item.data is msgspec.UNSET else cut.arrays.pop(bytes(item.data), None)
        array = None if text is None else _numbers(text, item.datatype)
        if text is not None and array is None:
            return None
        arrays.append(array)
    return None if cut.arrays else (parsed, arrays)


def _numbers(text: memoryview, datatype: str) -> Array | None:
    """Values from the text of an array; None if they are no such numbers."""
    kind = _KINDS.get(datatype)
    if kind is None or (found := read(text, kind)) is None:
        return None
    values, dtype = np.frombuffer(found, WIDE[kind]), DTYPES[datatype]
    if datatype == BF16:
        return array_of(values, BF16)
    if kind in "iu" and values.size and values.dtype != dtype:
        bounds = np.iinfo(dtype)
        if values.min() < bounds.min or values.max() > bounds.max:
            return None
    with np.errstate(over="ignore"):  # beyond FP16 is infinity, as everywhere
        return values.astype(dtype, copy=False)


def _structure_error(why: msgspec.ValidationError) -> InvalidRequest:
    text = str(why)
    if "required field `inputs`" in text:
        return InvalidRequest("Invalid JSON structure, missing inputs")
    if text.startswith("Expected `object`") and " - at " not in text:
        return InvalidRequest("Request body should be JSON object")
    if ".parameters" in text or "key in `$" in text:
        return InvalidRequest(f"Could not parse request parameters - {text}")
    if "$.outputs" in text:
        return InvalidRequest(f"Could not parse output content. - {text}")
    return InvalidRequest(f"{_NDARRAY} - {text}")


def _encoding(body: Body) -> Encoding:
    default = body.parameters.get("binary_data_output") is True
    exceptions = frozenset(
        output.name for output in body.outputs if output.parameters.get("binary_data", default) is not default
    )
    # What the protocol itself reads from the parameters is not the client's to get back.
    echoed = {key: value for key, value in body.parameters.items() if key != "binary_data_output"}
    if not (body.id or echoed or exceptions or default):
        return JSON_ONLY
    return Encoding(id=body.id, parameters=echoed, binary=exceptions, all_binary=default)


class _Tail:
    """The binary tensors behind the JSON, taken off in the order of the inputs."""

    def __init__(self, data: memoryview, *, extended: bool) -> None:
        self._data = data
        self.extended = extended

    def take(self, size: int, name: str) -> memoryview:
        if size > len(self._data):
            raise InvalidRequest(
                "Received buffer size is smaller than binary_data_size parameter indicates"
                f" - {size} bytes expected, {len(self._data)} left; input name: {name}"
            )
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def rest(self) -> memoryview:
        return self.take(len(self._data), "")

    def check_end(self) -> None:
        if self.extended and len(self._data):
            raise InvalidRequest(f"{len(self._data)} bytes follow the last tensor; check binary_data_size and shapes")


def _values(item: Input, array: Array | None, tail: _Tail, *, last: bool, missing: bool) -> Array | list[bytes]:
    if item.datatype not in _DECODERS:
        raise InvalidRequest(
            f"Could not parse input content. Unsupported data precision detected - {item.datatype};"
            f" input name: {item.name}"
        )
    count = element_count(item.shape)
    size = item.parameters.get("binary_data_size")
    if array is None and item.data is msgspec.UNSET:
        return _binary(item, size, count, tail, last=last)
    if size is not None:
        raise InvalidRequest(
            f"Request contains values both in binary data and in content value - input name: {item.name}"
        )
    values = _listed(item, missing=missing) if array is None else array
    if len(values) != count:
        raise InvalidRequest(
            "Invalid number of values in tensor proto container"
            f" - Expected: {count} values; Actual: {len(values)} values; input name: {item.name}"
        )
    return values


def _binary(item: Input, size: object, count: int, tail: _Tail, *, last: bool) -> Array | list[bytes]:
    if not tail.extended:
        raise InvalidRequest(
            f"{_NDARRAY} - input {item.name} has no data; binary data need the header Inference-Header-Content-Length"
        )
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
        raise InvalidRequest(f"binary_data_size parameter is invalid and cannot be parsed - input name: {item.name}")
    if item.datatype == BYTES:
        if size is None and not last:
            raise InvalidRequest(f"{_NDARRAY} - input {item.name} needs binary_data_size: only the last may go without")
        return byte_strings(tail.rest() if size is None else tail.take(size, item.name), count)
    dtype = DTYPES[item.datatype]
    expected = count * dtype.itemsize
    if size is not None and size != expected:
        raise InvalidRequest(
            f"Invalid content size of tensor proto - Expected: {expected} bytes; Actual: {size} bytes;"
            f" input name: {item.name}"
        )
    data = tail.take(expected, item.name)
    if item.datatype == "BOOL":  # any byte but zero is true; NumPy would keep the byte
        return np.frombuffer(data, np.uint8).astype(np.bool_)
    return np.frombuffer(data, dtype)


def _listed(item: Input, *, missing: bool) -> Array | list[bytes]:
    """Values from JSON text, flat or nested."""
    assert not isinstance(item.data, msgspec.UnsetType)
    try:
        try:
            values = _DECODERS[item.datatype](item.data)
        except msgspec.ValidationError:
            # Nested perhaps: flatten it and judge again.
            values = _converted(_decode_any(item.data), item.datatype, missing=missing)
        if item.datatype == BYTES:
            return [value.encode() for value in values]
        with np.errstate(over="ignore"):  # beyond FP32 or FP16 is infinity, as everywhere
            return array_of(values, item.datatype)
    except (msgspec.ValidationError, OverflowError, RecursionError) as why:
        raise InvalidRequest(f"{_NDARRAY} - input {item.name}: {why}") from None


def _converted(data: Any, datatype: str, *, missing: bool) -> list[Any]:
    """Nested values in one list, a missing one as NaN."""
    values = list(flattened(data))
    if missing and datatype in _FLOATS:
        values = [math.nan if value is None else value for value in values]
    converted: list[Any] = msgspec.convert(values, _LISTS[datatype])
    return converted
