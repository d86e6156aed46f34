"""Users: what authentication finds out, and the groups that Kubernetes gives by itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

MASTERS: Final = "system:masters"  # may do everything, whatever the roles say
AUTHENTICATED: Final = "system:authenticated"
UNAUTHENTICATED: Final = "system:unauthenticated"
ACCOUNTS: Final = "system:serviceaccounts"
_ACCOUNT_PREFIX: Final = "system:serviceaccount:"

# Keys of `User.extra`.
CREDENTIAL: Final = "authentication.kubernetes.io/credential-id"
POD_NAME: Final = "authentication.kubernetes.io/pod-name"
POD_UID: Final = "authentication.kubernetes.io/pod-uid"
NODE_NAME: Final = "authentication.kubernetes.io/node-name"


@dataclass(frozen=True)
class User:
    """`user.Info`: who asks."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def is_master(self) -> bool:
        return MASTERS in self.groups

    def info(self) -> dict[str, Any]:
        """Return `authentication.k8s.io/v1 UserInfo`."""
        shown = {"username": self.name, "uid": self.uid, "groups": list(self.groups)}
        return {
            **{key: value for key, value in shown.items() if value},
            **({"extra": {key: list(values) for key, values in sorted(self.extra.items())}} if self.extra else {}),
        }


ANONYMOUS: Final = User("system:anonymous", groups=(UNAUTHENTICATED,))


def administrator(name: str) -> User:
    """Return a user who may do everything."""
    return User(name, groups=(MASTERS, AUTHENTICATED))


def account_user_name(namespace: str, name: str) -> str:
    """Return the user name of a ServiceAccount."""
    return f"{_ACCOUNT_PREFIX}{namespace}:{name}"


def account_groups(namespace: str) -> tuple[str, ...]:
    """Return the groups of the ServiceAccounts of a namespace."""
    return (ACCOUNTS, f"{ACCOUNTS}:{namespace}")


def account_of(user_name: str) -> tuple[str, str] | None:
    """Take a ServiceAccount's user name apart into namespace and name; None when it is another user's."""
    if not user_name.startswith(_ACCOUNT_PREFIX):
        return None
    namespace, colon, name = user_name.removeprefix(_ACCOUNT_PREFIX).partition(":")
    return (namespace, name) if namespace and colon and name and ":" not in name else None
