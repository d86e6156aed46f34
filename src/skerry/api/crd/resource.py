"""How controllers see definitions, and the objects of the kinds that they make, through lightkube.

Both are read with the few fields that matter to somebody who deletes: the schema of a definition, or the spec of an
object, would only fill caches. What is written back is a patch, so nothing that was not read is lost.
"""
# ruff: noqa: N815 - the fields have the names of the wire

import types
from typing import Any, ClassVar, Final

from lightkube.core import resource
from lightkube.core.dictmixin import DictMixin
from lightkube.models.meta_v1 import Condition, ObjectMeta

from skerry.api.crd import GROUP, PLURAL, VERSION

_VERBS: Final = ["delete", "deletecollection", "get", "list", "patch", "post", "put", "watch"]
_EVERYWHERE: Final = ["global_list", "global_watch"]
_DEFINITION: Final = resource.ResourceDef(GROUP, VERSION, "CustomResourceDefinition")


class Names(DictMixin):
    """What the kind is called."""

    plural: str
    kind: str


class Version(DictMixin):
    """One version of the kind."""

    name: str
    served: bool = False
    storage: bool = False


class Spec(DictMixin):
    """A definition without its schemas."""

    group: str
    scope: str
    names: Names
    versions: list[Version]


class Status(DictMixin):
    """What became of a definition."""

    conditions: list[Condition] | None = None


class _Definition(DictMixin):
    spec: Spec
    apiVersion: str | None = None
    kind: str | None = None
    metadata: ObjectMeta | None = None
    status: Status | None = None

    def __post_init__(self) -> None:
        self.apiVersion, self.kind = f"{GROUP}/{VERSION}", "CustomResourceDefinition"


class CustomResourceDefinitionStatus(resource.GlobalSubResource, _Definition):
    """The status of a definition, as lightkube reaches it."""

    _api_info = resource.ApiInfo(
        resource=_DEFINITION, parent=_DEFINITION, plural=PLURAL, verbs=["get", "patch", "put"], action="status"
    )


class CustomResourceDefinition(resource.GlobalResource, _Definition):
    """A definition."""

    _api_info = resource.ApiInfo(resource=_DEFINITION, plural=PLURAL, verbs=_VERBS)
    Status: ClassVar = CustomResourceDefinitionStatus


class _Object(DictMixin):
    apiVersion: str | None = None
    kind: str | None = None
    metadata: ObjectMeta | None = None


def resource_of(definition: CustomResourceDefinition) -> type[Any] | None:
    """Make the class of a definition's objects, in the version that is stored; None when no version is served."""
    spec = definition.spec
    served = [version for version in spec.versions if version.served]
    if not served:
        return None
    version = next((each for each in served if each.storage), served[0])
    namespaced = spec.scope == "Namespaced"
    info = resource.ApiInfo(
        resource=resource.ResourceDef(spec.group, version.name, spec.names.kind),
        plural=spec.names.plural,
        verbs=[*_VERBS, *(_EVERYWHERE if namespaced else [])],
    )
    base = resource.NamespacedResourceG if namespaced else resource.GlobalResource
    return types.new_class(spec.names.kind, (base, _Object), exec_body=lambda names: names.update(_api_info=info))
