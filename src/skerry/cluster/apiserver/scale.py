"""The sub-resource `scale`: the number of replicas of any kind that has one, without the rest of the object.

`autoscaling/v1 Scale` is a view. What is written to it becomes a write to the object itself, under the object's rules
and with its version; `Kind.scale` says where the parts stand, so custom resources are served by the same code.

Facts: Kubernetes `pkg/registry/apps/deployment/storage` (ScaleREST), apiextensions `pkg/registry/customresource`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from lightkube.models import autoscaling_v1

from skerry.api.cells import AGE_COLUMN, NAME_COLUMN, spec, status
from skerry.api.registry import Column, Kind, Object, ScalePaths
from skerry.cluster.apiserver import admission, printing
from skerry.cluster.apiserver.ownership import configuration_of
from skerry.cluster.apiserver.patching import patched
from skerry.cluster.apiserver.reading import Reader
from skerry.cluster.apiserver.replies import Reply, json_reply
from skerry.cluster.apiserver.requests import (
    APPLY_PATCH,
    Request,
    Target,
    WriteOptions,
    decode_body,
    json_body,
    write_options,
)
from skerry.cluster.apiserver.verbs import Handler
from skerry.cluster.apiserver.writing import Writer
from skerry.machinery import status as errors
from skerry.machinery.fielderrors import invalid
from skerry.machinery.selectors import label_selector

# Never in discovery by itself: it is what the sub-resources answer with.
SCALE: Final = Kind(
    "autoscaling",
    "v1",
    "Scale",
    "scales",
    namespaced=True,
    model=autoscaling_v1.Scale,
    columns=(
        NAME_COLUMN,
        Column("Desired", lambda scale, _: spec(scale).get("replicas") or 0, "integer"),
        Column("Available", lambda scale, _: status(scale).get("replicas") or 0, "integer"),
        AGE_COLUMN,
    ),
)
_SHOWN_METADATA: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


class ScaleApi:
    """The verbs of `scale`."""

    def __init__(self, reader: Reader, writer: Writer, now: Callable[[], datetime]) -> None:
        self._reader = reader
        self._writer = writer
        self._now = now

    def handlers(self) -> dict[tuple[str, str], Handler]:
        return {("*/scale", "get"): self.get, ("*/scale", "update"): self.update, ("*/scale", "patch"): self.patch}

    async def get(self, request: Request, target: Target) -> Reply:
        return self._printed(request, target, self._reader.fetch(target))

    async def update(self, request: Request, target: Target) -> Reply:
        """Set the replicas; at the version that the client has seen, if it names one."""
        options, sent = write_options(request), decode_body(request)
        admission.check_identity(SCALE, sent, target, request)
        admission.check_form(SCALE, sent, json_body(request), options)
        return self._printed(request, target, await self._write(target, options, lambda _: sent))

    async def patch(self, request: Request, target: Target) -> Reply:
        """Patch the view and carry the replicas over."""
        options = write_options(request)
        if request.content_type == APPLY_PATCH:
            return await self._apply(request, target, options)

        def change(seen: Object) -> Object:
            new = patched(SCALE, seen, request)
            admission.check_identity(SCALE, new, target, request)
            return new

        return self._printed(request, target, await self._write(target, options, change))

    async def _write(self, target: Target, options: WriteOptions, change: Callable[[Object], Object]) -> Object:
        def through(item: Object) -> Object:
            seen = scale_of(target.kind, item)
            new = change(seen)
            wanted = checked_replicas(new)
            put(item, _paths(target.kind).replicas, wanted)
            for field in ("uid", "resourceVersion"):
                if new["metadata"].get(field):
                    item["metadata"][field] = new["metadata"][field]
            return item

        return await self._writer.rewrite(target, options, through)

    async def _apply(self, request: Request, target: Target, options: WriteOptions) -> Reply:
        """Apply the replicas as a configuration of the object itself, so that its owners are asked."""
        self._reader.fetch(target)
        sent = configuration_of(request)
        admission.check_identity(SCALE, sent, target, request)
        kind = target.kind
        config: Object = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": sent["metadata"]}
        put(config, _paths(kind).replicas, checked_replicas(sent))
        reply = await self._writer.apply(request, target, options, printing.Output(), config)
        return self._printed(request, target, _decoded(reply))

    def _printed(self, request: Request, target: Target, item: Object) -> Reply:
        output = printing.output_of(request)
        shown = printing.one(SCALE, scale_of(target.kind, item), output, self._now())
        return json_reply(shown, media_type=output.media_type)


def scale_of(kind: Kind, item: Object) -> Object:
    """Return the view of an object."""
    paths, meta = _paths(kind), item["metadata"]
    seen: Object = {"replicas": _at(item, paths.status_replicas) or 0}
    selector = _at(item, paths.selector) if paths.selector is not None else None
    if selector:
        seen["selector"] = selector if isinstance(selector, str) else str(label_selector(selector))
    wanted = _at(item, paths.replicas)
    if wanted is None and kind.custom is not None:
        raise errors.internal(f"the spec replicas field {_json_path(paths.replicas)} does not exist")
    return {
        "apiVersion": SCALE.api_version,
        "kind": SCALE.kind,
        "metadata": {field: meta[field] for field in _SHOWN_METADATA if field in meta},
        "spec": {"replicas": wanted or 0},
        "status": seen,
    }


def checked_replicas(scale: Object) -> int:
    """Return the wanted replicas; raises a 422 for less than none."""
    found = (scale.get("spec") or {}).get("replicas") or 0
    if not isinstance(found, int):
        raise errors.bad_request(f"Scale.spec.replicas: want a whole number, not {found!r}")
    if found < 0:
        complaint = invalid("spec.replicas", found, "must be greater than or equal to 0")
        raise errors.invalid(SCALE.kind, SCALE.group, scale["metadata"].get("name", ""), [complaint])
    return found


def put(item: Object, path: Sequence[str], value: Any) -> None:
    """Set the value at a path, making what leads there."""
    for part in path[:-1]:
        item = item.setdefault(part, {})
    item[path[-1]] = value


def _at(item: Object, path: Sequence[str]) -> Any:
    value: Any = item
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _paths(kind: Kind) -> ScalePaths:
    return kind.scale or ScalePaths()


def _json_path(names: Sequence[str]) -> str:
    return "".join(f".{name}" for name in names)


def _decoded(reply: Reply) -> Object:
    item: Object = msgspec.json.decode(reply.body)
    return item
