"""The REST interface as an OpenAPI 3.1 document, served at `/openapi.json`.

Made from the same table of routes that requests are matched against, so it cannot name a path that is not there, and
an endpoint without a description here is an error of the first request for the document, which a test makes.
"""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, Final

import msgspec

from skerry.server.rest.openapi_schemas import PARAMETERS, SCHEMAS
from skerry.server.rest.routes import TEMPLATES, Endpoint, Route
from skerry.server.tensors import BYTES, DTYPES

_JSON: Final = "application/json"
_BINARY: Final = "application/octet-stream"
_ERRORS: Final = {
    "400": "The request is wrong: the text says what and where.",
    "403": "The server was started with --model_control_mode=none.",
    "404": "There is no such path, model or version.",
    "405": "The path has another method, which `allow` names.",
    "408": "The request took too long to arrive.",
    "413": "The body is larger than --max_body_mib, perhaps once it is unpacked.",
    "415": "The body is encoded in a way that is not understood, or a file for a model that takes none.",
    "431": "The headers are too large.",
    "500": "The engine, or the config file, is broken.",
    "503": "Not ready, or too much is queued; `retry-after` says when to come back.",
    "504": "It took longer than --request_timeout_seconds.",
}
_OF_MODEL: Final = ("404", "503")
_OF_BODIES: Final = ("400", "408", "413", "415")
_INFERENCE: Final = (*_OF_MODEL, *_OF_BODIES, "500", "504")


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """What one endpoint takes and gives. A schema is a name of `SCHEMAS`; without one there is no body."""

    summary: str
    answer: str = ""
    answer_types: tuple[str, ...] = (_JSON,)
    body: str = ""
    body_required: bool = True
    files: bool = False
    answers: Mapping[str, str] = {}
    errors: tuple[str, ...] = ()


OPERATIONS: Final = {
    Endpoint.ALIVE: Operation(summary="That the process is there (as KServe's servers say it)", answer="Alive"),
    Endpoint.MODELS: Operation(summary="Models that answer (as KServe's servers list them)", answer="V1Models"),
    Endpoint.SERVER: Operation(summary="Who answers", answer="ServerMetadata"),
    Endpoint.LIVE: Operation(summary="Whether the process works", answer="Live"),
    Endpoint.READY: Operation(
        summary="Whether the models that were asked for can answer", answer="Ready", errors=("503",)
    ),
    Endpoint.METRICS: Operation(
        summary="Metrics for Prometheus", answer="Text", answer_types=("text/plain",), errors=("404",)
    ),
    Endpoint.OPENAPI: Operation(summary="This document", answer="Any"),
    Endpoint.MODEL: Operation(summary="What a model takes and gives", answer="ModelMetadata", errors=_OF_MODEL),
    Endpoint.MODEL_READY: Operation(summary="Whether a model can answer", errors=_OF_MODEL),
    Endpoint.INFER: Operation(
        summary="Inference",
        body="InferRequest",
        files=True,
        answer="InferResponse",
        answer_types=(_JSON, _BINARY),
        errors=_INFERENCE,
    ),
    Endpoint.CONFIG: Operation(summary="The state of every version, as OVMS reports it", answer="ConfigReport"),
    Endpoint.CONFIG_RELOAD: Operation(
        summary="Look at the files now",
        answer="ConfigReport",
        answers={"201": "The config file had changed."},
        errors=("500",),
    ),
    Endpoint.REPOSITORY_INDEX: Operation(
        summary="Every version of every model",
        body="IndexRequest",
        body_required=False,
        answer="RepositoryIndex",
        errors=_OF_BODIES,
    ),
    Endpoint.REPOSITORY_LOAD: Operation(
        summary="Load a model", answer="Loaded", errors=("400", "403", "404", "500", "503")
    ),
    Endpoint.REPOSITORY_UNLOAD: Operation(
        summary="Unload a model", answer="Unloaded", errors=("400", "403", "404", "500", "503")
    ),
    Endpoint.V1_MODELS: Operation(summary="Models that answer (KServe's first protocol)", answer="V1Models"),
    Endpoint.V1_MODEL: Operation(
        summary="Whether a model can answer (KServe's first protocol)", answer="V1Status", errors=_OF_MODEL
    ),
    Endpoint.V1_METADATA: Operation(
        summary="What a model takes and gives (TensorFlow Serving's words)", answer="V1Metadata", errors=_OF_MODEL
    ),
    Endpoint.V1_PREDICT: Operation(
        summary="Inference (KServe's first protocol)", body="V1Request", answer="V1Response", errors=_INFERENCE
    ),
}
_VERSIONED: Final = frozenset(
    {
        *(Endpoint.MODEL, Endpoint.MODEL_READY, Endpoint.INFER),
        *(Endpoint.V1_MODEL, Endpoint.V1_METADATA, Endpoint.V1_PREDICT),
    }
)


