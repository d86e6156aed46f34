"""May this user do that: RBAC over the roles in memory, and the words of a refusal."""

from collections.abc import Iterable
from dataclasses import dataclass

from skerry.api.rbac_rules import Asked, Rule, allows
from skerry.cluster.apiserver.access.roles import Binding, RoleKey, Roles
from skerry.cluster.apiserver.access.users import User
from skerry.machinery import status
from skerry.machinery.status import StatusError


@dataclass(frozen=True)
class Decision:
    """The answer, and why in Kubernetes' words (often "")."""

    allowed: bool
    reason: str = ""


_YES = Decision(allowed=True)
_NO = Decision(allowed=False)


@dataclass(frozen=True)
class Held:
    """All rules that a user has in a namespace; `errors` name the roles that are bound and not there."""

    rules: list[Rule]
    errors: list[str]


class Authorizer:
    """RBAC. Members of system:masters may do everything, so that a mistake in the roles can be mended."""

    def __init__(self, roles: Roles) -> None:
        self._roles = roles

    def may(self, user: User, asked: Asked) -> bool:
        """Decide."""
        if user.is_master:
            return True
        for binding, _ in self._roles.bindings(user, asked.namespace):
            for rule in self._roles.rules(binding.role) or ():
                if allows(rule, asked):
                    return True
        return False

    def decide(self, user: User, asked: Asked) -> Decision:
        """Decide, and say why."""
        if user.is_master:
            return _YES
        absent: list[str] = []
        for binding, subject in self._roles.bindings(user, asked.namespace):
            rules = self._roles.rules(binding.role)
            if rules is None:
                absent.append(_absent(binding.role))
            elif any(allows(rule, asked) for rule in rules):
                return Decision(allowed=True, reason=_granted(binding, binding.subjects[subject]))
        return Decision(allowed=False, reason=f"RBAC: {_aggregate(absent)}") if absent else _NO

    def held(self, user: User, namespace: str) -> Held:
        """Return all rules that hold for the user in a namespace ("": everywhere)."""
        held = Held([], [])
        for binding, _ in self._roles.bindings(user, namespace):
            rules = self._roles.rules(binding.role)
            if rules is None:
                held.errors.append(_absent(binding.role))
            else:
                held.rules.extend(rules)
        return held

    def rules(self, role: RoleKey) -> tuple[Rule, ...]:
        """Return the rules of a role; raises a 404 when there is none."""
        rules = self._roles.rules(role)
        if rules is None:
            raise status.not_found(role.group_resource, role.name)
        return rules

    def check(self, user: User, asked: Asked) -> None:
        """Raise the 403 when the user may not."""
        if not self.may(user, asked):
            raise refusal(user, asked, self.decide(user, asked).reason)


def refusal(user: User, asked: Asked, reason: str = "") -> StatusError:
    """Return the 403 that kubectl prints."""
    name = status.json_quote(user.name)
    if asked.path:
        message = f"forbidden: User {name} cannot {asked.verb} path {status.json_quote(asked.path)}"
        return StatusError(403, "Forbidden", f"{message}: {reason}" if reason else message, {})
    where = f'in the namespace "{asked.namespace}"' if asked.namespace else "at the cluster scope"
    what = f'cannot {asked.verb} resource "{asked.full_resource}" in API group "{asked.group}"'
    why = f"User {name} {what} {where}"
    resource = f"{asked.resource}.{asked.group}" if asked.group else asked.resource
    return status.forbidden(resource, asked.name, f"{why}: {reason}" if reason else why)


def _granted(binding: Binding, subject: str) -> str:
    kind, name = (
        ("RoleBinding", f"{binding.name}/{binding.namespace}")
        if binding.namespace
        else (
            "ClusterRoleBinding",
            binding.name,
        )
    )
    return f'RBAC: allowed by {kind} "{name}" of {binding.role.kind} "{binding.role.name}" to {subject}'


def _absent(role: RoleKey) -> str:
    resource = role.group_resource
    return f'{resource} "{role.name}" not found'


def _aggregate(errors: Iterable[str]) -> str:
    found = list(dict.fromkeys(errors))
    return found[0] if len(found) == 1 else f"[{', '.join(found)}]"
