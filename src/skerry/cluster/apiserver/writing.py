"""create, update and patch, server-side apply among the patches."""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver import admission, printing
from skerry.cluster.apiserver.access.guard import Guard
from skerry.cluster.apiserver.admission import Admission
from skerry.cluster.apiserver.ownership import Ownership, configuration_of
from skerry.cluster.apiserver.patching import patched
from skerry.cluster.apiserver.printing import Output
from skerry.cluster.apiserver.reading import Reader, key_of, stored_reply
from skerry.cluster.apiserver.replies import Reply, with_warnings
from skerry.cluster.apiserver.requests import (
    APPLY_PATCH,
    Request,
    Target,
    WriteOptions,
    decode_body,
    json_body,
    write_options,
)
from skerry.cluster.apiserver.turns import Turns
from skerry.cluster.store import AlreadyExists, Conflict, Key, Missing, NotEmpty, Store
from skerry.machinery import status
from skerry.machinery.apply.manager import Applied
from skerry.machinery.fielderrors import FieldError

_ATTEMPTS: Final = 10
_NAME_ATTEMPTS: Final = 8
_OBJECT_LIMIT: Final = 3 * 1024 * 1024 // 2  # etcd's own; what fits here must fit into a cluster's database too
_NO_VERSION: Final = FieldError(
    "FieldValueInvalid", "metadata.resourceVersion", "Invalid value: 0x0: must be specified for an update"
)


