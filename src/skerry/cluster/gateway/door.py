"""The first bytes of a connection say which protocol is spoken; the connection then belongs to that protocol.

HTTP/1 is served. The preface of HTTP/2 without TLS (which gRPC sends) and the first record of TLS are told apart and
answered in their own words, so that a client sees a clear refusal rather than a stall.
"""

import asyncio
from typing import TYPE_CHECKING, Final, cast

from skerry.cluster.gateway import pages
from skerry.cluster.gateway.client import Client
from skerry.cluster.gateway.deadline import Deadline

if TYPE_CHECKING:
    from skerry.cluster.gateway.core import Gateway

_H2_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_H2_WHY: Final = b"this gateway speaks HTTP/1.1 here; HTTP/2 and gRPC are not served on this port"
# An empty SETTINGS frame, then GOAWAY: last stream 0, HTTP_1_1_REQUIRED, and the reason for people.
_H2_GOAWAY: Final = (
    b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    + (8 + len(_H2_WHY)).to_bytes(3, "big")
    + b"\x07\x00\x00\x00\x00\x00"
    + b"\x00\x00\x00\x00\x00\x00\x00\x0d"
    + _H2_WHY
)
_TLS_HANDSHAKE: Final = b"\x16\x03"
_TLS_ALERT: Final = b"\x15\x03\x01\x00\x02\x02\x28"  # fatal, handshake_failure


class Door(asyncio.Protocol):
    """Listens to the first bytes only."""

    __slots__ = ("_deadline", "_first", "_gateway", "_transport")

    _transport: asyncio.Transport

    def __init__(self, gateway: "Gateway") -> None:
        self._gateway = gateway
        self._first = b""
        self._deadline = Deadline(gateway.loop, self.close)

    @property
    def idle(self) -> bool:
        return True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if len(self._gateway.clients) >= self._gateway.limits.connections:
            self._answer(pages.unavailable(body=False))
            return
        self._gateway.clients.add(self)
        self._deadline.set(self._gateway.timeouts.head)

    def data_received(self, data: bytes) -> None:
        first = self._first + data if self._first else data
        if first[0] == 0x50 and _H2_PREFACE.startswith(first[: len(_H2_PREFACE)]):
            if len(first) < len(_H2_PREFACE):
                self._first = first
            else:
                self._answer(_H2_GOAWAY)
        elif first[0] == 0x16 and _TLS_HANDSHAKE.startswith(first[:2]):
            self._answer(_TLS_ALERT)
        else:
            self._enter(Client(self._gateway), first)

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline.close()
        self._gateway.left(self)

    def close(self) -> None:
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _answer(self, data: bytes) -> None:
        self._transport.write(data)
        self._transport.close()

    def _enter(self, protocol: Client, first: bytes) -> None:
        self._deadline.close()
        self._gateway.clients.discard(self)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(first)
