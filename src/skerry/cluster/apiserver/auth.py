"""Who is asking: bearer tokens, and callers inside this process.

Tokens are compared by their SHA-256 in constant time; the file that holds them keeps only the hashes.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

# Under `scope["extensions"]`: set by the in-process transport and by nobody else, since a network client cannot.
IN_PROCESS: Final = "skerry.user"
# What a browser, which cannot set headers on a WebSocket, offers beside the real subprotocols.
BEARER_SUBPROTOCOL: Final = "base64url.bearer.authorization.k8s.io."


@dataclass(frozen=True)
class Tokens:
    """Users by the hash of their token."""

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


def user_of(scope: Mapping[str, Any], headers: Mapping[str, str], tokens: Tokens) -> str | None:
    """Return who sent the request, None for nobody that is known."""
    inside = (scope.get("extensions") or {}).get(IN_PROCESS)
    if inside is not None:
        return str(inside)
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return tokens.user(token.strip())
    return tokens.user(_offered_token(scope.get("subprotocols") or ()))


def _offered_token(subprotocols: Iterable[str]) -> str:
    """Return the token among the subprotocols of a WebSocket; empty when there is none, or it is garbled."""
    for offered in subprotocols:
        if offered.startswith(BEARER_SUBPROTOCOL):
            text = offered.removeprefix(BEARER_SUBPROTOCOL)
            with contextlib.suppress(binascii.Error, UnicodeError):
                return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
    return ""
