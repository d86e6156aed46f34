"""The ReplicaSets of a Deployment as its revisions: which one is the present template, how a new one is made.

The present revision is found by comparing templates, never by its hash, so the way the hash is made may change. Facts:
Kubernetes `pkg/controller/deployment/util/deployment_util.go`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec
from lightkube.models.apps_v1 import ReplicaSetSpec
from lightkube.models.core_v1 import PodTemplateSpec
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta
from lightkube.resources.apps_v1 import Deployment, ReplicaSet

from skerry.api.wellknown import DESIRED_REPLICAS_ANNOTATION as DESIRED
from skerry.api.wellknown import LAST_APPLIED_ANNOTATION
from skerry.api.wellknown import MAX_REPLICAS_ANNOTATION as MAXIMUM
from skerry.api.wellknown import POD_TEMPLATE_HASH_LABEL as HASH_LABEL
from skerry.api.wellknown import REVISION_ANNOTATION as REVISION
from skerry.cluster.controllers.deployment.fenceposts import Bounds, bounds
from skerry.cluster.controllers.deployment.sizes import Size
from skerry.cluster.controllers.ownership import controller_reference, deleting, meta, name_of

HISTORY: Final = "deployment.kubernetes.io/revision-history"
_NOT_COPIED: Final = frozenset(
    {LAST_APPLIED_ANNOTATION, "deprecated.deployment.rollback.to", REVISION, HISTORY, DESIRED, MAXIMUM}
)
# No vowels and no digits that look like letters, so that no hash spells a word.
_ALPHABET: Final = "bcdfghjklmnpqrstvwxz2456789"
_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Revisions:
    """A Deployment's ReplicaSets: the one of the present template (None before it is made) and the others by age."""

    new: ReplicaSet | None
    old: tuple[ReplicaSet, ...]

    @property
    def all(self) -> tuple[ReplicaSet, ...]:
        return self.old if self.new is None else (*self.old, self.new)


def sort_out(deployment: Deployment, replica_sets: Sequence[ReplicaSet]) -> Revisions:
    """Tell the present revision from the old ones; of two with the present template the older one counts."""
    by_age = sorted(replica_sets, key=lambda item: (meta(item).creationTimestamp or _BEGINNING, name_of(item)))
    new = next((item for item in by_age if same_template(deployment, item)), None)
    return Revisions(new, tuple(item for item in by_age if item is not new))


def sizes_of(revisions: Revisions) -> tuple[Size | None, list[Size]]:
    """Return the sizes of the new and of the old ReplicaSets."""
    by_age = sorted(revisions.all, key=lambda item: (meta(item).creationTimestamp or _BEGINNING, name_of(item)))
    rank = {name_of(item): place for place, item in enumerate(by_age)}
    sizes = {name_of(item): _size(item, rank[name_of(item)]) for item in revisions.all}
    new = sizes[name_of(revisions.new)] if revisions.new is not None else None
    return new, [sizes[name_of(item)] for item in revisions.old]


def replicas_of(item: ReplicaSet) -> int:
    """Return how many pods the ReplicaSet is to have."""
    return 1 if item.spec.replicas is None else item.spec.replicas


def revision_of(item: ReplicaSet) -> int:
    """Return the revision number, 0 where there is none that can be read."""
    return number(meta(item).annotations, REVISION) or 0


def number(annotations: Mapping[str, str] | None, key: str) -> int | None:
    """Read an annotation that holds a number."""
    text = (annotations or {}).get(key, "")
    return int(text) if text.isascii() and text.isdigit() else None


def scale_annotations(limits: Bounds) -> dict[str, str]:
    """Return what is recorded on a ReplicaSet whenever it is scaled."""
    return {DESIRED: str(limits.desired), MAXIMUM: str(limits.maximum)}


