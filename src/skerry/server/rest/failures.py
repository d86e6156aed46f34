"""What went wrong, as HTTP says it."""

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
from skerry.server.http.messages import Response, error

_STATUS: Final[Mapping[type[ServingError], int]] = {
    InvalidRequest: 400,
    TooLarge: 413,
    UnsupportedContent: 415,
    Forbidden: 403,
    UnknownModel: 404,
    NotReady: 503,
    TimedOut: 504,
    InferenceFailed: 500,
}


def response_of(why: ServingError) -> Response:
    """The code and the body for what went wrong."""
    status = next(_STATUS[kind] for kind in type(why).__mro__ if kind in _STATUS)
    headers = b"retry-after: %d\r\n" % why.retry_after if isinstance(why, NotReady) else b""
    return error(status, str(why), headers)
