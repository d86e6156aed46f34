"""delete and deletecollection: grace periods, finalizers, propagation, preconditions.

An object goes at once unless something must happen first: a finalizer is left, a namespace has content, or a pod runs
on a node. Then only its deletionTimestamp is set, and whoever is responsible removes it later.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import msgspec

from skerry.api.registry import Kind, Object
from skerry.cluster.apiserver import printing
from skerry.cluster.apiserver.reading import Reader, key_of, shown
from skerry.cluster.apiserver.replies import Reply, json_reply
from skerry.cluster.apiserver.requests import Request, Target, decode_body, write_options
from skerry.cluster.apiserver.selection import selection_of
from skerry.cluster.apiserver.turns import Turns
from skerry.cluster.store import Conflict, Missing, Store
from skerry.kit.clock import timestamp
from skerry.machinery import status
from skerry.machinery.fielderrors import invalid, not_supported

_ATTEMPTS: Final = 10
_DEFAULT_GRACE: Final = 30
_IMMORTAL: Final = frozenset({"default", "kube-public", "kube-system"})

_POLICIES: Final = ("Background", "Foreground", "Orphan")


class Preconditions(msgspec.Struct, frozen=True):
    """What must still hold for the delete to happen."""

    uid: str | None = None
    resourceVersion: str | None = None  # noqa: N815 - the wire's name


class DeleteOptions(msgspec.Struct, frozen=True):
    """`metav1.DeleteOptions`."""

    gracePeriodSeconds: int | None = None  # noqa: N815
    propagationPolicy: str | None = None  # noqa: N815
    orphanDependents: bool | None = None  # noqa: N815
    preconditions: Preconditions | None = None
    dryRun: list[str] | None = None  # noqa: N815


class Deleter:
    """The deleting verbs over a store."""

    def __init__(self, store: Store, reader: Reader, now: Callable[[], datetime], turns: Turns) -> None:
        self._store = store
        self._reader = reader
        self._now = now
        self._turns = turns

    async def delete(self, request: Request, target: Target) -> Reply:
        options, output = _options(request), printing.output_of(request)
        if target.kind.group_resource == "namespaces" and target.name in _IMMORTAL:
            raise status.forbidden("namespaces", target.name or "", "this namespace may not be deleted")
        item, gone = await self._delete(target, options, dry_run=_is_dry(request, options))
        if not gone:
            # 200 with the object: kubectl sees the deletionTimestamp and waits.
            return json_reply(printing.one(target.kind, item, output, self._now()), media_type=output.media_type)
        return json_reply(_success(target.kind, item))

    async def delete_as(self, target: Target, sent: Object, *, dry_run: bool) -> None:
        """Delete with options that came inside another object, an eviction's."""
        options = parsed_options(sent)
        await self._delete(target, options, dry_run=dry_run or bool(options.dryRun))

    async def delete_collection(self, request: Request, target: Target) -> Reply:
        kind, options, output = target.kind, _options(request), printing.output_of(request)
        selection = selection_of(request, kind)
        page = self._store.list_objects(kind.storage_key, target.namespace)
        items = [shown(kind, msgspec.json.decode(data)) for data in page.items]
        chosen = [item for item in items if selection.matches(item)]
        dry_run = _is_dry(request, options)
        for item in chosen:
            meta = item["metadata"]
            try:
                await self._delete(Target(kind, meta.get("namespace"), meta["name"]), options, dry_run=dry_run)
            except status.StatusError as error:
                if error.code != 404:  # somebody else deleted it first: that is what was wanted
                    raise
        meta = {"resourceVersion": str(page.version)}
        return json_reply(printing.many(kind, chosen, meta, output, self._now()), media_type=output.media_type)

    async def _delete(self, target: Target, options: DeleteOptions, *, dry_run: bool) -> tuple[Object, bool]:
        """Delete or mark the object; returns it and whether it is gone."""
        for _ in range(_ATTEMPTS):
            async with self._turns.of(key_of(target)):
                try:
                    return await self._delete_once(target, options, dry_run=dry_run)
                except Conflict:
                    continue
                except Missing:
                    break
        if self._store.get(key_of(target)) is None:
            raise status.not_found(target.kind.group_resource, target.name or "")
        raise status.conflict(target.kind.group_resource, target.name or "")

    async def _delete_once(self, target: Target, options: DeleteOptions, *, dry_run: bool) -> tuple[Object, bool]:
        kind, key = target.kind, key_of(target)
        old = self._reader.fetch(target)
        _check(kind, old, options)
        new = marked(kind, old, options, self._now())
        if dry_run:
            return (old, True) if new is None else (new, False)
        version = int(old["metadata"]["resourceVersion"])
        if new is None:
            await self._store.delete(key, version, empty=key.name if kind.group_resource == "namespaces" else None)
            return old, True
        if new == old:
            return old, False
        stored = kind.to_storage(new) if kind.to_storage else new
        return shown(kind, msgspec.json.decode(await self._store.update(key, stored, version))), False


