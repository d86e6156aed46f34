"""What goes back: a whole body, a stream of chunks, or a connection that goes on as something else."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypeVar

import msgspec

from skerry.machinery.status import StatusError

JSON: Final = "application/json"


@dataclass(frozen=True)
class Reply:
    """A whole body."""

    code: int
    body: bytes
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Stream:
    """A body of unknown length; the iterator is closed when the client leaves."""

    chunks: AsyncIterator[bytes]
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Piece:
    """A part of a message, and whether the message begins and ends with it."""

    data: bytes
    begins: bool
    ends: bool


class Connection(Protocol):
    """A WebSocket after its handshake; messages arrive in pieces."""

    async def receive(self) -> Piece | None:
        """Return the next piece; None when the client has left."""

    async def send(self, data: bytes) -> None:
        """Send a whole message; waits while the client is behind."""


@dataclass(frozen=True)
class Upgrade:
    """All is well, and the rest is said over a WebSocket: in one of these subprotocols, by `talk`."""

    protocols: Sequence[str]
    talk: Callable[[Connection, str], Awaitable[None]]


Answer = Reply | Stream | Upgrade


def json_reply(value: Any, code: int = 200, media_type: str = JSON) -> Reply:
    """Encode a value."""
    return Reply(code, msgspec.json.encode(value), media_type)


def error_reply(error: StatusError) -> Reply:
    """Answer with the Status of an error; a client that may try again is told when."""
    seconds = (error.details or {}).get("retryAfterSeconds")
    headers = {"retry-after": str(seconds)} if seconds else {}
    return Reply(error.code, msgspec.json.encode(error.body()), JSON, headers)


def text_reply(text: str, code: int = 200) -> Reply:
    """Answer with plain text."""
    return Reply(code, text.encode(), "text/plain; charset=utf-8")


Whole = TypeVar("Whole", bound=Reply | Stream)


def with_warnings(reply: Whole, warnings: list[str]) -> Whole:
    """Add `Warning: 299` headers, which kubectl prints; several are joined into one header as RFC 9110 allows."""
    if not warnings:
        return reply
    quoted = [f'299 - "{_quoted(text)}"' for text in warnings]
    before = [reply.headers["warning"]] if "warning" in reply.headers else []
    return replace(reply, headers={**reply.headers, "warning": ", ".join([*before, *quoted])})


def _quoted(text: str) -> str:
    # A header is Latin-1 and one line; Kubernetes drops what is not.
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ").replace("\r", " ")
    return plain.encode("ascii", "replace").decode()
