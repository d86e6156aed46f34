"""The sub-resource `scale` of whatever an autoscaler names, found by discovery: custom resources are scaled too."""

from dataclasses import dataclass
from typing import Any, Final

import msgspec
from lightkube import AsyncClient
from lightkube.models.autoscaling_v2 import CrossVersionObjectReference

_SECONDS: Final = 10.0


class NoScale(Exception):
    """The target has no size that could be read or set; the text says why."""


@dataclass(frozen=True)
class Scale:
    """The size of a target, and where it stands."""

    path: str
    replicas: int
    selector: str


class Scales:
    """Reads and writes sizes."""

    def __init__(self, client: AsyncClient) -> None:
        self._requests: Any = client._client  # noqa: SLF001 - lightkube has no requests by path
        self._plurals: dict[tuple[str, str], str] = {}

    async def get(self, namespace: str, reference: CrossVersionObjectReference) -> Scale:
        """Return the size of the target; raises `NoScale`."""
        version = reference.apiVersion or "v1"
        base = f"apis/{version}" if "/" in version else f"api/{version}"
        plural = await self._plural(base, version, reference.kind)
        path = f"{base}/namespaces/{namespace}/{plural}/{reference.name}/scale"
        found = await self._call("GET", path)
        replicas = (found.get("spec") or {}).get("replicas") or 0
        return Scale(path, replicas, (found.get("status") or {}).get("selector") or "")

    async def put(self, scale: Scale, replicas: int) -> None:
        """Set the size; raises `NoScale`."""
        await self._call("PATCH", scale.path, {"spec": {"replicas": replicas}})

    async def _plural(self, base: str, version: str, kind: str) -> str:
        known = self._plurals.get((version, kind))
        if known is not None:
            return known
        found = await self._call("GET", base)
        names = [
            each["name"] for each in found.get("resources") or [] if each["kind"] == kind and "/" not in each["name"]
        ]
        if not names:
            group = version.rpartition("/")[0]
            raise NoScale(f'no matches for kind "{kind}" in group "{group}"')
        self._plurals[version, kind] = names[0]
        return str(names[0])

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/merge-patch+json"} if body is not None else {}
        content = msgspec.json.encode(body) if body is not None else None
        request = self._requests._client.build_request(  # noqa: SLF001
            method, path, content=content, headers=headers, timeout=_SECONDS
        )
        answer = await self._requests.send(request)
        found: dict[str, Any] = {}
        try:
            found = msgspec.json.decode(answer.content)
        except msgspec.DecodeError:
            raise NoScale(f"{method} {path}: answered {answer.status_code} and no JSON") from None
        if answer.status_code >= 400:
            raise NoScale(str(found.get("message") or f"{method} {path}: answered {answer.status_code}"))
        return found
