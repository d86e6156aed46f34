"""get and list of PersistentVolumes and StorageClasses: views of the claims (see `skerry.api.volumes`)."""

from collections.abc import Callable
from datetime import datetime

from skerry.api.claims import PERSISTENT_VOLUME_CLAIM
from skerry.api.core import NODE
from skerry.api.registry import Kind, Object
from skerry.api.volumes import PERSISTENT_VOLUME, STORAGE_CLASS, VOLUME_KINDS, storage_class, volume_of
from skerry.cluster.apiserver import printing
from skerry.cluster.apiserver.reading import Reader
from skerry.cluster.apiserver.replies import Reply, json_reply
from skerry.cluster.apiserver.requests import Request, Target
from skerry.cluster.apiserver.selection import selection_of
from skerry.cluster.apiserver.verbs import Handler
from skerry.machinery import status


class VolumesApi:
    """The reading verbs of both kinds."""

    def __init__(self, reader: Reader, now: Callable[[], datetime]) -> None:
        self._reader = reader
        self._now = now

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {
            (kind.group_resource, verb): handler
            for kind in VOLUME_KINDS
            for verb, handler in (("get", self.get), ("list", self.list_views))
        }

    async def get(self, request: Request, target: Target) -> Reply:
        """Return one view."""
        output = printing.output_of(request)
        found = next((item for item in self._views(target.kind) if item["metadata"]["name"] == target.name), None)
        if found is None:
            raise status.not_found(target.kind.group_resource, target.name or "")
        return json_reply(printing.one(target.kind, found, output, self._now()), media_type=output.media_type)

    async def list_views(self, request: Request, target: Target) -> Reply:
        """Return the views that are selected."""
        output, selection = printing.output_of(request), selection_of(request, target.kind)
        chosen = [item for item in self._views(target.kind) if selection.matches(item)]
        meta = {"resourceVersion": str(self._reader.version)}
        printed = printing.many(target.kind, chosen, meta, output, self._now())
        return json_reply(printed, media_type=output.media_type)

    def _views(self, kind: Kind) -> list[Object]:
        nodes = self._reader.all_of(NODE, None)
        if kind is STORAGE_CLASS:
            born = nodes[0]["metadata"]["creationTimestamp"] if nodes else "1970-01-01T00:00:00Z"
            return [storage_class(born)]
        assert kind is PERSISTENT_VOLUME
        node = nodes[0]["metadata"]["name"] if nodes else ""
        volumes = (volume_of(claim, node) for claim in self._reader.all_of(PERSISTENT_VOLUME_CLAIM, None))
        return sorted((volume for volume in volumes if volume is not None), key=lambda item: item["metadata"]["name"])
