"""Definitions of the kinds that are built in here and custom resources on a cluster: KServe's and OpenShift's.

They are stored at the first start, so that `kubectl get crd` and whoever asks whether KServe is there find them. Their
schema is open, as in KServe's own minimal definitions: the rules of these kinds are code. Whoever applies the full
definitions over them gets those back from `kubectl get crd`, and nothing else changes.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from skerry.api.crd import GROUP, VERSION
from skerry.api.registry import Kind, Object

_DESCRIPTION: Final = "Served natively: the rules of this kind are built in."


def definitions(kinds: Iterable[Kind]) -> Iterator[Object]:
    """Yield the definition of each kind that is one elsewhere."""
    for kind in kinds:
        if kind.custom is None and not kind.built_in:
            yield _definition(kind)


def _definition(kind: Kind) -> Object:
    names: Object = {
        "plural": kind.plural,
        "singular": kind.singular,
        "kind": kind.kind,
        "listKind": kind.list_kind,
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    if kind.categories:
        names["categories"] = list(kind.categories)
    schema = {"type": "object", "description": _DESCRIPTION, "x-kubernetes-preserve-unknown-fields": True}
    version: Object = {"name": kind.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    if kind.has_status:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.group_resource},
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [version],
        },
    }
