"""One writer of an object at a time.

Reading, changing and storing an object take several steps; of many clients that patch the same one, all but one would
find it changed and begin again, and some would never win. So each waits for its turn. Writers of different objects do
not wait for each other, and the store's own check of versions stays what guards the data.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from skerry.cluster.store import Key


class Turns:
    """Locks by key, each there only while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def of(self, key: Key) -> AsyncIterator[None]:
        """Hold the turn of one object."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        async with lock:
            yield
