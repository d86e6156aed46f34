"""Inference requests that are files instead of the protocol's JSON, as `curl` and browsers send them.

| Content-Type | the body |
|---|---|
| `image/…` | a picture for the model's only input |
| `application/octet-stream` that begins as an npy file does | an array for the model's only input |
| `multipart/form-data` | parts named after inputs: a picture, an npy file, or JSON values |

In a form, pictures of the same name are the rows of a batch. A part is an npy file if it begins as one; else its input
decides: pictures are files or `image/…`, and an input of strings takes a part's text as it is unless its type is JSON.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from skerry.server.byte_inputs import Reading, reading_of
from skerry.server.errors import InvalidRequest, UnsupportedContent
from skerry.server.http.messages import Request
from skerry.server.registry import ServedVersion
from skerry.server.rest import npy
from skerry.server.rest.multipart import Part, read_parts
from skerry.server.rest.reading import read_picture
from skerry.server.rest.v1 import tensor_of
from skerry.server.tensors import BYTES, InferRequest, Tensor, TensorSpec

_IMAGE: Final = b"image/"
_FORM: Final = b"multipart/form-data"
KINDS: Final = (_IMAGE, _FORM, b"application/octet-stream")
_JSON: Final = b"application/json"
_decode: Final[Callable[[memoryview], Any]] = msgspec.json.Decoder().decode


def read_upload(request: Request, served: ServedVersion, received_at: float) -> InferRequest | None:
    """Read a body whose Content-Type is one of `KINDS`; None if it is the protocol's own after all."""
    content_type, body = request.headers[b"content-type"], bytes(request.body)
    if content_type.startswith(_FORM):
        return InferRequest(_form(read_parts(body, content_type), served), [], received_at)
    if content_type.startswith(_IMAGE):
        inputs = served.model.inputs
        if len(inputs) != 1 or reading_of(inputs[0]) is not Reading.PICTURES:
            raise UnsupportedContent(f"{served.name} does not take a picture by itself: see its metadata")
        return read_picture(body, inputs[0].name, received_at)
    if not body.startswith(npy.MAGIC):
        return None
    if len(served.model.inputs) != 1:
        names = ", ".join(spec.name for spec in served.model.inputs)
        raise UnsupportedContent(f"{served.name} has several inputs ({names}): send each as a part of a form")
    return InferRequest([npy.read_array(memoryview(body), served.model.inputs[0].name)], [], received_at)


def _form(parts: list[Part], served: ServedVersion) -> list[Tensor]:
    specs = {spec.name: spec for spec in served.model.inputs}
    grouped: dict[str, list[Part]] = {}
    for part in parts:
        grouped.setdefault(part.name, []).append(part)
    _check_names(specs, grouped)
    return [_tensor(specs[name], same) for name, same in grouped.items()]


def _check_names(specs: Mapping[str, TensorSpec], given: Mapping[str, object]) -> None:
    if wrong := [name for name in given if name not in specs]:
        raise InvalidRequest(f"the form has parts {', '.join(wrong)[:200]}; the model's inputs are {', '.join(specs)}")
    if missing := [name for name in specs if name not in given]:
        raise InvalidRequest(
            f"Missing input with specific name - Required input: {missing[0]}; the form has no such part"
        )


def _tensor(spec: TensorSpec, parts: list[Part]) -> Tensor:
    reading = reading_of(spec)
    if reading is not None and all(_is_bytes(part, reading) for part in parts):
        return Tensor(spec.name, BYTES, (len(parts),), [bytes(part.data) for part in parts])
    if len(parts) > 1:
        raise InvalidRequest(
            f"the form has {len(parts)} parts for input {spec.name}: only pictures and texts may repeat"
        )
    [part] = parts
    if npy.is_array(part.data):
        return npy.read_array(part.data, spec.name)
    try:
        return tensor_of(spec, _decode(part.data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as why:
        raise InvalidRequest(f"part {spec.name} is neither a picture, an npy array nor JSON values: {why}") from None


def _is_bytes(part: Part, reading: Reading) -> bool:
    """Whether the part is one byte string as it is: a picture, or a text."""
    if npy.is_array(part.data) or part.content_type == _JSON:
        return False
    if reading is Reading.PICTURES:
        return part.is_file or part.content_type.startswith(_IMAGE)
    return True
