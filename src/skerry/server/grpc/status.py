"""How a call ends: gRPC's codes, and the fields that carry them."""

import enum
import re
from collections.abc import Mapping
from typing import Final

from skerry.server.errors import (
    Forbidden,
    InferenceFailed,
    InvalidRequest,
    NotReady,
    ServingError,
    TimedOut,
    TooLarge,
    UnknownModel,
    UnsupportedContent,
)
from skerry.server.grpc.h2.hpack import literal

_MOST_TEXT: Final = 2048  # bytes; clients refuse trailers of more than 8 KiB
_ESCAPED: Final = re.compile(rb"[^ -$&-~]")


class Status(enum.IntEnum):
    """The codes of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class CallError(Exception):
    """The call ends with this code; the text is for the person who reads it."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status


_OF_ERRORS: Final[Mapping[type[ServingError], Status]] = {
    InvalidRequest: Status.INVALID_ARGUMENT,
    TooLarge: Status.RESOURCE_EXHAUSTED,
    UnsupportedContent: Status.UNIMPLEMENTED,
    Forbidden: Status.PERMISSION_DENIED,
    UnknownModel: Status.NOT_FOUND,
    NotReady: Status.UNAVAILABLE,
    TimedOut: Status.DEADLINE_EXCEEDED,
    InferenceFailed: Status.INTERNAL,
}

# The fields before the first message, and those behind the last one when all is well.
RESPONSE: Final = b"\x88" + literal(b"content-type", b"application/grpc")
COMPRESSED: Final = RESPONSE + literal(b"grpc-encoding", b"gzip")
DONE: Final = literal(b"grpc-status", b"0")
_ACCEPTED: Final = literal(b"grpc-accept-encoding", b"identity, gzip, deflate")


def trailers(why: Exception) -> bytes:
    """The last fields of a call that failed."""
    if isinstance(why, CallError):
        block = _block(why.status, str(why))
        return block + _ACCEPTED if why.status is Status.UNIMPLEMENTED else block
    status = next((_OF_ERRORS[kind] for kind in type(why).__mro__ if kind in _OF_ERRORS), Status.INTERNAL)
    block = _block(status, str(why))
    if isinstance(why, NotReady):
        block += literal(b"grpc-retry-pushback-ms", b"%d" % (why.retry_after * 1000))
    return block


def _block(status: Status, text: str) -> bytes:
    return literal(b"grpc-status", b"%d" % status) + literal(b"grpc-message", percent_encoded(text))


def percent_encoded(text: str) -> bytes:
    """A text as `grpc-message` carries it: printable ASCII but `%` as it is, all else as escaped UTF-8."""
    data = text.encode("utf-8", "replace")
    if len(data) > _MOST_TEXT:
        data = data[:_MOST_TEXT].decode("utf-8", "ignore").encode() + "…".encode()
    return _ESCAPED.sub(lambda found: b"%%%02X" % found[0][0], data)
