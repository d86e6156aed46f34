"""The models and their states: the protocol's repository extension, and OVMS's view of its config file.

| method, path | answer |
|---|---|
| POST /v2/repository/index | every version with its state and reason; `{"ready": true}` for those that answer only |
| POST /v2/repository/models/M/load | 200 when it answers; 400 with the reason when it cannot be loaded; 404 |
| POST /v2/repository/models/M/unload | 200; it stays unloaded until it is loaded explicitly |
| GET /v1/config | the state of every version, in OVMS's form |
| POST /v1/config/reload | look at the files now: 201 if the config file had changed, 200 if not; 500 if it is broken |

OVMS repeats the error code where its message should be; here the message is the reason.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from skerry.server.errors import InvalidRequest, ServingError
from skerry.server.http.messages import Later, Request, Response
from skerry.server.registry import ModelState, Registry, State, VersionState
from skerry.server.repository_control import Repository
from skerry.server.rest.failures import response_of
from skerry.server.rest.routes import Endpoint, Route

Answer: TypeAlias = Callable[[Request, Route], Response | Later]
_ENDED: Final = frozenset({State.UNLOADING, State.END})


class _IndexRequest(msgspec.Struct):
    ready: bool = False


def endpoints(models: Repository) -> Mapping[Endpoint, Answer]:
    """What this part of the interface answers."""
    registry = models.registry

    def load(_request: Request, route: Route) -> Later:
        return Later(models.load(route.model), lambda done: _changed(done, {"name": route.model, "load": True}))

    def unload(_request: Request, route: Route) -> Later:
        return Later(models.unload(route.model), lambda done: _changed(done, {"name": route.model, "unload": True}))

    def reload(_request: Request, _route: Route) -> Later:
        return Later(models.reload(), lambda done: _reloaded(done, registry))

    return {
        Endpoint.REPOSITORY_INDEX: lambda request, _route: _index(request, registry),
        Endpoint.REPOSITORY_LOAD: load,
        Endpoint.REPOSITORY_UNLOAD: unload,
        Endpoint.CONFIG: lambda _request, _route: _config(registry),
        Endpoint.CONFIG_RELOAD: reload,
    }


def _index(request: Request, registry: Registry) -> Response:
    try:
        wanted = msgspec.json.decode(request.body or b"{}", type=_IndexRequest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as why:
        raise InvalidRequest(f'cannot read the request: {why}; use {{}} or {{"ready": true}}') from None
    index = [
        entry for model in registry.state() for entry in entries(model) if not wanted.ready or entry["state"] == "READY"
    ]
    return Response(body=msgspec.json.encode(index))


def entries(model: ModelState) -> list[dict[str, str]]:
    """A model in the index: its versions, or the model alone; gRPC gives the same."""
    if not model.versions:
        return [{"name": model.name, "version": "", "state": "UNAVAILABLE", "reason": model.reason}]
    return [
        {
            "name": model.name,
            "version": str(version.number),
            "state": _protocol_state(version),
            "reason": version.reason or (model.reason if version.state in _ENDED else ""),
        }
        for version in model.versions
    ]


def _protocol_state(version: VersionState) -> str:
    match version.state:
        case State.AVAILABLE:
            return "READY"
        case State.LOADING if not version.reason:
            return "LOADING"
        case State.UNLOADING:
            return "UNLOADING"
    return "UNAVAILABLE"


def _config(registry: Registry, status: int = 200) -> Response:
    report: dict[str, Any] = {}
    for model in registry.state():
        report[model.name] = {"model_version_status": [_version_status(version) for version in model.versions]}
        if model.reason:
            report[model.name]["error"] = model.reason
    return Response(status, msgspec.json.encode(report))


def _version_status(version: VersionState) -> dict[str, Any]:
    failed = version.reason and version.state is not State.AVAILABLE
    status = {"error_code": "UNKNOWN" if failed else "OK", "error_message": version.reason or "OK"}
    return {"version": str(version.number), "state": version.state.value, "status": status}


def _changed(done: "asyncio.Future[None]", body: dict[str, Any]) -> Response:
    try:
        done.result()
    except ServingError as why:
        return response_of(why)
    return Response(body=msgspec.json.encode(body))


def _reloaded(done: "asyncio.Future[bool]", registry: Registry) -> Response:
    try:
        return _config(registry, 201 if done.result() else 200)
    except ServingError as why:
        return response_of(why)
