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


class PortBusy(Exception):
    """The address cannot be listened on."""


def bind(address: str, port: int, setting: str) -> socket.socket:
    """Bind a listening socket.

    Raises `PortBusy`.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
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


def upgraded(*, config: uvicorn.Config, server_state: Any, app_state: dict[str, Any]) -> asyncio.Protocol:
    """Return who goes on with a connection that becomes a WebSocket; loaded when the first one does."""
    from skerry.daemon.websocket import WebSocketProtocol

    return WebSocketProtocol(config, server_state, app_state)


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
            http="httptools",
            ws=f"{__name__}:upgraded",
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
        self._config = config
        self._server = _Server(config)
        self._listening = listening
        self._certificate = certificate
        self._key = key

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

    def reload_certificate(self) -> None:
        """Use the files as they are now for connections that begin from now on.

        Raises `OSError`, `ssl.SSLError`; the old certificate is then still served.
        """
        trial = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # a pair that does not fit must not reach the one in use
        trial.load_cert_chain(self._certificate, self._key)
        if self._config.ssl is not None:
            self._config.ssl.load_cert_chain(self._certificate, self._key)

    async def started(self) -> None:
        """Return once requests are accepted."""
        while not self._server.started:  # noqa: ASYNC110 - uvicorn has a flag, no event
            await asyncio.sleep(0.005)
