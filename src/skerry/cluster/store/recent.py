"""Objects that were read or written lately, as bytes in memory.

Each statement of SQLite lets other threads run, and to get its turn back from the thread that writes costs the event
loop more than the statement does; the namespace of a create and the object of a patch are looked up all the time. What
is kept here is what is committed: a key that is being written is not kept until the write is decided, so nobody reads
an older state here than a list has shown.
"""

from typing import Final

from skerry.cluster.store.objects import Key

_BYTES: Final = 1 << 20


class Recent:
    """A bounded number of objects; the longest known leave first."""

    def __init__(self, most: int = _BYTES) -> None:
        self._most = most
        self._bytes = 0
        self._objects: dict[Key, bytes] = {}
        self._writes: dict[Key, int] = {}  # that are on their way

    def get(self, key: Key) -> bytes | None:
        return self._objects.get(key)

    def put(self, key: Key, data: bytes) -> None:
        """Keep what is committed, unless it is about to change."""
        if key in self._writes or len(data) > self._most // 4:
            return
        self._drop(key)
        self._objects[key] = data
        self._bytes += len(data)
        while self._bytes > self._most:
            self._drop(next(iter(self._objects)))

    def clear(self) -> None:
        """Forget the objects: the database is another one."""
        self._objects.clear()
        self._bytes = 0

    def begin(self, key: Key) -> None:
        """Note that a write of this key is on its way."""
        self._drop(key)
        self._writes[key] = self._writes.get(key, 0) + 1

    def end(self, key: Key) -> None:
        """Note that a write of this key is committed or refused."""
        self._writes[key] -= 1
        if not self._writes[key]:
            del self._writes[key]

    def _drop(self, key: Key) -> None:
        self._bytes -= len(self._objects.pop(key, b""))