@cache
def encoded() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(document())


def document() -> dict[str, Any]:
    """The document."""
    paths = {path: _path(endpoint, path) for endpoint in Endpoint for path in paths_of(endpoint)}
    datatypes = {"Datatype": {"type": "string", "enum": [*DTYPES, BYTES]}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Skerry model server",
            "version": version("skerry"),
            "description": "The Open Inference Protocol v2, its binary tensors and model repository extensions,"
            " KServe's first protocol, and files straight to inference.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {"schemas": {**SCHEMAS, **datatypes}, "parameters": PARAMETERS},
    }


def paths_of(endpoint: Endpoint) -> list[str]:
    """Every path of an endpoint, as templates."""
    plain = TEMPLATES[endpoint]
    versioned = plain.replace("{model_name}", "{model_name}/versions/{model_version}")
    return [plain, versioned] if endpoint in _VERSIONED else [plain]


def _path(endpoint: Endpoint, path: str) -> dict[str, Any]:
    methods = [method.decode().lower() for method in Route(endpoint).methods]
    parameters = [
        {"$ref": f"#/components/parameters/{name}"} for name in ("model_name", "model_version") if f"{{{name}}}" in path
    ]
    described: dict[str, Any] = {method: _operation(endpoint, path, method) for method in methods}
    return {"parameters": parameters, **described} if parameters else described


def _operation(endpoint: Endpoint, path: str, method: str) -> dict[str, Any]:
    about = OPERATIONS[endpoint]
    suffix = "".join(word for word, is_so in (("_version", "versions/" in path), ("_head", method == "head")) if is_so)
    good = {} if method == "head" or not about.answer else {"content": _content(about.answer, about.answer_types)}
    errors = sorted({*about.errors, "431"})
    described: dict[str, Any] = {
        "operationId": endpoint.name.lower() + suffix,
        "summary": about.summary,
        "responses": {
            "200": {"description": "It is so.", **good},
            **{status: {"description": text, **good} for status, text in about.answers.items()},
            **{status: {"description": _ERRORS[status], **_failed(method)} for status in errors},
        },
    }
    if about.body:
        described["requestBody"] = {"required": about.body_required, "content": _body(about)}
    if about.files:
        described["parameters"] = [{"$ref": "#/components/parameters/inference_header_content_length"}]
    return described


def _failed(method: str) -> dict[str, Any]:
    return {} if method == "head" else {"content": _content("Error", (_JSON,))}


def _content(schema: str, types: tuple[str, ...]) -> dict[str, Any]:
    return {kind: {} if kind == _BINARY else {"schema": _reference(schema)} for kind in types}


def _body(about: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {_JSON: {"schema": _reference(about.body)}}
    if about.files:
        content |= {kind: {} for kind in (_BINARY, "image/jpeg", "image/png")}
        content["multipart/form-data"] = {"schema": {"type": "object"}}
    return content


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
