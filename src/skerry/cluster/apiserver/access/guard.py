"""What a write needs beside its verb.

Nobody gives away more than he holds: the rules of a role, and of the role that a binding names, must be covered by the
writer's own, unless he has the verbs `escalate` or `bind`. The host and the certificates of a Route need
`routes/custom-host`. Server-side apply needs `create` when it creates.

Facts: kubernetes `pkg/registry/rbac/*/policybased`, openshift/library-go `pkg/route/hostassignment`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from skerry.api.rbac import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, GROUP, ROLE, ROLE_BINDING
from skerry.api.rbac_rules import ALL, Asked, Rule, compacted, missing, quoted, rules_of
from skerry.api.registry import Object
from skerry.api.route import ROUTE
from skerry.cluster.apiserver.access.authorizer import Authorizer
from skerry.cluster.apiserver.access.gate import asked_of
from skerry.cluster.apiserver.access.roles import RoleKey, role_of
from skerry.cluster.apiserver.access.users import User
from skerry.cluster.apiserver.requests import Target
from skerry.machinery import status
from skerry.machinery.fielderrors import forbidden, invalid

_EVERYTHING: Final = (Rule((ALL,), (ALL,), (ALL,)), Rule((ALL,), urls=(ALL,)))
_CERTIFICATES: Final = ("certificate", "key", "caCertificate", "destinationCACertificate", "externalCertificate")
_NOT_THE_HOST: Final = "you do not have permission to set the host field of the route"
_NOT_THE_CERTIFICATE: Final = "you do not have permission to set certificate fields on the route"


class Guard:
    """Looks at objects that are about to be written, before defaults and validation."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def create(self, user: User, target: Target, item: Object) -> None:
        """Raise the error of a new object that this user may not make."""
        if user.is_master:
            return
        match target.kind.storage_key:
            case ROLE.storage_key | CLUSTER_ROLE.storage_key:
                self._role(user, target, item)
            case ROLE_BINDING.storage_key | CLUSTER_ROLE_BINDING.storage_key:
                self._binding(user, target, item)
            case ROUTE.storage_key:
                self._new_route(user, target, item)

    def create_by_apply(self, user: User, target: Target, item: Object) -> None:
        """Raise the error of a new object that comes by a patch."""
        if not user.is_master:
            self._authorizer.check(user, asked_of("create", target, {}))
        self.create(user, target, item)

    def update(self, user: User, target: Target, new: Object, old: Object) -> None:
        """Raise the error of a change that this user may not make."""
        if user.is_master or target.subresource is not None:
            return
        match target.kind.storage_key:
            case ROLE.storage_key | CLUSTER_ROLE.storage_key if not _same(new, old):
                self._role(user, target, new)
            case ROLE_BINDING.storage_key | CLUSTER_ROLE_BINDING.storage_key if not _same(new, old):
                self._binding(user, target, new)
            case ROUTE.storage_key:
                self._changed_route(user, target, new, old)

    def _role(self, user: User, target: Target, item: Object) -> None:
        namespace = target.namespace or ""
        asked = Asked("escalate", GROUP, target.kind.plural, "", namespace, target.name or "")
        if self._authorizer.may(user, asked):
            return
        name = item["metadata"].get("name") or ""
        if item.get("aggregationRule") and missing(self._authorizer.held(user, "").rules, _EVERYTHING):
            why = "must have cluster-admin privileges to use the aggregationRule"
            raise status.forbidden(target.kind.group_resource, name, why)
        self._no_more_than_held(user, target, name, rules_of(item))

    def _binding(self, user: User, target: Target, item: Object) -> None:
        namespace = target.namespace or ""
        role = role_of(item, namespace)
        if self._authorizer.may(user, _bind(role, namespace)):
            return
        self._no_more_than_held(user, target, item["metadata"].get("name") or "", self._authorizer.rules(role))

    def _no_more_than_held(self, user: User, target: Target, name: str, rules: Iterable[Rule]) -> None:
        held = self._authorizer.held(user, target.namespace or "")
        lacking = missing(held.rules, rules)
        if not lacking:
            return
        lines = "\n".join(sorted({str(rule) for rule in compacted(lacking)}))
        why = (
            f"user {status.json_quote(user.name)} (groups={quoted(user.groups)}) is attempting to grant RBAC "
            f"permissions not currently held:\n{lines}"
        )
        if held.errors:
            why += f"; resolution errors: [{', '.join(held.errors)}]"
        raise status.forbidden(target.kind.group_resource, name, why)

    def _new_route(self, user: User, target: Target, item: Object) -> None:
        spec = item.get("spec") or {}
        certificates = any(_certificates(spec).values())
        if not (spec.get("host") or certificates) or self._custom_host(user, "create", target):
            return
        error = (
            forbidden("spec.host", _NOT_THE_HOST) if spec.get("host") else forbidden("spec.tls", _NOT_THE_CERTIFICATE)
        )
        raise status.invalid("Route", ROUTE.group, item["metadata"].get("name") or "", [error])

    def _changed_route(self, user: User, target: Target, new: Object, old: Object) -> None:
        spec, before = new.get("spec") or {}, old.get("spec") or {}
        errors = [
            invalid(f"spec.{field}", spec.get(field) or "", "field is immutable")
            for field in ("host", "subdomain")
            if (spec.get(field) or "") != (before.get(field) or "")
        ]
        if _certificates(spec) != _certificates(before):
            errors.append(forbidden("spec.tls", _NOT_THE_CERTIFICATE))
        if errors and not self._custom_host(user, "update", target):
            raise status.invalid("Route", ROUTE.group, target.name or "", errors)

    def _custom_host(self, user: User, verb: str, target: Target) -> bool:
        asked = Asked(verb, ROUTE.group, ROUTE.plural, "custom-host", target.namespace or "", target.name or "")
        return self._authorizer.may(user, asked)


def _bind(role: RoleKey, namespace: str) -> Asked:
    resource = ROLE.plural if role.namespace else CLUSTER_ROLE.plural
    return Asked("bind", GROUP, resource, "", namespace, role.name)


def _same(new: Object, old: Object) -> bool:
    """Say whether nothing changed but owners and finalizers: the garbage collector's business gives nobody anything."""

    def essence(item: Object) -> list[Any]:
        meta = item["metadata"]
        rest = {key: value for key, value in item.items() if key not in {"metadata", "apiVersion", "kind"}}
        return [rest, meta.get("labels") or {}, meta.get("annotations") or {}]

    return essence(new) == essence(old)


def _certificates(spec: Mapping[str, Any]) -> dict[str, Any]:
    tls = spec.get("tls") or {}
    return {field: tls.get(field) or None for field in _CERTIFICATES}
