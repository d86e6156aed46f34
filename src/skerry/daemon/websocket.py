"""A WebSocket connection as ASGI messages: what uvicorn hands an upgraded connection to.

Loaded when the first client upgrades. Our own instead of a library: the API streams bytes through it, so a message is
passed on in pieces (`more` in `websocket.receive`) instead of being collected, reading stops while the application is
behind, and `send` waits while the client is; the libraries that uvicorn knows collect messages of up to 16 MiB. It
costs 0.4 MiB once it is loaded (wsproto: 0.5) and unmasks about 200 MB in a second of CPU (wsproto: 280).

A client that vanished without a word is found in two ways: TCP keep-alive notices a dead machine, and a client that
answers no ping for ten minutes is given up. That long because a Python client only answers while somebody reads.
While reading is held back the client's own pings cannot be seen, so it is sent pongs unasked: kubectl counts them.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import socket
from collections import deque
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
from uvicorn.config import Config
from uvicorn.server import ServerState

from skerry.cluster.apiserver.auth import Certificate
from skerry.daemon import websocket_frames as frames
from skerry.daemon.https import extensions_of
from skerry.daemon.websocket_frames import Close, FrameReader, Piece, Ping, ProtocolError
from skerry.kit.log import logger

log = logger(__name__)

Message = dict[str, Any]

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_HIGH_WATER: Final = 256 << 10
_LOW_WATER: Final = 64 << 10
_PIECE_COST: Final = 256  # what an empty piece costs too
_PING_SECONDS: Final = 30.0
_SILENT_SECONDS: Final = 600.0
_CLOSE_SECONDS: Final = 5.0
_LEAVE_SECONDS: Final = 1.0
_KEEP_ALIVE: Final = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
_STATUS: Final = {400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 426: "Upgrade Required"}


class WebSocketProtocol(asyncio.Protocol):
    """One connection, from the request that asks for the upgrade to its end."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        *,
        ping_seconds: float = _PING_SECONDS,
        silent_seconds: float = _SILENT_SECONDS,
    ) -> None:
        self._app = config.loaded_app
        self._state = server_state
        self._loop = asyncio.get_running_loop()
        self._ping_seconds = ping_seconds
        self._silent_seconds = silent_seconds
        self._transport: asyncio.Transport
        self._extensions: dict[str, Certificate] = {}
        self._task: asyncio.Task[None] | None = None
        self._parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._reader = FrameReader()
        self._messages: deque[Message] = deque([{"type": "websocket.connect"}])
        self._arrived = asyncio.Event()
        self._told = False
        self._held = 0
        self._reading = True
        self._writable = asyncio.Event()
        self._writable.set()
        self._phase = "request"  # → answering → open → closing → lost
        self._heard = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._body: list[bytes] = []
        self._denied = 403
        self._denied_headers: list[tuple[bytes, bytes]] = []

    # What the transport tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # Not an `isinstance`: uvloop's transports have their own ancestors.
        self._transport = cast("asyncio.Transport", transport)
        self._state.connections.add(self)  # type: ignore[arg-type]  # uvicorn only calls `shutdown`
        self._extensions = extensions_of(transport)
        _keep_alive(self._transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.connections.discard(self)
        self._disconnected(frames.LOST)
        self._phase = "lost"
        self._writable.set()
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def shutdown(self) -> None:
        """End because the server does."""
        if self._phase == "open":
            self._close(frames.GOING_AWAY, "the API server is stopping")
            self._disconnected(frames.GOING_AWAY)
        elif self._phase != "closing":
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._heard = self._loop.time()
        if self._parser is not None:
            self._feed_request(data)
            return
        try:
            for event in self._reader.feed(data):
                self._on(event)
        except ProtocolError as error:
            self._close(frames.PROTOCOL_ERROR, str(error))
            self._disconnected(frames.PROTOCOL_ERROR)
            self._transport.close()

    def eof_received(self) -> bool:
        return False

    # The request

    def _feed_request(self, data: bytes) -> None:
        assert self._parser is not None
        with contextlib.suppress(httptools.HttpParserUpgrade):  # raised at the end of a head that asks for it
            self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        method = self._parser.get_method()
        self._parser = None
        fields = dict(self._headers)
        if fields.get(b"sec-websocket-version") != b"13":
            self._refuse(
                426, "unable to upgrade: Sec-WebSocket-Version must be 13", ((b"sec-websocket-version", b"13"),)
            )
        elif method != b"GET" or not _is_key(fields.get(b"sec-websocket-key", b"")):
            self._refuse(400, "unable to upgrade: websocket wants GET and a Sec-WebSocket-Key of 16 bytes")
        else:
            self._phase = "answering"
            self._task = self._loop.create_task(self._run(self._scope()))
            self._state.tasks.add(self._task)
            self._task.add_done_callback(self._state.tasks.discard)

    def _scope(self) -> Message:
        url = httptools.parse_url(self._url)
        offered = b",".join(value for name, value in self._headers if name == b"sec-websocket-protocol")
        return {
            "type": "websocket",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "scheme": "wss",
            "path": unquote(url.path.decode("latin-1")),
            "raw_path": url.path,
            "query_string": url.query or b"",
            "headers": self._headers,
            "subprotocols": [word for part in offered.decode("latin-1").split(",") if (word := part.strip())],
            "extensions": {"websocket.http.response": {}, **self._extensions},
        }

    def _refuse(self, code: int, text: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self._denied, self._denied_headers = code, [(b"content-type", b"text/plain; charset=utf-8"), *headers]
        self._deny(text.encode())

    # The application's side

    async def _run(self, scope: Message) -> None:
        code, reason = frames.NORMAL, ""
        try:
            await self._app(scope, self._receive, self._send)  # ASGI's types are unions
        except Exception:
            log.exception("stream failed", path=scope["path"])
            code, reason = frames.INTERNAL_ERROR, "internal error"
        finally:
            if self._phase == "open":
                self._close(code, reason)
            elif self._phase == "answering":
                self._transport.close()

    async def _receive(self) -> Message:
        while not self._messages:
            self._arrived.clear()
            await self._arrived.wait()
        message = self._messages.popleft()
        if "bytes" in message:
            self._held -= len(message["bytes"]) + _PIECE_COST
        if not self._reading and self._held <= _LOW_WATER and self._phase == "open":
            self._reading = True
            self._heard = self._loop.time()
            self._transport.resume_reading()
        return message

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "websocket.send" if self._phase == "open":
                self._transport.write(frames.frame(frames.BINARY, message["bytes"]))
                await self._writable.wait()
            case "websocket.accept":
                self._accept(message.get("subprotocol"))
            case "websocket.close" if self._phase == "open":
                self._close(message.get("code", frames.NORMAL), message.get("reason") or "")
            case "websocket.http.response.start":
                self._denied, self._denied_headers = message["status"], list(message["headers"])
            case "websocket.http.response.body":
                self._body.append(message.get("body", b""))
                if not message.get("more_body") and self._phase == "answering":
                    self._deny(b"".join(self._body))

    def _accept(self, subprotocol: str | None) -> None:
        if self._phase != "answering":
            return  # the client left meanwhile
        key = dict(self._headers)[b"sec-websocket-key"]
        accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
        head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += b"Sec-WebSocket-Accept: " + accept + b"\r\n"
        if subprotocol:
            head += b"Sec-WebSocket-Protocol: " + subprotocol.encode("latin-1") + b"\r\n"
        self._transport.write(head + b"\r\n")
        self._phase = "open"
        self._timer = self._loop.call_later(self._ping_seconds, self._tick)

    def _deny(self, body: bytes) -> None:
        given = [(name, value) for name, value in self._denied_headers if name != b"content-length"]
        fields = [*given, (b"content-length", str(len(body)).encode()), (b"connection", b"close")]
        head = f"HTTP/1.1 {self._denied} {_STATUS.get(self._denied, 'Error')}\r\n".encode()
        self._transport.write(
            head + b"".join(name + b": " + value + b"\r\n" for name, value in fields) + b"\r\n" + body
        )
        self._transport.close()
        self._phase = "closing"

    # Frames

    def _on(self, event: frames.Event) -> None:
        if self._phase != "open":
            if isinstance(event, Close):
                self._transport.close()
            return
        match event:
            case Piece(data, last):
                self._messages.append({"type": "websocket.receive", "bytes": data, "more": not last})
                self._arrived.set()
                self._held += len(data) + _PIECE_COST
                if self._held > _HIGH_WATER and self._reading:
                    self._reading = False
                    self._transport.pause_reading()
            case Ping(data):
                if self._writable.is_set():  # who floods us with pings and reads no answer gets none
                    self._transport.write(frames.frame(frames.PONG, data))
            case Close(code):
                self._close(frames.NORMAL if code == frames.NO_CODE else code, "")
                self._disconnected(code)
                self._transport.close()

    def _close(self, code: int, reason: str) -> None:
        """Say goodbye, and give the client a moment to say it too."""
        if self._phase != "open":
            return
        self._phase = "closing"
        self._transport.write(frames.close_frame(code, reason))
        if not self._reading:
            self._transport.resume_reading()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(_CLOSE_SECONDS, self._transport.abort)

    def _disconnected(self, code: int) -> None:
        """Tell the application; one that waits for something else than messages is cancelled."""
        if self._told:
            return
        self._told = True
        self._messages.append({"type": "websocket.disconnect", "code": code})
        self._arrived.set()
        if self._task is not None:
            self._loop.call_later(_LEAVE_SECONDS, self._task.cancel)

    def _tick(self) -> None:
        if self._phase != "open":
            return
        if self._reading and self._loop.time() - self._heard > self._silent_seconds:
            log.info("client of a stream vanished", silent_seconds=self._silent_seconds)
            self._transport.abort()
            return
        self._transport.write(frames.frame(frames.PING, b""))
        if not self._reading:
            self._transport.write(frames.frame(frames.PONG, b""))
        self._timer = self._loop.call_later(self._ping_seconds, self._tick)


def _is_key(value: bytes) -> bool:
    try:
        return len(base64.b64decode(value, validate=True)) == 16
    except binascii.Error:
        return False


def _keep_alive(transport: asyncio.Transport) -> None:
    connection = transport.get_extra_info("socket")
    with contextlib.suppress(OSError, AttributeError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
