"""What a rule of a role allows, and whether rules hold everything that others give: RBAC without any I/O.

Facts: k8s.io/component-helpers `auth/rbac/validation`, kubernetes `pkg/apis/rbac/v1` (evaluation and compaction).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

ALL: Final = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """A PolicyRule: about resources, or about paths when it has `urls`."""

    verbs: tuple[str, ...]
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    @classmethod
    def read(cls, rule: Mapping[str, Any]) -> "Rule":
        """Read a PolicyRule as JSON has it."""
        return cls(
            tuple(rule.get("verbs") or ()),
            tuple(rule.get("apiGroups") or ()),
            tuple(rule.get("resources") or ()),
            tuple(rule.get("resourceNames") or ()),
            tuple(rule.get("nonResourceURLs") or ()),
        )

    def written(self) -> dict[str, list[str]]:
        """Return the PolicyRule as JSON has it."""
        parts = {
            "verbs": self.verbs,
            "apiGroups": self.groups,
            "resources": self.resources,
            "resourceNames": self.names,
            "nonResourceURLs": self.urls,
        }
        return {key: list(values) for key, values in parts.items() if values}

    def __str__(self) -> str:
        parts = (
            ("APIGroups", self.groups),
            ("Resources", self.resources),
            ("NonResourceURLs", self.urls),
            ("ResourceNames", self.names),
            ("Verbs", self.verbs),
        )
        return "{" + ", ".join(f"{name}:{quoted(values)}" for name, values in parts if values) + "}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to do: with a resource, or with a `path` that is none. `namespace` "" means all or none."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def rules_of(role: Mapping[str, Any]) -> tuple[Rule, ...]:
    """Read the rules of a Role or ClusterRole."""
    return tuple(Rule.read(rule) for rule in role.get("rules") or ())


def allows(rule: Rule, asked: Asked) -> bool:
    """Say whether one rule is enough for what is asked."""
    if not _has(rule.verbs, asked.verb):
        return False
    if asked.path:
        return any(_url_matches(url, asked.path) for url in rule.urls)
    return (
        _has(rule.groups, asked.group)
        and _resource_matches(rule.resources, asked)
        and (not rule.names or asked.name in rule.names)
    )


def missing(held: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """Return the parts of `wanted` that `held` does not give: each about one verb of one thing."""
    found: list[Rule] = []
    for rule in wanted:
        if not any(_covers(one, rule) for one in held):
            found += [part for part in _parts(rule) if not any(_covers(one, part) for one in held)]
    return found


def compacted(rules: Iterable[Rule]) -> list[Rule]:
    """Join rules that differ in their verbs only."""
    verbs: dict[Rule, list[str]] = {}
    for rule in rules:
        known = verbs.setdefault(Rule((), rule.groups, rule.resources, rule.names, rule.urls), [])
        known += [verb for verb in rule.verbs if verb not in known]
    return [Rule(tuple(known), rule.groups, rule.resources, rule.names, rule.urls) for rule, known in verbs.items()]


def quoted(values: Iterable[str]) -> str:
    """Write a list as Go's `%q` does."""
    return "[" + " ".join(_quote(value) for value in values) + "]"


def _quote(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _has(values: Collection[str], value: str) -> bool:
    return value in values or ALL in values


def _resource_matches(resources: Collection[str], asked: Asked) -> bool:
    if _has(resources, asked.full_resource):
        return True
    return bool(asked.subresource) and f"*/{asked.subresource}" in resources


def _url_matches(url: str, path: str) -> bool:
    return url in {ALL, path} or (url.endswith(ALL) and path.startswith(url.rstrip(ALL)))


def _covers(held: Rule, wanted: Rule) -> bool:
    return (
        (not held.names or (bool(wanted.names) and _all(held.names, wanted.names)))
        and (ALL in held.verbs or _all(held.verbs, wanted.verbs))
        and (ALL in held.groups or _all(held.groups, wanted.groups))
        and all(_covers_resource(held.resources, resource) for resource in wanted.resources)
        and all(any(_url_matches(url, asked) for url in held.urls) for asked in wanted.urls)
    )


def _covers_resource(held: Collection[str], wanted: str) -> bool:
    subresource = wanted.partition("/")[2]
    return _has(held, wanted) or (bool(subresource) and f"*/{subresource}" in held)


def _all(held: Collection[str], wanted: Iterable[str]) -> bool:
    return all(value in held for value in wanted)


def _parts(rule: Rule) -> Iterator[Rule]:
    for url in rule.urls:
        for verb in rule.verbs:
            yield Rule((verb,), urls=(url,))
    for group in rule.groups:
        for resource in rule.resources:
            for verb in rule.verbs:
                if rule.names:
                    yield from (Rule((verb,), (group,), (resource,), (name,)) for name in rule.names)
                else:
                    yield Rule((verb,), (group,), (resource,))
