"""Which resource a person means: a kind of ours without asking, any other by the server's discovery.

    crontabs, crontab, CronTab, ct          plural, singular, kind, short name; in any case
    crontabs.stable.example.com             with its group, where two groups have the name
    crontabs.v1.stable.example.com          with a version too

A kind of ours comes before a custom one that has the same name, as with kubectl.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import click

from skerry.api.kinds import REGISTRY
from skerry.api.registry import Kind
from skerry.cli.api import Api

# One answer for all groups where the server can, else the list of groups that every server has.
_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


@dataclass(frozen=True)
class Resource:
    """What requests and output need to know of a kind."""

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    namespaced: bool

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The name in output: `inferenceservice.serving.kserve.io`."""
        return f"{self.singular}.{self.group}" if self.group else self.singular

    def is_called(self, word: str) -> bool:
        """Tell whether a word in lower case means this resource."""
        names = {self.plural, self.singular, self.kind.lower()}
        with_group = {f"{name}.{self.group}" for name in names}
        with_version = {f"{name}.{self.version}.{self.group}" for name in names}
        return word in names | with_group | with_version | set(self.short_names)


class Resources:
    """The resources of one server, which is asked only for kinds that are not ours."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._found: list[Resource] = []

    def named(self, word: str) -> Resource:
        """Find what a person typed; raises kubectl's error for an unknown kind."""
        kind = REGISTRY.by_short_name(word)
        found = _resource(kind) if kind else self._first(lambda resource: resource.is_called(word.lower()))
        if found is None:
            raise _unknown(word)
        return found

    def of(self, item: dict[str, Any]) -> Resource:
        """Find the resource of an object; raises kubectl's error for one that is not served."""
        version, name = str(item.get("apiVersion")), str(item.get("kind"))
        kind = REGISTRY.by_kind(version, name)
        found = _resource(kind) if kind else self._first(lambda one: (one.api_version, one.kind) == (version, name))
        if found is None:
            raise click.ClickException(
                f'no matches for kind "{name}" in version "{version}"; `kubectl api-resources` lists what is served'
            )
        return found

    def _first(self, is_meant: Callable[[Resource], bool]) -> Resource | None:
        found = next(filter(is_meant, self._found), None)
        if found is None:  # not asked yet, or made since: one file may hold a definition and its objects
            self._found = [resource for root in ("/api", "/apis") for resource in self._below(root)]
            found = next(filter(is_meant, self._found), None)
        return found

    def _below(self, root: str) -> Iterator[Resource]:
        answer = self._api.request("GET", root, accept=_AGGREGATED)
        if answer.get("kind") == "APIGroupDiscoveryList":
            yield from _aggregated(answer)
            return
        versions = [f"{root}/{version}" for version in answer.get("versions") or []]
        groups = answer.get("groups") or []
        versions += [f"{root}/{version['groupVersion']}" for group in groups for version in group["versions"]]
        for path in versions:
            yield from _listed(self._api.request("GET", path))


def resource_named(word: str) -> Resource:
    """Find one of our own kinds; raises kubectl's error for any other."""
    kind = REGISTRY.by_short_name(word)
    if kind is None:
        raise _unknown(word)
    return _resource(kind)


def _unknown(word: str) -> click.ClickException:
    return click.ClickException(f'the server doesn\'t have a resource type "{word}"')


def path_of(resource: Resource, namespace: str | None, name: str | None = None) -> str:
    """Return the URL path of an object or a collection."""
    prefix = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
    middle = f"/namespaces/{namespace}" if resource.namespaced and namespace else ""
    return f"{prefix}{middle}/{resource.plural}" + (f"/{name}" if name else "")


def _resource(kind: Kind) -> Resource:
    return Resource(
        kind.group, kind.version, kind.kind, kind.plural, kind.singular, tuple(kind.short_names), kind.namespaced
    )


def _aggregated(document: dict[str, Any]) -> Iterator[Resource]:
    for group in document["items"]:
        for version in group["versions"]:
            for one in version.get("resources") or []:
                kind, plural = (one.get("responseKind") or {}).get("kind", ""), one["resource"]
                yield Resource(
                    (group.get("metadata") or {}).get("name", ""),
                    version["version"],
                    kind,
                    plural,
                    one.get("singularResource") or kind.lower(),
                    tuple(one.get("shortNames") or ()),
                    one.get("scope") == "Namespaced",
                )


def _listed(document: dict[str, Any]) -> Iterator[Resource]:
    group, _, version = document["groupVersion"].rpartition("/")
    for one in document["resources"]:
        if "/" not in one["name"]:  # no sub-resource
            short = tuple(one.get("shortNames") or ())
            singular = one.get("singularName") or one["kind"].lower()
            yield Resource(group, version, one["kind"], one["name"], singular, short, bool(one["namespaced"]))
