"""Roles and bindings in memory, by subject.

The store tells of every write before its caller gets the answer, and the index takes it in at that moment. So whoever
was told that a binding is made, changed or gone finds it so with the very next request; no request reads the database
to be judged.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec

from skerry.api.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from skerry.api.rbac_rules import Rule, rules_of
from skerry.cluster.apiserver.access.users import User, account_user_name
from skerry.cluster.store import Event, Key, Store
from skerry.kit.log import logger

log = logger(__name__)

_ROLES: Final = frozenset({ROLE.storage_key, CLUSTER_ROLE.storage_key})
_BINDINGS: Final = frozenset({ROLE_BINDING.storage_key, CLUSTER_ROLE_BINDING.storage_key})
_FOLLOWED: Final = _ROLES | _BINDINGS

Subject = tuple[str, str]  # ("User" or "Group", name); a ServiceAccount is a User with a long name


class RoleKey(NamedTuple):
    """Which role; `namespace` is "" for a ClusterRole."""

    namespace: str
    name: str

    @property
    def kind(self) -> str:
        return "Role" if self.namespace else "ClusterRole"

    @property
    def group_resource(self) -> str:
        return ROLE.group_resource if self.namespace else CLUSTER_ROLE.group_resource


@dataclass(frozen=True, slots=True)
class Binding:
    """Who has a role, and where: in `namespace`, or everywhere when that is ""."""

    namespace: str
    name: str
    role: RoleKey
    subjects: Mapping[Subject, str]  # and each in the words of a reason


class Roles:
    """The index. Make it in the event loop of the store."""

    def __init__(self, store: Store) -> None:
        self._rules: dict[RoleKey, tuple[Rule, ...]] = {}
        self._bindings: dict[Key, Binding] = {}
        self._of_subject: dict[Subject, dict[Key, Binding]] = {}
        store.listen(self._changed)
        # Events up to here are in the lists; later ones may be too, and are taken in again, which changes nothing.
        self._known = store.committed
        for resource in _FOLLOWED:
            for data in store.list_objects(resource).items:
                item = msgspec.json.decode(data)
                meta = item["metadata"]
                self._put(Key(resource, meta.get("namespace") or "", meta["name"]), item)

    def rules(self, role: RoleKey) -> tuple[Rule, ...] | None:
        """Return the rules of a role, None when there is no such role."""
        return self._rules.get(role)

    def bindings(self, user: User, namespace: str) -> Iterator[tuple[Binding, Subject]]:
        """Yield what the user has everywhere, and what in this namespace, with the subject that it is given to."""
        for subject in (("User", user.name), *(("Group", group) for group in user.groups)):
            for binding in self._of_subject.get(subject, {}).values():
                if not binding.namespace or binding.namespace == namespace:
                    yield binding, subject

    def _changed(self, event: Event) -> None:
        if event.version <= self._known or event.key.resource not in _FOLLOWED:
            return
        try:
            self._put(event.key, None if event.type == "DELETED" else event.object)
        except Exception:  # what cannot be read gives nothing to anybody
            log.exception("role not understood", resource=event.key.resource, name=event.key.name)

    def _put(self, key: Key, item: dict[str, Any] | None) -> None:
        if key.resource in _ROLES:
            role = RoleKey(key.namespace, key.name)
            self._rules.pop(role, None)
            if item is not None:
                self._rules[role] = rules_of(item)
            return
        old = self._bindings.pop(key, None)
        for subject in old.subjects if old else ():
            held = self._of_subject[subject]
            del held[key]
            if not held:
                del self._of_subject[subject]
        if item is not None:
            binding = self._bindings[key] = _binding(key, item)
            for subject in binding.subjects:
                self._of_subject.setdefault(subject, {})[key] = binding


def role_of(binding: Mapping[str, Any], namespace: str) -> RoleKey:
    """Return the role that a binding in a namespace names."""
    reference = binding.get("roleRef") or {}
    return RoleKey(namespace if reference.get("kind") == "Role" else "", reference.get("name") or "")


def _binding(key: Key, item: Mapping[str, Any]) -> Binding:
    subjects: dict[Subject, str] = {}
    for subject in item.get("subjects") or []:
        kind, name = subject.get("kind"), subject.get("name", "")
        if kind == "ServiceAccount":
            namespace = subject.get("namespace") or key.namespace
            if namespace:
                subjects["User", account_user_name(namespace, name)] = f'ServiceAccount "{name}/{namespace}"'
        elif kind in {"User", "Group"}:
            subjects[kind, name] = f'{kind} "{name}"'
    return Binding(key.namespace, key.name, role_of(item, key.namespace), subjects)
