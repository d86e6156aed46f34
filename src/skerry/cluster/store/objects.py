"""What goes in and out of the store: keys, events, errors."""

from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

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
    def line(self) -> bytes:
        """The event as a line of JSON; made once for all watchers that take it as it is."""
        return json_line(self.type, self.data)

    @cached_property
    def previous_object(self) -> dict[str, Any] | None:
        """The decoded object before the write, or None for an ADDED."""
        return msgspec.json.decode(self.previous) if self.previous is not None else None


# What Unicode calls a line end too: clients in Python (httpx) would cut a line of JSON there.
_LINE_ENDS: Final = tuple((mark.encode(), b"\\u%04x" % ord(mark)) for mark in "\u0085\u2028\u2029")


def json_line(type_: str, data: bytes) -> bytes:
    """Write an event as watches send it."""
    line = b'{"type":"%b","object":%b}\n' % (type_.encode(), data)
    for raw, escaped in _LINE_ENDS:
        if raw in line:
            line = line.replace(raw, escaped)
    return line


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


class NotStorable(StoreFailed):
    """The object cannot be written as JSON; nothing is wrong with the store."""
