"""Heads of requests that were read before.

A client on a kept connection sends the same head again and again, byte for byte, and parsing it is most of what HTTP
costs in front of a small model. So a head that the parser has accepted is remembered with its meaning, and the next
request that begins with the same bytes is not parsed at all. Only heads whose meaning is complete in themselves
qualify: a length or no body, no `Expect`, no `Transfer-Encoding`, nothing that ends the connection.
"""

from typing import Final

import msgspec

_END: Final = b"\r\n\r\n"
_MOST_BYTES: Final = 2048
_REMEMBERED: Final = 512
_NOT_WITH: Final = frozenset({b"expect", b"transfer-encoding"})


class Head(msgspec.Struct, frozen=True, gc=False):
    """What a head means."""

    method: bytes
    target: bytes
    headers: dict[bytes, bytes]
    length: int


class Heads:
    """A bounded memory; a client that never sends the same head twice empties it now and then, no more."""

    def __init__(self) -> None:
        self._known: dict[bytes, Head] = {}

    def find(self, data: bytes, start: int) -> tuple[Head, int] | None:
        """Return the head that the data have at `start`, and where its body begins."""
        end = data.find(_END, start, start + _MOST_BYTES)
        if end < 0:
            return None
        end += len(_END)
        head = self._known.get(data[start:end])
        return None if head is None else (head, end)

    def remember(self, data: bytes, method: bytes, target: bytes, headers: dict[bytes, bytes]) -> None:
        """Keep the head that the parser has just accepted, if the data begin with all of it."""
        end = data.find(_END, 0, _MOST_BYTES)
        raw = data[: end + len(_END)]
        # The parser forgives empty lines before a request, perhaps more one day; only what looks as it should is kept.
        plain = raw.startswith(b"%b %b HTTP/1.1\r\n" % (method, target)) and raw.count(b"\n") == raw.count(b"\r\n")
        if end < 0 or not plain or not _NOT_WITH.isdisjoint(headers):
            return
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        self._known[raw] = Head(method, target, headers, int(headers.get(b"content-length", b"0")))
