"""What kube-controller-manager, the scheduler and OpenShift's route controllers would do.

    deployment/          Deployment → ReplicaSets, roll-outs
    replicaset           ReplicaSet → Pods
    autoscaling/         what pods use → replicas
    job/                 Job → Pods that run once
    scheduling/          Pod → node
    backends, endpointslice, endpoints   Service + Pods → addresses
    route                host names and who may have them
    pvc                  volume claims
    garbage_collector    owner references
    namespace            what a namespace is given, and how it is emptied
    cluster_role         roles that are put together of others
    account_token        Secrets with the token of a ServiceAccount
    event_ttl            old events

Each of them is a pure plan, which the tests are about, and a thin loop on `skerry.reconcile` that writes the plan. They
meet only through objects in the API, so any of them can stop anywhere and go on from what is stored. Beside them are
`ownership` and `pods` (facts about objects), `writes` and `adoption` (patches and deletes) and `kinds`.
"""

from lightkube import AsyncClient

from skerry.cluster.controllers.account_token import AccountTokenController
from skerry.cluster.controllers.autoscaling import AutoscalerController
from skerry.cluster.controllers.cluster_role import ClusterRoleController
from skerry.cluster.controllers.custom_kinds import CustomKinds
from skerry.cluster.controllers.definition_cleanup import DefinitionCleanup
from skerry.cluster.controllers.deployment import DeploymentController
from skerry.cluster.controllers.endpoints import EndpointsController
from skerry.cluster.controllers.endpointslice import EndpointSliceController
from skerry.cluster.controllers.event_ttl import EventTtlController
from skerry.cluster.controllers.garbage_collector import GarbageCollector
from skerry.cluster.controllers.job import JobController
from skerry.cluster.controllers.namespace import NamespaceController
from skerry.cluster.controllers.pvc import VolumeClaimController
from skerry.cluster.controllers.replicaset import ReplicaSetController
from skerry.cluster.controllers.route import RouteController
from skerry.cluster.controllers.scheduling import Scheduler
from skerry.cluster.controllers.settings import ControllerSettings
from skerry.kit.clock import Clock
from skerry.reconcile import Manager

__all__ = ["ControllerSettings", "add_all"]


def add_all(manager: Manager, client: AsyncClient, clock: Clock, settings: ControllerSettings) -> None:
    """Add every controller to the manager; they run when it does."""
    custom = CustomKinds(manager)
    DeploymentController(manager, client, clock)
    ReplicaSetController(manager, client, clock)
    JobController(manager, client, clock)
    AutoscalerController(manager, client, clock)
    Scheduler(manager, client, clock)
    EndpointSliceController(manager, client, clock)
    EndpointsController(manager, client, clock)
    RouteController(manager, client, clock, settings.apps_domain)
    VolumeClaimController(manager, client, clock)
    GarbageCollector(manager, client, clock, custom)
    NamespaceController(manager, client, clock, custom, settings.ca_certificate)
    DefinitionCleanup(manager, client, clock, custom)
    ClusterRoleController(manager, client)
    AccountTokenController(manager, client)
    EventTtlController(manager, client, clock, settings.event_ttl_seconds)
