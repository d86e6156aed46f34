"""Any history of new versions, new sizes and failing pods ends in the wanted state; plans are written into objects."""

from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from lightkube.models.apps_v1 import ReplicaSetStatus
from lightkube.resources.apps_v1 import Deployment, ReplicaSet
from tests.controllers.builders import NOW, deployment, template

from skerry.cluster.controllers.deployment.plan import plan
from skerry.cluster.controllers.deployment.revisions import replicas_of
from skerry.cluster.controllers.ownership import meta, name_of

REVISION = "deployment.kubernetes.io/revision"


@settings(deadline=None, max_examples=60)
@given(
    replicas=st.integers(0, 6),
    surge=st.sampled_from([0, 1, 3, "25%", "100%"]),
    unavailable=st.sampled_from([0, 1, "25%", "50%"]),
    moves=st.lists(
        st.one_of(
            st.tuples(st.just("image"), st.integers(1, 3)),
            st.tuples(st.just("size"), st.integers(0, 6)),
            st.tuples(st.just("fail"), st.integers(0, 5)),
            st.tuples(st.just("wait"), st.integers(0, 3)),
        ),
        max_size=12,
    ),
    recreate=st.booleans(),
)
def test_any_history_of_changes_ends_in_the_wanted_state(
    replicas: int, surge: int | str, unavailable: int | str, moves: list[tuple[str, int]], *, recreate: bool
) -> None:
    bee = deployment(replicas=replicas, surge=surge, unavailable=unavailable, recreate=recreate)
    world = _Cluster(bee)
    for what, number in moves:
        world.move(what, number)
        world.turn(available=False)
    for _ in range(80):
        world.turn(available=True)
    wanted = world.deployment.spec.replicas
    alive = [item for item in world.sets.values() if replicas_of(item)]
    assert [wanted] * bool(wanted) == [replicas_of(item) for item in alive]
    assert all(item.spec.template and item.spec.template == _with(item, world.deployment) for item in alive)
    status = plan(world.deployment, list(world.sets.values()), [], NOW).status
    assert "NewReplicaSetAvailable" in [each.reason for each in status.conditions or []]
    revisions = [int((meta(item).annotations or {})[REVISION]) for item in world.sets.values()]
    assert len(set(revisions)) == len(revisions)
    assert str(max(revisions)) == (meta(world.deployment).annotations or {})[REVISION]


def _with(item: ReplicaSet, owner: Deployment) -> Any:
    metadata = msgspec.structs.replace(meta(owner.spec.template), labels=meta(item).labels)
    return msgspec.structs.replace(owner.spec.template, metadata=metadata)


class _Cluster:
    """Writes plans into objects and plays the ReplicaSet controller."""

    def __init__(self, owner: Deployment) -> None:
        self.deployment = owner
        self.sets: dict[str, ReplicaSet] = {}

    def move(self, what: str, number: int) -> None:
        spec = self.deployment.spec
        match what:
            case "image":
                self._replace(msgspec.structs.replace(spec, template=template(f"server:{number}")))
            case "size":
                self._replace(msgspec.structs.replace(spec, replicas=number))
            case "fail":
                for item in self.sets.values():
                    assert item.status is not None
                    item.status.availableReplicas = max(0, (item.status.availableReplicas or 0) - number)

    def _replace(self, spec: Any) -> None:
        self.deployment = msgspec.structs.replace(self.deployment, spec=spec)

    def turn(self, *, available: bool) -> None:
        planned = plan(self.deployment, list(self.sets.values()), [], NOW)
        if planned.create is not None:
            name = name_of(planned.create)
            assert name not in self.sets
            age = NOW + timedelta(seconds=len(self.sets))
            made = msgspec.structs.replace(meta(planned.create), creationTimestamp=age, uid=name, generation=1)
            self.sets[name] = msgspec.structs.replace(planned.create, metadata=made, status=ReplicaSetStatus(0))
        for update in planned.updates:
            item = self.sets[name_of(update.replica_set)]
            annotations = (meta(item).annotations or {}) | dict(update.annotations)
            self.sets[name_of(item)] = msgspec.structs.replace(
                item,
                metadata=msgspec.structs.replace(meta(item), annotations=annotations),
                spec=msgspec.structs.replace(
                    item.spec, replicas=replicas_of(item) if update.replicas is None else update.replicas
                ),
            )
        for item in planned.delete:
            del self.sets[name_of(item)]
        annotations = meta(self.deployment).annotations or {}
        if planned.revision is not None:
            annotations = {**annotations, REVISION: planned.revision}
        metadata = msgspec.structs.replace(meta(self.deployment), annotations=annotations)
        self.deployment = msgspec.structs.replace(self.deployment, metadata=metadata, status=planned.status)
        self._report(available=available)

    def _report(self, *, available: bool) -> None:
        for item in self.sets.values():
            size, before = replicas_of(item), (item.status.availableReplicas if item.status else 0) or 0
            up = size if available else min(size, before)
            item.status = ReplicaSetStatus(size, readyReplicas=up, availableReplicas=up, observedGeneration=1)
