"""All kinds that the embedded API server serves, in the order in which discovery names their groups."""

from typing import Final

from skerry.api.apps import DEPLOYMENT, REPLICA_SET
from skerry.api.autoscaling import AUTOSCALER_KINDS
from skerry.api.batch import JOB
from skerry.api.coordination import LEASE
from skerry.api.core import CORE_KINDS
from skerry.api.crd.kind import definition_kind
from skerry.api.discovery import ENDPOINT_SLICE
from skerry.api.events import EVENTS_EVENT
from skerry.api.metrics import METRICS_KINDS
from skerry.api.rbac import RBAC_KINDS
from skerry.api.registry import Kind, Registry
from skerry.api.reviews import REVIEW_KINDS
from skerry.api.route import ROUTE
from skerry.api.serving import SERVING_KINDS
from skerry.api.volumes import VOLUME_KINDS

# All but KServe's, whose defaults depend on the configuration.
BUILT_IN_KINDS: Final[tuple[Kind, ...]] = (
    *CORE_KINDS,
    DEPLOYMENT,
    REPLICA_SET,
    JOB,
    *AUTOSCALER_KINDS,
    EVENTS_EVENT,
    LEASE,
    ENDPOINT_SLICE,
    *REVIEW_KINDS,
    *RBAC_KINDS,
    ROUTE,
    definition_kind((ROUTE, *SERVING_KINDS)),
    *METRICS_KINDS,
    *VOLUME_KINDS,
)

REGISTRY: Final = Registry((*BUILT_IN_KINDS, *SERVING_KINDS))
