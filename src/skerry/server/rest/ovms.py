"""`--compat=ovms`: OVMS's codes, texts and habits, for clients that depend on them.

A layer around the interface, so that nobody else pays for it. In front, requests are changed to mean here what they
mean to OVMS; behind, answers get its codes and texts. What OVMS cannot do and this server can stays possible: a client
that depends on a refusal is hard to imagine. docs/reference/model-server.md has the list.
"""

import re
from functools import partial
from math import prod
from typing import Any, Final

import msgspec

from skerry.server.dataplane import DataPlane
from skerry.server.errors import ServingError
from skerry.server.http.messages import JSON, Handler, Later, Request, Response, error
from skerry.server.rest import ovms_v1
from skerry.server.rest.routes import Endpoint, Route, Routes
from skerry.server.rest.wrapping import mapped
from skerry.server.tensors import DTYPES

_NAME: Final = "OpenVINO Model Server"
_CONTENT_TYPE: Final = b"application/json; charset=utf-8"
_REWRITTEN: Final = frozenset({JSON, b"application/octet-stream"})
_LENGTH: Final = b"inference-header-content-length"
_REPORT: Final = b"/v1/config"
_URL: Final = "Invalid request URL"
_UNKNOWN: Final = frozenset({Endpoint.ALIVE, Endpoint.MODELS})  # KServe's servers have them, OVMS does not
_NO_VERSION: Final = "Model with requested version is not found"
_OF_REQUEST: Final = (b'"outputs"', b'"binary_data_output"')

_WITHOUT_DETAILS: Final = (
    r"(Could not parse input content\. (?:Not valid ndarray|Unsupported data precision) detected"
    r"|Could not parse output content\.|Could not parse request parameters"
    r"|binary_data_size parameter is invalid and cannot be parsed"
    r"|Received buffer size is smaller than binary_data_size parameter indicates"
    r"|Inputs inside buffer does not match expected format\."
    r"|Received binary image input but resource not configured to accept NHWC layout"
    r"|Invalid number of channels in binary input"
    r"|Binary input images for this endpoint are required to have the same resolution)"
)
# How our text begins, OVMS's code, and OVMS's text where it says less. The first that matches counts.
_ERRORS: Final = tuple(
    (re.compile(pattern), status, text)
    for pattern, status, text in (
        (r"Unsupported method", 406, "Unsupported method"),
        (r"there is nothing at|metrics are off", 400, _URL),
        (r"invalid model version format in request: '\d", 404, _NO_VERSION),
        (r"invalid model version format in request", 400, _URL),
        (r"(Model with requested name is not found)", 404, None),
        (r"(Model with requested version is (?:not found|retired|not loaded yet))", 404, None),
        (r"Model with requested name is not ready", 404, _NO_VERSION),
        (
            r"The file is not valid json.*nested|.*nested too deeply",
            500,
            "JSON nesting depth exceeds the allowed limit",
        ),
        (r"(The file is not valid json.*)", 412, None),
        (r"(Inference-Header-Content-Length header is invalid and couldn't be parsed)", 500, None),
        (r"(Inference-Header-Content-Length header exceeds actual payload length)", 500, None),
        (r"(Request contains values both in binary data and in content value)", 500, None),
        (r"(Bytes contents is empty|Image parsing failed)", 500, None),
        (r"Invalid input precision - Expected: .*; Actual: BYTES", 500, "Functionality not implemented"),
        (r"Invalid input precision - \w+ cannot hold pictures", 400, "Invalid input precision"),
        (r"Invalid input shape - Expected: \d+x\d+", 400, "Invalid input shape"),
        (_WITHOUT_DETAILS, 400, None),
    )
)


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Body(msgspec.Struct, omit_defaults=True):
    inputs: list[_Input]
    outputs: list[_Output] = []
    id: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] = {}


_decode: Final = msgspec.json.Decoder(_Body).decode


