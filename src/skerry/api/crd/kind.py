"""CustomResourceDefinition as a served kind."""

from collections.abc import Iterable
from functools import partial
from typing import Final

from lightkube.models.apiextensions_v1 import CustomResourceDefinition

from skerry.api.cells import NAME_COLUMN
from skerry.api.crd import GROUP, PLURAL, VERSION
from skerry.api.crd.validation import validate, warn
from skerry.api.filling import branch, fill
from skerry.api.registry import Column, Kind, Object

_COLUMNS: Final = (
    NAME_COLUMN,
    Column("Created At", lambda item, _: item["metadata"].get("creationTimestamp"), type="date"),
)


def _default(item: Object) -> None:
    own = branch(item, "spec")
    names = branch(own, "names")
    if kind := names.get("kind"):
        fill(names, singular=str(kind).lower(), listKind=f"{kind}List")
    fill(own, conversion={"strategy": "None"})


def definition_kind(native: Iterable[Kind]) -> Kind:
    """Make the kind; definitions of `native` kinds are stored and change nothing."""
    names = frozenset(kind.group_resource for kind in native)
    return Kind(
        GROUP,
        VERSION,
        "CustomResourceDefinition",
        PLURAL,
        namespaced=False,
        model=CustomResourceDefinition,
        columns=_COLUMNS,
        short_names=("crd", "crds"),
        categories=("api-extensions",),
        subresources=("status",),
        default=_default,
        validate=partial(validate, native=names),
        warn=partial(warn, native=names),
    )
