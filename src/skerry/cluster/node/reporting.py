"""Events, written one after the other behind the node's back: no pod waits for one."""

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from skerry.kit.log import logger
from skerry.reconcile import Recorder

log = logger(__name__)

_MOST_WAITING: Final = 1000


@dataclass(frozen=True)
class _Note:
    pod: Any
    warning: bool
    reason: str
    message: str


class Reporter:
    """Queues events for the recorder."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._queue: asyncio.Queue[_Note] = asyncio.Queue(_MOST_WAITING)

    def normal(self, pod: Any, reason: str, message: str) -> None:
        self._put(_Note(pod, warning=False, reason=reason, message=message))

    def warning(self, pod: Any, reason: str, message: str) -> None:
        self._put(_Note(pod, warning=True, reason=reason, message=message))

    async def run(self) -> None:
        """Write events until cancelled."""
        while True:
            note = await self._queue.get()
            write = self._recorder.warning if note.warning else self._recorder.normal
            await write(note.pod, note.reason, note.message)

    def _put(self, note: _Note) -> None:
        try:
            self._queue.put_nowait(note)
        except asyncio.QueueFull:
            log.warning("event dropped", reason=note.reason, message=note.message)
