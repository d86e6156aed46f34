"""A few questions over a Unix socket: is it alive, which table does it have, what has it counted.

`curl --unix-socket gateway.sock http://gateway/healthz`, `/table`, `/metrics`.
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, cast

_LONGEST: Final = 8 * 1024


class Answer(tuple[str, bytes]):
    """A content type and a body."""

    __slots__ = ()


class Admin(asyncio.Protocol):
    """One question, one answer, closed."""

    __slots__ = ("_asked", "_pages", "_transport")

    _transport: asyncio.Transport

    def __init__(self, pages: Mapping[bytes, Callable[[], Answer]]) -> None:
        self._pages = pages
        self._asked = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._asked += data
        if b"\r\n\r\n" not in self._asked and len(self._asked) < _LONGEST:
            return
        words = self._asked.partition(b"\r\n")[0].split(b" ")
        page = self._pages.get(words[1]) if len(words) == 3 and words[0] == b"GET" else None
        if page is None:
            known = b", ".join(self._pages)
            self._answer(b"404 Not Found", Answer(("text/plain", b"GET one of " + known + b"\n")))
        else:
            self._answer(b"200 OK", page())

    def _answer(self, status: bytes, answer: Answer) -> None:
        kind, body = answer
        self._transport.write(
            b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            % (status, kind.encode(), len(body))
            + body
        )
        self._transport.close()
