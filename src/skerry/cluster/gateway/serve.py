"""The life of the gateway process: read the table, listen, swap the table on SIGHUP, drain on SIGTERM.

The order at the start matters: signal handlers before everything (a daemon may send SIGHUP as soon as it sees the
process), the table before the sockets (nobody gets a 503 for a route that exists), the pid file last.
"""

import asyncio
import gc
import os
import random
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec

from skerry import __version__
from skerry.cluster.gateway import runfile
from skerry.cluster.gateway import table as wire
from skerry.cluster.gateway.admin import Admin, Answer
from skerry.cluster.gateway.core import Gateway, Settings
from skerry.cluster.gateway.door import Door
from skerry.cluster.gateway.limits import Limits
from skerry.cluster.gateway.listen import CannotListen, bind, bind_unix, bound, parse_address
from skerry.kit.log import logger
from skerry.kit.processes import identify

log = logger(__name__)

_FILES_OF_OURS: Final = 64  # descriptors that are not connections
_MOST_FILES: Final = 65_536


@dataclass(frozen=True)
class Options:
    """The command line."""

    table: Path
    listen: tuple[str, ...]
    settings: Settings
    drain: float
    pid_file: Path | None
    admin_socket: Path | None
    ready_fd: int | None
    arguments: tuple[str, ...]


class TableState(msgspec.Struct):
    """Which table is in use, for `/table` of the admin socket."""

    digest: str = ""
    routes: int = 0
    services: int = 0
    error: str = ""


class TableFile:
    """Reads the table; what cannot be read changes nothing."""

    def __init__(self, path: Path, gateway: Gateway) -> None:
        self._path = path
        self._gateway = gateway
        self.state = TableState()

    def load(self) -> None:
        """Use what the file says now."""
        try:
            data = self._path.read_bytes()
            table = wire.decode(data)
        except FileNotFoundError:
            log.info("no routing table yet", file=str(self._path))
        except (OSError, msgspec.MsgspecError) as error:
            self.state.error = str(error)
            log.error("cannot use the routing table; the one before stays", file=str(self._path), error=str(error))
        else:
            self._gateway.swap(table)
            self.state = TableState(wire.digest(data), len(table.routes), len(table.services))
            log.info("routing table in use", table=self.state.digest, routes=len(table.routes))


async def serve(options: Options) -> int:
    """Run until SIGTERM or SIGINT; return the exit code."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        settings = replace(options.settings, limits=_affordable(options.settings.limits))
        gateway = Gateway(loop, group.create_task, settings, random.Random())  # noqa: S311 - balancing, not secrecy
        table = TableFile(options.table, gateway)
        loop.add_signal_handler(signal.SIGHUP, table.load)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        table.load()
        try:
            sockets = _bind_all(options.listen)
            servers = [await loop.create_server(lambda: Door(gateway), sock=sock) for sock in sockets]
            servers += await _serve_admin(options.admin_socket, gateway, table)
        except CannotListen as error:
            _announce(options.ready_fd, {"error": str(error)})
            sys.stderr.write(f"{error}\n")
            return 1
        _say_ready(options, [str(bound(sock)) for sock in sockets])
        gc.collect()
        gc.freeze()  # what is here now stays; later collections need not look at it
        await stop.wait()
        await _stop(options, gateway, servers)
    return 0


def _bind_all(addresses: Sequence[str]) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for text in addresses:
            sockets.append(bind(parse_address(text)))  # noqa: PERF401 - those before a failure are closed
    except CannotListen:
        for sock in sockets:
            sock.close()
        raise
    return sockets


async def _serve_admin(path: Path | None, gateway: Gateway, table: TableFile) -> list[asyncio.Server]:
    if path is None:
        return []
    pages: dict[bytes, Callable[[], Answer]] = {
        b"/healthz": lambda: Answer(("text/plain", b"ok\n")),
        b"/metrics": lambda: Answer(("text/plain; version=0.0.4", gateway.metrics().encode())),
        b"/table": lambda: Answer(("application/json", msgspec.json.encode(table.state))),
    }
    loop = asyncio.get_running_loop()
    return [await loop.create_unix_server(lambda: Admin(pages), sock=bind_unix(path))]


def _say_ready(options: Options, listening: Sequence[str]) -> None:
    own = identify(os.getpid())
    running = runfile.Running(own.pid, own.start_time, own.boot_id, __version__, options.arguments, tuple(listening))
    if options.pid_file is not None:
        runfile.write(options.pid_file, running)
    log.info("gateway listens", addresses=", ".join(listening), pid=own.pid)
    _announce(options.ready_fd, {"listening": list(listening)})


def _announce(descriptor: int | None, message: dict[str, object]) -> None:
    if descriptor is None:
        return
    # The daemon that waited may have died meanwhile; that is no reason not to serve.
    with suppress(OSError), os.fdopen(descriptor, "wb") as pipe:
        pipe.write(msgspec.json.encode(message) + b"\n")


async def _stop(options: Options, gateway: Gateway, servers: Sequence[asyncio.Server]) -> None:
    for server in servers:
        server.close()
    if options.pid_file is not None:
        runfile.remove(options.pid_file, os.getpid())
    log.info("gateway drains", connections=len(gateway.clients), at_most=options.drain)
    try:
        async with asyncio.timeout(options.drain):
            await gateway.drain()
    except TimeoutError:
        log.warning("gateway cuts what is left", connections=len(gateway.clients))
    gateway.close()
    log.info("gateway stopped")


def _affordable(limits: Limits) -> Limits:
    """Raise the limit of open files to what is allowed, and accept no more connections than that carries."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    # A request needs two: the client's and the pod's.
    return replace(limits, connections=max(16, min(limits.connections, (soft - _FILES_OF_OURS) // 2)))
