"""What the server says of itself: version, health, metrics, discovery, OpenAPI."""

from collections.abc import Callable
from typing import Any, Final

from skerry.api.registry import Registry
from skerry.cluster.apiserver.discovery import Discovery
from skerry.cluster.apiserver.health import Health
from skerry.cluster.apiserver.openapi import OpenApi
from skerry.cluster.apiserver.replies import Reply, json_reply
from skerry.cluster.apiserver.requests import Request

# Image volumes are on by default from 1.35: this is the oldest version that tells clients the truth.
KUBERNETES_VERSION: Final = (1, 35)


class Documents:
    """Documents by path."""

    def __init__(self, registry: Registry, health: Health, metrics: Callable[[], Reply]) -> None:
        self._health = health
        self._metrics = metrics
        self._discovery = Discovery(registry)
        self._openapi = OpenApi(registry)

    def find(self, request: Request) -> Reply | None:
        """Return the document at the request's path, None when there is none."""
        if request.path.rstrip("/") == "/version":  # Python clients end it with a slash
            return json_reply(version())
        if request.path == "/metrics" and request.method == "GET":
            return self._metrics()
        if (health := self._health.find(request)) is not None:
            return health
        return self._discovery.find(request) or self._openapi.find(request)


def version() -> dict[str, Any]:
    """Return `version.Info`."""
    import platform

    from skerry import __version__

    major, minor = KUBERNETES_VERSION
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": str(major),
        "minor": str(minor),
        "gitVersion": f"v{major}.{minor}.0+skerry-{__version__}",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "2026-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation(),
        "platform": f"linux/{machine}",
    }
