"""ClusterRoles that are put together of others: their rules are those of all that their selectors find."""

from collections.abc import Iterable

import msgspec
from lightkube import AsyncClient
from lightkube.models.rbac_v1 import PolicyRule
from lightkube.resources.rbac_authorization_v1 import ClusterRole

from skerry.cluster.controllers.ownership import meta, name_of
from skerry.cluster.controllers.writes import patch
from skerry.machinery.selectors import LabelSelector, SelectorError, label_selector
from skerry.reconcile import Cache, Controller, Key, Manager


def selectors_of(role: ClusterRole) -> list[LabelSelector] | None:
    """Return what selects the parts of a role; None for one that has rules of its own. A bad selector finds nothing."""
    if role.aggregationRule is None:
        return None
    found = []
    for selector in role.aggregationRule.clusterRoleSelectors or []:
        try:
            found.append(label_selector(msgspec.to_builtins(selector)))
        except SelectorError:
            continue
    return found


def aggregated(role: ClusterRole, roles: Iterable[ClusterRole]) -> list[PolicyRule] | None:
    """Return the rules that the role should have, each once; None for a role that is not put together."""
    selectors = selectors_of(role)
    if selectors is None:
        return None
    rules: list[PolicyRule] = []
    for part in sorted(roles, key=name_of):
        labels = meta(part).labels or {}
        if name_of(part) != name_of(role) and any(selector.matches(labels) for selector in selectors):
            rules += [rule for rule in part.rules or [] if rule not in rules]
    return rules


class ClusterRoleController:
    """Keeps the rules of aggregated ClusterRoles."""

    def __init__(self, manager: Manager, client: AsyncClient) -> None:
        self._client = client
        self._roles: Cache[ClusterRole] = manager.caches.of(ClusterRole)
        manager.add(Controller("cluster-role", self.reconcile, workers=1).watch(self._roles, self._aggregates))

    async def reconcile(self, key: Key) -> None:
        """Write the rules when they differ."""
        role = self._roles.get("", key.name)
        if role is None:
            return
        rules = aggregated(role, self._roles)
        if rules is not None and rules != (role.rules or []):
            body = {"rules": [msgspec.to_builtins(rule) for rule in rules]}
            await patch(self._client, role, body, only_if_unchanged=True)

    def _aggregates(self, changed: ClusterRole) -> list[Key]:
        """Return the roles that the changed one may be a part of, and itself."""
        labels = meta(changed).labels or {}
        whole = [
            name_of(role)
            for role in self._roles
            if any(selector.matches(labels) for selector in selectors_of(role) or ())
        ]
        return [Key("", name) for name in (name_of(changed), *whole)]
