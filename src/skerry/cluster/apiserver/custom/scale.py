"""`scale` of custom resources: an `autoscaling/v1 Scale` read from, and written to, the paths of the definition.

Facts: k8s.io/apiextensions-apiserver `pkg/registry/customresource/etcd.go` (ScaleREST).
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

import msgspec

from skerry.api.registry import Object
from skerry.cluster.apiserver.patching import JSON_PATCH, MERGE_PATCH, patched
from skerry.cluster.apiserver.reading import Reader, key_of
from skerry.cluster.apiserver.replies import Reply, json_reply
from skerry.cluster.apiserver.requests import APPLY_PATCH, Request, Target, decode_body, write_options
from skerry.cluster.apiserver.turns import Turns
from skerry.cluster.apiserver.verbs import Handler
from skerry.cluster.apiserver.writing import Writer
from skerry.cluster.store import Conflict
from skerry.machinery import status
from skerry.machinery.fielderrors import invalid
from skerry.machinery.jsonvalues import copied

_ATTEMPTS: Final = 10


class ScaleMeta(msgspec.Struct, frozen=True):
    """Whose scale it is, and which state of it the client has seen."""

    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    resourceVersion: str | None = None  # noqa: N815 - the wire's name


class ScaleSpec(msgspec.Struct, frozen=True):
    """How many there should be."""

    replicas: int = 0


class Scale(msgspec.Struct, frozen=True):
    """`autoscaling/v1 Scale`, as far as it can be written."""

    metadata: ScaleMeta = ScaleMeta()
    spec: ScaleSpec = ScaleSpec()


class CustomScale:
    """The sub-resource for all kinds whose definition has one."""

    def __init__(self, reader: Reader, writer: Writer, turns: Turns) -> None:
        self._reader = reader
        self._writer = writer
        self._turns = turns

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {("*/scale", "get"): self.get, ("*/scale", "update"): self.write, ("*/scale", "patch"): self.write}

    async def get(self, request: Request, target: Target) -> Reply:
        return json_reply(_scale(target, self._reader.fetch(target)))

    async def write(self, request: Request, target: Target) -> Reply:
        """Replace or patch the scale; tried again when somebody else writes the object in between."""
        options = write_options(request)
        for _ in range(_ATTEMPTS):
            async with self._turns.of(key_of(target)):
                old = self._reader.fetch(target)
                wanted = _wanted(request, target, old)
                new = _scaled(target, old, wanted)
                with suppress(Conflict):
                    item = await self._writer.store_changed(target, old, new, options)
                    return json_reply(_scale(target, item))
        raise status.conflict(target.kind.group_resource, target.name or "")


def _wanted(request: Request, target: Target, old: Object) -> int:
    """Return the figure that a request asks for, after its preconditions have been checked."""
    if request.content_type == APPLY_PATCH:
        raise status.unsupported_media_type([JSON_PATCH, MERGE_PATCH])
    body = patched(target.kind, _scale(target, old), request) if request.method == "PATCH" else decode_body(request)
    try:
        scale = msgspec.convert(body, Scale)
    except msgspec.ValidationError as error:
        raise status.bad_request(f'Scale in version "v1" cannot be handled as a Scale: {error}') from None
    if scale.metadata.name not in {None, "", target.name}:
        raise status.bad_request(
            f"the name of the object ({scale.metadata.name}) does not match the name on the URL ({target.name})"
        )
    if scale.metadata.resourceVersion not in {None, "", old["metadata"]["resourceVersion"]}:
        raise status.conflict(target.kind.group_resource, target.name or "")
    if scale.spec.replicas < 0:
        wrong = invalid("spec.replicas", scale.spec.replicas, "should be a non-negative integer")
        raise status.invalid("Scale", "autoscaling", target.name or "", [wrong])
    return scale.spec.replicas


def _scaled(target: Target, old: Object, replicas: int) -> Object:
    assert target.kind.custom is not None
    assert target.kind.custom.scale is not None
    new: Object = copied(old)
    place = new
    *parents, last = target.kind.custom.scale.spec_replicas
    for name in parents:
        inner = place.get(name)
        if not isinstance(inner, dict):
            inner = place[name] = {}
        place = inner
    place[last] = replicas
    return new


def _scale(target: Target, item: Object) -> Object:
    assert target.kind.custom is not None
    paths = target.kind.custom.scale
    assert paths is not None
    wanted = _at(item, paths.spec_replicas)
    if wanted is None:
        why = f"the spec replicas field {_json_path(paths.spec_replicas)} does not exist"
        raise status.StatusError(500, "InternalError", f"Internal error occurred: {why}")
    meta = item["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    found: Object = {"replicas": _at(item, paths.status_replicas) or 0}
    if paths.selector is not None and (selector := _at(item, paths.selector)):
        found["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in kept if name in meta},
        "spec": {"replicas": wanted},
        "status": found,
    }


def _at(item: Any, path: Sequence[str]) -> Any:
    for name in path:
        item = item.get(name) if isinstance(item, dict) else None
    return item


def _json_path(names: Sequence[str]) -> str:
    """Write names as the path that they came from."""
    return "".join(f".{name}" for name in names)
