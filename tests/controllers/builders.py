"""Objects for the controllers' tests, as short as the test needs them."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from lightkube.models.apps_v1 import (
    DeploymentSpec,
    DeploymentStatus,
    DeploymentStrategy,
    ReplicaSetSpec,
    ReplicaSetStatus,
    RollingUpdateDeployment,
)
from lightkube.models.core_v1 import (
    Container,
    ContainerPort,
    NodeCondition,
    NodeSpec,
    NodeStatus,
    PodCondition,
    PodSpec,
    PodStatus,
    PodTemplateSpec,
    ResourceRequirements,
    ServicePort,
    ServiceSpec,
)
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from lightkube.resources.core_v1 import Node, Pod, Service

from skerry.cluster.controllers.ownership import controller_reference

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
_serial = itertools.count(1)


def metadata(name: str, *, namespace: str | None = "ai-demo", owner: Any = None, **more: Any) -> ObjectMeta:
    more.setdefault("uid", f"uid-{next(_serial)}")
    more.setdefault("resourceVersion", "1")
    more.setdefault("creationTimestamp", NOW)
    if owner is not None:
        more["ownerReferences"] = [controller_reference(owner)]
    return ObjectMeta(name=name, namespace=namespace, **more)


def template(image: str = "server:1", labels: dict[str, str] | None = None, **container: Any) -> PodTemplateSpec:
    return PodTemplateSpec(
        metadata=ObjectMeta(labels=labels or {"app": "bee"}),
        spec=PodSpec(containers=[Container(name="main", image=image, **container)]),
    )


def deployment(
    name: str = "bee",
    *,
    replicas: int | None = 1,
    image: str = "server:1",
    surge: int | str = "25%",
    unavailable: int | str = "25%",
    recreate: bool = False,
    status: DeploymentStatus | None = None,
    meta: dict[str, Any] | None = None,
    **spec: Any,
) -> Deployment:
    rolling = RollingUpdateDeployment(maxSurge=surge, maxUnavailable=unavailable)
    strategy = DeploymentStrategy(type="Recreate") if recreate else DeploymentStrategy(rolling, "RollingUpdate")
    spec.setdefault("progressDeadlineSeconds", 600)
    return Deployment(
        metadata=metadata(name, generation=1, **(meta or {})),
        spec=DeploymentSpec(
            selector=LabelSelector(matchLabels={"app": "bee"}),
            template=template(image),
            replicas=replicas,
            strategy=strategy,
            **spec,
        ),
        status=status,
    )


def replica_set(
    name: str = "bee-x",
    *,
    owner: Deployment | None = None,
    image: str = "server:1",
    replicas: int = 1,
    available: int | None = None,
    status: ReplicaSetStatus | None = None,
    age: float = 0.0,
    **meta: Any,
) -> ReplicaSet:
    present = replicas if available is None else available
    labels = {"app": "bee", "pod-template-hash": name.rpartition("-")[2]}
    return ReplicaSet(
        metadata=metadata(
            name, owner=owner, generation=1, creationTimestamp=NOW - timedelta(seconds=age), labels=labels, **meta
        ),
        spec=ReplicaSetSpec(
            selector=LabelSelector(matchLabels=labels), replicas=replicas, template=template(image, labels)
        ),
        status=status
        or ReplicaSetStatus(replicas=replicas, readyReplicas=present, availableReplicas=present, observedGeneration=1),
    )


def pod(
    name: str = "bee-x-1",
    *,
    owner: Any = None,
    ready: bool = True,
    phase: str = "Running",
    ip: str | None = "127.1.0.1",
    node: str | None = "skerry",
    requests: dict[str, str] | None = None,
    ports: dict[str, int] | None = None,
    labels: dict[str, str] | None = None,
    ready_since: datetime = NOW,
    spec: dict[str, Any] | None = None,
    **meta: Any,
) -> Pod:
    named = [ContainerPort(containerPort=number, name=key, protocol="TCP") for key, number in (ports or {}).items()]
    container = Container(
        name="main", image="server:1", ports=named or None, resources=ResourceRequirements(requests=requests)
    )
    return Pod(
        metadata=metadata(name, owner=owner, labels=labels or {"app": "bee"}, **meta),
        spec=PodSpec(containers=[container], nodeName=node, **(spec or {})),
        status=PodStatus(
            phase=phase,
            podIP=ip,
            conditions=[
                PodCondition(type="Ready", status="True" if ready else "False", lastTransitionTime=ready_since)
            ],
        ),
    )


def service(
    name: str = "bee",
    *,
    ports: tuple[ServicePort, ...] = (ServicePort(port=80, targetPort=8888, protocol="TCP"),),
    selector: dict[str, str] | None = None,
    meta: dict[str, Any] | None = None,
    **spec: Any,
) -> Service:
    spec.setdefault("clusterIP", "None")
    chosen = {"app": "bee"} if selector is None else selector
    return Service(
        metadata=metadata(name, **(meta or {})), spec=ServiceSpec(ports=list(ports), selector=chosen, **spec)
    )


def node(
    name: str = "skerry",
    *,
    ready: bool = True,
    allocatable: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
    **spec: Any,
) -> Node:
    room = {"cpu": "4", "memory": "8Gi", "pods": "110"} if allocatable is None else allocatable
    return Node(
        metadata=metadata(name, namespace=None, labels=labels),
        spec=NodeSpec(**spec),
        status=NodeStatus(
            allocatable=room, conditions=[NodeCondition(type="Ready", status="True" if ready else "False")]
        ),
    )
