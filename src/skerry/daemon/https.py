"""Serves the API over TLS, on a socket that is bound before anything else starts.

A client may show a certificate, and need not. One that our authority did not sign ends the handshake: nobody gets as
far as a request with it. What a good one says stands in the scope of each request. Its time is not judged here but with
the request, so that a certificate that is over is answered with a 401 rather than with a connection that breaks.

PortBusy    the address is taken; says by which setting it can be changed
"""

import asyncio
import contextlib
import errno
import hashlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import uvicorn

from skerry.cluster.apiserver.access.credentials import CERTIFICATE, Certificate
from skerry.daemon.http_protocol import CarefulProtocol

_NO_CHECK_TIME: Final = 0x20_0000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python has no name for


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


def upgraded(*, config: uvicorn.Config, server_state: Any, app_state: dict[str, Any]) -> asyncio.Protocol:
    """Return who goes on with a connection that becomes a WebSocket; loaded when the first one does."""
    from skerry.daemon.websocket import WebSocketProtocol

    return WebSocketProtocol(config, server_state, app_state)


def extensions_of(transport: asyncio.BaseTransport) -> dict[str, Certificate]:
    """Return what the scopes of a connection carry under `extensions`: the client's certificate, when it showed one."""
    connection = transport.get_extra_info("ssl_object")
    shown = connection.getpeercert() if connection is not None else None
    if not shown:
        return {}
    # Only a certificate that was verified is told by its fields; others have none.
    subject = [pair for part in shown.get("subject", ()) for pair in part]
    names = [value for key, value in subject if key == "commonName"]
    groups = tuple(value for key, value in subject if key == "organizationName")
    if len(names) != 1 or not names[0]:
        return {}
    fingerprint = hashlib.sha256(connection.getpeercert(binary_form=True)).hexdigest()
    begins, ends = (float(ssl.cert_time_to_seconds(shown[key])) for key in ("notBefore", "notAfter"))
    return {CERTIFICATE: Certificate(names[0], groups, fingerprint, begins, ends)}


class _Protocol(CarefulProtocol):
    """Tells the application who is at the other end."""

    _extensions: Mapping[str, Certificate] = {}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._extensions = extensions_of(transport)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["extensions"] = dict(self._extensions)  # type: ignore[arg-type]


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the daemon."""
        yield


class HttpsServer:
    """uvicorn over a bound socket."""

    def __init__(self, app: Any, listening: socket.socket, certificate: Path, key: Path, authority: Path) -> None:
        """`authority` signed the certificates of clients that have one."""
        config = uvicorn.Config(
            app,
            http=_Protocol,
            ws=f"{__name__}:upgraded",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # there is no proxy before us whom to believe
            timeout_keep_alive=120,
            timeout_graceful_shutdown=1,
            ssl_certfile=str(certificate),
            ssl_keyfile=str(key),
            ssl_version=ssl.PROTOCOL_TLS_SERVER,
            ssl_ca_certs=str(authority),
            ssl_cert_reqs=ssl.CERT_OPTIONAL,
        )
        config.load()
        assert config.ssl is not None
        config.ssl.verify_flags |= _NO_CHECK_TIME
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
