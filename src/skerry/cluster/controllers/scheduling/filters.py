"""Why a node cannot take a pod. Each check stands for one of the scheduler's plugins and uses its words.

The checks run in the scheduler's order, and as there only the first one that fails speaks for a node. Left out are
affinity between pods, topology spread, and host ports (every pod has an address of its own). Facts: Kubernetes
`pkg/scheduler/framework/plugins` of 1.35.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from lightkube.models.core_v1 import NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration
from lightkube.resources.core_v1 import Node

from skerry.cluster.controllers.ownership import meta, name_of
from skerry.cluster.controllers.scheduling.demand import NOTHING, Amounts, amounts, requested
from skerry.machinery.selectors import OPERATORS, Requirement

_NOT_READY: Final = Taint(key="node.kubernetes.io/not-ready", effect="NoSchedule")
_NODE_OPERATORS: Final = {**OPERATORS, "Gt": "gt", "Lt": "lt"}
_CORDONED: Final = Taint(key="node.kubernetes.io/unschedulable", effect="NoSchedule")


@dataclass(frozen=True)
class Refusal:
    """One node's reasons. `hopeless` when evicting other pods would not help."""

    reasons: tuple[str, ...]
    hopeless: bool = True


@dataclass(frozen=True)
class Place:
    """A node and what its pods hold."""

    node: Node
    used: Amounts


def refusal(spec: PodSpec, place: Place) -> Refusal | None:
    """Return why the node cannot take the pod, None when it can."""
    for check in _CHECKS:
        found = check(spec, place)
        if found is not None:
            return found
    return None


def unschedulable(refusals: Sequence[Refusal]) -> str:
    """Write the scheduler's message for a pod that no node takes."""
    if not refusals:
        return "no nodes available to schedule pods"
    counted: dict[str, int] = {}
    for each in refusals:
        for reason in each.reasons:
            counted[reason] = counted.get(reason, 0) + 1
    why = ", ".join(sorted(f"{count} {reason}" for reason, count in counted.items()))
    return _message(len(refusals), why, sum(each.hopeless for each in refusals))


def rejected(why: str, nodes: int) -> str:
    """Write the message for a pod that could run on no node at all, whatever the nodes are like."""
    return _message(nodes, why, nodes) if nodes else unschedulable(())


def ready(node: Node) -> bool:
    """Tell whether the node says that it can run pods."""
    conditions = (node.status.conditions if node.status else None) or []
    return any(each.type == "Ready" and each.status == "True" for each in conditions)


def _message(nodes: int, why: str, hopeless: int) -> str:
    outlook = (
        (nodes - hopeless, "No preemption victims found for incoming pod"),
        (hopeless, "Preemption is not helpful for scheduling"),
    )
    rest = ", ".join(f"{count} {text}" for count, text in outlook if count)
    head = f"0/{nodes} nodes are available: "
    return f"{head}{why}. no new claims to deallocate, preemption: {head}{rest}."


def _cordoned(spec: PodSpec, place: Place) -> Refusal | None:
    if place.node.spec and place.node.spec.unschedulable and not _tolerated(spec, _CORDONED):
        return Refusal(("node(s) were unschedulable",))
    return None


def _named(spec: PodSpec, place: Place) -> Refusal | None:
    if spec.nodeName and spec.nodeName != name_of(place.node):
        return Refusal(("node(s) didn't match the requested node name",))
    return None


def _tainted(spec: PodSpec, place: Place) -> Refusal | None:
    taints = list((place.node.spec.taints if place.node.spec else None) or [])
    if not ready(place.node):
        taints.append(_NOT_READY)
    if any(taint.effect in {"NoSchedule", "NoExecute"} and not _tolerated(spec, taint) for taint in taints):
        return Refusal(("node(s) had untolerated taint(s)",))
    return None


def _mismatched(spec: PodSpec, place: Place) -> Refusal | None:
    labels = meta(place.node).labels or {}
    affinity = spec.affinity.nodeAffinity if spec.affinity else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity else None
    matching = (spec.nodeSelector or {}).items() <= labels.items()
    if required is not None:
        fields = {"metadata.name": name_of(place.node)}
        matching = matching and any(_fits(term, labels, fields) for term in required.nodeSelectorTerms)
    return None if matching else Refusal(("node(s) didn't match Pod's node affinity/selector",))


def _too_small(spec: PodSpec, place: Place) -> Refusal | None:
    room = amounts(place.node.status.allocatable if place.node.status else None)
    reasons: list[str] = []
    hopeless = False
    for name, amount in sorted(requested(spec).items()):
        has = room.get(name)
        if has is None and name in {"pods", "ephemeral-storage"}:
            continue  # a node that does not say has no limit of these
        has = has or NOTHING
        if amount and amount > has - place.used.get(name, NOTHING):
            reasons.append("Too many pods" if name == "pods" else f"Insufficient {name}")
            hopeless = hopeless or amount > has
    return Refusal(tuple(reasons), hopeless) if reasons else None


_CHECKS: Final[tuple[Callable[[PodSpec, Place], Refusal | None], ...]] = (
    _cordoned,
    _named,
    _tainted,
    _mismatched,
    _too_small,
)


def _tolerated(spec: PodSpec, taint: Taint) -> bool:
    return any(_tolerates(toleration, taint) for toleration in spec.tolerations or [])


def _tolerates(toleration: Toleration, taint: Taint) -> bool:
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator == "Exists":
        return True
    return bool(toleration.key) and (toleration.value or "") == (taint.value or "")


def _fits(term: NodeSelectorTerm, labels: Mapping[str, str], fields: Mapping[str, str]) -> bool:
    expressions, names = term.matchExpressions or [], term.matchFields or []
    if not expressions and not names:
        return False  # an empty term matches no node
    return all(_meets(each, labels) for each in expressions) and all(_meets(each, fields) for each in names)


def _meets(requirement: NodeSelectorRequirement, values: Mapping[str, str]) -> bool:
    operator, wanted = _NODE_OPERATORS.get(requirement.operator), tuple(requirement.values or ())
    if operator is None or (operator in {"gt", "lt"} and len(wanted) != 1):
        return False
    return Requirement(requirement.key, operator, wanted).matches(values)
