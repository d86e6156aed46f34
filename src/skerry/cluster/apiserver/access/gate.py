"""The one place where a request is let in or refused: an HTTP request, or the handshake of a WebSocket.

    user = gate.authenticate(scope)           401, or 403 for an impersonation that is not allowed
    gate.authorize(user, verb, target)        403 in kubectl's words

`verb` and `target` are what will be done, found out once from the request; nothing is judged by its path alone that is
then acted on by another reading of it.
"""

from collections.abc import Mapping
from typing import Any, Final

from skerry.api.rbac_rules import Asked
from skerry.cluster.apiserver.access.authentication import Authenticator
from skerry.cluster.apiserver.access.authorizer import Authorizer
from skerry.cluster.apiserver.access.credentials import is_inside
from skerry.cluster.apiserver.access.impersonation import impersonated, needed, wanted_by
from skerry.cluster.apiserver.access.users import ANONYMOUS, User
from skerry.cluster.apiserver.requests import Target
from skerry.machinery import status
from skerry.machinery.selectors import SelectorError, parse_fields

# Whether the server lives, and which one it is, is said to everybody.
OPEN_PATHS: Final = frozenset({"/healthz", "/livez", "/readyz", "/version", "/version/"})
_SELECTING: Final = frozenset({"list", "watch"})
_UNSERVED: Final = {"GET": "list", "HEAD": "list", "POST": "create", "PUT": "update"}


class Gate:
    """Authentication, impersonation and authorization in this order."""

    def __init__(self, authenticator: Authenticator, authorizer: Authorizer) -> None:
        self._authenticator = authenticator
        self._authorizer = authorizer

    def authenticate(self, scope: Mapping[str, Any]) -> User:
        """Return as whom the request acts; raises the 401 for nobody known, unless the path is open to everybody."""
        user = self._authenticator.user_of(scope)
        if user is None:
            if scope["path"] not in OPEN_PATHS:
                raise status.unauthorized()
            user = ANONYMOUS
        if is_inside(scope):
            return user
        wanted = wanted_by(scope["headers"])
        if wanted is None:
            return user
        for asked in needed(wanted):
            self._authorizer.check(user, asked)
        return impersonated(wanted)

    def authorize(self, user: User, verb: str, target: Target, query: Mapping[str, str] | None = None) -> None:
        """Raise the 403 when the user may not do this; `query` may narrow a list down to one name."""
        if not user.is_master:
            self._authorizer.check(user, asked_of(verb, target, query or {}))

    def authorize_path(self, user: User, method: str, path: str) -> None:
        """Raise the 403 when the user may not use a path that names nothing that is served."""
        if path not in OPEN_PATHS and not user.is_master:
            self._authorizer.check(user, _asked_of_path(method, path))


def asked_of(verb: str, target: Target, query: Mapping[str, str]) -> Asked:
    """Return what is to be judged: as Kubernetes', a Namespace is in itself."""
    kind, name = target.kind, target.name or ""
    if not name and verb in _SELECTING and "fieldSelector" in query:
        name = _selected_name(query["fieldSelector"])
    namespace = target.namespace or ""
    if kind.plural == "namespaces" and not kind.group:
        namespace = target.name or ""
    return Asked(verb, kind.group, kind.plural, target.subresource or "", namespace, name)


def _asked_of_path(method: str, path: str) -> Asked:
    parts = [part for part in path.split("/") if part]
    if parts and parts[0] in {"api", "apis"} and len(parts) > (2 if parts[0] == "api" else 3):
        # A kind that is not served: whoever may do everything is told so, all others learn nothing.
        group, resource = ("", parts[2]) if parts[0] == "api" else (parts[1], parts[3])
        return Asked(_UNSERVED.get(method, method.lower()), group, resource)
    return Asked(method.lower(), path=path)


def _selected_name(text: str) -> str:
    try:
        terms = parse_fields(text).terms
    except SelectorError:
        return ""  # refused later, in its own words
    return next((term.value for term in terms if term.field == "metadata.name" and term.equal), "")
