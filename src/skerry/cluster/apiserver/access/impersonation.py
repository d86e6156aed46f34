"""Impersonation: `kubectl --as`, `--as-group`, `--as-uid`, `--as-user-extra`.

Each part of the user that is asked for needs the verb `impersonate`: on users, groups or serviceaccounts of the core
group, on uids and userextras/KEY of authentication.k8s.io. Facts: k8s.io/apiserver `pkg/endpoints/filters`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

from skerry.api.rbac_rules import Asked
from skerry.cluster.apiserver.access import users
from skerry.cluster.apiserver.access.credentials import Headers
from skerry.cluster.apiserver.access.users import User
from skerry.machinery import status

_PREFIX: Final = b"impersonate-"
_EXTRA: Final = b"impersonate-extra-"
_GROUP: Final = "authentication.k8s.io"
VERB: Final = "impersonate"


@dataclass
class Wanted:
    """Who is to be impersonated, as the headers say."""

    name: str = ""
    uid: str = ""
    groups: list[str] = field(default_factory=list)
    extra: dict[str, list[str]] = field(default_factory=dict)


def wanted_by(headers: Headers) -> Wanted | None:
    """Read the headers, None without any; raises a 400 when they name no user."""
    wanted = Wanted()
    found = False
    for raw_name, raw in headers:
        if not raw_name.startswith(_PREFIX):
            continue
        value, found = raw.decode("utf-8", "replace"), True
        if raw_name == b"impersonate-user":
            wanted.name = value
        elif raw_name == b"impersonate-group":
            wanted.groups.append(value)
        elif raw_name == b"impersonate-uid":
            wanted.uid = value
        elif raw_name.startswith(_EXTRA):
            key = unquote(raw_name.removeprefix(_EXTRA).decode("latin-1")).lower()
            wanted.extra.setdefault(key, []).append(value)
        else:
            raise status.bad_request(f"unknown header {raw_name.decode('latin-1')}")
    if found and not wanted.name:
        raise status.bad_request("requested a group, uid or extra without impersonating a user (Impersonate-User)")
    return wanted if found else None


def needed(wanted: Wanted) -> Iterator[Asked]:
    """Yield what the asking user must be allowed."""
    account = users.account_of(wanted.name)
    if account is not None:
        yield Asked(VERB, resource="serviceaccounts", namespace=account[0], name=account[1])
    else:
        yield Asked(VERB, resource="users", name=wanted.name)
    for group in wanted.groups:
        yield Asked(VERB, resource="groups", name=group)
    for key, values in wanted.extra.items():
        for value in values:
            yield Asked(VERB, _GROUP, "userextras", key, name=value)
    if wanted.uid:
        yield Asked(VERB, _GROUP, "uids", name=wanted.uid)


def impersonated(wanted: Wanted) -> User:
    """Return the user, with the groups that everybody of the sort has."""
    groups = list(wanted.groups)
    account = users.account_of(wanted.name)
    if account is not None and not groups:
        groups += users.account_groups(account[0])
    if wanted.name == users.ANONYMOUS.name:
        groups += [] if users.UNAUTHENTICATED in groups else [users.UNAUTHENTICATED]
    elif not {users.AUTHENTICATED, users.UNAUTHENTICATED} & set(groups):
        groups.append(users.AUTHENTICATED)
    return User(wanted.name, wanted.uid, tuple(groups), wanted.extra)
