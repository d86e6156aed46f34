"""Long answers compressed with gzip, for clients that ask for it and are not on this machine.

kubectl and every Go client ask. Below 128 KiB it is not worth it (kube-apiserver's own threshold), and between
processes of one machine never: copying is faster than compressing. The fastest level is used, in a thread, so that
other requests are served meanwhile.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from ipaddress import ip_address
from typing import Any, Final

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

_THRESHOLD: Final = 128 * 1024
_LEVEL: Final = 1
_GZIP: Final = 16 + zlib.MAX_WBITS


def wants_gzip(scope: Mapping[str, Any]) -> bool:
    """Say whether the client takes gzip and sits on another machine."""
    for name, value in scope["headers"]:
        if name == b"accept-encoding":
            return _accepts(value) and not _is_here(scope)
    return False


def _accepts(header: bytes) -> bool:
    for entry in header.split(b","):
        coding, _, weight = entry.partition(b";")
        if coding.strip().lower() == b"gzip":
            return weight.replace(b" ", b"") not in {b"q=0", b"q=0.0", b"q=0.00", b"q=0.000"}
    return False


def _is_here(scope: Mapping[str, Any]) -> bool:
    client = scope.get("client")
    return client is None or ip_address(client[0]).is_loopback


class Compressed:
    """Between the application and `send`: holds the head back until the size of the body is known."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._head: Message = {}
        self._compressor: zlib._Compress | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._head = message
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if self._head and not body and more:
            return  # a stream that shows its head at once; a list has no need for it
        if self._head:
            await self._begin(body, more=more)
        if self._compressor is not None:
            body = await asyncio.to_thread(_deflated, self._compressor, body, more)
        await self._send({**message, "body": body})

    async def _begin(self, body: bytes, *, more: bool) -> None:
        head, self._head = self._head, {}
        if head["status"] == 200 and (more or len(body) >= _THRESHOLD):
            self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
            kept = [(name, value) for name, value in head["headers"] if name != b"content-length"]
            head = {**head, "headers": [*kept, (b"content-encoding", b"gzip"), (b"vary", b"Accept-Encoding")]}
        await self._send(head)


def _deflated(compressor: "zlib._Compress", body: bytes, more: bool) -> bytes:
    return compressor.compress(body) + (b"" if more else compressor.flush())
