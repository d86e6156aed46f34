"""JSON schemas of structs, as OpenAPI documents of a Kubernetes API server hold them.

A struct becomes one component. Three things that types do not say come from elsewhere: descriptions out of the
docstrings (lightkube's models list their fields as ``* **name** ``type`` - text``), quantities out of the spelling of
an annotation (`resource.Quantity` is a plain `str` to Python), and the values of bare `dict`s from a table below.

OpenAPI 3 and 2 differ in how a reference carries a description and in unions; `Dialect` is that difference.
"""

import inspect
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec
from lightkube.models.apiextensions_v1 import JSONSchemaProps

from skerry.api.merge_keys import MERGE_RULES

Schema = dict[str, Any]
Model = type[msgspec.Struct]

_MODEL_PACKAGES: Final = ("lightkube.models.", "lightkube.resources.")
_MODULES: Final = {
    "meta_v1": "io.k8s.apimachinery.pkg.apis.meta.v1",
    "runtime": "io.k8s.apimachinery.pkg.runtime",
    "version": "io.k8s.apimachinery.pkg.version",
}
QUANTITY: Final = "io.k8s.apimachinery.pkg.api.resource.Quantity"
INT_OR_STRING: Final = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"

_QUANTITY_MAPS: Final = frozenset(
    {"limits", "requests", "overhead", "allocatedResources", "allocatable", "capacity"},
)
_BYTES_MAPS: Final = frozenset({("ConfigMap", "binaryData"), ("Secret", "data")})
_FREE_MAPS: Final = frozenset({"fieldsV1"})

_SCALARS: Final[dict[Any, Schema]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number", "format": "double"},
    bytes: {"type": "string", "format": "byte"},
    datetime: {"type": "string", "format": "date-time"},
}
_PARAMETER: Final = re.compile(r"^ *\* \*\*(?P<name>\w+)\*\* ``[^`]*`` - ", re.MULTILINE)
_PARAMETERS: Final = re.compile(r"^ *\*\*parameters\*\* *$", re.MULTILINE)
_NO_DESCRIPTION: Final = "* **Extends**"  # lightkube's resource classes tell of client methods, not of the object


@dataclass(frozen=True)
class Dialect:
    """Where components live, and whether a reference may have neighbours."""

    refs: str
    version: int

    def reference(self, name: str) -> Schema:
        return {"$ref": self.refs + name}

    def described(self, schema: Schema, description: str) -> Schema:
        """Add a description to the schema of a field."""
        if not description:
            return schema
        if "$ref" in schema and self.version == 3:
            # Neighbours of $ref are ignored in OpenAPI 3.0.
            return {"description": description, "allOf": [schema]}
        return {"description": description, **schema}


V3: Final = Dialect("#/components/schemas/", 3)
V2: Final = Dialect("#/definitions/", 2)


