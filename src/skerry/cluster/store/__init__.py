"""Versioned objects in SQLite, with their history for watches.

Every write is one row in `objects` and one in `history`, in one transaction, under one new resourceVersion; it is
acknowledged after the transaction is on the disk (`synchronous=FULL`, WAL). One thread writes and commits all writes
that wait together, so sixteen clients share one flush. Readers see the last committed state.

    StoreError
      AlreadyExists       create of a key that is there
      Missing             update or delete of a key that is not
      Conflict            the object is at another version than the caller saw
        NotEmpty          the namespace that is to go still holds objects
      Expired             a watch from a version whose history is compacted away or never was, or a reader too slow
      StoreFailed         the disk refused (read-only, damaged)
        StoreFull         it has no room
"""

from skerry.cluster.store.compaction import Keep
from skerry.cluster.store.keeper import Keeper
from skerry.cluster.store.listing import Listing
from skerry.cluster.store.objects import (
    AlreadyExists,
    Conflict,
    Event,
    Expired,
    Key,
    Missing,
    NotEmpty,
    StoreError,
    StoreFailed,
    StoreFull,
    json_line,
)
from skerry.cluster.store.recovery import Finding, recover
from skerry.cluster.store.store import Store
from skerry.cluster.store.watcher import Watcher

__all__ = [
    "AlreadyExists",
    "Conflict",
    "Event",
    "Expired",
    "Finding",
    "Keep",
    "Keeper",
    "Key",
    "Listing",
    "Missing",
    "NotEmpty",
    "Store",
    "StoreError",
    "StoreFailed",
    "StoreFull",
    "Watcher",
    "json_line",
    "recover",
]
