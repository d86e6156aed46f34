"""What a struct type says about the JSON that it models: which fields, required or not, of which shape.

`msgspec.structs.fields` resolves the string annotations of a whole class at once; that is slow (a millisecond for a pod
spec), so the answer is kept per type. Shapes name the struct of a field without looking into it, so recursive types
(a schema inside a schema) need no care.
"""

import types
from collections.abc import Mapping
from collections.abc import Sequence as AbstractSequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of a value: a struct, a list or map of `item`s, or (all None) anything else."""

    struct: type[msgspec.Struct] | None = None
    list_item: "Shape | None" = None
    map_item: "Shape | None" = None


@dataclass(frozen=True, slots=True)
class Field:
    """A field by its name in JSON."""

    name: str
    required: bool
    shape: Shape


ANYTHING = Shape()


@cache
def fields_of(model: type[msgspec.Struct]) -> Mapping[str, Field]:
    """Return the fields of a struct by their JSON names."""
    return {
        field.encode_name: Field(field.encode_name, field.required, shape_of(field.type))
        for field in msgspec.structs.fields(model)
    }


def shape_of(annotation: Any) -> Shape:
    """Return the shape of a type annotation; `X | None` is `X`, any other union is anything."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return shape_of(get_args(annotation)[0])
    if origin in {Union, types.UnionType}:
        choices = [choice for choice in get_args(annotation) if choice not in {type(None), msgspec.UnsetType}]
        return shape_of(choices[0]) if len(choices) == 1 else ANYTHING
    bare = origin or annotation
    if not isinstance(bare, type):
        return ANYTHING
    arguments = get_args(annotation)
    if issubclass(bare, msgspec.Struct):
        return Shape(struct=bare)
    if issubclass(bare, Mapping):
        return Shape(map_item=shape_of(arguments[1]) if len(arguments) == 2 else ANYTHING)
    if issubclass(bare, AbstractSequence) and not issubclass(bare, (str, bytes)):
        return Shape(list_item=shape_of(arguments[0]) if arguments else ANYTHING)
    return ANYTHING