def common_schemas(dialect: Dialect) -> Iterator[tuple[str, Schema]]:
    """Yield the components that stand for no struct."""
    quantity = "A fixed-point number with an optional suffix: 500m, 2, 1Gi."
    either = "A number or a text, such as a port by number or by name."
    if dialect.version == 3:
        yield QUANTITY, {"description": quantity, "oneOf": [{"type": "string"}, {"type": "number"}]}
        yield (
            INT_OR_STRING,
            {"description": either, "format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
        )
    else:
        yield QUANTITY, {"description": quantity, "type": "string"}
        yield INT_OR_STRING, {"description": either, "type": "string", "format": "int-or-string"}


def component_name(model: Model, group: str, version: str) -> str:
    """Name a component: `io.k8s.api.core.v1.Pod`, or `io.kserve.serving.v1beta1.InferenceService` for our own types."""
    module, name = model.__module__, model.__name__.lstrip("_")
    for package in _MODEL_PACKAGES:
        if module.startswith(package):
            last = module.removeprefix(package)
            return f"{_MODULES.get(last) or 'io.k8s.api.' + last.replace('_', '.')}.{name}"
    return f"{'.'.join(reversed(group.split('.')))}.{version}.{name}"


class Components:
    """Schemas of all structs that some structs are made of, each one once."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._names: dict[Model, str] = {}
        self._waiting: list[Model] = []
        self._where = ("", "")

    def add(self, model: Model, group: str, version: str) -> str:
        """Ask for a struct; returns the name of its component."""
        self._where = (group, version)
        return self._name(model)

    def drain(self) -> Iterator[tuple[str, Schema]]:
        """Yield the schemas that were asked for since the last time, and those that they refer to."""
        while self._waiting:
            model = self._waiting.pop()
            yield self._names[model], self._schema(model)

    def _name(self, model: Model) -> str:
        if model not in self._names:
            self._names[model] = component_name(model, *self._where)
            self._waiting.append(model)
        return self._names[model]

    def _schema(self, model: Model) -> Schema:
        description, texts = describe(model)
        spellings = _annotations(model)
        properties: Schema = {}
        required = []
        for field in msgspec.structs.fields(model):
            schema = self._field(model, field, spellings.get(field.name, ""))
            schema = self._dialect.described(schema, texts.get(field.name, ""))
            properties[field.encode_name] = {**schema, **_merge_extensions(model, field.encode_name)}
            if field.required:
                required.append(field.encode_name)
        schema = {"description": description} if description else {}
        schema |= {"type": "object", "properties": properties}
        return schema | ({"required": sorted(required)} if required else {})

    def _field(self, model: Model, field: msgspec.structs.FieldInfo, spelling: str) -> Schema:
        wanted = _without_none(field.type)
        if wanted is str and "Quantity" in spelling:
            return self._dialect.reference(QUANTITY)
        if wanted is dict and not get_args(wanted):
            return self._bare_map(model, field.encode_name)
        if field.encode_name in _QUANTITY_MAPS and get_origin(wanted) is dict:
            return {"type": "object", "additionalProperties": self._dialect.reference(QUANTITY)}
        return self._type(wanted)

    def _bare_map(self, model: Model, name: str) -> Schema:
        if name in _FREE_MAPS:
            return {"type": "object"}
        if model is JSONSchemaProps:
            return {"type": "object", "additionalProperties": self._dialect.reference(self._name(model))}
        if name in _QUANTITY_MAPS:
            return {"type": "object", "additionalProperties": self._dialect.reference(QUANTITY)}
        if any((base.__name__, name) in _BYTES_MAPS for base in model.__mro__):
            return {"type": "object", "additionalProperties": {"type": "string", "format": "byte"}}
        return {"type": "object", "additionalProperties": {"type": "string"}}

    def _type(self, annotation: Any) -> Schema:
        wanted = _without_none(annotation)
        if wanted in _SCALARS:
            return dict(_SCALARS[wanted])
        origin, arguments = get_origin(wanted), get_args(wanted)
        if origin is Annotated:
            return self._type(arguments[0])
        if origin is Literal:
            return {"type": "string", "enum": list(arguments)}
        if origin in {list, tuple} and arguments:
            return {"type": "array", "items": self._type(arguments[0])}
        if origin is dict and len(arguments) == 2 and _without_none(arguments[1]) is not Any:
            return {"type": "object", "additionalProperties": self._type(arguments[1])}
        if wanted is dict or origin is dict or (isinstance(wanted, type) and issubclass(wanted, Mapping)):
            return {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        if origin in {Union, types.UnionType} and set(arguments) == {int, str}:
            return self._dialect.reference(INT_OR_STRING)
        if isinstance(wanted, type) and issubclass(wanted, msgspec.Struct):
            return self._dialect.reference(self._name(wanted))
        return {"x-kubernetes-preserve-unknown-fields": True}


def _without_none(annotation: Any) -> Any:
    """Return what is left of a union without None; an absent value is never written as null."""
    if get_origin(annotation) in {Union, types.UnionType}:
        choices = [one for one in get_args(annotation) if one not in {types.NoneType, msgspec.UnsetType}]
        return choices[0] if len(choices) == 1 else Union[tuple(choices)]  # noqa: UP007 - built from values
    return annotation


def _annotations(model: Model) -> dict[str, str]:
    """Return the annotations as they are spelled in the source, where they are."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        found |= {name: str(text) for name, text in inspect.get_annotations(base).items()}
    return found


def _merge_extensions(model: Model, field: str) -> Schema:
    for base in model.__mro__:
        rule = MERGE_RULES.get((base.__name__, field))
        if rule is None:
            continue
        merge = "replace" if rule.replace else "merge" if rule.key or not rule.retain_keys else ""
        strategies = [merge, "retainKeys" if rule.retain_keys else ""]
        extensions = {"x-kubernetes-patch-strategy": ",".join(filter(None, strategies))}
        return extensions | ({"x-kubernetes-patch-merge-key": rule.key} if rule.key else {})
    return {}


def describe(model: Model) -> tuple[str, dict[str, str]]:
    """Return the description of a struct and those of its fields by their Python names."""
    description = ""
    fields: dict[str, str] = {}
    for base in reversed(model.__mro__):
        doc = base.__dict__.get("__doc__")
        if not doc or not issubclass(base, msgspec.Struct) or base is msgspec.Struct:
            continue
        text = inspect.cleandoc(doc)
        head, *rest = _PARAMETERS.split(text, maxsplit=1)
        # The nearest class that says something of the object itself has the last word.
        if base.__module__ != "lightkube.core.dictmixin" and not text.startswith(_NO_DESCRIPTION):
            description = _unwrapped(head)
        if rest:
            parts = _PARAMETER.split(rest[0])
            fields |= {name: _unwrapped(body) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
    return description, fields


def _unwrapped(text: str) -> str:
    """Undo line breaks that only kept the source narrow; lists and paragraphs keep theirs."""
    first, _, rest = text.partition("\n")
    lines = [first.strip(), *inspect.cleandoc("\n" + rest).splitlines()] if rest.strip() else [text.strip()]
    joined: list[str] = []
    for line in lines:
        if joined and joined[-1] and line and not line.startswith((" ", "- ", "* ", "1.", "2.", "3.")):
            joined[-1] += " " + line
        else:
            joined.append(line)
    return "\n".join(joined).strip()
