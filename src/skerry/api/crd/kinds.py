"""From a definition to the kinds that it makes: one for each version that is served.

All versions share one stored object, in the fields of the storage version; another version is the same object with
another apiVersion. What is stored may be older than the schema, so it is pruned and completed whenever it is read.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from skerry.api.crd.columns import columns_of
from skerry.api.custom import Custom, CustomResource, CustomSchema
from skerry.api.registry import ALL_VERBS, Kind, Object, ScalePaths
from skerry.machinery.fielderrors import FieldError
from skerry.machinery.jsonpath import names_of
from skerry.machinery.structural.validating import errors_of
from skerry.machinery.versions import priority

# Gives out the schema of one version of the definition, by the version's name.
SchemaOf = Callable[[str], CustomSchema]


def kinds_of(definition: Object, schema_of: SchemaOf) -> tuple[Kind, ...]:
    """Return the kinds of a definition whose names are accepted."""
    versions = sorted(
        (version for version in definition["spec"]["versions"] if version.get("served")),
        key=lambda version: priority(version["name"]),
        reverse=True,
    )
    return tuple(_kind(definition, version, versions, schema_of) for version in versions)


def _kind(definition: Object, version: Object, served: Sequence[Object], schema_of: SchemaOf) -> Kind:
    spec, meta = definition["spec"], definition["metadata"]
    names = definition["status"]["acceptedNames"]
    group, name = spec["group"], version["name"]
    schema = partial(schema_of, name)
    storage = next(each["name"] for each in spec["versions"] if each.get("storage"))
    subresources = version.get("subresources") or {}
    api_version = f"{group}/{name}"
    return Kind(
        group=group,
        version=name,
        kind=names["kind"],
        plural=names["plural"],
        namespaced=spec["scope"] == "Namespaced",
        model=CustomResource,
        columns=columns_of(version.get("additionalPrinterColumns") or ()),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        # What is on its way out takes no new objects.
        verbs=tuple(verb for verb in ALL_VERBS if verb != "create" or not meta.get("deletionTimestamp")),
        subresources=tuple(sub for sub in ("scale", "status") if subresources.get(sub) is not None),
        scale=_scale(subresources.get("scale")),
        default=partial(_complete, schema),
        validate=partial(_validate, schema),
        to_storage=partial(_as_version, f"{group}/{storage}"),
        from_storage=partial(_read, schema, api_version),
        deprecated=_deprecation(definition, version, served),
        custom=Custom(
            definition=meta["name"],
            schema=schema,
            versions=frozenset(f"{group}/{each['name']}" for each in spec["versions"]),
            fingerprint=f"{meta.get('uid')}/{meta.get('generation')}/{name}",
            list_kind=names.get("listKind") or f"{names['kind']}List",
            singular=names.get("singular") or names["kind"].lower(),
            selectable=frozenset(each["jsonPath"].removeprefix(".") for each in version.get("selectableFields") or []),
        ),
    )


def _complete(schema: Callable[[], CustomSchema], item: Object) -> None:
    completed = schema().completed(item)
    item.clear()
    item.update(completed)


def _validate(schema: Callable[[], CustomSchema], new: Object, old: Object | None) -> list[FieldError]:
    known = schema().schema
    # What the server keeps of metadata is not the schema's business, but for the name.
    return errors_of(new, known) if old is None else errors_of(new, known, old)


def _as_version(api_version: str, item: Object) -> Object:
    return {**item, "apiVersion": api_version}


def _read(schema: Callable[[], CustomSchema], api_version: str, stored: Object) -> Object:
    return {**schema().completed(stored), "apiVersion": api_version}


def _scale(paths: Object | None) -> ScalePaths | None:
    if paths is None:
        return None
    selector = paths.get("labelSelectorPath")
    return ScalePaths(
        names_of(paths["specReplicasPath"]),
        names_of(paths["statusReplicasPath"]),
        names_of(selector) if selector else None,
    )


def _deprecation(definition: Object, version: Object, served: Iterable[Object]) -> str:
    """Return the warning for a deprecated version; it names the newest one that is at least as stable."""
    if not version.get("deprecated"):
        return ""
    if text := version.get("deprecationWarning"):
        return str(text)
    group, kind, own = definition["spec"]["group"], definition["spec"]["names"]["kind"], priority(version["name"])
    better = [each["name"] for each in served if not each.get("deprecated") and priority(each["name"]) > own]
    replacement = f"; use {group}/{better[0]} {kind}" if better else ""
    return f"{group}/{version['name']} {kind} is deprecated{replacement}"
