"""What goes in and out of the store: keys, events, errors."""

from functools import cached_property
from typing import Any, Literal, NamedTuple

import msgspec

EventType = Literal["ADDED", "MODIFIED", "DELETED"]


class Key(NamedTuple):
    """Where an object lives. `resource` is `GROUP/PLURAL` ("/pods"); `namespace` is "" for a cluster-scoped kind."""

    resource: str
    namespace: str
    name: str


class Event:
    """One committed write. `data` is the JSON after it (for DELETED the last state, with the new version)."""

    def __init__(self, version: int, type_: EventType, key: Key, data: bytes, previous: bytes | None) -> None:
        self.version = version
        self.type = type_
        self.key = key
        self.data = data
        self.previous = previous

    @cached_property
    def object(self) -> dict[str, Any]:
        """The decoded object; shared by all watchers, so nobody may change it."""
        decoded: dict[str, Any] = msgspec.json.decode(self.data)
        return decoded

    @cached_property
    def previous_object(self) -> dict[str, Any] | None:
        """The decoded object before the write, or None for an ADDED."""
        return msgspec.json.decode(self.previous) if self.previous is not None else None


class StoreError(Exception):
    """Base of what the store raises."""


class AlreadyExists(StoreError):
    """The key is taken."""


class Missing(StoreError):
    """There is no such object."""


class Conflict(StoreError):
    """The object was changed by somebody else since the caller read it."""


class NotEmpty(Conflict):
    """The namespace that is to be removed still holds objects."""


class Expired(StoreError):
    """The history that a watch needs is gone; list again."""


class StoreFailed(StoreError):
    """SQLite or the disk below it failed; nothing was written."""


class StoreFull(StoreFailed):
    """There is no room on the disk; reads go on, and writes do once there is."""
