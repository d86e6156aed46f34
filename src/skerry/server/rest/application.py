"""Every path of the REST interface.

| method, path | answer |
|---|---|
| GET /v2 | name, version and extensions of the server |
| GET /v2/health/live | 200 and `{"live": true}` while the event loop turns |
| GET /v2/health/ready | 200 and `{"ready": true}` when every model asked for can answer, else 503 |
| GET /v2/models/M[/versions/V] | metadata |
| GET /v2/models/M[/versions/V]/ready | 200 without a body; 503 while it loads; 404 |
| POST /v2/models/M[/versions/V]/infer | inference |
| GET /metrics | Prometheus text; 404 without --metrics_enable |
| GET /openapi.json | all of this as an OpenAPI 3.1 document |
| /v2/repository/…, /v1/config… | models and their states: `rest/repository_api.py` |
| /v1/models… | KServe's first protocol: `rest/v1.py` |

Where OVMS answers with 406, 412 or with 500 for a client's mistake, this interface says 405 and 400.
"""

import asyncio
import time
from functools import partial
from importlib.metadata import version
from typing import Any, Final

import msgspec

from skerry.server.dataplane import DataPlane
from skerry.server.errors import ServingError
from skerry.server.http.messages import Later, Request, Response, error
from skerry.server.model_metrics import ServerMetrics
from skerry.server.registry import ServedVersion
from skerry.server.repository_control import Repository
from skerry.server.rest import repository_api, uploads, v1
from skerry.server.rest.compression import Inflating
from skerry.server.rest.failures import response_of
from skerry.server.rest.lanes import Lanes
from skerry.server.rest.plain import plain_version
from skerry.server.rest.plans import Plans
from skerry.server.rest.raw import raw_version
from skerry.server.rest.reading import HEADER_LENGTH, JSON_ONLY, Encoding, read_request
from skerry.server.rest.routes import Endpoint, Route, Routes
from skerry.server.rest.writing import write_response
from skerry.server.tensors import InferRequest, InferResponse

_PROMETHEUS: Final = b"text/plain; version=0.0.4; charset=utf-8"
_INTERFACE: Final = "REST"
# KServe's client reads these; that a model is ready is said by the code alone.
_LIVE: Final = b'{"live":true}'
_READY: Final = b'{"ready":true}'
_MAX_BODY: Final = 128 << 20
_CONTENT_TYPE: Final = b"content-type"


class Application:
    """A handler of requests over the data plane; `lanes` take from it those that are better answered together."""

    def __init__(
        self, plane: DataPlane, metrics: ServerMetrics | None, models: Repository, *, max_body: int = _MAX_BODY
    ) -> None:
        """Without metrics there is no `/metrics`."""
        self._plane = plane
        self._metrics = metrics
        self._routes = Routes()
        self._plans = Plans()
        self.lanes = Lanes(plane, self.handle, plain_version, partial(raw_version, plans=self._plans))
        self._more = {
            **repository_api.endpoints(models),
            **v1.endpoints(plane, models.registry),
            Endpoint.OPENAPI: _openapi,
        }
        self._inflating = Inflating(self.handle, max_body)

    def handle(self, request: Request) -> Response | Later:
        """Answer a request, now or later."""
        received_at = time.perf_counter()
        route = self._routes.find(request.target)
        if route is None:
            return error(404, f"there is nothing at {request.target.decode('ascii', 'replace')}")
        if request.method not in route.methods:
            allowed = b", ".join(route.methods)
            text = f"Unsupported method: use {allowed.decode()} here"
            return error(405, text, b"allow: %b\r\n" % allowed)
        try:
            if request.headers.get(b"content-encoding", b"identity") != b"identity":
                return self._inflating.handle(request)
            if route.endpoint is Endpoint.INFER:
                self.lanes.open(request.target, route)
                return self._infer(request, route, received_at)
            if (answer := self._more.get(route.endpoint)) is not None:
                return answer(request, route)
            return self._answer(route)
        except ServingError as why:
            return response_of(why)

    def _answer(self, route: Route) -> Response:
        match route.endpoint:
            case Endpoint.LIVE:
                return Response(body=_LIVE)
            case Endpoint.READY:
                if self._plane.ready():
                    return Response(body=_READY)
                return error(503, "Server is not ready", b"retry-after: 1\r\n")
            case Endpoint.MODEL_READY:
                self._plane.model_ready(route.model, route.version, _INTERFACE)
                return Response()
            case Endpoint.MODEL:
                metadata = self._plane.metadata(route.model, route.version, _INTERFACE)
                return Response(body=msgspec.json.encode(metadata))
            case Endpoint.METRICS:
                if self._metrics is None:
                    return error(404, "metrics are off; start the server with --metrics_enable")
                return Response(body=self._metrics.text().encode(), content_type=_PROMETHEUS)
            case _:
                return Response(body=msgspec.json.encode(server_metadata()))

    def _infer(self, request: Request, route: Route, received_at: float) -> Response | Later:
        served = self._plane.find(route.model, route.version)
        try:
            inference, encoding = self._read(request, served, received_at)
        except ServingError:
            self._plane.count_failure(served, _INTERFACE, "ModelInfer")
            raise
        found = self._plane.infer(served, inference, _INTERFACE)
        if isinstance(found, InferResponse):
            return write_response(found, encoding)
        return Later(found, partial(_render, encoding))

    def _read(self, request: Request, served: ServedVersion, received_at: float) -> tuple[InferRequest, Encoding]:
        headers = request.headers
        body = request.body
        header_length = headers.get(HEADER_LENGTH)
        if header_length is None:
            if headers.get(_CONTENT_TYPE, b"").startswith(uploads.KINDS):
                upload = uploads.read_upload(request, served, received_at)
                if upload is not None:
                    return upload, JSON_ONLY
            return read_request(bytes(body), None, received_at, missing=served.tabular is not None)
        if (planned := self._plans.read(body, header_length, received_at)) is not None:
            return planned
        inference, encoding = read_request(bytes(body), header_length, received_at, missing=served.tabular is not None)
        self._plans.remember(body, header_length, inference, encoding)
        return inference, encoding


def _openapi(_request: Request, _route: Route) -> Response:
    from skerry.server.rest import openapi

    return Response(body=openapi.encoded())


def server_metadata() -> dict[str, Any]:
    """Who answers, and which extensions of the protocol it has."""
    return {"name": "skerry", "version": version("skerry"), "extensions": ["binary_tensor_data", "model_repository"]}


def _render(encoding: Encoding, done: "asyncio.Future[InferResponse]") -> Response:
    try:
        return write_response(done.result(), encoding)
    except ServingError as why:
        return response_of(why)
