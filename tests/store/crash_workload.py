"""A process with a store that a test kills: several clients, random operations, and a line for each begin and answer.

    python -m tests.store.crash_workload DIRECTORY SEED OPERATIONS

Each client has keys of its own and one operation at a time, so that after a crash an object is in its last acknowledged
state or, if an operation had begun, in the one after it. The lines go to DIRECTORY/answers with `write`, and so have
their place between the writes and flushes of the database:

    B client key number         create, update or delete of the key begins; number 0 means delete
    A client key number version
"""

import asyncio
import os
import random
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from skerry.cluster.store import Keep, Key, Store, ceiling, compaction, recover
from skerry.cluster.store.copies import Copies

CLIENTS: Final = 4
KEYS: Final = 5
KEEP: Final = Keep(writes=60, bytes=300_000)


class Workload:
    """The clients of one run."""

    def __init__(self, directory: Path, seed: int, operations: int) -> None:
        self._database = directory / "store.db"
        self._answers = os.open(directory / "answers", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._chance = random.Random(seed)
        self._left = operations
        self._number = seed * 100_000  # unlike those of the runs before
        self._copies = Copies(directory / "copies")

    async def run(self) -> None:
        recover(self._database)
        self._store = Store.open(self._database, keep=KEEP)
        assert self._store._writer._connection is not None
        self._store._writer._connection.execute("PRAGMA wal_autocheckpoint=25")
        async with asyncio.TaskGroup() as group:
            for client in range(CLIENTS):
                group.create_task(self._client(client))
            group.create_task(self._copy())
        self._store.close()

    async def _client(self, client: int) -> None:
        keys = [Key("/pods", f"c{client}", f"k{number}") for number in range(KEYS)]
        while self._left > 0:
            self._left -= 1
            key = self._chance.choice(keys)
            self._number += 1
            number = self._number
            item: dict[str, Any] = {"metadata": {"name": key.name}, "number": number}
            item["text"] = "x" * self._chance.choice([1, 50, 700, 5000, 15_000])
            if self._store.get(key) is None:
                self._say(f"B {client} {key.name} {number}")
                data = await self._store.create(key, item)
            elif self._chance.random() < 0.25:
                number = 0
                self._say(f"B {client} {key.name} 0")
                data = await self._store.delete(key, None)
            else:
                self._say(f"B {client} {key.name} {number}")
                data = await self._store.update(key, item, None)
            version = msgspec.json.decode(data)["metadata"]["resourceVersion"]
            self._say(f"A {client} {key.name} {number} {version}")

    async def _copy(self) -> None:
        while self._left > 0:
            before = self._left
            await asyncio.to_thread(self._copies.take, self._database)
            while self._left > max(0, before - 60):
                await asyncio.sleep(0.001)

    def _say(self, line: str) -> None:
        os.write(self._answers, f"{line}\n".encode())


if __name__ == "__main__":
    # Small figures, so that a short run reaches everything.
    ceiling._BLOCK = 40  # type: ignore[misc]
    compaction._ROOM_KEPT = 8  # type: ignore[misc]
    compaction._PIECE = 4  # type: ignore[misc]
    asyncio.run(Workload(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])).run())
