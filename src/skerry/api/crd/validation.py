"""What a definition must be.

The schema is the dear part, so it is looked at only when the spec has changed: a new status or a finalizer that goes
costs nothing. The checks of one version's schema are those of `machinery.structural.rules`.

Facts: k8s.io/apiextensions-apiserver `pkg/apis/apiextensions/validation/validation.go`.
"""

from collections.abc import Collection, Iterator
from typing import Final

from skerry.api.checks import Errors, named, one_of, unchanged
from skerry.api.registry import Object
from skerry.machinery.fielderrors import FieldError, forbidden, invalid, required
from skerry.machinery.jsonpath import JsonPath, JsonPathError, names_of
from skerry.machinery.names import is_dns1035_label, is_dns1123_subdomain
from skerry.machinery.structural.rules import remarks_on, schema_errors

_COLUMN_TYPES: Final = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS: Final = ("binary", "byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_PROTECTED: Final = (".k8s.io", ".kubernetes.io")
_APPROVAL: Final = "api-approved.kubernetes.io"
_SELECTABLE: Final = 8
_LONGEST_WARNING: Final = 256
_NOT_EVALUATED: Final = (
    "x-kubernetes-validations: CEL rules are stored and not evaluated here; objects that break them are accepted"
)


def validate(new: Object, old: Object | None, *, native: Collection[str] = ()) -> Errors:
    """Check a definition; `native` are the names of those that define what is built in here anyway."""
    spec, before = new["spec"], (old or {}).get("spec")
    if spec == before:
        return []
    wanted = f"{(spec.get('names') or {}).get('plural')}.{spec.get('group')}"
    errors: Errors = []
    if new["metadata"].get("name") != wanted:
        name = new["metadata"].get("name", "")
        errors.append(invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    errors += [*_group(new), *one_of("spec.scope", spec.get("scope"), ("Cluster", "Namespaced"))]
    errors += [*_names(spec.get("names") or {}), *_versions(spec)]
    if wanted not in native:
        errors += _conversion(spec)
    if spec.get("preserveUnknownFields"):
        why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        errors.append(invalid("spec.preserveUnknownFields", True, why))
    if before is not None:
        errors += unchanged("spec.group", spec.get("group"), before.get("group"))
        errors += unchanged("spec.scope", spec.get("scope"), before.get("scope"))
        for name in ("plural", "kind"):
            errors += unchanged(f"spec.names.{name}", spec["names"].get(name), before["names"].get(name))
        errors += _stored_versions(new)
    return errors


def warn(new: Object, old: Object | None, *, native: Collection[str] = ()) -> list[str]:
    """Say what of a definition is kept and not acted upon."""
    spec = new["spec"]
    if new["metadata"].get("name") in native:
        return []  # the built-in rules of these kinds are none of the definition's
    if old is not None and old.get("spec") == spec:
        return []
    warnings: list[str] = []
    for _, schema in _schemas(spec):
        remarks = remarks_on(schema or {})
        if remarks.has_rules and _NOT_EVALUATED not in warnings:
            warnings.append(_NOT_EVALUATED)
        warnings += [f"pattern {text!r} cannot be read here and is not checked" for text in remarks.unread_patterns]
    if (spec.get("conversion") or {}).get("strategy") == "Webhook":
        warnings.append("spec.conversion: no webhook is called here; the one version needs no conversion")
    return warnings


def _group(item: Object) -> Iterator[FieldError]:
    group = item["spec"].get("group") or ""
    yield from named("spec.group", group, is_dns1123_subdomain)
    if group and not is_dns1123_subdomain(group) and "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")
    approved = (item["metadata"].get("annotations") or {}).get(_APPROVAL, "")
    if f".{group}".endswith(_PROTECTED) and not approved.startswith(("https://", "unapproved")):
        why = (
            'protected groups must have approval annotation "api-approved.kubernetes.io", '
            "see https://github.com/kubernetes/enhancements/pull/1111"
        )
        yield required("metadata.annotations[api-approved.kubernetes.io]", why)


def _names(names: Object) -> Iterator[FieldError]:
    for field in ("plural", "singular", "kind", "listKind"):
        name = names.get(field) or ""
        place, mixed = f"spec.names.{field}", field in {"kind", "listKind"}
        if not name:
            yield required(place)
        elif wrong := is_dns1035_label(name.lower() if mixed else name):
            lead = "may have mixed case, but should otherwise match: " if mixed else ""
            yield invalid(place, name, lead + ",".join(wrong))
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        yield invalid("spec.names.listKind", names["listKind"], "kind and listKind may not be the same")
    for field in ("shortNames", "categories"):
        for index, name in enumerate(names.get(field) or []):
            if wrong := is_dns1035_label(name):
                yield invalid(f"spec.names.{field}[{index}]", name, ",".join(wrong))


def _versions(spec: Object) -> Iterator[FieldError]:
    versions = spec.get("versions") or []
    shown = [{key: version.get(key) for key in ("name", "served", "storage")} for version in versions]
    for index, version in enumerate(versions):
        yield from _version(version, f"spec.versions[{index}]")
    if len({version.get("name") for version in versions}) < len(versions):
        yield invalid("spec.versions", shown, "must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield invalid("spec.versions", shown, "must have exactly one version marked as storage version")
    for path, schema in _schemas(spec):
        if schema is None:
            yield required(path, "schemas are required")
        else:
            yield from schema_errors(schema, path)


def _schemas(spec: Object) -> Iterator[tuple[str, Object | None]]:
    for index, version in enumerate(spec.get("versions") or []):
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        yield f"spec.versions[{index}].schema.openAPIV3Schema", schema if isinstance(schema, dict) else None


def _version(version: Object, path: str) -> Iterator[FieldError]:
    name = version.get("name") or ""
    if wrong := is_dns1035_label(name):
        yield invalid(f"{path}.name", name, ",".join(wrong))
    if (text := version.get("deprecationWarning")) is not None:
        yield from _deprecation(text, f"{path}.deprecationWarning", deprecated=bool(version.get("deprecated")))
    for index, column in enumerate(version.get("additionalPrinterColumns") or []):
        yield from _column(column, f"{path}.additionalPrinterColumns[{index}]")
    scale = (version.get("subresources") or {}).get("scale")
    if scale is not None:
        yield from _scale(scale, f"{path}.subresources.scale")
    selectable = version.get("selectableFields") or []
    if len(selectable) > _SELECTABLE:
        why = f"must have at most {_SELECTABLE} items"
        yield invalid(f"{path}.selectableFields", len(selectable), why)
    for index, field in enumerate(selectable):
        yield from _simple(field.get("jsonPath"), f"{path}.selectableFields[{index}].jsonPath")


def _deprecation(text: str, path: str, *, deprecated: bool) -> Iterator[FieldError]:
    if not deprecated:
        yield invalid(path, text, "can only be set for deprecated versions")
    elif not text:
        yield invalid(path, text, "must not be an empty string")
    elif len(text) > _LONGEST_WARNING:
        yield invalid(path, text, f"must be <= {_LONGEST_WARNING} characters long")
    elif not text.isprintable():
        index = next(place for place, char in enumerate(text) if not char.isprintable())
        why = f"must only contain printable UTF-8 characters; non-printable character found at index {index}"
        yield invalid(path, text, why)


def _column(column: Object, path: str) -> Iterator[FieldError]:
    kind, form, where = column.get("type"), column.get("format"), column.get("jsonPath") or ""
    if not column.get("name"):
        yield required(f"{path}.name")
    if not kind:
        yield required(f"{path}.type", f"must be one of {','.join(_COLUMN_TYPES)}")
    elif kind not in _COLUMN_TYPES:
        yield invalid(f"{path}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}")
    if form and form not in _COLUMN_FORMATS:
        yield invalid(f"{path}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}")
    if not where:
        yield required(f"{path}.jsonPath")
    elif not where.startswith("."):
        yield invalid(f"{path}.jsonPath", where, "must be a simple json path starting with .")
    else:
        try:
            JsonPath(where)
        except JsonPathError as error:
            yield invalid(f"{path}.jsonPath", where, f"unrecognized identifier: {error}")


def _scale(scale: Object, path: str) -> Iterator[FieldError]:
    for field, roots in (("specReplicasPath", (".spec.",)), ("statusReplicasPath", (".status.",))):
        yield from _simple(scale.get(field), f"{path}.{field}", roots)
    if scale.get("labelSelectorPath"):
        yield from _simple(scale["labelSelectorPath"], f"{path}.labelSelectorPath", (".spec.", ".status."))


def _simple(where: str | None, path: str, roots: tuple[str, ...] = (".",)) -> Iterator[FieldError]:
    if not where:
        yield required(path)
        return
    try:
        names_of(where)
    except JsonPathError as error:
        yield invalid(path, where, str(error))
        return
    if not where.startswith(roots):
        yield invalid(path, where, f"should be a json path under {' or '.join(root[:-1] for root in roots)}")


def _conversion(spec: Object) -> Iterator[FieldError]:
    conversion = spec.get("conversion") or {}
    strategy = conversion.get("strategy")
    yield from one_of("spec.conversion.strategy", strategy, ("None", "Webhook"))
    if strategy == "Webhook":
        if conversion.get("webhook") is None:
            yield required("spec.conversion.webhook", "required when strategy is set to Webhook")
        if len(spec.get("versions") or []) > 1:
            why = (
                "conversion webhooks are not called here: keep one version in spec.versions, "
                "or set the strategy to None where the versions have the same fields"
            )
            yield forbidden("spec.conversion.strategy", why)
    elif conversion.get("webhook") is not None:
        yield forbidden("spec.conversion.webhook", "should not be set when strategy is not set to Webhook")


def _stored_versions(item: Object) -> Iterator[FieldError]:
    present = {version.get("name") for version in item["spec"].get("versions") or []}
    for index, name in enumerate((item.get("status") or {}).get("storedVersions") or []):
        if name not in present:
            yield invalid(f"status.storedVersions[{index}]", name, "must appear in spec.versions")
