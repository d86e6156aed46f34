"""Runs one daemon in the foreground: lock, logs, signals, exit codes.

0   stopped as asked
1   cannot start: the message says why
3   another daemon already runs with the same directories
"""

import asyncio
import signal
import sys
from collections.abc import Callable

from skerry.cluster.store import StoreFailed
from skerry.daemon.config import Config
from skerry.daemon.health import note_start
from skerry.daemon.https import PortBusy
from skerry.daemon.lock import AlreadyRunning, DaemonFacts, take_lock
from skerry.daemon.paths import Paths
from skerry.daemon.platform import Platform
from skerry.kit import log

_CANNOT_START = (PortBusy, StoreFailed, OSError)


def run(config: Config, paths: Paths, ready: Callable[[DaemonFacts], None]) -> int:
    """Run until SIGTERM, SIGINT or SIGHUP (the terminal is closed); returns the exit code."""
    log.configure(config.debugging.log_level)
    try:
        take_lock(paths.daemon_lock)
    except AlreadyRunning:
        print("skerry already runs with these directories; `skerry status` tells about it", file=sys.stderr)  # noqa: T201
        return 3
    except OSError as error:
        return _cannot_start(error, paths)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_run(config, paths, ready))
    except BaseExceptionGroup as group:
        matching = group.subgroup(_CANNOT_START)
        if matching is None:
            raise
        return _cannot_start(_first(matching), paths)
    except _CANNOT_START as error:
        return _cannot_start(error, paths)
    return 0


async def _run(config: Config, paths: Paths, ready: Callable[[DaemonFacts], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    await Platform(config, paths).run(ready, stop)


def _cannot_start(error: BaseException, paths: Paths) -> int:
    note_start(paths.health, str(error))
    print(f"skerry cannot start: {error}", file=sys.stderr)  # noqa: T201
    return 1


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop

    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
