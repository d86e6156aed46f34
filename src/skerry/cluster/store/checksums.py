"""A checksum over everything that a row says.

SQLite notices a page that makes no sense, not a page whose bytes were changed: most of a page is JSON that nobody
parses before a client does. CRC-32 over key, version, type and data finds that, and lets the repair take a row out of a
damaged file as what it is: either exactly what was written, or not to be trusted.
"""

from zlib import crc32

from skerry.cluster.store.objects import Key


def of_object(key: Key, version: int, data: bytes) -> int:
    """Return the checksum of a row of `objects`."""
    return crc32(data, crc32("\0".join((*key, str(version))).encode()))


def of_write(version: int, type_: str, key: Key, data: bytes, before: int | None, previous: bytes | None) -> int:
    """Return the checksum of a row of `history`."""
    head = "\0".join((*key, str(version), type_, str(before))).encode()
    return crc32(previous or b"", crc32(data, crc32(head)))