def present_annotations(deployment: Deployment, revisions: Revisions) -> dict[str, str]:
    """Return the annotations that the new ReplicaSet lacks: the Deployment's and a revision above all old ones.

    A ReplicaSet that was an old revision and is the present one again gets a new number; its former ones are kept in
    the history.
    """
    wanted = {key: text for key, text in (meta(deployment).annotations or {}).items() if key not in _NOT_COPIED}
    has = (meta(revisions.new).annotations or {}) if revisions.new is not None else {}
    former = number(has, REVISION)
    latest = max((revision_of(item) for item in revisions.old), default=0) + 1
    if former is None or former < latest:
        wanted[REVISION] = str(latest)
        if former is not None:
            wanted[HISTORY] = ",".join(filter(None, [has.get(HISTORY, ""), str(former)]))
    return {key: text for key, text in wanted.items() if has.get(key) != text}


def new_replica_set(deployment: Deployment, revisions: Revisions, replicas: int) -> ReplicaSet:
    """Make the ReplicaSet of the present template."""
    spec = deployment.spec
    collisions = deployment.status.collisionCount if deployment.status else None
    digest = template_hash(spec.template, collisions)
    labels = {**((spec.template.metadata.labels if spec.template.metadata else None) or {}), HASH_LABEL: digest}
    annotations = present_annotations(deployment, revisions) | scale_annotations(bounds(deployment))
    selector = LabelSelector(
        matchLabels={**(spec.selector.matchLabels or {}), HASH_LABEL: digest},
        matchExpressions=spec.selector.matchExpressions,
    )
    return ReplicaSet(
        metadata=ObjectMeta(
            name=f"{name_of(deployment)}-{digest}",
            namespace=meta(deployment).namespace,
            labels=labels,
            annotations=annotations,
            ownerReferences=[controller_reference(deployment)],
        ),
        spec=ReplicaSetSpec(
            selector=selector,
            replicas=replicas,
            minReadySeconds=spec.minReadySeconds,
            template=_labelled(spec.template, labels),
        ),
    )


def same_template(deployment: Deployment, item: ReplicaSet) -> bool:
    """Tell whether the ReplicaSet makes the Deployment's present pods."""
    return _bare(item.spec.template) == _bare(deployment.spec.template)


def outdated(deployment: Deployment, old: Sequence[ReplicaSet]) -> tuple[ReplicaSet, ...]:
    """Return the old revisions beyond `revisionHistoryLimit` that have no pods left, oldest revision first."""
    limit = deployment.spec.revisionHistoryLimit
    alive = [item for item in old if not deleting(item)]
    surplus = len(alive) - (10 if limit is None else limit)
    if surplus <= 0:
        return ()
    oldest = sorted(alive, key=revision_of)[:surplus]
    return tuple(item for item in oldest if _spent(item))


def template_hash(template: PodTemplateSpec, collisions: int | None) -> str:
    """Return the short name of a template: FNV-1a over its JSON, in letters that spell nothing."""
    digest = 0x811C9DC5
    for byte in msgspec.json.encode([_bare(template), collisions], order="deterministic"):
        digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in str(digest).encode())


def _size(item: ReplicaSet, rank: int) -> Size:
    replicas = replicas_of(item)
    annotations = meta(item).annotations
    return Size(
        name=name_of(item),
        rank=rank,
        replicas=replicas,
        available=min(replicas, (item.status.availableReplicas if item.status else None) or 0),
        recorded_maximum=number(annotations, MAXIMUM) or 0,
        recorded_desired=number(annotations, DESIRED),
    )


def _spent(item: ReplicaSet) -> bool:
    status = item.status
    observed = (status.observedGeneration if status else None) or 0
    present = status.replicas if status else 0
    return not replicas_of(item) and not present and observed >= (meta(item).generation or 0)


def _bare(template: PodTemplateSpec | None) -> PodTemplateSpec | None:
    if template is None or template.metadata is None or HASH_LABEL not in (template.metadata.labels or {}):
        return template
    labels = {key: text for key, text in (template.metadata.labels or {}).items() if key != HASH_LABEL}
    return _labelled(template, labels)


def _labelled(template: PodTemplateSpec, labels: dict[str, str]) -> PodTemplateSpec:
    metadata = msgspec.structs.replace(template.metadata or ObjectMeta(), labels=labels)
    return msgspec.structs.replace(template, metadata=metadata)
