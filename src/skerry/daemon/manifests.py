"""Applies directories of manifests at start, object by object, again and again until each has succeeded.

Nothing gives up and nothing blocks: an object that cannot be applied yet (its namespace comes later, its kind is
refused) is tried again with a growing delay while all others go on. What a user changes in the cluster stays: an
object that exists is touched only when the manifest itself has changed since it was last applied, and then only in the
fields that the manifest sets.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import msgspec

from skerry.api.registry import Object, Registry
from skerry.kit.clock import Clock
from skerry.kit.log import logger

log = logger(__name__)

APPLIED: Final = "skerry.dev/applied-manifest"
_FIRST_DELAY: Final = 0.2
_LONGEST_DELAY: Final = 60.0

Render = Callable[[Path], list[Object]]


@dataclass
class Progress:
    """What `skerry status` tells of the manifests."""

    applied: int = 0
    pending: dict[str, str] = field(default_factory=dict)  # object → last error


class ManifestApplier:
    """Applies what `render` finds in the directories."""

    def __init__(self, client: httpx2.AsyncClient, registry: Registry, render: Render, clock: Clock) -> None:
        self._client = client
        self._registry = registry
        self._render = render
        self._clock = clock
        self.progress = Progress()

    async def run(self, directories: Sequence[Path]) -> None:
        """Apply all directories in order; returns when every object has succeeded."""
        waiting = self._load(directories)
        delay = _FIRST_DELAY
        while waiting:
            waiting = [item for item in waiting if not await self._applied(item)]
            if waiting:
                log.warning("manifests pending", count=len(waiting), errors=dict(self.progress.pending))
                await self._clock.sleep(delay)
                delay = min(delay * 2, _LONGEST_DELAY)

    def _load(self, directories: Iterable[Path]) -> list[Object]:
        items: list[Object] = []
        for directory in directories:
            try:
                items += self._render(directory)
            except (OSError, ValueError) as error:
                # One bad directory must not keep the others from being applied.
                self.progress.pending[str(directory)] = str(error)
                log.error("manifests refused", directory=str(directory), error=str(error))
        return items

    async def _applied(self, item: Object) -> bool:
        name = f"{item.get('kind')}/{item.get('metadata', {}).get('name')}"
        try:
            await self._apply(item)
        except (httpx2.HTTPError, OSError, ValueError) as error:
            text = error.response.text if isinstance(error, httpx2.HTTPStatusError) else str(error)
            self.progress.pending[name] = text[:500]
            return False
        self.progress.pending.pop(name, None)
        self.progress.applied += 1
        return True

    async def _apply(self, item: Object) -> None:
        collection = self._path(item)
        one = f"{collection}/{item['metadata']['name']}"
        digest = hashlib.sha256(msgspec.json.encode(item, order="deterministic")).hexdigest()[:32]
        marked = _annotated(item, digest)
        found = await self._client.get(one)
        if found.status_code == 404:
            created = await self._client.post(collection, content=msgspec.json.encode(marked), headers=_json())
            if created.status_code != 409:
                created.raise_for_status()
            return
        found.raise_for_status()
        present = found.json()["metadata"].get("annotations") or {}
        if present.get(APPLIED) != digest:
            body = msgspec.json.encode(marked)
            merged = await self._client.patch(one, content=body, headers=_json("application/merge-patch+json"))
            merged.raise_for_status()

    def _path(self, item: Object) -> str:
        kind = self._registry.by_kind(str(item.get("apiVersion")), str(item.get("kind")))
        if kind is None:
            raise ValueError(f"kind {item.get('kind')} of {item.get('apiVersion')} is not served here")
        prefix = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
        if not kind.namespaced:
            return f"{prefix}/{kind.plural}"
        return f"{prefix}/namespaces/{item['metadata'].get('namespace', 'default')}/{kind.plural}"


def _annotated(item: Object, digest: str) -> Object:
    meta: dict[str, Any] = dict(item["metadata"])
    meta["annotations"] = {**(meta.get("annotations") or {}), APPLIED: digest}
    return {**item, "metadata": meta}


def _json(media_type: str = "application/json") -> dict[str, str]:
    return {"content-type": media_type}
