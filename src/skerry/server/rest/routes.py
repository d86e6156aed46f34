"""Paths to endpoints.

Model servers are asked for the same few paths again and again, so what a path means is looked up, not parsed, from the
second time on. The memory is bounded: a client that invents paths empties it, no more.
"""

import enum
from typing import Final
from urllib.parse import unquote

import msgspec

_REMEMBERED: Final = 4096


class Endpoint(enum.Enum):
    """What can be asked for."""

    ALIVE = enum.auto()
    SERVER = enum.auto()
    LIVE = enum.auto()
    READY = enum.auto()
    METRICS = enum.auto()
    OPENAPI = enum.auto()
    MODELS = enum.auto()
    MODEL = enum.auto()
    MODEL_READY = enum.auto()
    INFER = enum.auto()
    CONFIG = enum.auto()
    CONFIG_RELOAD = enum.auto()
    REPOSITORY_INDEX = enum.auto()
    REPOSITORY_LOAD = enum.auto()
    REPOSITORY_UNLOAD = enum.auto()
    V1_MODELS = enum.auto()
    V1_MODEL = enum.auto()
    V1_METADATA = enum.auto()
    V1_PREDICT = enum.auto()


_POSTED: Final = frozenset(
    {
        Endpoint.INFER,
        Endpoint.CONFIG_RELOAD,
        Endpoint.REPOSITORY_INDEX,
        Endpoint.REPOSITORY_LOAD,
        Endpoint.REPOSITORY_UNLOAD,
        Endpoint.V1_PREDICT,
    }
)


class Route(msgspec.Struct, frozen=True):
    """An endpoint, and the model that the path names; an empty version means the default one."""

    endpoint: Endpoint
    model: str = ""
    version: str = ""

    @property
    def methods(self) -> tuple[bytes, ...]:
        return (b"POST",) if self.endpoint in _POSTED else (b"GET", b"HEAD")


_FIXED: Final = {
    "": Route(Endpoint.ALIVE),
    "v2": Route(Endpoint.SERVER),
    "v2/models": Route(Endpoint.MODELS),
    "v2/health/live": Route(Endpoint.LIVE),
    "v2/health/ready": Route(Endpoint.READY),
    "v2/repository/index": Route(Endpoint.REPOSITORY_INDEX),
    "metrics": Route(Endpoint.METRICS),
    "openapi.json": Route(Endpoint.OPENAPI),
    "v1/config": Route(Endpoint.CONFIG),
    "v1/config/reload": Route(Endpoint.CONFIG_RELOAD),
    "v1/models": Route(Endpoint.V1_MODELS),
}
_OF_MODEL: Final = {(): Endpoint.MODEL, ("ready",): Endpoint.MODEL_READY, ("infer",): Endpoint.INFER}


# Each as documents and traces name it; those of models also exist with a version.
TEMPLATES: Final = {
    **{route.endpoint: f"/{path}" for path, route in _FIXED.items()},
    Endpoint.MODEL: "/v2/models/{model_name}",
    Endpoint.MODEL_READY: "/v2/models/{model_name}/ready",
    Endpoint.INFER: "/v2/models/{model_name}/infer",
    Endpoint.REPOSITORY_LOAD: "/v2/repository/models/{model_name}/load",
    Endpoint.REPOSITORY_UNLOAD: "/v2/repository/models/{model_name}/unload",
    Endpoint.V1_MODEL: "/v1/models/{model_name}",
    Endpoint.V1_METADATA: "/v1/models/{model_name}/metadata",
    Endpoint.V1_PREDICT: "/v1/models/{model_name}:predict",
}


class Routes:
    """Remembers what was asked for."""

    def __init__(self) -> None:
        self._known: dict[bytes, Route | None] = {}

    def find(self, target: bytes) -> Route | None:
        """Return the route of a request target, None for a path that means nothing."""
        try:
            return self._known[target]
        except KeyError:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            route = self._known[target] = _parse(target)
            return route


def _parse(target: bytes) -> Route | None:
    try:
        path = target.partition(b"?")[0].partition(b"#")[0].decode("ascii")
    except UnicodeDecodeError:
        return None
    if path.startswith(("http://", "https://")):  # absolute form, as a proxy sends it
        path = "/" + path.partition("://")[2].partition("/")[2]
    path = path.strip("/")
    if path in _FIXED:
        return _FIXED[path]
    match path.split("/"):
        case ["v2", "models", name, "versions", version, *rest] if name and version:
            endpoint = _OF_MODEL.get(tuple(rest))
        case ["v2", "models", name, *rest] if name:
            version = ""
            endpoint = _OF_MODEL.get(tuple(rest))
        case ["v2", "repository", "models", name, ("load" | "unload") as what] if name:
            version = ""
            endpoint = Endpoint.REPOSITORY_LOAD if what == "load" else Endpoint.REPOSITORY_UNLOAD
        case ["v1", "models", name, "versions", version] if name:
            version, predict, _ = version.partition(":predict")
            endpoint = Endpoint.V1_PREDICT if predict else Endpoint.V1_MODEL
        case ["v1", "models", name, "versions", version, "metadata"] if name and version:
            endpoint = Endpoint.V1_METADATA
        case ["v1", "models", name, "metadata"] if name:
            version = ""
            endpoint = Endpoint.V1_METADATA
        case ["v1", "models", name] if name.removesuffix(":predict"):
            version = ""
            endpoint = Endpoint.V1_PREDICT if name.endswith(":predict") else Endpoint.V1_MODEL
            name = name.removesuffix(":predict")
        case _:
            return None
    return Route(endpoint, unquote(name), version) if endpoint else None
