"""How the values of a kind are owned: as a whole, or part by part.

    Leaf      a scalar, or a list, map or struct that is atomic: one owner, replaced whole
    Struct    declared fields, each with its own owner
    MapOf     any keys, each with its own owner
    Keyed     a list whose items are told apart by the values of some of their fields
    SetOf     a list of distinct scalars
    ANYTHING  no schema: maps are owned by key, all else is a leaf

A `Leaf` still knows what is inside, because an applied configuration is checked all the way down. A `Struct` asks for
the nodes of its fields when it is first looked into: schemas may be recursive, and most of a schema is never used.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from skerry.machinery.apply.elements import item, member
from skerry.machinery.structs import Scalar


class Leaf:
    """A value with one owner; `inner` is what it looks like inside when it is a list or a map."""

    __slots__ = ("inner", "scalars")

    def __init__(self, scalars: tuple[Scalar, ...] = (), inner: "Node | None" = None) -> None:
        self.scalars = scalars
        self.inner = inner


class Struct:
    """A map with declared fields; `others` is the node of all other keys, None where there may be none.

    `zero` names the fields that even an empty object of this type has: values, not pointers, in the Go types. Whoever
    fills one of them does not own the field itself, since it was there before; only what is in it.
    """

    __slots__ = ("_build", "_fields", "others", "zero")

    def __init__(
        self,
        build: Callable[[], Mapping[str, "Node"]],
        others: "Node | None" = None,
        zero: frozenset[str] = frozenset(),
    ) -> None:
        self._build = build
        self._fields: Mapping[str, Node] | None = None
        self.others = others
        self.zero = zero

    @property
    def fields(self) -> Mapping[str, "Node"]:
        if self._fields is None:
            self._fields = self._build()
        return self._fields

    def of(self, name: str) -> "Node":
        """Return the node of a field; one that is not declared can still be there, sent by a sloppy client."""
        fields = self._fields if self._fields is not None else self.fields
        return fields.get(name) or self.others or ANYTHING


class MapOf:
    """A map whose keys are owned one by one."""

    __slots__ = ("values",)

    def __init__(self, values: "Node") -> None:
        self.values = values

    def of(self, _name: str) -> "Node":
        return self.values


class ListOf:
    """A list that is looked into for checks only: the inside of an atomic one."""

    __slots__ = ("items",)

    def __init__(self, items: "Node") -> None:
        self.items = items


class Keyed:
    """A list of maps. `keys` are the fields that tell items apart, with the value that stands for an absent one."""

    __slots__ = ("items", "keys")

    def __init__(self, items: "Node", keys: tuple[tuple[str, Any], ...]) -> None:
        self.items = items
        self.keys = keys

    def element(self, value: Any) -> str | None:
        """Name an item; None for one that has no name because it is no map or lacks a key."""
        if not isinstance(value, dict):
            return None
        found = {}
        for name, default in self.keys:
            key = value.get(name, default)
            if key is None:
                return None
            found[name] = key
        return item(found)


class SetOf:
    """A list of scalars that are owned one by one."""

    __slots__ = ("items",)

    def __init__(self, items: "Node") -> None:
        self.items = items

    def element(self, value: Any) -> str | None:
        """Name a member; None for what can be none."""
        return None if value is None or isinstance(value, dict | list) else member(value)


class Anything:
    """A value of which nothing is known."""

    __slots__ = ()

    def of(self, _name: str) -> "Node":
        return self


Node = Leaf | Struct | MapOf | ListOf | Keyed | SetOf | Anything

# The nodes whose maps, and whose lists, have parts with owners of their own.
MapNode = Struct | MapOf | Anything
ListNode = Keyed | SetOf

_MAPS: Final = (Struct, MapOf, Anything)
_LISTS: Final = (Keyed, SetOf)

ANYTHING: Final = Anything()


def as_map(node: Node, value: Any) -> MapNode | None:
    """Return the node when the value is a map with parts."""
    return node if type(value) is dict and isinstance(node, _MAPS) else None


def as_list(node: Node, value: Any) -> ListNode | None:
    """Return the node when the value is a list with parts."""
    return node if type(value) is list and isinstance(node, _LISTS) else None


class Null:
    """A null that was applied, until the owners have been computed: no container, and equal to nothing else."""

    __slots__ = ()


NULL: Final[Any] = Null()
