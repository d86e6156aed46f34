"""What a kind that a CustomResourceDefinition made has beside what every kind has.

Its schema is not kept: KServe's are a megabyte of JSON each, ten times that in Python. `Custom.schema` gives it out
decoded, from a small cache or read again; whoever asks lets go of it with the request.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec
from lightkube.models.meta_v1 import ObjectMeta

from skerry.api.apply_keys import SCHEMAS
from skerry.machinery import strict
from skerry.machinery.apply.jsonschema import schema_of
from skerry.machinery.apply.schema import Node, Struct
from skerry.machinery.strict import Problem
from skerry.machinery.structural.defaulting import defaulted
from skerry.machinery.structural.pruning import pruned, unknown


class CustomResource(msgspec.Struct):
    """All that is known of a custom resource without its schema."""

    apiVersion: str | None = None  # noqa: N815 - the wire's name
    kind: str | None = None
    metadata: ObjectMeta | None = None


_COMMON: Final[dict[str, Node]] = {}


def _common() -> dict[str, Node]:
    if not _COMMON:
        _COMMON.update(SCHEMAS.of(CustomResource).fields)
    return _COMMON


@dataclass(frozen=True)
class CustomSchema:
    """The decoded schema of one version of a kind."""

    schema: dict[str, Any]

    @cached_property
    def node(self) -> Struct:
        """How server-side apply owns the fields."""
        return schema_of(self.schema, _common())

    def completed(self, item: dict[str, Any]) -> dict[str, Any]:
        """Return the object without unknown fields and with its defaults."""
        known: dict[str, Any] = defaulted(pruned(item, self.schema), self.schema)
        return known

    def problems(self, item: dict[str, Any]) -> Iterator[Problem]:
        """Yield unknown fields, and metadata of a wrong type: all else is a matter of validation."""
        yield from strict.problems({"metadata": item.get("metadata")}, CustomResource)
        for path in unknown(item, self.schema):
            yield Problem("unknown", path)


@dataclass(frozen=True)
class Custom:
    """What only custom kinds have. `versions` are the apiVersions that share one stored object."""

    definition: str
    schema: Callable[[], CustomSchema]
    versions: frozenset[str]
    fingerprint: str
    list_kind: str
    singular: str
    selectable: frozenset[str] = frozenset()
