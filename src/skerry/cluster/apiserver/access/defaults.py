"""The roles and bindings that every cluster has, as Kubernetes names them.

`cluster-admin`, `admin`, `edit` and `view` are for people. The last three are put together of the roles with the labels
`rbac.authorization.k8s.io/aggregate-to-…`: Kubernetes' own, those for Routes that OpenShift has, and KServe's.

Facts: kubernetes `plugin/pkg/auth/authorizer/rbac/bootstrappolicy`; openshift/openshift-apiserver
`pkg/bootstrappolicy`; kserve's `config/rbac`.
"""

from collections.abc import Sequence
from typing import Any, Final

from skerry.api.rbac import GROUP
from skerry.api.rbac_rules import Rule
from skerry.api.route_types import GROUP as ROUTES
from skerry.cluster.apiserver.access.users import AUTHENTICATED, MASTERS, UNAUTHENTICATED

AUTOUPDATE: Final = "rbac.authorization.kubernetes.io/autoupdate"
_LABELS: Final = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_AGGREGATE: Final = "rbac.authorization.k8s.io/aggregate-to-"

READ: Final = ("get", "list", "watch")
WRITE: Final = ("create", "delete", "deletecollection", "patch", "update")
_SERVING: Final = "serving.kserve.io"
_SERVED: Final = ("inferenceservices", "servingruntimes")
_REVIEWS: Final = "authorization.k8s.io"
_WORKLOADS: Final = ("daemonsets", "deployments", "deployments/scale", "replicasets", "replicasets/scale")
_STATEFUL: Final = ("statefulsets", "statefulsets/scale")
_BATCH: Final = ("cronjobs", "jobs")


def _on(verbs: Sequence[str], group: str, *resources: str) -> Rule:
    return Rule(tuple(verbs), (group,), resources)


def _statuses(*resources: str) -> tuple[str, ...]:
    return tuple(f"{resource}/status" for resource in resources)


_DISCOVERY: Final = (
    "/api",
    "/api/*",
    "/apis",
    "/apis/*",
    "/healthz",
    "/livez",
    "/openapi",
    "/openapi/*",
    "/readyz",
    "/version",
    "/version/",
)
_PUBLIC: Final = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_MONITORING: Final = (
    "/healthz",
    "/healthz/*",
    "/livez",
    "/livez/*",
    "/metrics",
    "/metrics/slis",
    "/readyz",
    "/readyz/*",
)

