"""Who sent a request: the first credential that is there decides.

inside this process   the name that the transport gives, an administrator
client certificate    CN is the user, O are the groups
bearer token          an administrator's, or the signed token of a ServiceAccount
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from skerry.cluster.apiserver.access.accounts import Accounts
from skerry.cluster.apiserver.access.credentials import CERTIFICATE, IN_PROCESS, Certificate, Tokens, bearer
from skerry.cluster.apiserver.access.jwt import TokenError, looks_signed
from skerry.cluster.apiserver.access.users import AUTHENTICATED, CREDENTIAL, User, administrator
from skerry.kit.log import logger
from skerry.machinery import status

log = logger(__name__)


class Authenticator:
    """Finds the user of an ASGI scope, HTTP or WebSocket."""

    def __init__(self, tokens: Tokens, accounts: Accounts, now: Callable[[], datetime]) -> None:
        self._tokens = tokens
        self._accounts = accounts
        self._now = now

    def user_of(self, scope: Mapping[str, Any]) -> User | None:
        """Return the user, None for a request without credentials; raises a 401 for credentials that are no good."""
        extensions = scope.get("extensions") or {}
        if (inside := extensions.get(IN_PROCESS)) is not None:
            return administrator(str(inside))
        if (certificate := extensions.get(CERTIFICATE)) is not None:
            if not certificate.holds(self._now().timestamp()):
                why = "not its time; make another with skerry kubeconfig --user, or mend the clock"
                log.info("certificate refused", user=certificate.name, why=why)
                raise status.unauthorized()
            return _certified(certificate)
        token = bearer(scope["headers"], scope.get("subprotocols") or ())
        if token is None:
            return None
        try:
            return self.user_of_token(token)
        except TokenError as error:
            log.info("token refused", path=scope["path"], why=str(error))
            raise status.unauthorized() from None

    def user_of_token(self, token: str) -> User:
        """Return whose token it is; raises `TokenError`."""
        name = self._tokens.user(token)
        if name is not None:
            return administrator(name)
        if not looks_signed(token):
            raise TokenError("the token is unknown")
        return self._accounts.check(token).user


def _certified(certificate: Certificate) -> User:
    extra = {CREDENTIAL: [f"X509SHA256={certificate.fingerprint}"]}
    return User(certificate.name, groups=(*certificate.groups, AUTHENTICATED), extra=extra)
