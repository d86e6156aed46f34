"""Who owns which field: `metadata.managedFields` after each write, and server-side apply.

All writes of clients are tracked from the create on. Writers inside this process are not: the fields of what only
controllers make and change (pods, events, endpoint slices) interest nobody, and would double the size of the object.
But what is tracked stays so, whoever writes it: a Deployment that a user applied does not lose the replicas that a
controller has set since. An inside writer that names its `fieldManager` wants to be tracked, and is.

Facts: k8s.io/apiserver `pkg/endpoints/handlers` (create.go, patch.go), k8s.io/apimachinery `pkg/util/managedfields`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from skerry.api.apply_keys import SCHEMAS
from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver.requests import Request, Target, WriteOptions
from skerry.kit.clock import timestamp
from skerry.machinery import status
from skerry.machinery.apply.manager import Applied, FieldManager
from skerry.machinery.apply.owners import same_but_times

Now = Callable[[], datetime]


class Ownership:
    """Keeps `managedFields` for all kinds."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self._managers: dict[tuple[str, str, str | None], FieldManager] = {}

    def created(self, kind: Kind, new: Object, options: WriteOptions) -> None:
        """Make the creator the owner of a new object."""
        if options.tracked:
            _put(new, self._manager(kind, None).update(None, new, options.manager, self._time()))

    def updated(self, target: Target, old: Object, new: Object, sent: Any, options: WriteOptions) -> None:
        """Make the writer the owner of what it changed; `sent` are the `managedFields` that came with the request."""
        stored = old["metadata"].get("managedFields")
        if not stored and not sent:
            return
        manager = self._manager(target.kind, target.subresource)
        asked = {**new, "metadata": {**new["metadata"], "managedFields": sent}}
        _put(new, manager.update(old, asked, options.manager, self._time()))
        _keep_times(old, new)

    def applied(self, target: Target, old: Object | None, config: Object, options: WriteOptions) -> Applied:
        """Merge a configuration into an object; raises what the client has to be told."""
        manager = self._manager(target.kind, target.subresource)
        return manager.apply(old, config, options.manager, self._time(), force=options.force)

    def put(self, old: Object | None, new: Object, managed_fields: list[Object]) -> None:
        """Give an object the owners that an apply has left it with."""
        _put(new, managed_fields)
        if old is not None:
            _keep_times(old, new)

    def _time(self) -> str:
        return timestamp(self._now())

    def _manager(self, kind: Kind, subresource: str | None) -> FieldManager:
        if kind.custom is not None:  # not kept: its node holds the schema, which may be large and may change
            node, ignored = kind.custom.schema().node, _ignored(kind, subresource)
            return FieldManager(
                node, kind.api_version, kind.kind, subresource or "", ignored, versions=kind.custom.versions
            )
        key = (kind.api_version, kind.kind, subresource)
        if key not in self._managers:
            node, ignored = SCHEMAS.of(kind.model), _ignored(kind, subresource)
            self._managers[key] = FieldManager(
                node, kind.api_version, kind.kind, subresource or "", ignored, kind.open_fields
            )
        return self._managers[key]


def _ignored(kind: Kind, subresource: str | None) -> Callable[[str], bool]:
    """Say which fields at the top a path does not write."""
    match subresource:
        case "status":
            return lambda name: name != "status"
        case None if kind.has_status:
            return lambda name: name == "status"
        case None:
            return lambda _name: False
    return lambda name: name != "spec"


def _put(new: Object, managed_fields: list[Object]) -> None:
    if managed_fields:
        new["metadata"]["managedFields"] = managed_fields
    else:
        new["metadata"].pop("managedFields", None)


def _keep_times(old: Object, new: Object) -> None:
    """A write that changes nothing but times in `managedFields` changes nothing."""
    before, after = old["metadata"].get("managedFields"), new["metadata"].get("managedFields")
    if not before or not after or before == after or not same_but_times(before, after):
        return
    new["metadata"]["managedFields"] = before
    if new != old:
        new["metadata"]["managedFields"] = after


def configuration_of(request: Request) -> Object:
    """Decode the body of an apply: YAML, or its subset JSON, which is what most clients send."""
    try:
        config = msgspec.json.decode(request.body)
    except (msgspec.DecodeError, RecursionError):
        from skerry.cluster.apiserver.yaml_body import decode_yaml

        config = decode_yaml(request.body)
    if not isinstance(config, dict) or not isinstance(config.get("metadata", {}), dict):
        raise status.bad_request("error decoding YAML: want a map with apiVersion, kind and metadata")
    return config
