"""The answer to an inference: compact JSON, and raw tensors behind it where they were asked for.

Floats are written by orjson with the fewest digits that read back as the same number. JSON has no NaN and no infinity:
they become `null`; a client that needs them asks for binary output.
"""

from typing import Any, Final

import orjson

from skerry.server.errors import InvalidRequest
from skerry.server.http.messages import Response
from skerry.server.rest.reading import JSON_ONLY, Encoding
from skerry.server.tensors import InferResponse, Tensor, join_byte_strings, numbers_of

_BINARY: Final = b"application/octet-stream"


def write_response(answer: InferResponse, encoding: Encoding) -> Response:
    """Encode an answer as its client asked."""
    document: dict[str, Any] = {"model_name": answer.model_name, "model_version": answer.model_version}
    if encoding is not JSON_ONLY:
        return _write_as_asked(document, answer, encoding)
    document["outputs"] = [_listed(tensor) for tensor in answer.outputs]
    return Response(200, orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))


def _write_as_asked(document: dict[str, Any], answer: InferResponse, encoding: Encoding) -> Response:
    if encoding.id:
        document["id"] = encoding.id
    if encoding.parameters:
        document["parameters"] = encoding.parameters
    raw: list[bytes] = []
    document["outputs"] = [
        _announced(tensor, raw) if encoding.is_binary(tensor.name) else _listed(tensor) for tensor in answer.outputs
    ]
    json = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    if not raw:
        return Response(200, json)
    header = b"inference-header-content-length: %d\r\n" % len(json)
    return Response(200, b"".join((json, *raw)), _BINARY, header)


def _listed(tensor: Tensor) -> dict[str, Any]:
    """An output with its values in the JSON."""
    values = tensor.values
    return {
        "name": tensor.name,
        "shape": tensor.shape,
        "datatype": tensor.datatype,
        "data": _texts(tensor.name, values) if isinstance(values, list) else numbers_of(values, tensor.datatype),
    }


def _announced(tensor: Tensor, raw: list[bytes]) -> dict[str, Any]:
    """An output whose values follow the JSON; they are added to `raw`."""
    values = tensor.values
    data = join_byte_strings(values) if isinstance(values, list) else values.tobytes()
    raw.append(data)
    return {
        "name": tensor.name,
        "shape": tensor.shape,
        "datatype": tensor.datatype,
        "parameters": {"binary_data_size": len(data)},
    }


def _texts(name: str, values: list[bytes]) -> list[str]:
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError:
        raise InvalidRequest(f"output {name} holds bytes that are no text; ask for it with binary_data") from None
