"""Keeps the registry true to the stored CustomResourceDefinitions.

A definition gets its status in the write that makes it, and its kinds are served before that write is answered: what a
cluster reaches after some rounds of controllers is here the state that the client reads back. Its finalizer stays until
a controller has removed all objects (`cluster.controllers`); then its last write takes the kinds out of service.

Only names stay in memory. A schema is read from the store when a request needs it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypedDict

import msgspec

from skerry.api.crd import CLEANUP_FINALIZER, RESOURCE, STORAGE_KEY
from skerry.api.crd.kinds import kinds_of
from skerry.api.crd.naming import Taken, status_of, taken_by
from skerry.api.custom import CustomSchema
from skerry.api.registry import Kind, Object, Registry
from skerry.cluster.apiserver.custom.schemas import SchemaCache
from skerry.cluster.apiserver.deleting import Deleter
from skerry.cluster.apiserver.replies import Reply
from skerry.cluster.apiserver.requests import Request, Target
from skerry.cluster.apiserver.verbs import Handler
from skerry.cluster.apiserver.writing import Writer
from skerry.cluster.store import Conflict, Key, Missing, Store
from skerry.kit.log import logger
from skerry.machinery.conditions import is_true

log = logger(__name__)


class _Version(TypedDict, total=False):
    name: str
    served: Any
    storage: Any
    deprecated: Any
    deprecationWarning: Any
    subresources: Any
    additionalPrinterColumns: Any
    selectableFields: Any


class _Spec(TypedDict, total=False):
    group: str
    scope: str
    names: Any
    versions: list[_Version]


class _Definition(TypedDict, total=False):
    """A definition without its schemas: the decoder passes over what is not named here, and makes nothing of it."""

    metadata: Any
    spec: _Spec
    status: Any


@dataclass(frozen=True)
class _Known:
    """What is remembered of a definition. `mark` changes with whatever its kinds are made of."""

    group: str
    taken: Taken
    accepted: bool
    mark: tuple[Any, ...]


class Definitions:
    """The definitions in the store, and what the registry serves of them."""

    def __init__(self, store: Store, registry: Registry, now: Callable[[], datetime]) -> None:
        self._store = store
        self._registry = registry
        self._now = now
        self._native = {kind.group_resource: kind for kind in registry if not kind.built_in}
        self._known: dict[str, _Known] = {}
        self._touched: set[str] = set()
        self._turn = asyncio.Lock()  # of two definitions that want the same name, one comes first
        self._schemas = SchemaCache(self._load)
        for data in store.list_objects(STORAGE_KEY).items:
            self._take_in(_decoded(data))

    def hook(self, kind: Kind, new: Object, old: Object | None) -> None:
        """Complete a definition that is about to be stored: its status, and the finalizer of a new one."""
        if kind.group_resource != RESOURCE:
            return
        name = new["metadata"].get("name", "")
        self._touched.add(name)
        new["status"] = status_of(new, self._taken(name, new["spec"].get("group", "")), self._now())
        if old is None:
            finalizers = new["metadata"].get("finalizers") or []
            if CLEANUP_FINALIZER not in finalizers:
                new["metadata"]["finalizers"] = [*finalizers, CLEANUP_FINALIZER]

    def handlers(self, writer: Writer, deleter: Deleter) -> dict[tuple[str, str], Handler]:
        """Return the verbs that write definitions; the registry follows each of them."""
        follow = self._following
        return {
            (RESOURCE, "create"): follow(writer.create),
            (RESOURCE, "update"): follow(writer.update),
            (RESOURCE, "patch"): follow(writer.patch),
            (f"{RESOURCE}/status", "update"): follow(writer.update),
            (f"{RESOURCE}/status", "patch"): follow(writer.patch),
            (RESOURCE, "delete"): follow(deleter.delete),
            (RESOURCE, "deletecollection"): follow(deleter.delete_collection),
        }

    def _following(self, act: Callable[[Request, Target], Awaitable[Reply]]) -> Handler:
        async def handle(request: Request, target: Target) -> Reply:
            async with self._turn:
                try:
                    return await act(request, target)
                finally:
                    # A write of many definitions may have got half of the way.
                    await self._follow([target.name] if target.name else list(self._known))

        return handle

    async def _follow(self, names: Iterable[str]) -> None:
        touched, self._touched = self._touched | set(names), set()
        groups = {self._refresh(name) for name in touched}
        for name, known in list(self._known.items()):
            if known.group in groups and not known.accepted:
                await self._reconsider(name)

    def _refresh(self, name: str) -> str:
        """Serve what is stored now; returns the group."""
        before = self._known.get(name)
        data = self._store.get(Key(STORAGE_KEY, "", name))
        if data is not None:
            return self._take_in(_decoded(data))
        self._known.pop(name, None)
        self._schemas.forget(name)
        self._registry.define(name, ())
        return before.group if before is not None else ""

    def _take_in(self, item: Object) -> str:
        meta, spec, status = item["metadata"], item["spec"], item.get("status") or {}
        name, accepted = meta["name"], status.get("acceptedNames") or {}
        conditions = status.get("conditions")
        mark = (meta.get("uid"), meta.get("generation"), meta.get("deletionTimestamp"), accepted)
        before = self._known.get(name)
        fine = is_true(conditions, "NamesAccepted")
        self._known[name] = _Known(spec["group"], taken_by(accepted), fine, mark)
        if (before is not None and before.mark == mark) or name in self._native:
            return str(spec["group"])
        self._schemas.forget(name)
        established = is_true(conditions, "Established")
        self._registry.define(name, kinds_of(item, partial(self._schema, name)) if established else ())
        if established:
            log.info("kind served", definition=name, generation=meta.get("generation"))
        return str(spec["group"])

    async def _reconsider(self, name: str) -> None:
        """Give a definition that lost a name the names that are free now."""
        key = Key(STORAGE_KEY, "", name)
        data = self._store.get(key)
        if data is None:
            return
        item: Object = msgspec.json.decode(data)
        status = status_of(item, self._taken(name, item["spec"]["group"]), self._now())
        if status != item.get("status"):
            with suppress(Conflict, Missing):  # who else has written it has considered its names too
                await self._store.update(key, {**item, "status": status}, int(item["metadata"]["resourceVersion"]))
            self._refresh(name)

    def _taken(self, name: str, group: str) -> Taken:
        """Return the names that others have in a group."""
        resources, kinds = set[str](), set[str]()
        for other, known in self._known.items():
            if other != name and known.group == group:
                resources |= known.taken.resources
                kinds |= known.taken.kinds
        for other, kind in self._native.items():
            if other != name and kind.group == group:
                resources |= {kind.plural, kind.singular, *kind.short_names}
                kinds |= {kind.kind, kind.list_kind}
        return Taken(frozenset(resources), frozenset(kinds))

    def _schema(self, name: str, version: str) -> CustomSchema:
        return self._schemas.get((name, version))

    def _load(self, key: tuple[str, str]) -> tuple[CustomSchema, int]:
        data = self._store.get(Key(STORAGE_KEY, "", key[0])) or b'{"spec":{"versions":[]}}'
        item: Object = msgspec.json.decode(data)
        for version in item["spec"]["versions"]:
            if version["name"] == key[1]:
                return CustomSchema(version["schema"]["openAPIV3Schema"]), len(data)
        return CustomSchema({"type": "object"}), len(data)


def _decoded(data: bytes) -> Object:
    return dict(msgspec.json.decode(data, type=_Definition))
