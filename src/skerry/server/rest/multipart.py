"""`multipart/form-data`, as strict as its users allow.

Everything that a browser, `curl` and the HTTP libraries write is read; what only a hand could have written is refused.
The body is complete and bounded before it comes here, so there is nothing to stream. Parts are views on it.
"""

import re
from typing import Final

import msgspec

from skerry.server.errors import InvalidRequest, TooLarge

MOST_PARTS: Final = 1024
MOST_PART_HEADERS: Final = 4096
_BOUNDARY: Final = re.compile(rb";\s*boundary=(?:\"([^\"\r\n]{1,70})\"|([^\s\";,]{1,70}))\s*(?:;|\Z)", re.IGNORECASE)
_NAME: Final = re.compile(rb";\s*name=(?:\"((?:[^\"\\\r\n]|\\.)*)\"|([^\s\";]+))", re.IGNORECASE)
_FILE: Final = re.compile(rb";\s*filename\*?=", re.IGNORECASE)
_ESCAPES: Final = ((b'\\"', b'"'), (b"\\\\", b"\\"), (b"%22", b'"'), (b"%0D", b"\r"), (b"%0A", b"\n"))


class Part(msgspec.Struct, frozen=True, gc=False):
    """One part; a file's name means nothing here, only that there was one."""

    name: str
    content_type: bytes
    is_file: bool
    data: memoryview


def read_parts(body: bytes, content_type: bytes) -> list[Part]:
    """Cut a body into its parts; raises `InvalidRequest`."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise InvalidRequest("cannot read the form: its Content-Type has no boundary of at most 70 characters")
    delimiter = b"\r\n--" + (found[1] or found[2])
    if body.startswith(delimiter[2:]):
        position = len(delimiter) - 2
    elif body.startswith(delimiter):
        position = len(delimiter)
    else:
        raise InvalidRequest("cannot read the form: it does not begin with its boundary")
    parts: list[Part] = []
    while body[position : position + 2] == b"\r\n":
        if len(parts) == MOST_PARTS:
            raise TooLarge(f"the form has more than {MOST_PARTS} parts")
        end = body.find(delimiter, position + 2)
        if end < 0:
            raise InvalidRequest(f"cannot read the form: part {len(parts)} does not end with the boundary")
        parts.append(_part(body, position, end, len(parts)))
        position = end + len(delimiter)
    if body[position : position + 2] != b"--" or body[position + 2 :].strip():
        raise InvalidRequest("cannot read the form: the last boundary does not end with two hyphens")
    return parts


def _part(body: bytes, start: int, end: int, index: int) -> Part:
    """The part between two boundaries; `start` is at the line end after the first."""
    blank = body.find(b"\r\n\r\n", start, min(end, start + MOST_PART_HEADERS) + 4)
    if not start <= blank < end:
        raise InvalidRequest(f"cannot read the form: the headers of part {index} do not end, or are too long")
    headers: dict[bytes, bytes] = {}
    for line in body[start + 2 : blank].split(b"\r\n"):
        name, _, value = line.partition(b":")
        headers[name.strip().lower()] = value.strip()
    disposition = headers.get(b"content-disposition", b"")
    named = _NAME.search(disposition)
    if disposition[:9].lower() != b"form-data" or named is None:
        raise InvalidRequest(f"cannot read the form: part {index} has no name; want Content-Disposition: form-data")
    if headers.get(b"content-transfer-encoding", b"binary").lower() not in {b"binary", b"8bit", b"7bit"}:
        raise InvalidRequest(f"cannot read the form: part {index} has a Content-Transfer-Encoding; send it as it is")
    return Part(
        _decoded(named, index),
        headers.get(b"content-type", b"").partition(b";")[0].strip().lower(),
        _FILE.search(disposition) is not None,
        memoryview(body)[blank + 4 : end],
    )


def _decoded(named: re.Match[bytes], index: int) -> str:
    raw = named[2]
    if raw is None:
        raw = named[1]
        for escaped, plain in _ESCAPES:
            raw = raw.replace(escaped, plain)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InvalidRequest(f"cannot read the form: the name of part {index} is not UTF-8") from None