def marked(kind: Kind, old: Object, options: DeleteOptions, now: datetime) -> Object | None:
    """Return the object marked for deletion, or None when it can go at once."""
    meta = dict(old["metadata"])
    grace = _grace(kind, old, options)
    finalizers = _finalizers(kind, meta.get("finalizers") or [], options)
    if finalizers:
        meta["finalizers"] = finalizers
    else:
        meta.pop("finalizers", None)
    held_by_namespace = kind.group_resource == "namespaces" and bool((old.get("spec") or {}).get("finalizers"))
    if not finalizers and not held_by_namespace and grace == 0:
        return None
    if not meta.get("deletionTimestamp"):
        meta["deletionTimestamp"] = timestamp(now + timedelta(seconds=grace))
        meta["deletionGracePeriodSeconds"] = grace
        if meta.get("generation"):
            meta["generation"] += 1
    elif grace < meta.get("deletionGracePeriodSeconds", 0):
        # A second delete may shorten the grace period, never lengthen it.
        meta["deletionTimestamp"] = timestamp(now + timedelta(seconds=grace))
        meta["deletionGracePeriodSeconds"] = grace
    new = {**old, "metadata": meta}
    if kind.group_resource == "namespaces":
        new["status"] = {**(old.get("status") or {}), "phase": "Terminating"}
    return new


def _grace(kind: Kind, old: Object, options: DeleteOptions) -> int:
    """Seconds that a pod on a node gets to end; every other object has none."""
    spec = old.get("spec") or {}
    if kind.group_resource != "pods" or not spec.get("nodeName"):
        return 0
    if (old.get("status") or {}).get("phase") in {"Succeeded", "Failed"}:
        return 0
    if options.gracePeriodSeconds is not None:
        return _at_least_one(options.gracePeriodSeconds)
    return _at_least_one(spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE))


def _at_least_one(grace: int) -> int:
    return 1 if grace < 0 else grace


def _finalizers(kind: Kind, present: list[str], options: DeleteOptions) -> list[str]:
    policy = options.propagationPolicy
    if policy is None and options.orphanDependents is not None:
        policy = "Orphan" if options.orphanDependents else "Background"
    if policy is None and kind.orphans and "foregroundDeletion" not in present:
        policy = "Orphan"
    if policy is None:
        return present
    kept = [name for name in present if name not in {"orphan", "foregroundDeletion"}]
    wanted = {"Orphan": ["orphan"], "Foreground": ["foregroundDeletion"], "Background": []}[policy]
    return kept + wanted


def _options(request: Request) -> DeleteOptions:
    body: dict[str, object] = {}
    if request.body.strip():
        body = decode_body(request)
        body.pop("kind", None)
        body.pop("apiVersion", None)
    grace = request.number("gracePeriodSeconds")
    if grace is not None:
        body.setdefault("gracePeriodSeconds", grace)
    for name in ("propagationPolicy", "orphanDependents"):
        if name in request.query:
            body.setdefault(name, request.flag(name) if name == "orphanDependents" else request.query[name])
    return parsed_options(body)


def parsed_options(body: Object) -> DeleteOptions:
    """Read `DeleteOptions`; raises a 400 or 422 for what they cannot be."""
    try:
        options = msgspec.convert(body, DeleteOptions)
    except msgspec.ValidationError as error:
        raise status.bad_request(f"invalid DeleteOptions: {error}") from None
    errors, policy = [], options.propagationPolicy
    if policy is not None and options.orphanDependents is not None:
        errors.append(
            invalid("propagationPolicy", policy, "orphanDependents and deletionPropagation cannot be both set")
        )
    if policy is not None and policy not in _POLICIES:
        errors.append(not_supported("propagationPolicy", policy, [*_POLICIES, "nil"]))
    errors += [not_supported("dryRun", one, ["All"]) for one in options.dryRun or () if one != "All"]
    if errors:
        raise status.invalid("DeleteOptions", "meta.k8s.io", "", errors)
    return options


def _is_dry(request: Request, options: DeleteOptions) -> bool:
    return write_options(request).dry_run or bool(options.dryRun)


def _check(kind: Kind, old: Object, options: DeleteOptions) -> None:
    wanted = options.preconditions
    if wanted is None:
        return
    meta = old["metadata"]
    if wanted.uid is not None and wanted.uid != meta["uid"]:
        why = (
            f"the UID in the precondition ({wanted.uid}) does not match the UID in record ({meta['uid']}). "
            "The object might have been deleted and then recreated"
        )
        raise status.conflict(_kind_group(kind), meta["name"], why)
    if wanted.resourceVersion is not None and wanted.resourceVersion != meta["resourceVersion"]:
        why = (
            f"the ResourceVersion in the precondition ({wanted.resourceVersion}) does not match the ResourceVersion in "
            f"record ({meta['resourceVersion']}). The object might have been modified"
        )
        raise status.conflict(_kind_group(kind), meta["name"], why)


def _kind_group(kind: Kind) -> str:
    # The one message that names the kind and not the resource.
    return f"{kind.kind}.{kind.group}" if kind.group else kind.kind


def _success(kind: Kind, item: Object) -> Object:
    meta = item["metadata"]
    details = {"name": meta["name"], "kind": kind.plural, "uid": meta["uid"]}
    if kind.group:
        details["group"] = kind.group
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
