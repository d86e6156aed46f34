"""Follows the definitions: keeps a cache of each kind that they make, and tells those who look after all kinds.

A kind is known here as a lightkube class that reads nothing but metadata (`api.crd.resource`). It is made anew when the
definition changes what the class is made of: the version that is stored, or the names.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from skerry.api.crd.resource import CustomResourceDefinition, resource_of
from skerry.cluster.controllers.kinds import GLOBAL_KINDS, OWNED_KINDS, Resource, group_kind, namespaced
from skerry.cluster.controllers.ownership import meta, name_of
from skerry.kit.log import logger
from skerry.machinery.conditions import is_true
from skerry.reconcile import Change, Manager

log = logger(__name__)

Listener = Callable[[Resource], object]


@dataclass(frozen=True)
class _Followed:
    mark: tuple[Any, ...]
    kind: Resource
    task: asyncio.Task[None]


class CustomKinds:
    """The kinds of all definitions that are established."""

    def __init__(self, manager: Manager) -> None:
        self._manager = manager
        self._followed: dict[str, _Followed] = {}
        self._listeners: list[tuple[Listener, Listener]] = []
        self._native = {group_kind(kind): kind for kind in (*OWNED_KINDS, *GLOBAL_KINDS)}
        manager.caches.of(CustomResourceDefinition).listen(self._changed)

    def listen(self, added: Listener, removed: Listener) -> None:
        """Call these for each kind that comes or goes from now on."""
        self._listeners.append((added, removed))

    def namespaced(self) -> Iterator[Resource]:
        """Yield the kinds whose objects live in namespaces."""
        for followed in list(self._followed.values()):
            if namespaced(followed.kind):
                yield followed.kind

    def of(self, definition: CustomResourceDefinition) -> Resource | None:
        """Return the kind that a definition makes, or that is built in under its name; None when there is none."""
        followed = self._followed.get(name_of(definition))
        if followed is not None:
            return followed.kind
        return self._native.get((definition.spec.group, definition.spec.names.kind))

    def _changed(self, change: Change[CustomResourceDefinition]) -> None:
        name = name_of(change.object)
        mark = _mark(change.new)
        followed = self._followed.get(name)
        if followed is not None and followed.mark != mark:
            self._drop(name)
        if change.new is not None and mark and name not in self._followed:
            self._add(name, change.new, mark)

    def _add(self, name: str, definition: CustomResourceDefinition, mark: tuple[Any, ...]) -> None:
        kind = resource_of(definition)
        if kind is None or group_kind(kind) in self._native:
            return
        cache = self._manager.caches.of(kind, optional=True)
        for added, _ in self._listeners:
            added(kind)
        self._followed[name] = _Followed(mark, kind, self._manager.start(cache.run()))
        log.debug("kind followed", definition=name)

    def _drop(self, name: str) -> None:
        followed = self._followed.pop(name)
        followed.task.cancel()
        for _, removed in self._listeners:
            removed(followed.kind)
        self._manager.caches.drop(followed.kind)


def _mark(definition: CustomResourceDefinition | None) -> tuple[Any, ...]:
    """Return what the class of the kind is made of; nothing for a definition that is not served."""
    if definition is None:
        return ()
    status = definition.status
    conditions = [{"type": each.type, "status": each.status} for each in (status.conditions if status else None) or []]
    if not is_true(conditions, "Established"):
        return ()
    versions = tuple((each.name, each.storage) for each in definition.spec.versions if each.served)
    spec = definition.spec
    return (meta(definition).uid, spec.group, spec.names.plural, spec.names.kind, spec.scope, versions)
