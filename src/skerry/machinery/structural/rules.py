"""What makes a schema structural, and so fit for a CustomResourceDefinition: the checks of Kubernetes, in its words.

    every field, item and map value has a type, and no field has both properties and additionalProperties
    below allOf, anyOf, oneOf and not there are limits only, on fields that are declared outside of them
    defaults are valid and pruned; patterns can be read; list types and map types fit what they mark

Facts: k8s.io/apiextensions-apiserver `pkg/apis/apiextensions/validation`, `pkg/apiserver/schema/validation.go`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from skerry.machinery.fielderrors import FieldError, forbidden, invalid, not_supported, required
from skerry.machinery.re2 import PatternError, UnsupportedPattern, compiled
from skerry.machinery.structural import (
    EMBEDDED,
    INT_OR_STRING,
    LIST_MAP_KEYS,
    LIST_TYPE,
    MAP_TYPE,
    PRESERVE,
    RULES,
    TYPE_META,
    Schema,
    items_of,
    properties_of,
    values_of,
)
from skerry.machinery.structural.defaulting import defaulted
from skerry.machinery.structural.listtypes import list_type_errors
from skerry.machinery.structural.pruning import unknown
from skerry.machinery.structural.shape import shape_errors
from skerry.machinery.structural.validating import errors_of

Level = Literal["root", "item", "field"]

_TYPES: Final = ("array", "boolean", "integer", "number", "object", "string")
_NOT_SUPPORTED: Final = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_UNTYPED: Final[Mapping[Level, str]] = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}
_INT_OR_STRING_CHOICE: Final = [{"type": "integer"}, {"type": "string"}]
# What may not stand below the logic of a schema, and what is said of it there.
_GENERIC: Final = {
    "type": "must be empty to be structural",
    "additionalProperties": "must be undefined to be structural",
    "default": "must be undefined to be structural",
    "title": "must be empty to be structural",
    "description": "must be empty to be structural",
    "nullable": "must be false to be structural",
    "externalDocs": "must be undefined to be structural",
    PRESERVE: "must be false to be structural",
    EMBEDDED: "must be false to be structural",
    INT_OR_STRING: "must be false to be structural",
    LIST_MAP_KEYS: "must be empty to be structural",
    LIST_TYPE: "must be undefined to be structural",
    MAP_TYPE: "must be undefined to be structural",
    RULES: "must be empty to be structural",
}


@dataclass
class Remarks:
    """What is in a schema that is stored and not acted upon."""

    has_rules: bool = False
    unread_patterns: list[str] = field(default_factory=list)


def schema_errors(schema: Schema, path: str) -> list[FieldError]:
    """Return what is wrong with the schema of a whole object, which stands at `path` of its definition."""
    if misshapen := list(shape_errors(dict(schema), path)):
        return misshapen
    examiner = _Examiner()
    examiner.look(schema, path, "root")
    errors = examiner.errors
    if schema.get("nullable"):
        errors.append(forbidden(f"{path}.nullable", "nullable cannot be true at the root"))
    # The rest relies on the form of the schema.
    return errors or [*_incomplete(schema, schema, path)] or [*_default_errors(schema, path)]


def remarks_on(schema: Schema) -> Remarks:
    """Return what a schema asks for that is not done here: CEL rules, and patterns with Unicode classes."""
    remarks = Remarks()
    waiting: list[Schema] = [schema]
    while waiting:
        each = waiting.pop()
        remarks.has_rules = remarks.has_rules or bool(each.get(RULES))
        if (pattern := each.get("pattern")) is not None and not _can_be_read(pattern):
            remarks.unread_patterns.append(pattern)
        inner = [*properties_of(each).values(), each.get("items"), each.get("additionalProperties")]
        waiting += [one for one in inner if isinstance(one, dict)]
        waiting += [nested for _, _, nested in _nested(each, "")]
    return remarks


def _can_be_read(pattern: str) -> bool:
    try:
        compiled(pattern)
    except UnsupportedPattern:
        return False
    return True


class _Examiner:
    def __init__(self) -> None:
        self.errors: list[FieldError] = []

    def _say(self, *errors: FieldError) -> None:
        self.errors += errors

    def look(self, schema: Schema, path: str, level: Level, *, no_default: str = "") -> None:
        """Look at a schema outside of any logic, and at all below it."""
        self._keywords(schema, path)
        self._say(*_type_errors(schema, path, level), *list_type_errors(schema, path), *_extension_errors(schema, path))
        if no_default and "default" in schema:
            self._say(forbidden(f"{path}.default", f"must not be set {no_default}"))
        self._say(*_meta_errors(schema, path, level))
        if isinstance(schema.get("items"), dict):
            self.look(items_of(schema), f"{path}.items", "item", no_default=no_default)
        for name, inner in properties_of(schema).items():
            below = f"in top-level {name}" if level == "root" and name in TYPE_META else no_default
            if isinstance(inner, dict):
                self.look(inner, f"{path}.properties[{name}]", "field", no_default=below)
        if (values := values_of(schema)) is not None:
            self.look(values, f"{path}.additionalProperties", "field", no_default=no_default)
        self._logic(schema, path)

    def _keywords(self, schema: Schema, path: str) -> None:
        for name in _NOT_SUPPORTED:
            if schema.get(name):
                self._say(forbidden(f"{path}.{name}", f"{name} is not supported"))
        if schema.get("uniqueItems"):
            why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
            self._say(forbidden(f"{path}.uniqueItems", why))
        if isinstance(schema.get("items"), list):
            self._say(forbidden(f"{path}.items", "items must be a schema object and not an array"))
        if (pattern := schema.get("pattern")) is not None:
            try:
                compiled(pattern)
            except UnsupportedPattern:
                pass  # see `remarks_on`
            except PatternError as error:
                why = f"must be a valid regular expression, but isn't: {error}"
                self._say(invalid(f"{path}.pattern", pattern, why))

    def _logic(self, schema: Schema, path: str) -> None:
        for name, place, nested in _nested(schema, path):
            if name in {"anyOf", "allOf"} and schema.get(INT_OR_STRING) and _is_choice(nested, schema, name):
                continue
            self._limits(nested, place)

    def _limits(self, schema: Schema, path: str) -> None:
        """Look at a schema below logic."""
        self._keywords(schema, path)
        for name, why in _GENERIC.items():
            if name in schema and schema[name] not in (None, False, "", []):
                self._say(forbidden(f"{path}.{name}", why))
        if items := items_of(schema):
            self._limits(items, f"{path}.items")
        for name, inner in properties_of(schema).items():
            place = f"{path}.properties[{name}]"
            if name == "metadata":
                self._say(forbidden(place, "must not be specified in a nested context"))
            self._limits(inner, place)
        for _, place, nested in _nested(schema, path):
            self._limits(nested, place)


def _nested(schema: Schema, path: str) -> Iterator[tuple[str, str, Schema]]:
    for name in ("anyOf", "allOf", "oneOf"):
        for index, nested in enumerate(schema.get(name) or []):
            yield name, f"{path}.{name}[{index}]", nested
    if schema.get("not") is not None:
        yield "not", f"{path}.not", schema["not"]


def _is_choice(nested: Schema, schema: Schema, name: str) -> bool:
    """Say whether this is one of the two ways in which an int-or-string may name its types."""
    if name == "anyOf":
        return bool(schema["anyOf"] == _INT_OR_STRING_CHOICE)
    return nested is schema["allOf"][0] and nested.get("anyOf") == _INT_OR_STRING_CHOICE


def _type_errors(schema: Schema, path: str, level: Level) -> Iterator[FieldError]:
    kind = schema.get("type") or ""
    if kind == "null":
        yield forbidden(f"{path}.type", "type cannot be set to null")
    elif kind and kind not in _TYPES:
        yield not_supported(f"{path}.type", kind, _TYPES)
    if schema.get(EMBEDDED) and kind != "object":
        why = "must be object if x-kubernetes-embedded-resource is true"
        yield invalid(f"{path}.type", kind, why) if kind else required(f"{path}.type", why)
    elif not kind and not schema.get(INT_OR_STRING) and not schema.get(PRESERVE):
        yield required(f"{path}.type", _UNTYPED[level])
    if level == "root" and kind and kind != "object":
        yield invalid(f"{path}.type", kind, "must be object at the root")
    if kind == "array" and not isinstance(schema.get("items"), dict | list):
        yield required(f"{path}.items", "must be specified")


def _extension_errors(schema: Schema, path: str) -> Iterator[FieldError]:
    if schema.get(PRESERVE) is False:
        yield invalid(f"{path}.{PRESERVE}", False, "must be true or undefined")
    for name in (PRESERVE, EMBEDDED):
        if schema.get(INT_OR_STRING) and schema.get(name):
            yield invalid(f"{path}.{name}", True, "must be false if x-kubernetes-int-or-string is true")
    values, named = schema.get("additionalProperties"), properties_of(schema)
    if values is not None and values is not True and named:
        why = "additionalProperties and properties are mutual exclusive"
        yield forbidden(f"{path}.additionalProperties", why)
    if schema.get(EMBEDDED):
        if values is not None:
            why = "must not be used if x-kubernetes-embedded-resource is set"
            yield forbidden(f"{path}.additionalProperties", why)
        if not named and not schema.get(PRESERVE):
            why = (
                "must not be empty if x-kubernetes-embedded-resource is true without "
                "x-kubernetes-preserve-unknown-fields"
            )
            yield required(f"{path}.properties", why)


def _meta_errors(schema: Schema, path: str, level: Level) -> Iterator[FieldError]:
    if level == "root" and schema.get("additionalProperties") is not None:
        yield forbidden(f"{path}.additionalProperties", "must not be used at the root")
    if level != "root" and not schema.get(EMBEDDED):
        return
    named = properties_of(schema)
    for name in ("kind", "apiVersion"):
        if name in named and named[name].get("type") != "string":
            yield invalid(f"{path}.properties[{name}].type", named[name].get("type", ""), "must be string")
    if "metadata" not in named:
        return
    meta: Schema = named["metadata"]
    place = f"{path}.properties[metadata]"
    if meta.get("type") != "object":
        yield invalid(f"{place}.type", meta.get("type", ""), "must be object")
    if level == "root" and not (
        set(meta) <= {"type", "description", "properties"} and set(properties_of(meta)) <= {"name", "generateName"}
    ):
        why = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield forbidden(place, why)


def _incomplete(schema: Schema, outer: Schema, path: str) -> Iterator[FieldError]:
    """Yield the fields that are named below logic only."""
    for _, place, nested in _nested(schema, path):
        yield from _undeclared(nested, outer, place, path)
    for name, inner in properties_of(schema).items():
        yield from _incomplete(inner, inner, f"{path}.properties[{name}]")
    if items := items_of(schema):
        yield from _incomplete(items, items, f"{path}.items")
    if (values := values_of(schema)) is not None:
        yield from _incomplete(values, values, f"{path}.additionalProperties")


def _undeclared(nested: Schema, outer: Schema, place: str, path: str) -> Iterator[FieldError]:
    if items := items_of(nested):
        if declared := items_of(outer):
            yield from _undeclared(items, declared, f"{place}.items", f"{path}.items")
        else:
            yield required(f"{path}.items", f"because it is defined in {place}.items")
    for name, inner in properties_of(nested).items():
        where, named = f"{place}.properties[{name}]", properties_of(outer)
        if name in named:
            yield from _undeclared(inner, named[name], where, f"{path}.properties[{name}]")
        else:
            yield required(f"{path}.properties[{name}]", f"because it is defined in {where}")
    for _, below, deeper in _nested(nested, place):
        yield from _undeclared(deeper, outer, below, path)


def _default_errors(schema: Schema, path: str) -> Iterator[FieldError]:
    if "default" in schema:
        place, default = f"{path}.default", schema["default"]
        for lost in unknown(default, schema, root=False):
            yield invalid(f"{place}.{lost}", default, "must not be an unknown field")
        for error in errors_of(defaulted(default, schema, root=False), schema):
            below = f"{place}.{error.field}" if error.field != "<nil>" else place
            yield FieldError(error.reason, below, error.message)
    for name, inner in properties_of(schema).items():
        yield from _default_errors(inner, f"{path}.properties[{name}]")
    if items := items_of(schema):
        yield from _default_errors(items, f"{path}.items")
    if (values := values_of(schema)) is not None:
        yield from _default_errors(values, f"{path}.additionalProperties")
