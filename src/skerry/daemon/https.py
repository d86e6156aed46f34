"""Serves the API over TLS, on a socket that is bound before anything else starts.

PortBusy    the address is taken; says by which setting it can be changed
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from skerry.daemon.http_protocol import CarefulProtocol


class PortBusy(Exception):
    """The address cannot be listened on."""


def bind(address: str, port: int, setting: str) -> socket.socket:
    """Bind a listening socket.

    Raises `PortBusy`.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # What is accepted inherits it: the connection of a machine that vanished ends after about a minute.
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3)):
        listening.setsockopt(socket.IPPROTO_TCP, option, value)
    try:
        listening.bind((address, port))
    except OSError as error:
        listening.close()
        why = "the port is in use" if error.errno == errno.EADDRINUSE else error.strerror
        raise PortBusy(
            f"cannot listen on {address}:{port}: {why}; stop what uses it (ss -ltnp 'sport = :{port}' names it) "
            f"or choose another with --set {setting}=PORT"
        ) from error
    return listening


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the daemon."""
        yield


class HttpsServer:
    """uvicorn over a bound socket."""

    def __init__(self, app: Any, listening: socket.socket, certificate: Path, key: Path) -> None:
        config = uvicorn.Config(
            app,
            http=CarefulProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=120,
            timeout_graceful_shutdown=1,
            ssl_certfile=str(certificate),
            ssl_keyfile=str(key),
            ssl_version=ssl.PROTOCOL_TLS_SERVER,
        )
        self._server = _Server(config)
        self._listening = listening

    @property
    def port(self) -> int:
        port: int = self._listening.getsockname()[1]
        return port

    async def run(self) -> None:
        """Serve until cancelled."""
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._listening]))
        try:
            await asyncio.shield(serving)
        finally:
            self._server.should_exit = True
            with contextlib.suppress(asyncio.CancelledError):
                await serving

    async def started(self) -> None:
        """Return once requests are accepted."""
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has a flag, no event
            await asyncio.sleep(0.005)
