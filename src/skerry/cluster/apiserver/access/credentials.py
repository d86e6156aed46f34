"""What a request shows of its sender: a certificate, a bearer token, or that it comes from inside this process.

The administrators' tokens are compared by their SHA-256 in constant time; the server keeps only the hashes.
"""

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


def bearer(headers: Headers) -> str | None:
    """Return the bearer token, None without one; raises a 401 for two of them."""
    found = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
    if len(found) > 1:
        raise status.unauthorized()
    scheme, _, token = found[0].partition(" ") if found else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" else None
