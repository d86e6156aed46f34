"""Header compression (RFC 7541): reading with a dynamic table, writing without one.

What this server writes are a few constant blocks, so it tells the client's decoder at the start that its table stays
empty (`TABLE_UNUSED`) and writes literals from then on.

What it reads is at most `most_block` bytes long, and the table is bounded by the 4,096 bytes that are HTTP/2's default.
A list that is larger than `most_list` when it is unpacked is read to its end, since the table must stay what the
client believes it to be, but not kept.
"""

from collections import deque
from typing import Final, TypeAlias

from skerry.server.grpc.h2 import huffman

Field: TypeAlias = tuple[bytes, bytes]

TABLE_UNUSED: Final = b"\x20"  # a size update to 0
MOST_TABLE: Final = 4096
_OVERHEAD: Final = 32  # what an entry costs beside its text

_STATIC: Final[list[Field]] = [
    (name.encode(), value.encode())
    for name, _, value in (
        line.partition("=")
        for line in """:authority
:method=GET
:method=POST
:path=/
:path=/index.html
:scheme=http
:scheme=https
:status=200
:status=204
:status=206
:status=304
:status=400
:status=404
:status=500
accept-charset
accept-encoding=gzip, deflate
accept-language
accept-ranges
accept
access-control-allow-origin
age
allow
authorization
cache-control
content-disposition
content-encoding
content-language
content-length
content-location
content-range
content-type
cookie
date
etag
expect
expires
from
host
if-match
if-modified-since
if-none-match
if-range
if-unmodified-since
last-modified
link
location
max-forwards
proxy-authenticate
proxy-authorization
range
referer
refresh
retry-after
server
set-cookie
strict-transport-security
transfer-encoding
user-agent
vary
via
www-authenticate""".splitlines()
    )
]
_STATIC_COUNT: Final = len(_STATIC)


class Decoder:
    """The table of one connection."""

    __slots__ = ("_limit", "_most_list", "_size", "_table", "generation")

    def __init__(self, most_list: int) -> None:
        self._most_list = most_list
        self._table: deque[Field] = deque()
        self._size = 0
        self._limit = MOST_TABLE
        self.generation = 0  # changes with the table: until then, the same block means the same fields

    def decode(self, block: bytes) -> list[Field] | None:
        """Return the fields, None if there are too many to keep; raises `ValueError` for what is no block."""
        try:
            return self._decode(block)
        except IndexError:
            raise ValueError("the header block ends in the middle of a field") from None

    def _decode(self, block: bytes) -> list[Field] | None:
        fields: list[Field] = []
        size = position = 0
        started = False
        while position < len(block):
            first = block[position]
            if first & 0xE0 == 0x20:
                if started:
                    raise ValueError("the table's size changes behind the first field")
                limit, position = _integer(block, position, 0x1F)
                self._resize(limit)
                continue
            started = True
            if first & 0x80:
                index, position = _integer(block, position, 0x7F)
                field = self._entry(index)
            else:
                field, position = self._literal(block, position, 0x3F if first & 0x40 else 0x0F)
                if first & 0x40:
                    self._add(field)
            size += len(field[0]) + len(field[1]) + _OVERHEAD
            if size <= self._most_list:
                fields.append(field)
        return fields if size <= self._most_list else None

    def _literal(self, block: bytes, position: int, mask: int) -> tuple[Field, int]:
        index, position = _integer(block, position, mask)
        if index:
            name = self._entry(index)[0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position)
        return (name, value), position

    def _entry(self, index: int) -> Field:
        if not 0 < index <= _STATIC_COUNT + len(self._table):
            raise ValueError(f"the header table has no entry {index}")
        return _STATIC[index - 1] if index <= _STATIC_COUNT else self._table[index - _STATIC_COUNT - 1]

    def _add(self, field: Field) -> None:
        self.generation += 1
        self._table.appendleft(field)
        self._size += len(field[0]) + len(field[1]) + _OVERHEAD
        self._evict()

    def _resize(self, limit: int) -> None:
        if limit > MOST_TABLE:
            raise ValueError(f"a header table of {limit} bytes was not offered")
        self.generation += 1
        self._limit = limit
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            name, value = self._table.pop()
            self._size -= len(name) + len(value) + _OVERHEAD


def _integer(block: bytes, position: int, mask: int) -> tuple[int, int]:
    value = block[position] & mask
    position += 1
    if value < mask:
        return value, position
    for shift in range(0, 28, 7):
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("an integer in the header block is too large")


def _string(block: bytes, position: int) -> tuple[bytes, int]:
    coded = block[position] & 0x80
    length, position = _integer(block, position, 0x7F)
    end = position + length
    if end > len(block):
        raise ValueError("the header block ends in the middle of a string")
    text = block[position:end]
    return (huffman.decode(text) if coded else text), end


def literal(name: bytes, value: bytes) -> bytes:
    """Write one field: it enters no table and is not compressed."""
    return b"\x00" + _prefixed(name) + _prefixed(value)


def _prefixed(text: bytes) -> bytes:
    length = len(text)
    if length < 0x7F:
        return bytes((length,)) + text
    length -= 0x7F
    head = bytearray(b"\x7f")
    while length >= 0x80:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head) + text
