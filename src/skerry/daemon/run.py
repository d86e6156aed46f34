"""Runs one daemon in the foreground: lock, logs, signals, exit codes.

0   stopped as asked
1   cannot start: the message says why
3   another daemon already runs with the same directories
"""

import asyncio
import resource
import signal
import sys
from collections.abc import Callable
from typing import Final

from skerry.cluster.store import StoreFailed
from skerry.daemon.config import Config
from skerry.daemon.health import note_start
from skerry.daemon.https import PortBusy
from skerry.daemon.lock import AlreadyRunning, DaemonFacts, take_lock
from skerry.daemon.paths import Paths
from skerry.daemon.platform import Platform
from skerry.kit import log

_FILES: Final = 65_536
# The thread of the store must not keep the event loop waiting for the usual five milliseconds.
_SWITCH_SECONDS: Final = 0.001
_CANNOT_START = (PortBusy, StoreFailed, OSError)


def run(config: Config, paths: Paths, ready: Callable[[DaemonFacts], None]) -> int:
    """Run until SIGTERM, SIGINT or SIGHUP (the terminal is closed); returns the exit code."""
    log.configure(config.debugging.log_level)
    _allow_many_connections()
    sys.setswitchinterval(_SWITCH_SECONDS)
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


def _allow_many_connections() -> None:
    """Take as many open files as the system lets us have: a watch is one. Containers are given limits of their own."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