class Writer:
    """The writing verbs over a store."""

    def __init__(self, store: Store, reader: Reader, admit: Admission, turns: Turns, guard: Guard) -> None:
        self._store = store
        self._reader = reader
        self._admission = admit
        self._turns = turns
        self._guard = guard
        self._ownership = Ownership(admit.now)

    async def create(self, request: Request, target: Target) -> Reply:
        """Store a new object; a generated name that is taken is drawn again."""
        kind, options = target.kind, write_options(request)
        output = printing.output_of(request)  # an answer that cannot be given must not come after the write
        item = _decoded(request, target, options)
        meta = item["metadata"]
        self._namespace_open(target, meta.get("name") or meta.get("generateName") or "")
        self._guard.create(options.user, target, item)
        generated = bool(meta.get("generateName")) and not meta.get("name")
        for _ in range(_NAME_ATTEMPTS):
            new = self._admission.create(kind, _copied(item) if generated else item)
            self._ownership.created(kind, new, options)
            key = Key(kind.storage_key, target.namespace or "", new["metadata"]["name"])
            try:
                stored = await self._create(key, kind, new, options)
            except AlreadyExists:
                if not generated:
                    raise status.already_exists(kind.group_resource, key.name) from None
            else:
                options.warnings.extend(admission.warnings_of(kind, new, None))
                return self._printed(kind, stored, options, 201, output)
        error = status.already_exists(kind.group_resource, key.name)
        message = f"{error.message}, the server was not able to generate a unique name for the object"
        raise status.StatusError(error.code, error.reason, message, error.details)

    async def update(self, request: Request, target: Target) -> Reply:
        """Replace an object; without a resourceVersion whatever is there, as often as others write in between."""
        kind, options = target.kind, write_options(request)
        output = printing.output_of(request)
        item = _decoded(request, target, options)
        pinned = bool(item["metadata"].get("resourceVersion"))
        if not pinned and not kind.built_in:
            raise status.invalid(kind.kind, kind.group, target.name or "", [_NO_VERSION])
        for _ in range(1 if pinned else _ATTEMPTS):
            async with self._turns.of(key_of(target)):
                old = self._reader.fetch(target)
                with suppress(Conflict):
                    return await self._replace(target, old, item if pinned else _copied(item), options, output)
        raise status.conflict(kind.group_resource, target.name or "")

    async def patch(self, request: Request, target: Target) -> Reply:
        """Apply a patch to what is stored now; tried again when somebody else writes in between.

        A patch that names a resourceVersion meets another one then, and is refused.
        """
        kind, options = target.kind, write_options(request)
        output = printing.output_of(request)
        if request.content_type == APPLY_PATCH:
            return await self.apply(request, target, options, output, configuration_of(request))
        for _ in range(_ATTEMPTS):
            async with self._turns.of(key_of(target)):
                old = self._reader.fetch(target)
                new = patched(kind, _copied(old), request)
                admission.check_identity(kind, new, target, request)
                options.warnings.clear()
                admission.check_form(kind, new, request.body, options, old)
                with suppress(Conflict):
                    return await self._replace(target, old, new, options, output)
        raise status.conflict(kind.group_resource, target.name or "")

    async def rewrite(self, target: Target, options: WriteOptions, change: Callable[[Object], Object]) -> Object:
        """Write what `change` makes of what is stored now; made again when somebody else writes in between."""
        for _ in range(_ATTEMPTS):
            async with self._turns.of(key_of(target)):
                old = self._reader.fetch(target)
                new = change(_copied(old))
                with suppress(Conflict):
                    return _object(await self._replace(target, old, new, options, Output()))
        raise status.conflict(target.kind.group_resource, target.name or "")

    async def apply(
        self, request: Request, target: Target, options: WriteOptions, output: Output, config: Object
    ) -> Reply:
        """Merge a configuration into what is stored now, or create what is missing."""
        for _ in range(_ATTEMPTS):
            async with self._turns.of(key_of(target)):
                with suppress(AlreadyExists, Conflict):
                    return await self._apply_once(request, target, config, options, output)
        raise status.conflict(target.kind.group_resource, target.name or "")

    async def _apply_once(
        self, request: Request, target: Target, config: Object, options: WriteOptions, output: Output
    ) -> Reply:
        kind = target.kind
        old = self._reader.find(target)
        if old is None and target.subresource is not None:
            raise status.not_found(kind.group_resource, target.name or "")
        applied = self._ownership.applied(target, old, config, options)
        new = applied.item
        admission.check_identity(kind, new, target, request)
        options.warnings.clear()
        admission.check_form(kind, new, request.body, options, old)
        if old is None:
            return await self._apply_new(target, applied, options, output)
        return await self._replace(target, old, new, options, output, applied)

    async def _apply_new(self, target: Target, applied: Applied, options: WriteOptions, output: Output) -> Reply:
        kind, name = target.kind, target.name or ""
        if uid := applied.item["metadata"].get("uid"):
            why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            raise status.conflict(kind.group_resource, name, why)
        if "create" not in kind.verbs:
            raise status.method_not_supported(kind.group_resource, "create")
        self._namespace_open(target, name)
        self._guard.create_by_apply(options.user, target, applied.item)
        new = self._admission.create(kind, applied.item)
        self._ownership.put(None, new, applied.managed_fields)
        stored = await self._create(Key(kind.storage_key, target.namespace or "", name), kind, new, options)
        options.warnings.extend(admission.warnings_of(kind, new, None))
        return self._printed(kind, stored, options, 201, output)

    async def _create(self, key: Key, kind: Kind, new: Object, options: WriteOptions) -> bytes:
        if options.dry_run:
            if self._store.get(key) is not None:
                raise AlreadyExists(key)
            return _encoded(kind, new)
        return await self._store.create(key, _fitting(_stored(kind, new)))

    async def _replace(
        self,
        target: Target,
        old: Object,
        item: Object,
        options: WriteOptions,
        output: Output,
        applied: Applied | None = None,
    ) -> Reply:
        kind, old_meta, sent = target.kind, old["metadata"], item["metadata"].get("managedFields")
        wanted = item["metadata"].get("resourceVersion") or old_meta["resourceVersion"]
        _same_uid(kind, item, old)
        if wanted != old_meta["resourceVersion"]:
            raise status.conflict(kind.group_resource, target.name or "")
        self._guard.update(options.user, target, item, old)
        new = self._admission.update(kind, item, old, target.subresource)
        options.warnings.extend(admission.warnings_of(kind, new, old))
        new["metadata"]["resourceVersion"] = old_meta["resourceVersion"]
        if applied is None:
            self._ownership.updated(target, old, new, sent, options)
        else:
            self._ownership.put(old, new, applied.managed_fields)
        if options.dry_run or new == old:
            return self._printed(kind, _encoded(kind, new), options, 200, output)
        data = await self._write(target, new, int(old_meta["resourceVersion"]))
        return self._printed(kind, data, options, 200, output)

    async def _write(self, target: Target, new: Object, version: int) -> bytes:
        """Store the object, or remove it when its last finalizer has just gone."""
        kind, key, meta = target.kind, key_of(target), new["metadata"]
        finished = meta.get("deletionTimestamp") and not meta.get("finalizers")
        if kind.group_resource == "namespaces":
            finished = finished and not (new.get("spec") or {}).get("finalizers")
        if kind.group_resource == "pods":
            finished = finished and not meta.get("deletionGracePeriodSeconds")
        try:
            if finished:
                return await self._store.delete(
                    key, version, empty=key.name if kind.group_resource == "namespaces" else None
                )
            return await self._store.update(key, _fitting(_stored(kind, new)), version)
        except Missing:
            raise status.not_found(kind.group_resource, key.name) from None
        except NotEmpty as error:
            raise status.conflict(kind.group_resource, key.name, str(error)) from None

    def _namespace_open(self, target: Target, name: str) -> None:
        if target.namespace is None:
            return
        data = self._store.get(Key("/namespaces", "", target.namespace))
        if data is None:
            raise status.not_found("namespaces", target.namespace)
        if msgspec.json.decode(data)["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {target.namespace} because it is being terminated"
            error = status.forbidden(target.kind.group_resource, name, why)
            cause = f"namespace {target.namespace} is being terminated"
            causes = [{"reason": "NamespaceTerminating", "message": cause, "field": "metadata.namespace"}]
            error.details = {**(error.details or {}), "causes": causes}
            raise error

    def _printed(self, kind: Kind, data: bytes, options: WriteOptions, code: int, output: Output) -> Reply:
        return with_warnings(stored_reply(kind, data, output, self._admission.now(), code), options.warnings)


def _decoded(request: Request, target: Target, options: WriteOptions) -> Object:
    item = decode_body(request)
    admission.check_identity(target.kind, item, target, request)
    admission.check_form(target.kind, item, json_body(request), options)
    return item


def _stored(kind: Kind, item: Object) -> Object:
    return kind.to_storage(item) if kind.to_storage else item


def _fitting(stored: Object) -> Object:
    if len(msgspec.json.encode(stored)) > _OBJECT_LIMIT:
        raise status.too_large_to_store()
    return stored


def _encoded(kind: Kind, item: Object) -> bytes:
    return msgspec.json.encode(_stored(kind, item))


def _object(reply: Reply) -> Object:
    item: Object = msgspec.json.decode(reply.body)
    return item


def _copied(item: Object) -> Object:
    # Ten times faster than copy.deepcopy for what is JSON anyway.
    copy: Object = msgspec.json.decode(msgspec.json.encode(item))
    return copy


def _same_uid(kind: Kind, item: Object, old: Object) -> None:
    uid, stored = item["metadata"].get("uid"), old["metadata"]["uid"]
    if uid and uid != stored:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {stored}"
        raise status.conflict(kind.group_resource, old["metadata"]["name"], why)
