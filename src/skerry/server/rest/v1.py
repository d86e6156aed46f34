"""KServe's first protocol, the one of TensorFlow Serving.

| method, path | answer |
|---|---|
| GET /v1/models | `{"models": [names]}` of those that answer |
| GET /v1/models/M[/versions/V] | `{"name": M, "ready": true}`; 503 while it cannot answer; 404 |
| GET /v1/models/M[/versions/V]/metadata | inputs and outputs, as TensorFlow Serving describes them |
| POST /v1/models/M[/versions/V]:predict | `{"predictions": …}` |

A request has rows, `{"instances": [row, …]}`, or columns, `{"inputs": …}`. A row is the value of the only input or an
object of values by input; a column is the whole tensor, or an object of those. Byte strings and pictures are
`{"b64": "…"}`; a text is itself. Predictions come in the form of the request: rows for rows, columns for columns, each
an object by output where there are several. Columns are called `predictions` too, as in KServe. Rows for a model that
takes one at a time run one by one.

Two paths that KServe's servers have beside their protocols are here too: `/`, which says that they are alive, and
`/v2/models`, the same names as `/v1/models`.
"""

import asyncio
import base64
import binascii
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final, TypeAlias

import msgspec
import numpy as np
import orjson

from skerry.server.bfloat16 import BF16
from skerry.server.byte_inputs import Reading, reading_of
from skerry.server.dataplane import DataPlane
from skerry.server.engines.tabular import rows_of_table
from skerry.server.errors import InvalidRequest, NotReady, ServingError
from skerry.server.http.messages import Buffer, Later, Request, Response
from skerry.server.registry import Registry, ServedVersion
from skerry.server.rest.failures import response_of
from skerry.server.rest.one_by_one import OneByOne, rows_of
from skerry.server.rest.routes import Endpoint, Route
from skerry.server.rest.v1_metadata import signature_of
from skerry.server.tensors import (
    BYTES,
    DTYPES,
    Array,
    InferRequest,
    InferResponse,
    Tensor,
    TensorSpec,
    array_of,
    numbers_of,
)

Answer: TypeAlias = Callable[[Request, Route], Response | Later]
_INTERFACE: Final = "REST"
_ALIVE: Final = b'{"status":"alive"}'
_KINDS: Final = {"b": "b", "u": "iu", "i": "iu", "f": "iuf"}  # what JSON may hold for each kind of NumPy's types


class _Body(msgspec.Struct):
    instances: Annotated[list[Any], msgspec.Meta(min_length=1)] | msgspec.UnsetType = msgspec.UNSET
    inputs: Any = msgspec.UNSET


_decode: Final = msgspec.json.Decoder(_Body).decode


def endpoints(plane: DataPlane, registry: Registry) -> Mapping[Endpoint, Answer]:
    """What this part of the interface answers."""

    def status(_request: Request, route: Route) -> Response:
        plane.model_ready(route.model, route.version, _INTERFACE)
        return Response(body=msgspec.json.encode({"name": route.model, "ready": True}))

    def metadata(_request: Request, route: Route) -> Response:
        version = plane.find(route.model, route.version).version
        described = plane.metadata(route.model, route.version, _INTERFACE)
        return Response(body=msgspec.json.encode(signature_of(described, version)))

    return {
        Endpoint.ALIVE: lambda _request, _route: Response(body=_ALIVE),
        Endpoint.MODELS: lambda _request, _route: _models(registry),
        Endpoint.V1_METADATA: metadata,
        Endpoint.V1_MODELS: lambda _request, _route: _models(registry),
        Endpoint.V1_MODEL: status,
        Endpoint.V1_PREDICT: partial(_predict, plane),
    }


def _models(registry: Registry) -> Response:
    names = []
    for name in registry.names():
        try:
            registry.find(name)
        except NotReady:
            continue
        names.append(name)
    return Response(body=msgspec.json.encode({"models": names}))


def _predict(plane: DataPlane, request: Request, route: Route) -> Response | Later:
    received_at = time.perf_counter()
    served = plane.find(route.model, route.version)
    try:
        tensors, rows = _read(request.body, served)
    except ServingError:
        plane.count_failure(served, _INTERFACE, "ModelInfer")
        raise
    if rows and (single := rows_of(tensors, served)) is not None:
        return Later(OneByOne(plane, served, route, single).begin(), partial(_rendered, rows))
    answer = plane.infer(served, InferRequest(tensors, [], received_at), _INTERFACE)
    if isinstance(answer, InferResponse):
        return _write(answer, rows=rows)
    return Later(answer, partial(_rendered, rows))


def _rendered(rows: bool, done: "asyncio.Future[InferResponse]") -> Response:
    try:
        return _write(done.result(), rows=rows)
    except ServingError as why:
        return response_of(why)


def _read(body: Buffer, served: ServedVersion) -> tuple[list[Tensor], bool]:
    """The tensors of a request, and whether it has rows."""
    try:
        parsed = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as why:
        raise InvalidRequest(f"cannot read the request: {why}") from None
    specs = served.model.inputs
    if (parsed.instances is msgspec.UNSET) == (parsed.inputs is msgspec.UNSET):
        raise InvalidRequest(
            'Invalid JSON structure. Could not detect row or column format: want "instances" or "inputs"'
        )
    if served.tabular is not None:
        parsed = _with_rows(parsed, served.tabular.columns)
    if not isinstance(parsed.instances, msgspec.UnsetType):
        columns = _columns(parsed.instances, specs)
        return [tensor_of(spec, columns[spec.name]) for spec in specs], True
    return [tensor_of(spec, value) for spec, value in _named(parsed.inputs, specs)], False


