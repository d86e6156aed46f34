"""What a request shows of its sender: a certificate, a bearer token, or that it comes from inside this process.

The administrators' tokens are compared by their SHA-256 in constant time; the server keeps only the hashes.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from skerry.machinery import status

# Under `scope["extensions"]`: set by the in-process transport and by nobody else, since a network client cannot.
IN_PROCESS: Final = "skerry.user"
# Beside it: the `Certificate` of the client, whose signature TLS has verified.
CERTIFICATE: Final = "skerry.certificate"

# What a browser, which cannot set headers on a WebSocket, offers beside the real subprotocols.
BEARER_SUBPROTOCOL: Final = "base64url.bearer.authorization.k8s.io."

Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Certificate:
    """A client certificate that our authority signed: CN is the user, O are the groups. Its time is not judged yet."""

    name: str
    groups: tuple[str, ...]
    fingerprint: str  # SHA-256 in hex
    begins: float  # seconds since 1970
    ends: float

    def holds(self, now: float) -> bool:
        """Say whether this is the time of the certificate."""
        return self.begins <= now <= self.ends


@dataclass(frozen=True)
class Tokens:
    """Administrators by the hash of their token."""

    users: Mapping[str, str]  # SHA-256 in hex → user name

    def user(self, token: str) -> str | None:
        """Return the user whose token this is."""
        given = token_hash(token)
        found = None
        for known, user in self.users.items():
            if hmac.compare_digest(known, given):
                found = user
        return found


def token_hash(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def is_inside(scope: Mapping[str, Any]) -> bool:
    """Say whether a part of this process asks."""
    return IN_PROCESS in (scope.get("extensions") or {})


def bearer(headers: Headers, subprotocols: Iterable[str] = ()) -> str | None:
    """Return the bearer token, None without one; raises a 401 for two of them.

    `subprotocols` are those that the client of a WebSocket offers.
    """
    found = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    offered = [one for one in subprotocols if one.startswith(BEARER_SUBPROTOCOL)]
    if len(found) + len(offered) > 1:
        raise status.unauthorized()
    if offered:
        return _decoded(offered[0].removeprefix(BEARER_SUBPROTOCOL))
    scheme, _, token = found[0].partition(" ") if found else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" else None


def _decoded(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    except (binascii.Error, ValueError):
        raise status.unauthorized() from None
