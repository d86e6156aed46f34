"""Which web pages may use this server: the CORS headers, with OVMS's option names.

Off unless `--allowed_origins` is given (OVMS: everybody). A list is compared with the page's `Origin`, and only a
page on it gets the headers; OVMS repeats the list as it is, which no browser understands.
"""

from typing import Final

import msgspec

from skerry.server.http.messages import Handler, Later, Request, Response
from skerry.server.rest.wrapping import mapped

_EXPOSED: Final = b"access-control-expose-headers: inference-header-content-length, retry-after\r\n"
_PREFLIGHT_SECONDS: Final = 600


class CorsPolicy(msgspec.Struct, frozen=True):
    """What pages may do; no origins are no pages."""

    origins: tuple[str, ...] = ()
    methods: str = "*"
    headers: str = "*"
    credentials: bool = False


class Cors:
    """Adds the headers to the answers of a handler, and answers preflight requests itself."""

    def __init__(self, handler: Handler, policy: CorsPolicy) -> None:
        self._handler = handler
        self._origins = frozenset(origin.encode() for origin in policy.origins)
        self._anybody = b"*" in self._origins
        self._credentials = b"access-control-allow-credentials: true\r\n" if policy.credentials else b""
        self._preflight = (
            f"access-control-allow-methods: {policy.methods}\r\naccess-control-allow-headers: {policy.headers}\r\n"
            f"access-control-max-age: {_PREFLIGHT_SECONDS}\r\n"
        ).encode()

    def handle(self, request: Request) -> Response | Later:
        """Answer, and say who may read the answer."""
        allowed = self._allowed(request.headers.get(b"origin", b""))
        if request.method == b"OPTIONS":
            return Response(headers=allowed + self._preflight)
        return mapped(
            self._handler(request),
            lambda response: msgspec.structs.replace(response, headers=response.headers + allowed + _EXPOSED),
        )

    def _allowed(self, origin: bytes) -> bytes:
        if self._anybody:
            return b"access-control-allow-origin: *\r\n"
        if origin not in self._origins:
            return b"vary: origin\r\n"
        return b"access-control-allow-origin: %b\r\nvary: origin\r\n%b" % (origin, self._credentials)
