"""coordination.k8s.io/v1: Lease. Operators elect their leaders with them, and a node shows with one that it lives.

A kubelet renews its Lease every ten seconds. Here that would be the only write of a box at rest, and would push all
else out of the history; so the node tells when it was last alive when it is asked, and `renewTime` is filled in where
the object is read. What is stored is the time at which the Lease was made.

Facts: k8s.io/kubernetes `pkg/apis/coordination/validation`, `pkg/printers/internalversion`, k8s.io/component-helpers
`apimachinery/lease`.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from lightkube.models import coordination_v1

from skerry.api.cells import AGE_COLUMN, NAME_COLUMN, spec
from skerry.api.checks import Errors, non_negative
from skerry.api.registry import Column, Kind, Object
from skerry.machinery.fielderrors import forbidden, invalid

NODE_LEASES: Final = "kube-node-lease"
NODE_LEASE_SECONDS: Final = 40

# By the name of a node: when it was last alive; None for one that is not here.
Heartbeat = Callable[[str], datetime | None]


def no_heartbeat(_node: str) -> datetime | None:
    """Tell of no node, where there is none."""
    return None


def micro_time(moment: datetime) -> str:
    """Write a moment as Kubernetes' `metav1.MicroTime`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _validate(lease: Object, _old: Object | None) -> Errors:
    wanted = spec(lease)
    seconds = wanted.get("leaseDurationSeconds")
    errors: Errors = []
    if seconds is not None and seconds <= 0:
        errors.append(invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    errors += non_negative("spec.leaseTransitions", wanted.get("leaseTransitions"))
    if wanted.get("preferredHolder") and not wanted.get("strategy"):
        errors.append(forbidden("spec.preferredHolder", "may only be specified when strategy is defined"))
    return errors


LEASE: Final = Kind(
    "coordination.k8s.io",
    "v1",
    "Lease",
    "leases",
    namespaced=True,
    model=coordination_v1.Lease,
    columns=(NAME_COLUMN, Column("Holder", lambda lease, _: spec(lease).get("holderIdentity", "")), AGE_COLUMN),
    validate=_validate,
)


def lease_kind(heartbeat: Heartbeat) -> Kind:
    """Return the kind whose node Leases are renewed by the heartbeat of their node."""

    def renewed(lease: Object) -> Object:
        meta, written = lease["metadata"], spec(lease)
        if meta.get("namespace") != NODE_LEASES or written.get("holderIdentity") != meta["name"]:
            return lease
        alive = heartbeat(meta["name"])
        return lease if alive is None else {**lease, "spec": {**written, "renewTime": micro_time(alive)}}

    return replace(LEASE, from_storage=renewed)
