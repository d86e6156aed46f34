"""What a struct type says about the JSON that it models: which fields, required or not, of which shape.

`msgspec.structs.fields` resolves the string annotations of a whole class at once; that is slow (a millisecond for a pod
spec), so the answer is kept per type. Shapes name the struct of a field without looking into it, so recursive types
(a schema inside a schema) need no care.

Two things of Kubernetes are lost in the types of `lightkube-models`, and found again here: a `resource.Quantity` is a
`str` to Python, so the annotation as it is spelled decides; and maps are bare `dict`s, so a table says what is in them.
"""

import inspect
import types
from collections.abc import Mapping
from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec

Scalar = Literal["boolean", "integer", "number", "string", "time", "quantity"]


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a value: a struct, a list or map of `item`s, one of some scalars, or (all empty) anything."""

    struct: type[msgspec.Struct] | None = None
    list_item: "Shape | None" = None
    map_item: "Shape | None" = None
    scalars: tuple[Scalar, ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """A field by its name in JSON."""

    name: str
    required: bool
    shape: Shape


ANYTHING: Final = Shape()
QUANTITY: Final = Shape(scalars=("quantity",))
TEXTS: Final = Shape(map_item=Shape(scalars=("string",)))
QUANTITIES: Final = Shape(map_item=QUANTITY)

SCALARS: Final[Mapping[type, Scalar]] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    bytes: "string",
    datetime: "time",
}

# What the bare dicts hold, as (struct, field).
MAPS: Final[Mapping[tuple[str, str], Shape]] = {
    **dict.fromkeys(
        (
            ("CSIPersistentVolumeSource", "volumeAttributes"),
            ("CSIVolumeSource", "volumeAttributes"),
            ("ConfigMap", "binaryData"),
            ("ConfigMap", "data"),
            ("LabelSelector", "matchLabels"),
            ("ObjectMeta", "annotations"),
            ("ObjectMeta", "labels"),
            ("PodSpec", "nodeSelector"),
            ("ReplicationControllerSpec", "selector"),
            ("Secret", "data"),
            ("Secret", "stringData"),
            ("ServiceSpec", "selector"),
            ("StorageClass", "parameters"),
        ),
        TEXTS,
    ),
    **dict.fromkeys(
        (
            ("ContainerStatus", "allocatedResources"),
            ("NodeStatus", "allocatable"),
            ("NodeStatus", "capacity"),
            ("PersistentVolumeClaimStatus", "allocatedResources"),
            ("PersistentVolumeClaimStatus", "capacity"),
            ("PersistentVolumeSpec", "capacity"),
            ("PodSpec", "overhead"),
            ("ResourceQuotaSpec", "hard"),
            ("ResourceQuotaStatus", "hard"),
            ("ResourceQuotaStatus", "used"),
            ("ResourceRequirements", "limits"),
            ("ResourceRequirements", "requests"),
            ("VolumeResourceRequirements", "limits"),
            ("VolumeResourceRequirements", "requests"),
        ),
        QUANTITIES,
    ),
}


# Fields of a schema that hold schemas, which the models leave open: as a map, or one.
SCHEMAS_IN_MAPS: Final = frozenset({"definitions", "patternProperties", "properties"})
SCHEMA_ITEMS: Final = "items"


@cache
def fields_of(model: type[msgspec.Struct]) -> Mapping[str, Field]:
    """Return the fields of a struct by their JSON names."""
    return {
        field.encode_name: Field(field.encode_name, field.required, _field_shape(model, field))
        for field in msgspec.structs.fields(model)
    }


@cache
def required_of(model: type[msgspec.Struct]) -> tuple[str, ...]:
    """Return the JSON names of the fields that must be there."""
    return tuple(name for name, field in fields_of(model).items() if field.required)


def _field_shape(model: type[msgspec.Struct], field: msgspec.structs.FieldInfo) -> Shape:
    owner = next(base for base in model.__mro__ if field.name in inspect.get_annotations(base))
    if shape := MAPS.get((owner.__name__, field.encode_name)):
        return shape
    if owner.__name__ == "JSONSchemaProps" and field.encode_name in {*SCHEMAS_IN_MAPS, SCHEMA_ITEMS}:
        own = Shape(struct=owner)
        return own if field.encode_name == SCHEMA_ITEMS else Shape(map_item=own)
    shape = shape_of(field.type)
    spelled = inspect.get_annotations(owner)[field.name]
    if isinstance(spelled, str) and "Quantity" in spelled:
        return Shape(list_item=QUANTITY) if shape.list_item else QUANTITY
    return shape


def shape_of(annotation: Any) -> Shape:
    """Return the shape of a type annotation; `X | None` is `X`, a union of scalars any of them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return shape_of(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        return _union([choice for choice in get_args(annotation) if choice not in {type(None), msgspec.UnsetType}])
    if origin is Literal:
        return _union([type(choice) for choice in get_args(annotation) if choice is not None])
    bare = origin or annotation
    return _class(bare, get_args(annotation)) if isinstance(bare, type) else ANYTHING


def _class(bare: type, arguments: tuple[Any, ...]) -> Shape:
    if issubclass(bare, msgspec.Struct):
        return Shape(struct=bare)
    if bare in SCALARS:
        return Shape(scalars=(SCALARS[bare],))
    if issubclass(bare, Mapping):
        return Shape(map_item=shape_of(arguments[1]) if len(arguments) == 2 else ANYTHING)
    if issubclass(bare, AbstractSequence):
        return Shape(list_item=shape_of(arguments[0]) if arguments else ANYTHING)
    return ANYTHING


def _union(choices: list[Any]) -> Shape:
    shapes = {shape_of(choice): None for choice in choices}
    if len(shapes) == 1:
        return next(iter(shapes))
    scalars = tuple(scalar for shape in shapes for scalar in shape.scalars)
    return Shape(scalars=scalars) if len(scalars) == len(shapes) else ANYTHING
