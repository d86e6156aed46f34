"""create, update and patch."""

import copy

import msgspec

from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver import admission, printing
from skerry.cluster.apiserver.admission import Admission
from skerry.cluster.apiserver.patching import patched
from skerry.cluster.apiserver.reading import Reader, key_of, shown
from skerry.cluster.apiserver.replies import Reply, json_reply, with_warnings
from skerry.cluster.apiserver.requests import Request, Target, WriteOptions, decode_body, json_body, write_options
from skerry.cluster.store import AlreadyExists, Conflict, Key, Missing, Store
from skerry.machinery import status

_ATTEMPTS = 10


class Writer:
    """The writing verbs over a store."""

    def __init__(self, store: Store, reader: Reader, admit: Admission) -> None:
        self._store = store
        self._reader = reader
        self._admission = admit

    async def create(self, request: Request, target: Target) -> Reply:
        kind, options = target.kind, write_options(request)
        item = decode_body(request)
        admission.check_identity(kind, item, target, request)
        admission.check_types(kind, item)
        admission.check_fields(kind, item, json_body(request), options)
        self._namespace_open(target)
        new = self._admission.create(kind, item, target.namespace)
        options.warnings.extend(kind.warn(new, None))
        key = Key(kind.storage_key, target.namespace or "", new["metadata"]["name"])
        if options.dry_run:
            if self._store.get(key) is not None:
                raise status.already_exists(kind.group_resource, key.name)
            return self._printed(request, kind, new, options, 201)
        try:
            data = await self._store.create(key, _stored(kind, new))
        except AlreadyExists:
            raise status.already_exists(kind.group_resource, key.name) from None
        return self._printed(request, kind, shown(kind, msgspec.json.decode(data)), options, 201)

    async def update(self, request: Request, target: Target) -> Reply:
        kind, options = target.kind, write_options(request)
        item = decode_body(request)
        admission.check_identity(kind, item, target, request)
        admission.check_types(kind, item)
        admission.check_fields(kind, item, json_body(request), options)
        old = self._reader.fetch(target)
        return await self._replace(request, target, old, item, options)

    async def patch(self, request: Request, target: Target) -> Reply:
        """Apply a patch to what is stored now; tried again when somebody else writes in between."""
        kind, options = target.kind, write_options(request)
        for _ in range(_ATTEMPTS):
            old = self._reader.fetch(target)
            new = patched(kind, copy.deepcopy(old), request)
            admission.check_identity(kind, new, target, request)
            admission.check_types(kind, new)
            options.warnings.clear()
            admission.check_fields(kind, new, None, options)
            # A patch that names a resourceVersion wants exactly that one; retrying would not help.
            pinned = new["metadata"].get("resourceVersion") != old["metadata"].get("resourceVersion")
            try:
                return await self._replace(request, target, old, new, options)
            except status.StatusError as error:
                if error.reason != "Conflict" or pinned:
                    raise
        raise status.conflict(kind.group_resource, target.name or "")

    async def _replace(
        self, request: Request, target: Target, old: Object, item: Object, options: WriteOptions
    ) -> Reply:
        kind, old_meta = target.kind, old["metadata"]
        wanted = item["metadata"].get("resourceVersion") or old_meta["resourceVersion"]
        _same_uid(kind, item, old)
        if wanted != old_meta["resourceVersion"]:
            raise status.conflict(kind.group_resource, target.name or "")
        new = self._admission.update(kind, item, old, target.subresource)
        options.warnings.extend(kind.warn(new, old))
        new["metadata"]["resourceVersion"] = old_meta["resourceVersion"]
        if options.dry_run or new == old:
            return self._printed(request, kind, new, options, 200)
        data = await self._write(target, new, int(old_meta["resourceVersion"]))
        return self._printed(request, kind, shown(kind, msgspec.json.decode(data)), options, 200)

    async def _write(self, target: Target, new: Object, version: int) -> bytes:
        """Store the object, or remove it when its last finalizer has just gone."""
        kind, key, meta = target.kind, key_of(target), new["metadata"]
        finished = meta.get("deletionTimestamp") and not meta.get("finalizers")
        if kind.plural == "namespaces":
            finished = finished and not (new.get("spec") or {}).get("finalizers")
        if kind.plural == "pods":
            finished = finished and not meta.get("deletionGracePeriodSeconds")
        try:
            if finished:
                return await self._store.delete(key, version)
            return await self._store.update(key, _stored(kind, new), version)
        except Missing:
            raise status.not_found(kind.group_resource, key.name) from None
        except Conflict:
            raise status.conflict(kind.group_resource, key.name) from None

    def _namespace_open(self, target: Target) -> None:
        if target.namespace is None:
            return
        data = self._store.get(Key("/namespaces", "", target.namespace))
        if data is None:
            raise status.not_found("namespaces", target.namespace)
        if msgspec.json.decode(data)["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {target.namespace} because it is being terminated"
            raise status.forbidden(target.kind.group_resource, "", why)

    def _printed(self, request: Request, kind: Kind, item: Object, options: WriteOptions, code: int) -> Reply:
        output = printing.output_of(request)
        printed = printing.one(kind, item, output, self._admission.now())
        return with_warnings(json_reply(printed, code, output.media_type), options.warnings)


def _stored(kind: Kind, item: Object) -> Object:
    return kind.to_storage(item) if kind.to_storage else item


def _same_uid(kind: Kind, item: Object, old: Object) -> None:
    uid, stored = item["metadata"].get("uid"), old["metadata"]["uid"]
    if uid and uid != stored:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {stored}"
        raise status.conflict(kind.group_resource, old["metadata"]["name"], why)
