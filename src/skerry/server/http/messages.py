"""A request as it was read, and a response as it will be written."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeAlias

import msgspec

JSON: Final = b"application/json"

Buffer: TypeAlias = bytes | memoryview


class Request(msgspec.Struct, gc=False):
    """A whole request. Only the headers that some handler looks at are kept, their names in lower case.

    A large body may be a view on memory of its own: whoever needs it as `bytes` copies it.
    """

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    body: Buffer


class Response(msgspec.Struct, gc=False):
    """A whole response; `headers` are complete lines."""

    status: int = 200
    body: bytes = b""
    content_type: bytes = JSON
    headers: bytes = b""


class Later:
    """A response that is still being worked on. The connection cancels `future` when the client leaves."""

    __slots__ = ("future", "render")

    def __init__(self, future: "asyncio.Future[Any]", render: Callable[["asyncio.Future[Any]"], Response]) -> None:
        self.future = future
        self.render = render


class Reply(Protocol):
    """The place of an answer, for who takes a request and answers it when others are answered too.

    One of the two methods is called once, and never before the taker has returned.
    """

    @property
    def open(self) -> bool:
        """Whether the client still waits."""

    def answer(self, response: Response) -> None: ...

    def hand_back(self) -> None:
        """Let the handler answer after all."""


class Lane(Protocol):
    """Takes requests together. It answers one now or later as a handler does, or with None: then it tells the reply."""

    def handle(self, request: Request, reply: Reply) -> Response | Later | None: ...


Handler: TypeAlias = Callable[[Request], Response | Later]
Lanes: TypeAlias = Callable[[Request], Lane | None]

STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus
}


def error(status: int, text: str, headers: bytes = b"") -> Response:
    """The protocol's only form of an error: `{"error": text}`."""
    return Response(status, msgspec.json.encode({"error": text}), JSON, headers)
