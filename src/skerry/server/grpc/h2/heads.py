"""From header fields to a request that is well-formed (RFC 9113, section 8)."""

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from skerry.server.grpc.h2.hpack import Field

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+\Z")
_BAD_VALUE: Final = re.compile(rb"[\x00\r\n]|\A[ \t]|[ \t]\Z")
_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_OF_CONNECTIONS: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"http2-settings"}
)
_MOST_DIGITS: Final = 18


class Malformed(Exception):
    """The fields are no request; the text says why."""


class RequestHead(msgspec.Struct, gc=False):
    """What comes before the body.

    `fields` has values of one name joined by commas, as HTTP allows. `meaning` is for the layer above: heads are
    remembered, so what it makes of one need not be made twice.
    """

    method: bytes
    path: bytes
    authority: bytes
    fields: dict[bytes, bytes]
    content_length: int | None
    meaning: object = None


def read_head(fields: Iterable[Field]) -> RequestHead:
    """Check the fields of a request; raises `Malformed`."""
    pseudo: dict[bytes, bytes] = {}
    regular: dict[bytes, bytes] = {}
    for name, value in fields:
        if name.startswith(b":"):
            if name not in _PSEUDO or name in pseudo or regular:
                raise Malformed(f"{_shown(name)} is unknown, given twice or behind other fields")
            _check_value(name, value)
            pseudo[name] = value
        else:
            _check_field(name, value)
            regular[name] = regular[name] + b"," + value if name in regular else value
    if missing := {b":method", b":scheme", b":path"} - pseudo.keys():
        raise Malformed(f"{_shown(min(missing))} is missing")
    if not pseudo[b":path"]:
        raise Malformed(":path is empty")
    return RequestHead(
        method=pseudo[b":method"],
        path=pseudo[b":path"],
        authority=pseudo.get(b":authority") or regular.get(b"host", b""),
        fields=regular,
        content_length=_content_length(regular.get(b"content-length")),
    )


def check_trailers(fields: Iterable[Field]) -> None:
    """Check the fields behind a body; raises `Malformed`."""
    for name, value in fields:
        if name.startswith(b":"):
            raise Malformed(f"{_shown(name)} is not allowed in trailers")
        _check_field(name, value)


def _check_field(name: bytes, value: bytes) -> None:
    if not _NAME.match(name):
        raise Malformed(f"{_shown(name)} is no name of a field")
    if name in _OF_CONNECTIONS or (name == b"te" and value != b"trailers"):
        raise Malformed(f"{_shown(name)} has no place in HTTP/2")
    _check_value(name, value)


def _check_value(name: bytes, value: bytes) -> None:
    if _BAD_VALUE.search(value):
        raise Malformed(f"the value of {_shown(name)} holds a control character or is surrounded by spaces")


def _content_length(text: bytes | None) -> int | None:
    if text is None:
        return None
    if not text.isdigit() or len(text) > _MOST_DIGITS:
        raise Malformed("content-length is no length")
    return int(text)


def _shown(name: bytes) -> str:
    return repr(name[:40].decode("ascii", "replace"))