def _with_rows(body: _Body, columns: Sequence[str]) -> _Body:
    """Tables may be objects by column, in either place, and have values missing, as for KServe's servers of tables."""
    if isinstance(body.instances, msgspec.UnsetType):
        return _Body(inputs=rows_of_table(body.inputs, columns))
    return _Body(instances=rows_of_table(body.instances, columns))


def _columns(instances: list[Any], specs: Sequence[TensorSpec]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {spec.name: [] for spec in specs}
    for row in instances:
        for spec, value in _named(row, specs):
            columns[spec.name].append(value)
    return columns


def _named(value: Any, specs: Sequence[TensorSpec]) -> list[tuple[TensorSpec, Any]]:
    """Each input with its value: named in an object, or without a name where there is only one."""
    if isinstance(value, dict) and not _is_encoded(value, specs):
        if value.keys() != {spec.name for spec in specs}:
            wanted, given = ", ".join(spec.name for spec in specs), ", ".join(value)
            raise InvalidRequest(f"the model's inputs are {wanted}; given: {given[:200]}")
        return [(spec, value[spec.name]) for spec in specs]
    if len(specs) != 1:
        wanted = ", ".join(spec.name for spec in specs)
        raise InvalidRequest(f"the model has several inputs: want an object with {wanted}")
    return [(specs[0], value)]


def _is_encoded(value: dict[str, Any], specs: Sequence[TensorSpec]) -> bool:
    return value.keys() == {"b64"} and all(spec.name != "b64" for spec in specs)


def tensor_of(spec: TensorSpec, values: Any) -> Tensor:
    """Nested values of JSON as an input; raises `InvalidRequest`."""
    if spec.datatype == BYTES or _has_encoded(values):
        if spec.datatype != BYTES and reading_of(spec) is not Reading.PICTURES:
            raise InvalidRequest(f"input {spec.name} takes numbers, no pictures or byte strings")
        elements, shape = _byte_strings(spec.name, values)
        return Tensor(spec.name, BYTES, shape, elements)
    array = _numbers(spec, values)
    return Tensor(spec.name, spec.datatype, array.shape, array.reshape(-1))


def _has_encoded(values: Any) -> bool:
    while isinstance(values, list) and values:
        values = values[0]
    return isinstance(values, dict)


def _byte_strings(name: str, values: Any) -> tuple[list[bytes], tuple[int, ...]]:
    if isinstance(values, list) and any(isinstance(value, list) for value in values):
        parts = [_byte_strings(name, value) for value in values]
        if len({shape for _, shape in parts}) != 1:
            raise InvalidRequest(f"the rows of input {name} have different shapes")
        return [element for elements, _ in parts for element in elements], (len(parts), *parts[0][1])
    if isinstance(values, list):
        return [_byte_string(name, value) for value in values], (len(values),)
    return [_byte_string(name, values)], (1,)


def _byte_string(name: str, value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode()
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError) as why:
            raise InvalidRequest(f"Decode Base64 to string error: {why}; input name: {name}") from None
    raise InvalidRequest(f'input {name} takes texts or {{"b64": "…"}}')


def _numbers(spec: TensorSpec, values: Any) -> Array:
    dtype = DTYPES.get("FP32" if spec.datatype == BF16 else spec.datatype)
    if dtype is None:
        raise InvalidRequest(f"input {spec.name} has a type that this protocol cannot carry")
    try:
        given = np.array(values)
    except (ValueError, OverflowError, RecursionError):  # rows of different lengths
        given = np.array(None)
    if given.size and given.dtype.kind not in _KINDS[dtype.kind]:
        raise InvalidRequest(
            "Could not parse instance content. Not valid ndarray detected"
            f" - want {spec.datatype} of shape {spec.expected}; input name: {spec.name}"
        )
    if dtype.kind in "iu" and given.size:
        bounds = np.iinfo(dtype)
        if int(given.min()) < bounds.min or int(given.max()) > bounds.max:
            raise InvalidRequest(f"a value is outside of {bounds.min}..{bounds.max}; input name: {spec.name}")
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(given, dtype)
    return array_of(array, BF16) if spec.datatype == BF16 else array


def _write(answer: InferResponse, *, rows: bool) -> Response:
    named = {tensor.name: _shaped(tensor) for tensor in answer.outputs}
    predictions: Any = named
    if len(named) == 1:
        [predictions] = named.values()
    elif rows:
        lengths = {len(values) if values.ndim else -1 for values in named.values()}
        if len(lengths) != 1 or -1 in lengths:
            raise InvalidRequest('the outputs have no rows in common; ask with "inputs" instead of "instances"')
        predictions = [{name: values[row] for name, values in named.items()} for row in range(lengths.pop())]
    body = orjson.dumps({"predictions": predictions}, option=orjson.OPT_SERIALIZE_NUMPY, default=_plain)
    return Response(body=body)


def _shaped(tensor: Tensor) -> Array:
    values = tensor.values
    if isinstance(values, list):
        texts = np.empty(len(values), object)
        texts[:] = [_text(value) for value in values]
        return texts.reshape(tensor.shape)
    return numbers_of(values, tensor.datatype).reshape(tensor.shape)


def _text(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def _plain(value: Any) -> Any:
    """What orjson does not write by itself: arrays of objects, of no dimension, or not contiguous."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(type(value).__name__)
