"""Owner references: whose is this object, and who may claim it.

A controller owns what names it as the *controlling* owner, by uid. An object that no controller owns and that matches
the selector is an orphan: it is adopted. An owned object whose labels match no longer is released.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from lightkube.models.meta_v1 import ObjectMeta, OwnerReference

from skerry.machinery.selectors import LabelSelector

R = TypeVar("R", bound=Any)


def meta(item: Any) -> ObjectMeta:
    """Return the metadata of an object that came from the API, where it is never missing."""
    metadata: ObjectMeta | None = item.metadata
    assert metadata is not None
    return metadata


def name_of(item: Any) -> str:
    """Return the name of an object that came from the API."""
    return meta(item).name or ""


def labels_of(item: Any) -> dict[str, str]:
    """Return the labels, {} where there are none."""
    return meta(item).labels or {}


def deleting(item: Any) -> bool:
    """Tell whether somebody asked for the object's deletion."""
    return meta(item).deletionTimestamp is not None


def controller_of(item: Any) -> OwnerReference | None:
    """Return the one owner that controls the object."""
    return next((owner for owner in meta(item).ownerReferences or [] if owner.controller), None)


def controlled_by(item: Any, owner: Any) -> bool:
    """Tell whether exactly this owner (not one of the same name) controls the object."""
    reference = controller_of(item)
    return reference is not None and reference.uid == meta(owner).uid


def controller_reference(owner: Any) -> OwnerReference:
    """Make the reference with which an owner controls what it creates."""
    definition = type(owner)._api_info.resource  # noqa: SLF001 - lightkube has no other name for it
    return OwnerReference(
        apiVersion=definition.api_version,
        kind=definition.kind,
        name=name_of(owner),
        uid=meta(owner).uid or "",
        controller=True,
        blockOwnerDeletion=True,
    )


@dataclass(frozen=True)
class Claim(Generic[R]):
    """What an owner has, what it should take and what it should let go."""

    owned: tuple[R, ...]
    adopt: tuple[R, ...]
    release: tuple[R, ...]


def claim(owner: Any, selector: LabelSelector, items: Iterable[R]) -> Claim[R]:
    """Sort the objects of the owner's namespace; an owner that is being deleted takes and releases nothing."""
    owned: list[R] = []
    adopt: list[R] = []
    release: list[R] = []
    for item in items:
        matching = selector.matches(labels_of(item))
        if controlled_by(item, owner):
            if matching:
                owned.append(item)
            elif not deleting(owner) and not deleting(item):
                release.append(item)
        elif matching and controller_of(item) is None and not deleting(owner) and not deleting(item):
            adopt.append(item)
    return Claim(tuple(owned), tuple(adopt), tuple(release))