class Ovms:
    """A handler that behaves as OVMS, around one that does not."""

    def __init__(self, handler: Handler, plane: DataPlane) -> None:
        self._handler = handler
        self._plane = plane
        self._routes = Routes()

    def handle(self, request: Request) -> Response | Later:
        """Answer as OVMS would."""
        if request.method not in {b"GET", b"POST"}:
            return _typed(error(406, "Unsupported method"))
        if b".." in request.target:
            return _typed(error(400, "The provided base path is invalid or doesn't exists"))
        route = self._routes.find(request.target)
        if route is not None and route.endpoint in _UNKNOWN:
            return _typed(error(400, _URL))
        if route is not None and route.endpoint is Endpoint.V1_MODEL and request.method == b"GET":
            return self._status(route)
        if route is not None and route.endpoint is Endpoint.INFER and b"content-encoding" not in request.headers:
            request = self._as_meant(request, route)
        answer = mapped(self._handler(request), partial(_as_said, route))
        if route is not None and route.endpoint is Endpoint.V1_PREDICT and ovms_v1.in_columns(request):
            return mapped(answer, ovms_v1.as_outputs)
        return answer

    def _status(self, route: Route) -> Response | Later:
        report = self._handler(Request(b"GET", _REPORT, {}, b""))
        return mapped(report, lambda answer: _typed(ovms_v1.status(_config(answer.body), route)))

    def _as_meant(self, request: Request, route: Route) -> Request:
        """OVMS selects no outputs, reads the last one only, and ignores bytes behind the tensors."""
        body, text = bytes(request.body), request.headers.get(_LENGTH)
        if text is None and not any(word in body for word in _OF_REQUEST):
            return request
        try:
            size = len(body) if text is None else int(text)
            if not 0 <= size <= len(body):
                return request
            parsed = _decode(body[:size])
            names = [spec.name for spec in self._plane.find(route.model, route.version).model.outputs]
            end = len(body) if text is None else size + _tensor_bytes(parsed, len(body) - size)
        except (ValueError, msgspec.MsgspecError, RecursionError, ServingError):
            return request  # what is wrong with it is said by the handler
        parsed.outputs = _last_only(parsed, names)
        parsed.parameters.pop("binary_data_output", None)
        json = msgspec.json.encode(parsed)
        headers = request.headers if text is None else request.headers | {_LENGTH: b"%d" % len(json)}
        return msgspec.structs.replace(request, headers=headers, body=json + body[size:end])


def _tensor_bytes(body: _Body, available: int) -> int:
    """How many of the bytes behind the JSON belong to tensors."""
    total = 0
    for item in body.inputs:
        if item.data is not msgspec.UNSET:
            continue
        size = item.parameters.get("binary_data_size")
        if size is None and item.datatype in DTYPES:
            size = prod(item.shape) * DTYPES[item.datatype].itemsize
        if not isinstance(size, int) or size < 0:
            return available
        total += size
    return min(total, available)


def _last_only(body: _Body, names: list[str]) -> list[_Output]:
    """All outputs, of which only the last that was listed may be binary."""
    if not body.outputs:
        return []
    last = body.outputs[-1]
    default = body.parameters.get("binary_data_output") is True
    asked = last.parameters.get("binary_data", default)
    binary = asked if isinstance(asked, bool) else default
    return [_Output(name, {"binary_data": binary and name == last.name}) for name in names]


def _as_said(route: Route | None, response: Response) -> Response:
    """The answer as OVMS gives it."""
    endpoint = None if route is None else route.endpoint
    if response.status >= 400:
        return _typed(_error(endpoint, response))
    match endpoint:
        case Endpoint.SERVER:
            said = msgspec.json.decode(response.body)
            body = msgspec.json.encode({"name": _NAME, "version": said["version"]})
            response = msgspec.structs.replace(response, body=body)
        case Endpoint.LIVE | Endpoint.READY:
            response = msgspec.structs.replace(response, body=b"")
        case Endpoint.CONFIG | Endpoint.CONFIG_RELOAD:
            response = Response(200, _config(response.body))
    return _typed(response)


def _error(endpoint: Endpoint | None, response: Response) -> Response:
    try:
        said: str = msgspec.json.decode(response.body)["error"]
    except (msgspec.DecodeError, KeyError, TypeError):  # a configuration report
        return response
    if endpoint is Endpoint.CONFIG_RELOAD and response.status == 500:
        return error(500, "Reloading config file failed. Check server logs for more info.")
    for pattern, status, text in _ERRORS:
        if (found := pattern.match(said)) is None:
            continue
        theirs = text or found[1]
        if endpoint is Endpoint.INFER and theirs == "Model with requested name is not found":
            theirs = "Mediapipe graph definition with requested name is not found"
        return error(status, theirs)
    return response


def _config(report: bytes) -> bytes:
    """The states of versions without our reasons: OVMS repeats the code."""
    models = msgspec.json.decode(report)
    for model in models.values():
        model.pop("error", None)
        for version in model["model_version_status"]:
            version["status"]["error_message"] = version["status"]["error_code"]
    return msgspec.json.encode(models)


def _typed(response: Response) -> Response:
    if response.content_type not in _REWRITTEN:
        return response
    return msgspec.structs.replace(response, content_type=_CONTENT_TYPE)
