"""The first protocol as OVMS had it until 2026.3: TensorFlow Serving's, where it differs from KServe's.

The status of a model lists its versions, and what was asked in columns is answered as `outputs`.
"""

from typing import Any, Final

import msgspec

from skerry.server.http.messages import Request, Response, error
from skerry.server.rest.routes import Route

_PREDICTIONS: Final = b'{"predictions":'
_OUTPUTS: Final = b'{"outputs":'


class _Columns(msgspec.Struct):
    inputs: msgspec.Raw


_decode: Final = msgspec.json.Decoder(_Columns).decode


def status(report: bytes, route: Route) -> Response:
    """Answer what the state of a model is from the report on all models."""
    versions: list[dict[str, Any]] | None = msgspec.json.decode(report).get(route.model, {}).get("model_version_status")
    if versions is None:
        return error(404, "Model with requested name is not found")
    versions = [each for each in versions if not route.version or each["version"] == route.version]
    if not versions:
        return error(404, "Model with requested version is not found")
    return Response(body=msgspec.json.encode({"model_version_status": versions}))


def in_columns(request: Request) -> bool:
    """Whether a prediction is asked for in columns."""
    try:
        _decode(request.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # rows; or the handler says what is wrong
        return False
    return True


def as_outputs(response: Response) -> Response:
    """The answer to columns."""
    if not response.body.startswith(_PREDICTIONS):
        return response
    return msgspec.structs.replace(response, body=_OUTPUTS + response.body.removeprefix(_PREDICTIONS))
