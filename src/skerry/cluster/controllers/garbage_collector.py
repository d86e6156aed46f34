"""Garbage collection by owner references: who is owned goes when the last owner goes.

    background   the owner is gone: its dependents are deleted
    foreground   the owner stays, with a finalizer, until the dependents that block it are gone
    orphan       the owner stays, with a finalizer, until its dependents have forgotten it

An owner is a uid, not a name. Its absence is always confirmed with the API: a cache can be late in both directions, and
a wrong guess would delete what somebody still uses. Owners of kinds that are not served here count as present. Facts:
Kubernetes `pkg/controller/garbagecollector`. Left out: breaking a circle of owners that all wait in the foreground.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

from lightkube import ApiError, AsyncClient
from lightkube.models.meta_v1 import OwnerReference
from lightkube.types import CascadeType

from skerry.api.wellknown import FOREGROUND_FINALIZER, ORPHAN_FINALIZER
from skerry.cluster.controllers.adoption import set_owners
from skerry.cluster.controllers.custom_kinds import CustomKinds
from skerry.cluster.controllers.kinds import GLOBAL_KINDS, OWNED_KINDS, Resource, group_kind, namespaced
from skerry.cluster.controllers.ownership import deleting, meta, name_of
from skerry.cluster.controllers.writes import delete, patch
from skerry.kit.clock import Clock
from skerry.kit.log import logger
from skerry.reconcile import Again, Cache, Change, Controller, Key, Manager

log = logger(__name__)


class Standing(Enum):
    """What became of an owner."""

    HERE = "here"
    WAITING = "waiting"  # is being deleted in the foreground
    GONE = "gone"
    UNKNOWN = "unknown"  # of a kind that is not served, or where it cannot be


@dataclass(frozen=True)
class Keep:
    """Nothing to do, or only to forget the owners that are gone: `owners` is the new list."""

    owners: tuple[OwnerReference, ...] | None = None


@dataclass(frozen=True)
class Delete:
    """The object goes."""

    cascade: CascadeType


def plan(item: Any, standings: Mapping[str, Standing], *, has_dependents: bool) -> Keep | Delete:
    """Decide about an object that has owners; `standings` is by uid of the owner."""
    owners = meta(item).ownerReferences or []
    solid = [owner for owner in owners if standings[owner.uid] in {Standing.HERE, Standing.UNKNOWN}]
    if solid or not owners:
        return Keep() if len(solid) == len(owners) else Keep(tuple(solid))
    waiting = any(standing is Standing.WAITING for standing in standings.values())
    if waiting and has_dependents:
        return Delete(CascadeType.FOREGROUND)
    finalizers = meta(item).finalizers or []
    if ORPHAN_FINALIZER in finalizers:
        return Delete(CascadeType.ORPHAN)
    return Delete(CascadeType.FOREGROUND if FOREGROUND_FINALIZER in finalizers else CascadeType.BACKGROUND)


def blocking(owner: Any, dependents: Sequence[Any]) -> list[Any]:
    """Return the dependents that a foreground deletion of the owner waits for."""
    uid = meta(owner).uid
    return [
        item
        for item in dependents
        if any(each.uid == uid and each.blockOwnerDeletion for each in meta(item).ownerReferences or [])
    ]


class Family:
    """Who names whom as owner, kept from the caches: the uid of an owner → its dependents."""

    def __init__(self) -> None:
        self._dependents: dict[str, set[tuple[Resource, Key]]] = {}

    def update(self, kind: Resource, change: Change[Any]) -> None:
        """Take in one change."""
        key = key_of(change.object)
        for owner in _owners(change.old):
            known = self._dependents.get(owner.uid, set())
            known.discard((kind, key))
            if not known:
                self._dependents.pop(owner.uid, None)
        for owner in _owners(change.new):
            self._dependents.setdefault(owner.uid, set()).add((kind, key))

    def forget(self, kind: Resource) -> None:
        """Forget all dependents of a kind that is served no more."""
        for uid in list(self._dependents):
            self._dependents[uid] = {each for each in self._dependents[uid] if each[0] is not kind}
            if not self._dependents[uid]:
                del self._dependents[uid]

    def dependents(self, owner: Any) -> list[tuple[Resource, Key]]:
        """Return who names the object as an owner."""
        return list(self._dependents.get(meta(owner).uid or "", ()))


class GarbageCollector:
    """One small controller a kind, and the family tree that they share."""

    def __init__(self, manager: Manager, client: AsyncClient, clock: Clock, custom: CustomKinds) -> None:
        del clock
        self._manager = manager
        self._client = client
        self._family = Family()
        self._kinds: dict[tuple[str, str], Resource] = {}
        self._caches: dict[Resource, Cache[Any]] = {}
        self._controllers: dict[Resource, Controller] = {}
        self._running: dict[Resource, asyncio.Task[None]] = {}
        for kind in (*OWNED_KINDS, *GLOBAL_KINDS):
            manager.add(self._follow(kind))
        custom.listen(self._added, self._removed)

    def _follow(self, kind: Resource) -> Controller:
        name = f"garbage-collector-{kind._api_info.plural}"  # noqa: SLF001
        self._kinds[group_kind(kind)] = kind
        self._caches[kind] = self._manager.caches.of(kind)
        self._controllers[kind] = controller = Controller(name, partial(self.reconcile, kind), workers=1)
        self._caches[kind].listen(partial(self._changed, kind))
        return controller

    def _added(self, kind: Resource) -> None:
        self._running[kind] = self._manager.start(self._follow(kind).run())

    def _removed(self, kind: Resource) -> None:
        self._running.pop(kind).cancel()
        self._kinds.pop(group_kind(kind), None)
        del self._controllers[kind], self._caches[kind]
        self._family.forget(kind)

    async def reconcile(self, kind: Resource, key: Key) -> Again | None:
        """Look after one object: as an owner that is on its way out, or as a dependent."""
        item = self._caches[kind].get(key.namespace, key.name)
        if item is None:
            return None
        finalizers = meta(item).finalizers or []
        if not deleting(item):
            await self._as_dependent(item)
        elif FOREGROUND_FINALIZER in finalizers:
            if not blocking(item, self._present_dependents(item)):
                await self._remove_finalizer(item, FOREGROUND_FINALIZER)
        elif ORPHAN_FINALIZER in finalizers:
            await self._orphan(item)
            await self._remove_finalizer(item, ORPHAN_FINALIZER)
        return None

    async def _as_dependent(self, item: Any) -> None:
        standings = {owner.uid: await self._standing(item, owner) for owner in _owners(item)}
        decision = plan(item, standings, has_dependents=bool(self._family.dependents(item)))
        match decision:
            case Delete(cascade):
                if await delete(self._client, item, cascade=cascade):
                    log.info("dependent deleted", kind=type(item).__name__, object=str(key_of(item)))
            case Keep(owners) if owners is not None:
                await set_owners(self._client, item, list(owners))

    async def _standing(self, item: Any, owner: OwnerReference) -> Standing:
        kind = self._kinds.get((owner.apiVersion.rpartition("/")[0], owner.kind))
        namespace = meta(item).namespace or ""
        if kind is None or (namespaced(kind) and not namespace):
            return Standing.UNKNOWN
        where = namespace if namespaced(kind) else ""
        found = self._caches[kind].get(where, owner.name)
        if found is None or meta(found).uid != owner.uid:
            found = await self._live(kind, where, owner.name)
        if found is None or meta(found).uid != owner.uid:
            return Standing.GONE
        waits = deleting(found) and FOREGROUND_FINALIZER in (meta(found).finalizers or [])
        return Standing.WAITING if waits else Standing.HERE

    async def _live(self, kind: Resource, namespace: str, name: str) -> Any | None:
        try:
            return await self._client.get(kind, name, namespace=namespace or None)
        except ApiError as error:
            if error.status.code == 404:
                return None
            raise

    def _present_dependents(self, owner: Any) -> list[Any]:
        found = [self._caches[kind].get(*key) for kind, key in self._family.dependents(owner)]
        return [item for item in found if item is not None]

    async def _orphan(self, owner: Any) -> None:
        """Make every dependent forget the owner; read live, since one that is missed would be deleted afterwards."""
        uid = meta(owner).uid
        for kind in [kind for kind in self._kinds.values() if namespaced(kind)]:
            async for item in self._client.list(kind, namespace=meta(owner).namespace or "*"):
                owners = _owners(item)
                if any(each.uid == uid for each in owners):
                    await set_owners(self._client, item, [each for each in owners if each.uid != uid])

    async def _remove_finalizer(self, item: Any, finalizer: str) -> None:
        kept = [each for each in meta(item).finalizers or [] if each != finalizer]
        await patch(self._client, item, {"metadata": {"finalizers": kept or None}}, only_if_unchanged=True)

    def _changed(self, kind: Resource, change: Change[Any]) -> None:
        self._family.update(kind, change)
        item = change.object
        if _relatives(change.old) == _relatives(change.new):
            return
        if change.new is not None and (_owners(item) or deleting(item)):
            self._controllers[kind].wake(key_of(item))
        for former in (change.old, change.new):
            if former is not None and (former is not change.new or deleting(former)):
                self._wake_dependents(former)
        for owner in (*_owners(change.old), *_owners(change.new)):
            self._wake_owner(item, owner)

    def _wake_dependents(self, owner: Any) -> None:
        for kind, key in self._family.dependents(owner):
            self._controllers[kind].wake(key)

    def _wake_owner(self, item: Any, owner: OwnerReference) -> None:
        kind = self._kinds.get((owner.apiVersion.rpartition("/")[0], owner.kind))
        if kind is not None:
            namespace = (meta(item).namespace or "") if namespaced(kind) else ""
            self._controllers[kind].wake(Key(namespace, owner.name))


def key_of(item: Any) -> Key:
    """Return the key of an object."""
    return Key(meta(item).namespace or "", name_of(item))


def _owners(item: Any | None) -> list[OwnerReference]:
    return [] if item is None else meta(item).ownerReferences or []


def _relatives(item: Any | None) -> object:
    """What of an object matters here; a pod's status changes often, and nobody need be woken for that."""
    return None if item is None else (meta(item).uid, _owners(item), deleting(item), meta(item).finalizers)
