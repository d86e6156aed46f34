"""What arrives in one turn of the event loop, collected until it ends.

A lone client would only pay for waiting. After a while of turns with one item each, items are best dealt with at once,
and one in a few is still collected, to notice when others have come.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")

_ALONE: Final = 16
_PROBE: Final = 16


class Turns(Generic[Item]):
    """Hands what was collected to `run` when the turn is over, or `--max_queue_delay`, or as much waits as may.

    `run` gets the items in parts that are no larger than one call may be, and the size of each part.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, most: int, delay_seconds: float, run: Callable[[list[Item], int], None]
    ) -> None:
        self._loop = loop
        self._most = most
        self._delay = delay_seconds
        self._run = run
        self._items: list[Item] = []
        self._sizes: list[int] = []
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._alone = 0
        self._passed = 0

    @property
    def busy(self) -> bool:
        """Whether anything waits for the end of a turn."""
        return bool(self._items)

    def is_alone(self) -> bool:
        """Whether the next item is better not collected; ask once for each."""
        if self._alone < _ALONE or self._delay or self._items:
            return False
        self._passed += 1
        return bool(self._passed % _PROBE)

    def add(self, item: Item, size: int = 1) -> None:
        """Collect an item, which is so much of what one call may have."""
        if not self._items:
            self._begin()
        self._items.append(item)
        self._sizes.append(size)
        self._size += size
        if self._timer is not None and self._size >= self._most:
            self._timer.cancel()
            self._timer = None
            self._loop.call_soon(self._end)

    def _begin(self) -> None:
        if self._delay:
            self._timer = self._loop.call_later(self._delay, self._end)
        else:
            self._loop.call_soon(self._end)

    def _end(self) -> None:
        items, self._items = self._items, []
        sizes, self._sizes = self._sizes, []
        whole, self._size = self._size, 0
        self._timer = None
        self._alone = self._alone + 1 if len(items) == 1 else 0
        begin = size = 0
        if whole > self._most:
            for place, more in enumerate(sizes):
                if size + more > self._most:
                    self._run(items[begin:place], size)
                    begin, size = place, 0
                size += more
        self._run(items[begin:], size or whole)
