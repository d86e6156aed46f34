"""The loop of a Deployment: reads its ReplicaSets, asks for a plan, writes it.

ReplicaSets are changed only at the resourceVersion that the plan has seen. A plan made from a stale cache therefore
fails with a conflict and is made again, instead of shrinking twice.
"""

from collections.abc import Callable

import msgspec
from lightkube import ApiError, AsyncClient
from lightkube.models.apps_v1 import DeploymentStatus
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from lightkube.resources.core_v1 import Pod

from skerry.api.wellknown import REVISION_ANNOTATION
from skerry.cluster.controllers.adoption import settle
from skerry.cluster.controllers.deployment.fenceposts import recreates
from skerry.cluster.controllers.deployment.plan import Plan, Update, plan
from skerry.cluster.controllers.deployment.revisions import replicas_of, same_template
from skerry.cluster.controllers.deployment.status import creation_failed
from skerry.cluster.controllers.ownership import (
    claim,
    controlled_by,
    controller_of,
    labels_of,
    meta,
    name_of,
)
from skerry.cluster.controllers.writes import delete, message_of, namespace_ends, patch, patch_status
from skerry.kit.clock import Clock
from skerry.kit.log import logger
from skerry.machinery.selectors import EVERYTHING, label_selector
from skerry.reconcile import Again, Cache, Controller, Key, Manager, Recorder
from skerry.reconcile.controller import owner_key

log = logger(__name__)


class DeploymentController:
    """Keeps one ReplicaSet for each revision of a Deployment."""

    def __init__(self, manager: Manager, client: AsyncClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._events = Recorder(client, clock, "deployment-controller")
        self._deployments: Cache[Deployment] = manager.caches.of(Deployment)
        self._replica_sets: Cache[ReplicaSet] = manager.caches.of(ReplicaSet)
        self._pods: Cache[Pod] = manager.caches.of(Pod)
        controller = Controller("deployment", self.reconcile)
        controller.watch(self._deployments)
        controller.watch(self._replica_sets, owner_key("Deployment"))
        controller.watch(self._replica_sets, self._of_orphan)
        controller.watch(self._pods, self._of_old_pod)
        manager.add(controller)

    async def reconcile(self, key: Key) -> Again | None:
        """Make one move of the Deployment's roll-out."""
        deployment = self._deployments.get(key.namespace, key.name)
        if deployment is None:
            return None
        selector = label_selector(deployment.spec.selector)
        if selector == EVERYTHING:
            message = "This deployment is selecting all pods. A non-empty selector is required."
            await self._events.warning(deployment, "SelectingAll", message)
            return None
        claimed = claim(deployment, selector, self._replica_sets.in_namespace(key.namespace))
        await settle(self._client, deployment, claimed)
        pods = self._pods.in_namespace(key.namespace) if recreates(deployment) else []
        planned = plan(deployment, (*claimed.owned, *claimed.adopt), pods, self._clock.now())
        return await self._apply(deployment, planned)

    async def _apply(self, deployment: Deployment, planned: Plan) -> Again | None:
        if planned.create is not None and not await self._create(deployment, planned.create):
            return None
        for update in planned.updates:
            await self._update(update)
        await patch_status(self._client, deployment, planned.status)
        if planned.revision is not None:
            body = {"metadata": {"annotations": {REVISION_ANNOTATION: planned.revision}}}
            # Through the status: an annotation written the other way is a new generation.
            await patch(self._client, deployment, body, kind=Deployment.Status)
        await self._tell(deployment, planned)
        for item in planned.delete:
            log.info("old replica set deleted", replica_set=name_of(item), namespace=meta(item).namespace)
            await delete(self._client, item)
        return Again(planned.again) if planned.again is not None else None

    async def _create(self, deployment: Deployment, wanted: ReplicaSet) -> bool:
        try:
            await self._client.create(wanted)
        except ApiError as error:
            await self._creation_failed(deployment, wanted, error)
            return False
        return True

    async def _creation_failed(self, deployment: Deployment, wanted: ReplicaSet, error: ApiError) -> None:
        if error.status.reason == "AlreadyExists":
            await self._resolve_collision(deployment, name_of(wanted))
        elif not namespace_ends(error):
            status = creation_failed(deployment, name_of(wanted), message_of(error), self._clock.now())
            await patch_status(self._client, deployment, status)
            message = f'Failed to create new replica set "{name_of(wanted)}": {message_of(error)}'
            await self._events.warning(deployment, "ReplicaSetCreateError", message)
            raise error  # tried again after a growing delay

    async def _resolve_collision(self, deployment: Deployment, name: str) -> None:
        """Tell our own ReplicaSet, which the cache does not show yet, from another template with the same hash."""
        present = await self._client.get(ReplicaSet, name, namespace=meta(deployment).namespace)
        if controlled_by(present, deployment) and same_template(deployment, present):
            return
        status = deployment.status or DeploymentStatus()
        counted = msgspec.structs.replace(status, collisionCount=(status.collisionCount or 0) + 1)
        await patch_status(self._client, deployment, counted)

    async def _update(self, update: Update) -> None:
        spec = {"replicas": update.replicas, "minReadySeconds": update.min_ready_seconds}
        body = {
            "metadata": {"annotations": dict(update.annotations)},
            "spec": {field: value for field, value in spec.items() if value is not None},
        }
        await patch(self._client, update.replica_set, body, only_if_unchanged=True)

    async def _tell(self, deployment: Deployment, planned: Plan) -> None:
        changes = [(each.replica_set, replicas_of(each.replica_set), each.replicas) for each in planned.updates]
        if planned.create is not None:
            changes.append((planned.create, 0, replicas_of(planned.create)))
        for item, before, after in changes:
            if after is not None and after != before:
                direction = "up" if after > before else "down"
                message = f"Scaled {direction} replica set {name_of(item)} from {before} to {after}"
                await self._events.normal(deployment, "ScalingReplicaSet", message)

    def _of_orphan(self, item: ReplicaSet) -> list[Key]:
        if controller_of(item) is not None:
            return []
        return self._keys(
            meta(item).namespace, lambda each: label_selector(each.spec.selector).matches(labels_of(item))
        )

    def _of_old_pod(self, pod: Pod) -> list[Key]:
        owner = controller_of(pod)
        if owner is None or owner.kind != "ReplicaSet":
            return []
        item = self._replica_sets.get(meta(pod).namespace or "", owner.name)
        if item is None:
            return []
        return self._keys(meta(pod).namespace, lambda each: recreates(each) and controlled_by(item, each))

    def _keys(self, namespace: str | None, wanted: Callable[[Deployment], bool]) -> list[Key]:
        found = self._deployments.in_namespace(namespace or "")
        return [Key(namespace or "", name_of(each)) for each in found if wanted(each)]
