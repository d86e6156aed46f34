"""What the API server, the printers and the schema need to know of a kind.

An object travels through the API server as the JSON value that the client sent (`Object`), so unknown fields survive;
`Kind.model` (a `msgspec.Struct`, for built-in kinds the one of `lightkube-models`) says what is well-formed.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from skerry.api.custom import Custom
from skerry.machinery.fielderrors import FieldError
from skerry.machinery.names import NameRule, is_dns1123_subdomain
from skerry.machinery.versions import priority

Object = dict[str, Any]
# Named here because `Column.type` hides the builtin inside the class bodies below.
StructType = type[msgspec.Struct]

ALL_VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
ASK_VERBS: Final = ("get", "list")  # of kinds that are asked and not stored


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`. `priority` 0 is always printed, 1 with `-o wide`."""

    name: str
    cell: Callable[[Object, datetime], Any]
    type: str = "string"
    format: str = ""
    priority: int = 0
    description: str = ""


@dataclass(frozen=True)
class ScalePaths:
    """Where the parts of `autoscaling/v1 Scale` stand in an object that has the sub-resource `scale`.

    The selector is a LabelSelector, or its text as custom resources have it; None for a kind that names no pods.
    """

    replicas: Sequence[str] = ("spec", "replicas")
    status_replicas: Sequence[str] = ("status", "replicas")
    selector: Sequence[str] | None = ("spec", "selector")


def _nothing(_: Object) -> None:
    return None


def _valid(_new: Object, _old: Object | None) -> list[FieldError]:
    return []


@dataclass(frozen=True)
class Kind:
    """One served kind. `default` fills an object in place at each write; `old` objects come with updates only."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    model: StructType
    columns: Sequence[Column]
    short_names: Sequence[str] = ()
    categories: Sequence[str] = ()
    verbs: Sequence[str] = ALL_VERBS
    subresources: Sequence[str] = ()  # "status", "log", "binding"
    scale: ScalePaths | None = None  # with "scale" among the sub-resources
    default: Callable[[Object], None] = _nothing
    # What the server's own admission plugins do to a new object, and keep in a changed one (which comes with the old).
    admit: Callable[[Object, Object | None], None] = field(default=lambda _new, _old: None)
    validate: Callable[[Object, Object | None], list[FieldError]] = _valid
    name_rule: NameRule = is_dns1123_subdomain
    warn: Callable[[Object, Object | None], list[str]] = field(default=lambda _new, _old: [])
    # Events are stored once and served in two groups; all other kinds store what they serve.
    stored_as: tuple[str, str] | None = None  # (group, plural)
    to_storage: Callable[[Object], Object] | None = None
    from_storage: Callable[[Object], Object] | None = None
    # What such an object owns stays when a client deletes it and says nothing of that (jobs, for old clients' sake).
    orphans: bool = False
    # An open kind keeps unknown fields without complaint (status of InferenceService has preserve-unknown-fields).
    open_fields: Sequence[str] = ()
    # What a kind has that a CustomResourceDefinition made.
    custom: Custom | None = None
    # Whether metadata.generation is kept, None for kinds with a status; what of the metadata it counts beside all else.
    generation: bool | None = None
    generation_metadata: Sequence[str] = ()
    deprecated: str = ""  # the warning that every request for this version of the kind gets

    @property
    def singular(self) -> str:
        return self.custom.singular if self.custom else self.kind.lower()

    @property
    def list_kind(self) -> str:
        return self.custom.list_kind if self.custom else self.kind + "List"

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """`inferenceservices.serving.kserve.io`, as errors and messages of kubectl name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def storage_key(self) -> str:
        group, plural = self.stored_as or (self.group, self.plural)
        return f"{group}/{plural}"

    @property
    def built_in(self) -> bool:
        """Kubernetes' own kinds; all others are custom resources on a cluster, which take no strategic patches."""
        return self.custom is None and ("." not in self.group or self.group.endswith(".k8s.io"))

    @property
    def stored(self) -> bool:
        """Tell stored objects from kinds that are only asked: metrics and reviews have no history to watch."""
        return "watch" in self.verbs

    @property
    def has_status(self) -> bool:
        return "status" in self.subresources

    @property
    def counts_generation(self) -> bool:
        """Whether `metadata.generation` counts changes of what is wanted."""
        return self.has_status or self.custom is not None if self.generation is None else self.generation


class Registry:
    """All served kinds, found by resource path or by GroupVersionKind.

    Kinds may come and go while the server runs: `revision` tells whether what was made of them is still right.
    """

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._built_in = tuple(kinds)
        self._defined: dict[str, tuple[Kind, ...]] = {}
        self._listeners: list[Callable[[], None]] = []
        self.revision = 0
        self._index()

    def _index(self) -> None:
        self._kinds = (*self._built_in, *(kind for kinds in self._defined.values() for kind in kinds))
        self._by_plural = {(kind.group, kind.version, kind.plural): kind for kind in self._kinds}
        self._by_kind = {(kind.api_version, kind.kind): kind for kind in self._kinds}
        self.revision += 1

    def define(self, definition: str, kinds: Sequence[Kind]) -> None:
        """Serve the kinds of a definition in place of those that it made before."""
        if kinds:
            self._defined[definition] = tuple(kinds)
        elif self._defined.pop(definition, None) is None:
            return
        self._index()
        for listener in self._listeners:
            listener()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever kinds have come, changed or gone."""
        self._listeners.append(listener)

    def copy(self, *instead: Kind) -> "Registry":
        """Return a registry of the built-in kinds alone, some in another form, which others may be added to."""
        changed = {(kind.api_version, kind.kind): kind for kind in instead}
        return Registry(changed.get((kind.api_version, kind.kind), kind) for kind in self._built_in)

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds)

    def by_plural(self, group: str, version: str, plural: str) -> Kind | None:
        return self._by_plural.get((group, version, plural))

    def by_kind(self, api_version: str, kind: str) -> Kind | None:
        return self._by_kind.get((api_version, kind))

    def by_short_name(self, name: str) -> Kind | None:
        """Find what a person typed: `isvc`, `inferenceservice`, `inferenceservices[.serving.kserve.io]`, any case."""
        wanted = name.lower()
        for kind in self._kinds:
            names = {kind.plural, kind.singular, *kind.short_names, kind.group_resource}
            if wanted in names:
                return kind
        return None

    def groups(self) -> dict[str, list[str]]:
        """Map each group to its versions, in order of registration; those of defined kinds the newest first."""
        groups: dict[str, list[str]] = {}
        for kind in self._kinds:
            versions = groups.setdefault(kind.group, [])
            if kind.version not in versions:
                versions.append(kind.version)
        for group in {kind.group for kinds in self._defined.values() for kind in kinds}:
            groups[group].sort(key=priority, reverse=True)
        return groups
