"""A definition that is to go takes its objects along: they are deleted first, and waited for.

The API server takes no new objects of it meanwhile. Objects with finalizers stay until whoever put those there is done.

Facts: k8s.io/apiextensions-apiserver `pkg/controller/finalizer/crd_finalizer.go`.
"""

from datetime import datetime
from typing import Any, Final

import msgspec
from lightkube import ApiError, AsyncClient

from skerry.api.crd import CLEANUP_FINALIZER
from skerry.api.crd.resource import CustomResourceDefinition
from skerry.cluster.controllers.custom_kinds import CustomKinds
from skerry.cluster.controllers.kinds import Resource, group_kind, namespaced
from skerry.cluster.controllers.ownership import deleting, meta, name_of
from skerry.cluster.controllers.writes import delete, patch
from skerry.kit.clock import Clock
from skerry.kit.log import logger
from skerry.machinery.conditions import with_condition
from skerry.reconcile import Again, Cache, Controller, Key, Manager

log = logger(__name__)

_LOOK_AGAIN: Final = 5.0  # after objects that nobody told of: their cache may come later than they


class DefinitionCleanup:
    """Removes what definitions leave behind."""

    def __init__(self, manager: Manager, client: AsyncClient, clock: Clock, custom: CustomKinds) -> None:
        self._client = client
        self._clock = clock
        self._custom = custom
        self._definitions: Cache[CustomResourceDefinition] = manager.caches.of(CustomResourceDefinition)
        self._controller = Controller("definition-cleanup", self.reconcile, workers=1)
        self._controller.watch(self._definitions)
        custom.listen(lambda kind: self._watch(manager.caches.of(kind)), lambda _kind: None)
        manager.add(self._controller)

    def _watch(self, cache: Cache[Any]) -> None:
        self._controller.watch(cache, lambda item: self._of(type(item)))

    def _of(self, kind: Resource) -> list[Key]:
        """Return the definition of a kind when it waits for its objects."""
        wanted = group_kind(kind)
        return [
            Key("", name_of(each))
            for each in self._definitions
            if deleting(each) and (each.spec.group, each.spec.names.kind) == wanted
        ]

    async def reconcile(self, key: Key) -> Again | None:
        """Delete the objects of a definition that is to go, then let it go."""
        definition = self._definitions.get("", key.name)
        if definition is None or not deleting(definition):
            return None
        if CLEANUP_FINALIZER not in (meta(definition).finalizers or []):
            return None
        kind = self._custom.of(definition)
        left = await self._delete_all(kind) if kind is not None else 0
        if left:
            await self._say(definition, "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
            return Again(_LOOK_AGAIN)
        kept = [each for each in meta(definition).finalizers or [] if each != CLEANUP_FINALIZER]
        await patch(self._client, definition, {"metadata": {"finalizers": kept or None}}, only_if_unchanged=True)
        log.info("definition removed", definition=key.name)
        return None

    async def _delete_all(self, kind: Resource) -> int:
        """Delete all objects of a kind; returns how many stay for a while."""
        left = 0
        try:
            everywhere: dict[str, Any] = {"namespace": "*"} if namespaced(kind) else {}
            items = [item async for item in self._client.list(kind, **everywhere)]
        except ApiError as error:
            if error.status.code == 404:
                return 0
            raise
        for item in items:
            if not deleting(item):
                await delete(self._client, item)
            left += bool(meta(item).finalizers)
        return left

    async def _say(self, definition: CustomResourceDefinition, truth: str, reason: str, message: str) -> None:
        old = [_condition(each) for each in (definition.status.conditions if definition.status else None) or []]
        now: datetime = self._clock.now()
        new = with_condition(old, "Terminating", truth, now, reason=reason, message=message)  # type: ignore[arg-type]
        if new != old:
            await patch(self._client, definition, {"status": {"conditions": new}}, kind=CustomResourceDefinition.Status)


def _condition(condition: Any) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(condition)
    return {name: value for name, value in plain.items() if value is not None}
