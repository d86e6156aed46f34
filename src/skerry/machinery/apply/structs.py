"""The ownership schema of struct types.

The types say what is a struct, a list or a map; `ApplyRules` say what they cannot: which lists have keys, which are
sets, which structs and maps are atomic. A list without a rule is atomic, a map or struct without one is not.

Rules name a class and a field of it, and hold for its subclasses, so the kinds that extend Kubernetes' own structs (a
predictor is a PodSpec) need no rules of their own. Only what an empty Go object has is said of one class alone: a
custom resource is no Go object, and what it does not have is not there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from skerry.machinery.apply.schema import (
    ANYTHING,
    Keyed,
    Leaf,
    ListOf,
    MapOf,
    Node,
    SetOf,
    Struct,
)
from skerry.machinery.structs import Shape, fields_of


@dataclass(frozen=True, slots=True)
class FieldRule:
    """How one field is owned: a list by `keys` (with the value of an absent one) or as a set, anything as a whole."""

    keys: tuple[tuple[str, Any], ...] = ()
    a_set: bool = False
    atomic: bool = False


GRANULAR: Final = FieldRule()
SET: Final = FieldRule(a_set=True)
WHOLE: Final = FieldRule(atomic=True)


def keyed(*names: str, **defaults: Any) -> FieldRule:
    """Make the rule of a list whose items are told apart by some fields; an absent one counts as its Go zero value."""
    return FieldRule(keys=tuple((name, defaults.get(name, "")) for name in names))


@dataclass(frozen=True)
class ApplyRules:
    """Rules by (class, JSON name of the field), the atomic classes, and the fields that an empty Go object has."""

    fields: Mapping[tuple[str, str], FieldRule] = field(default_factory=dict)
    atomic: frozenset[str] = frozenset()
    zero: frozenset[tuple[str, str]] = frozenset()


class Schemas:
    """The nodes of struct types under some rules, each made once."""

    def __init__(self, rules: ApplyRules) -> None:
        self._rules = rules
        self._structs: dict[type[msgspec.Struct], Struct] = {}
        self._leaves: dict[Shape, Leaf] = {}

    def of(self, model: type[msgspec.Struct]) -> Struct:
        """Return the node of a struct type."""
        node = self._structs.get(model)
        if node is None:
            zero = frozenset(name for owner, name in self._rules.zero if owner == model.__name__)
            node = self._structs[model] = Struct(lambda: self._fields(model), zero=zero)
        return node

    def _fields(self, model: type[msgspec.Struct]) -> Mapping[str, Node]:
        return {name: self._field(model, name, found.shape) for name, found in fields_of(model).items()}

    def _field(self, model: type[msgspec.Struct], name: str, shape: Shape) -> Node:
        for base in model.__mro__:
            if (rule := self._rules.fields.get((base.__name__, name))) is not None:
                return self._ruled(rule, shape)
        return self._node(shape)

    def _ruled(self, rule: FieldRule, shape: Shape) -> Node:
        if shape.list_item is not None and rule.keys:
            return Keyed(self._node(shape.list_item), rule.keys)
        if shape.list_item is not None and rule.a_set:
            return SetOf(self._node(shape.list_item))
        inner = self._inner(shape)
        return Leaf(inner=inner) if rule.atomic else inner

    def _node(self, shape: Shape) -> Node:
        if shape.scalars:
            if shape not in self._leaves:
                self._leaves[shape] = Leaf(shape.scalars)
            return self._leaves[shape]
        inner = self._inner(shape)
        atomic = isinstance(inner, ListOf) or (shape.struct is not None and self._is_atomic(shape.struct))
        return Leaf(inner=inner) if atomic else inner

    def _inner(self, shape: Shape) -> Node:
        if shape.struct is not None:
            return self.of(shape.struct)
        if shape.list_item is not None:
            return ListOf(self._node(shape.list_item))
        return MapOf(self._node(shape.map_item)) if shape.map_item is not None else ANYTHING

    def _is_atomic(self, model: type[msgspec.Struct]) -> bool:
        return any(base.__name__ in self._rules.atomic for base in model.__mro__)
