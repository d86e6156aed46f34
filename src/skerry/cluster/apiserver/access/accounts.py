"""Tokens of ServiceAccounts: what stands in them, and whether that still holds.

A token is good while its signature, its time and its audience are, and while the ServiceAccount that it names, and the
pod or Secret that it is bound to, are still the same objects (by uid). These are read from the store with each request:
a token dies with them at once.

When the clock is wrong: a token is refused before its `iat` and after its `exp`, a minute of grace on either side, as
Kubernetes does. After a clock that was years ahead is put right, tokens from that future are refused rather than good
for years; whoever holds one asks for another. Tokens in Secrets carry no time and are good whatever the clock says, and
so is the administrator's token: nobody is locked out by a clock.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from skerry.api.cells import moment
from skerry.api.configuration import SECRET
from skerry.api.core import POD, SERVICE_ACCOUNT
from skerry.cluster.apiserver.access import users
from skerry.cluster.apiserver.access.jwt import TokenError, sign, verify
from skerry.cluster.apiserver.access.keys import SigningKeys
from skerry.cluster.apiserver.access.users import User
from skerry.cluster.store import Key, Store

ISSUER: Final = "https://kubernetes.default.svc.cluster.local"
_SECRET_ISSUER: Final = "kubernetes/serviceaccount"  # noqa: S105 - a name
_LEEWAY: Final = 60
_PREFIX: Final = "kubernetes.io/serviceaccount/"
_KINDS: Final = {"pod": POD, "secret": SECRET}


class Reference(msgspec.Struct, frozen=True):
    """Which object, exactly."""

    name: str
    uid: str = ""


class Bound(msgspec.Struct, frozen=True):
    """The private claims of a token for a request."""

    namespace: str
    serviceaccount: Reference
    pod: Reference | None = None
    secret: Reference | None = None
    node: Reference | None = None


class Claims(msgspec.Struct, frozen=True):
    """All claims that this server reads, of both sorts of token."""

    iss: str
    sub: str
    aud: list[str] = []
    exp: float | None = None
    iat: float | None = None
    nbf: float | None = None
    jti: str = ""
    bound: Bound | None = msgspec.field(name="kubernetes.io", default=None)
    namespace: str = msgspec.field(name=f"{_PREFIX}namespace", default="")
    secret_name: str = msgspec.field(name=f"{_PREFIX}secret.name", default="")
    account_name: str = msgspec.field(name=f"{_PREFIX}service-account.name", default="")
    account_uid: str = msgspec.field(name=f"{_PREFIX}service-account.uid", default="")


# Made once: to look at the types takes longer than to decode a token.
_DECODER: Final = msgspec.json.Decoder(Claims)


@dataclass(frozen=True)
class Verified:
    """Whose token it is, and for which of the audiences that were asked for."""

    user: User
    audiences: Sequence[str]
    key_id: str


class Accounts:
    """Makes and checks tokens."""

    def __init__(self, store: Store, keys: SigningKeys, now: Callable[[], datetime]) -> None:
        self._store = store
        self._keys = keys
        self._now = now

    def issue(
        self, account: Mapping[str, Any], seconds: int, audiences: Sequence[str], bound: Mapping[str, Any]
    ) -> tuple[str, datetime]:
        """Return a token and when it ends; `bound` are further private claims (`pod`, `secret`)."""
        meta, now = account["metadata"], self._now()
        end = now + timedelta(seconds=seconds)
        claims = {
            "aud": list(audiences),
            "exp": int(end.timestamp()),
            "iat": int(now.timestamp()),
            "iss": ISSUER,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": {
                "namespace": meta["namespace"],
                **bound,
                "serviceaccount": {"name": meta["name"], "uid": meta["uid"]},
            },
            "nbf": int(now.timestamp()),
            "sub": users.account_user_name(meta["namespace"], meta["name"]),
        }
        return sign(claims, self._keys), end

    def issue_for_secret(self, account: Mapping[str, Any], secret: str) -> str:
        """Return the token that a Secret keeps: good while Secret and ServiceAccount are there."""
        meta = account["metadata"]
        claims = {
            "iss": _SECRET_ISSUER,
            f"{_PREFIX}namespace": meta["namespace"],
            f"{_PREFIX}secret.name": secret,
            f"{_PREFIX}service-account.name": meta["name"],
            f"{_PREFIX}service-account.uid": meta["uid"],
            "sub": users.account_user_name(meta["namespace"], meta["name"]),
        }
        return sign(claims, self._keys)

    def is_current(self, token: str) -> bool:
        """Say whether the newest key signed this token of ours."""
        try:
            return verify(token, self._keys)[1] == self._keys.newest.id
        except TokenError:
            return False

    def check(self, token: str, audiences: Sequence[str] = (ISSUER,)) -> Verified:
        """Return whose token it is; raises `TokenError`."""
        raw, key_id = verify(token, self._keys)
        try:
            claims = _DECODER.decode(raw)
        except (msgspec.MsgspecError, RecursionError):
            raise TokenError("the claims of the token are malformed") from None
        if claims.iss == _SECRET_ISSUER:
            return Verified(self._of_secret(claims, token), [one for one in audiences if one == ISSUER], key_id)
        if claims.iss != ISSUER or claims.bound is None:
            raise TokenError("the token is of another issuer")
        _check_time(claims, self._now().timestamp())
        meant = [audience for audience in audiences if audience in claims.aud]
        if not meant:
            raise TokenError("the token is meant for another audience")
        return Verified(self._of_request(claims, claims.bound), meant, key_id)

    def _of_request(self, claims: Claims, bound: Bound) -> User:
        namespace, account = bound.namespace, bound.serviceaccount
        self._alive(SERVICE_ACCOUNT.storage_key, namespace, account)
        extra = {users.CREDENTIAL: [f"JTI={claims.jti}"]} if claims.jti else {}
        for field, kind in _KINDS.items():
            if (reference := getattr(bound, field)) is not None:
                item = self._alive(kind.storage_key, namespace, reference)
                if field == "pod":
                    extra |= {users.POD_NAME: [reference.name], users.POD_UID: [reference.uid]}
                    if node := (item.get("spec") or {}).get("nodeName"):
                        extra[users.NODE_NAME] = [node]
        return _user(claims, namespace, account, extra)

    def _of_secret(self, claims: Claims, token: str) -> User:
        import base64
        import hmac

        account = Reference(claims.account_name, claims.account_uid)
        secret = self._object(SECRET.storage_key, claims.namespace, claims.secret_name)
        kept = base64.b64decode(((secret or {}).get("data") or {}).get("token") or "")
        if not hmac.compare_digest(kept, token.encode()):
            raise TokenError("the Secret with this token is gone")
        self._alive(SERVICE_ACCOUNT.storage_key, claims.namespace, account)
        return _user(claims, claims.namespace, account, {})

    def _alive(self, resource: str, namespace: str, reference: Reference) -> Mapping[str, Any]:
        """Return the object; raises `TokenError` when it is gone, another one, or on its way out for a minute."""
        item = self._object(resource, namespace, reference.name)
        if item is None or not reference.uid or item["metadata"]["uid"] != reference.uid:
            raise TokenError("what the token is bound to is gone")
        ends = moment(item["metadata"].get("deletionTimestamp"))
        if ends is not None and ends < self._now() - timedelta(seconds=_LEEWAY):
            raise TokenError("what the token is bound to is being deleted")
        return item

    def _object(self, resource: str, namespace: str, name: str) -> dict[str, Any] | None:
        data = self._store.get(Key(resource, namespace, name))
        return None if data is None else msgspec.json.decode(data)


def _check_time(claims: Claims, now: float) -> None:
    if claims.exp is None or claims.exp < now - _LEEWAY:
        raise TokenError("the token has expired")
    if max(claims.nbf or 0, claims.iat or 0) > now + _LEEWAY:
        raise TokenError("the token is not valid yet; is the clock of this machine right?")


def _user(claims: Claims, namespace: str, account: Reference, extra: Mapping[str, Sequence[str]]) -> User:
    name = users.account_user_name(namespace, account.name)
    if claims.sub != name:
        raise TokenError("the claims of the token contradict each other")
    groups = (*users.account_groups(namespace), users.AUTHENTICATED)
    return User(name, account.uid, groups, extra)
