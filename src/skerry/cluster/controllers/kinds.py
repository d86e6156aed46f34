"""The kinds that can own and be owned, and all that a namespace can hold, as lightkube resource classes.

These are the built-in ones; those that definitions make come and go (`custom_kinds`). A test compares the lists with
the kinds that the API serves, so a kind that is added there cannot be forgotten here.
"""

from typing import Any, Final

from lightkube.core.resource import GlobalResource
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from lightkube.resources.autoscaling_v2 import HorizontalPodAutoscaler
from lightkube.resources.batch_v1 import Job
from lightkube.resources.coordination_v1 import Lease
from lightkube.resources.core_v1 import (
    ConfigMap,
    Endpoints,
    Event,
    Namespace,
    Node,
    PersistentVolumeClaim,
    Pod,
    Secret,
    Service,
    ServiceAccount,
)
from lightkube.resources.discovery_v1 import EndpointSlice
from lightkube.resources.rbac_authorization_v1 import ClusterRole, ClusterRoleBinding, Role, RoleBinding

from skerry.api.crd.resource import CustomResourceDefinition
from skerry.api.route_types import Route
from skerry.api.serving_types import ClusterServingRuntime, InferenceService, ServingRuntime

Resource = type[Any]

# Pods come first: they are what a namespace waits for.
OWNED_KINDS: Final[tuple[Resource, ...]] = (
    Pod,
    ReplicaSet,
    Deployment,
    Job,
    HorizontalPodAutoscaler,
    Service,
    EndpointSlice,
    Endpoints,
    ConfigMap,
    Secret,
    ServiceAccount,
    PersistentVolumeClaim,
    Lease,
    InferenceService,
    ServingRuntime,
    Route,
    RoleBinding,
    Role,
)
GLOBAL_KINDS: Final[tuple[Resource, ...]] = (
    Namespace,
    Node,
    ClusterServingRuntime,
    ClusterRole,
    ClusterRoleBinding,
    CustomResourceDefinition,
)
# Events are never collected and never waited for, but they go with their namespace.
NAMESPACED_KINDS: Final[tuple[Resource, ...]] = (*OWNED_KINDS, Event)


def group_kind(resource: Resource) -> tuple[str, str]:
    """Return the API group and the kind."""
    definition = resource._api_info.resource  # noqa: SLF001 - lightkube has no other name for it
    return definition.group, definition.kind


def group_resource(resource: Resource) -> str:
    """Return `deployments.apps`, and `pods.` for the group without a name, as Kubernetes counts what remains."""
    return f"{resource._api_info.plural}.{group_kind(resource)[0]}"  # noqa: SLF001


def namespaced(resource: Resource) -> bool:
    """Tell whether objects of the kind live in a namespace."""
    return not issubclass(resource, GlobalResource)
