"""JSON Web Tokens, signed with HS256: the compact form of RFC 7515, and no more of it than our own tokens need.

Whatever is not exactly that form is refused: another algorithm or none, further headers that would have to be
understood (`crit`), a key that is not ours, base64 that is not canonical, more bytes than a token has.
"""

import base64
import binascii
import hashlib
import hmac
from typing import Any, Final

import msgspec

from skerry.cluster.apiserver.access.keys import SigningKeys

LIMIT: Final = 16 * 1024
_ALGORITHM: Final = "HS256"


class TokenError(Exception):
    """The token is not to be trusted; the text says why and repeats nothing of it."""


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str
    typ: str = ""
    crit: msgspec.Raw | None = None


_HEADER: Final = msgspec.json.Decoder(_Header)


def looks_signed(token: str) -> bool:
    """Tell a JWT from a token that is only a secret."""
    return token.count(".") == 2


def sign(claims: dict[str, Any], keys: SigningKeys) -> str:
    """Sign with the newest key."""
    key = keys.newest
    header = msgspec.json.encode({"alg": _ALGORITHM, "kid": key.id})
    signed = b".".join((_encoded(header), _encoded(msgspec.json.encode(claims))))
    return b".".join((signed, _encoded(_mac(key.secret, signed)))).decode()


def verify(token: str, keys: SigningKeys) -> tuple[bytes, str]:
    """Return the claims as JSON, and the id of the key; raises `TokenError`."""
    if len(token) > LIMIT:
        raise TokenError("the token is too long")
    try:
        raw = token.encode("ascii")
        head, claims, mac = raw.split(b".")
        header = _HEADER.decode(_decoded(head))
        given = _decoded(mac)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        raise TokenError("the token is malformed") from None
    if header.alg != _ALGORITHM or header.crit is not None:
        raise TokenError("the token is not signed as this server signs")
    key = keys.find(header.kid)
    if key is None:
        raise TokenError("the token is signed with an unknown key")
    if not hmac.compare_digest(_mac(key.secret, head + b"." + claims), given):
        raise TokenError("the signature of the token is wrong")
    try:
        return _decoded(claims), key.id
    except ValueError:
        raise TokenError("the token is malformed") from None


def _mac(secret: bytes, signed: bytes) -> bytes:
    return hmac.digest(secret, signed, hashlib.sha256)


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decoded(text: bytes) -> bytes:
    """Decode base64url without padding; raises `ValueError` for any other spelling of the same bytes."""
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if _encoded(data) != text:
        raise ValueError("not canonical")
    return data
