"""rbac.authorization.k8s.io/v1: roles and who has them.

Facts: kubernetes `pkg/apis/rbac` (defaults, validation) and `pkg/printers/internalversion`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from lightkube.models import rbac_v1

from skerry.api.cells import AGE_COLUMN, NAME_COLUMN, moment
from skerry.api.checks import Errors, obeys, one_of
from skerry.api.filling import fill
from skerry.api.registry import Column, Kind, Object
from skerry.kit.clock import timestamp
from skerry.machinery import names
from skerry.machinery.fielderrors import invalid, not_supported, required
from skerry.machinery.selectors import SelectorError, label_selector

GROUP: Final = "rbac.authorization.k8s.io"
_SUBJECTS: Final = ("ServiceAccount", "User", "Group")


def is_path_segment(name: str) -> list[str]:
    """Check a name that may hold anything which does not change the path it stands in."""
    if name in {".", ".."}:
        return [f"may not be '{name}'"]
    return [f"may not contain '{mark}'" for mark in "/%" if mark in name]


def _default_binding(binding: Object) -> None:
    reference = binding.get("roleRef")
    if isinstance(reference, dict):
        fill(reference, apiGroup=GROUP)
    for subject in binding.get("subjects") or []:
        if isinstance(subject, dict) and subject.get("kind") in {"User", "Group"}:
            fill(subject, apiGroup=GROUP)


def _validate_role(role: Object, _old: Object | None) -> Errors:
    return _rules(role, namespaced=True)


def _validate_cluster_role(role: Object, _old: Object | None) -> Errors:
    errors = _rules(role, namespaced=False)
    rule = role.get("aggregationRule")
    if rule is not None:
        where = "aggregationRule.clusterRoleSelectors"
        selectors = rule.get("clusterRoleSelectors") or []
        if not selectors:
            errors.append(required(where, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
        for index, selector in enumerate(selectors):
            try:
                label_selector(selector)
            except SelectorError as error:
                errors.append(invalid(f"{where}[{index}]", selector, str(error)))
    return errors


def _rules(role: Object, *, namespaced: bool) -> Errors:
    errors: Errors = []
    for index, rule in enumerate(role.get("rules") or []):
        errors += _rule(f"rules[{index}]", rule, namespaced=namespaced)
    return errors


def _rule(where: str, rule: Mapping[str, Any], *, namespaced: bool) -> Errors:
    errors: Errors = []
    if not rule.get("verbs"):
        errors.append(required(f"{where}.verbs", "verbs must contain at least one value"))
    if urls := rule.get("nonResourceURLs"):
        field = f"{where}.nonResourceURLs"
        if namespaced:
            errors.append(invalid(field, urls, "namespaced rules cannot apply to non-resource URLs"))
        if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            errors.append(invalid(field, urls, why))
        return errors
    if not rule.get("apiGroups"):
        errors.append(required(f"{where}.apiGroups", "resource rules must supply at least one api group"))
    if not rule.get("resources"):
        errors.append(required(f"{where}.resources", "resource rules must supply at least one resource"))
    return errors


def _validate_role_binding(binding: Object, old: Object | None) -> Errors:
    return _binding(binding, old, ("Role", "ClusterRole"))


def _validate_cluster_role_binding(binding: Object, old: Object | None) -> Errors:
    return _binding(binding, old, ("ClusterRole",))


def _binding(binding: Object, old: Object | None, kinds: tuple[str, ...]) -> Errors:
    reference = binding.get("roleRef") or {}
    errors: Errors = []
    if reference.get("apiGroup") != GROUP:
        errors.append(not_supported("roleRef.apiGroup", reference.get("apiGroup") or "", [GROUP]))
    if reference.get("kind") not in kinds:
        errors.append(not_supported("roleRef.kind", reference.get("kind") or "", kinds))
    name = reference.get("name")
    errors += obeys("roleRef.name", name, is_path_segment) if name else [required("roleRef.name")]
    for index, subject in enumerate(binding.get("subjects") or []):
        errors += _subject(f"subjects[{index}]", subject, namespaced="Role" in kinds)
    if old is not None and reference != (old.get("roleRef") or {}):
        errors.append(invalid("roleRef", reference, "cannot change roleRef"))
    return errors


def _subject(where: str, subject: Mapping[str, Any], *, namespaced: bool) -> Errors:
    name, group = subject.get("name") or "", subject.get("apiGroup") or ""
    errors: Errors = [] if name else [required(f"{where}.name")]
    kind = subject.get("kind")
    if kind == "ServiceAccount":
        errors += obeys(f"{where}.name", name, names.is_dns1123_subdomain) if name else []
        if group:
            errors.append(not_supported(f"{where}.apiGroup", group, [""]))
        if not namespaced and not subject.get("namespace"):
            errors.append(required(f"{where}.namespace"))
    elif kind in {"User", "Group"}:
        if not name:
            errors.append(invalid(f"{where}.name", name, f"{kind.lower()} name cannot be empty"))
        if group != GROUP:
            errors.append(not_supported(f"{where}.apiGroup", group, [GROUP]))
    else:
        errors += one_of(f"{where}.kind", kind or "-", _SUBJECTS)
    return errors


def _created(role: Object, _now: datetime) -> str:
    created = moment(role["metadata"].get("creationTimestamp"))
    return timestamp(created.astimezone(UTC)) if created else ""


def _role_of(binding: Object, _now: datetime) -> str:
    reference = binding.get("roleRef") or {}
    return f"{reference.get('kind', '')}/{reference.get('name', '')}"


def _subjects(binding: Object, kind: str) -> str:
    found = [subject for subject in binding.get("subjects") or [] if subject.get("kind") == kind]
    if kind == "ServiceAccount":
        return ", ".join(f"{subject.get('namespace') or ''}/{subject.get('name', '')}" for subject in found)
    return ", ".join(str(subject.get("name", "")) for subject in found)


_ROLE_COLUMNS: Final = (NAME_COLUMN, Column("Created At", _created))
_BINDING_COLUMNS: Final = (
    NAME_COLUMN,
    Column("Role", _role_of),
    AGE_COLUMN,
    Column("Users", lambda binding, _: _subjects(binding, "User"), priority=1),
    Column("Groups", lambda binding, _: _subjects(binding, "Group"), priority=1),
    Column("ServiceAccounts", lambda binding, _: _subjects(binding, "ServiceAccount"), priority=1),
)

ROLE: Final = Kind(
    GROUP,
    "v1",
    "Role",
    "roles",
    namespaced=True,
    model=rbac_v1.Role,
    columns=_ROLE_COLUMNS,
    validate=_validate_role,
    name_rule=is_path_segment,
)

CLUSTER_ROLE: Final = Kind(
    GROUP,
    "v1",
    "ClusterRole",
    "clusterroles",
    namespaced=False,
    model=rbac_v1.ClusterRole,
    columns=_ROLE_COLUMNS,
    validate=_validate_cluster_role,
    name_rule=is_path_segment,
)

ROLE_BINDING: Final = Kind(
    GROUP,
    "v1",
    "RoleBinding",
    "rolebindings",
    namespaced=True,
    model=rbac_v1.RoleBinding,
    columns=_BINDING_COLUMNS,
    default=_default_binding,
    validate=_validate_role_binding,
    name_rule=is_path_segment,
)

CLUSTER_ROLE_BINDING: Final = Kind(
    GROUP,
    "v1",
    "ClusterRoleBinding",
    "clusterrolebindings",
    namespaced=False,
    model=rbac_v1.ClusterRoleBinding,
    columns=_BINDING_COLUMNS,
    default=_default_binding,
    validate=_validate_cluster_role_binding,
    name_rule=is_path_segment,
)

RBAC_KINDS: Final = (CLUSTER_ROLE_BINDING, CLUSTER_ROLE, ROLE_BINDING, ROLE)