_RULES: Final[dict[str, tuple[Rule, ...]]] = {
    "cluster-admin": (_on(("*",), "*", "*"), Rule(("*",), urls=("*",))),
    "system:discovery": (Rule(("get",), urls=_DISCOVERY),),
    "system:public-info-viewer": (Rule(("get",), urls=_PUBLIC),),
    "system:monitoring": (Rule(("get",), urls=_MONITORING),),
    "system:basic-user": (
        _on(("create",), _REVIEWS, "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
        _on(("create",), "authentication.k8s.io", "selfsubjectreviews"),
    ),
    "system:auth-delegator": (
        _on(("create",), "authentication.k8s.io", "tokenreviews"),
        _on(("create",), _REVIEWS, "subjectaccessreviews"),
    ),
}

# What is added to `view`, then to `edit`, then to `admin`.
_VIEWED: Final = (
    _on(
        READ,
        "",
        "configmaps",
        "endpoints",
        "persistentvolumeclaims",
        "persistentvolumeclaims/status",
        "pods",
        "replicationcontrollers",
        "replicationcontrollers/scale",
        "serviceaccounts",
        "services",
        "services/status",
    ),
    _on(
        READ,
        "",
        "bindings",
        "events",
        "limitranges",
        "namespaces/status",
        "pods/log",
        "pods/status",
        "replicationcontrollers/status",
        "resourcequotas",
        "resourcequotas/status",
    ),
    _on(READ, "", "namespaces"),
    _on(READ, "discovery.k8s.io", "endpointslices"),
    _on(READ, "events.k8s.io", "events"),
    _on(
        READ,
        "apps",
        "controllerrevisions",
        *_WORKLOADS,
        *_STATEFUL,
        *_statuses("daemonsets", "deployments", "replicasets", "statefulsets"),
    ),
    _on(READ, "autoscaling", "horizontalpodautoscalers", "horizontalpodautoscalers/status"),
    _on(READ, "batch", *_BATCH, *_statuses(*_BATCH)),
    _on(READ, "networking.k8s.io", "ingresses", "ingresses/status", "networkpolicies"),
    _on(READ, "policy", "poddisruptionbudgets", "poddisruptionbudgets/status"),
)
_EDITED: Final = (
    _on(READ, "", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "secrets", "services/proxy"),
    _on(("impersonate",), "", "serviceaccounts"),
    _on(WRITE, "", "pods", "pods/attach", "pods/exec", "pods/portforward", "pods/proxy"),
    _on(("create",), "", "pods/eviction"),
    _on(
        WRITE,
        "",
        "configmaps",
        "events",
        "persistentvolumeclaims",
        "replicationcontrollers",
        "replicationcontrollers/scale",
        "secrets",
        "serviceaccounts",
        "services",
        "services/proxy",
    ),
    _on(("create",), "", "serviceaccounts/token"),
    _on(
        WRITE,
        "apps",
        "daemonsets",
        "deployments",
        "deployments/rollback",
        "deployments/scale",
        "replicasets",
        "replicasets/scale",
        *_STATEFUL,
    ),
    _on(WRITE, "autoscaling", "horizontalpodautoscalers"),
    _on(WRITE, "batch", *_BATCH),
    _on(WRITE, "networking.k8s.io", "ingresses", "networkpolicies"),
    _on(WRITE, "policy", "poddisruptionbudgets"),
    _on(
        ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"),
        "coordination.k8s.io",
        "leases",
    ),
)
_ADMINISTERED: Final = (
    _on(("create",), _REVIEWS, "localsubjectaccessreviews"),
    _on((*READ, *WRITE), GROUP, "rolebindings", "roles"),
)

# Role name → (which role it is added to, rules).
_PARTS: Final[dict[str, tuple[str, tuple[Rule, ...]]]] = {
    "system:aggregate-to-view": ("view", _VIEWED),
    "system:aggregate-to-edit": ("edit", _EDITED),
    "system:aggregate-to-admin": ("admin", _ADMINISTERED),
    "system:openshift:aggregate-to-view": ("view", (_on(READ, ROUTES, "routes", "routes/status"),)),
    "system:openshift:aggregate-to-edit": (
        "edit",
        (_on(WRITE, ROUTES, "routes"), _on(("create",), ROUTES, "routes/custom-host")),
    ),
    "system:openshift:aggregate-to-admin": ("admin", (_on(("update",), ROUTES, "routes/status"),)),
    "kserve-view": ("view", (_on(READ, _SERVING, *_SERVED, *_statuses(*_SERVED)),)),
    "kserve-edit": ("edit", (_on(WRITE, _SERVING, *_SERVED),)),
}
# A role is put together of the parts for it; the greater ones hold the lesser by the labels of these.
_PEOPLE: Final = {"view": "edit", "edit": "admin", "admin": ""}

_BOUND: Final[dict[str, tuple[str, ...]]] = {
    "cluster-admin": (MASTERS,),
    "system:discovery": (AUTHENTICATED,),
    "system:basic-user": (AUTHENTICATED,),
    "system:public-info-viewer": (AUTHENTICATED, UNAUTHENTICATED),
    "system:monitoring": ("system:monitoring",),
}


def cluster_roles() -> list[dict[str, Any]]:
    """Return the default ClusterRoles."""
    roles = [_role(name, rules) for name, rules in _RULES.items()]
    roles += [_role(name, rules, {f"{_AGGREGATE}{to}": "true"}) for name, (to, rules) in _PARTS.items()]
    for name, greater in _PEOPLE.items():
        role = _role(name, (), {f"{_AGGREGATE}{greater}": "true"} if greater else {})
        selector = {"matchLabels": {f"{_AGGREGATE}{name}": "true"}}
        roles.append({**role, "aggregationRule": {"clusterRoleSelectors": [selector]}})
    return roles


def cluster_role_bindings() -> list[dict[str, Any]]:
    """Return the default ClusterRoleBindings."""
    return [
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": _meta(name, {}),
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": GROUP, "kind": "Group", "name": group} for group in groups],
        }
        for name, groups in _BOUND.items()
    ]


def _role(name: str, rules: Sequence[Rule], labels: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": _meta(name, labels or {}),
        "rules": [rule.written() for rule in rules],
    }


def _meta(name: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"name": name, "labels": {**_LABELS, **labels}, "annotations": {AUTOUPDATE: "true"}}
