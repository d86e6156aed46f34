"""Blocking work beside the event loop."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Run what blocks in a daemon thread: unlike the loop's own pool it never keeps the process from ending."""
    return await in_thread_future(work)


def in_thread_future(work: Callable[[], T]) -> asyncio.Future[T]:
    """The same for callers that do not wait."""
    outcome: Future[T] = Future()
    outcome.set_running_or_notify_cancel()  # from here on a cancelled wait leaves it alone

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as why:  # noqa: BLE001 - it is raised again where it is awaited
            outcome.set_exception(why)

    threading.Thread(target=run, name="background", daemon=True).start()
    return asyncio.wrap_future(outcome)
