"""Strategic merge patch: a merge patch that knows which lists are maps in disguise.

The struct types of the models say where the walk is, `MergeRules` say which of their lists are merged and by which key;
all other lists are replaced, and where there is no type, maps are merged and lists replaced as in a JSON merge patch.

The order of a merged list (it decides the order of a container's environment, so it is part of the contract): the items
of the patch keep the order of the patch. An item that only the object has comes out before the next item of the patch
that stood behind it in the object; what is left follows at the end. So a patch of new names only comes out first.

Directives: `$patch: replace|delete|merge` in a map or in an item of a list, `$retainKeys`, `$setElementOrder/FIELD`,
`$deleteFromPrimitiveList/FIELD`, and null, which removes. All are honoured where they matter and stripped everywhere.
Facts: k8s.io/apimachinery `pkg/util/strategicpatch`; the errors are in its words. It leaves nulls and directives in new
values, because decoding to Go structs removes them later, and drops a new map that says `$patch: replace`; we strip
them and keep the map.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from skerry.machinery.jsonvalues import copied
from skerry.machinery.patcherror import PatchError
from skerry.machinery.structs import ANYTHING, Shape, fields_of

__all__ = ["MergeRule", "MergeRules", "PatchError", "strategic_merge"]

PATCH: Final = "$patch"
RETAIN: Final = "$retainKeys"
ORDER: Final = "$setElementOrder"
DELETE: Final = "$deleteFromPrimitiveList"
MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class MergeRule:
    """How a field is merged (`patchMergeKey` and `patchStrategy` of a Go type).

    A list of maps with a `key` is merged by that key; without a key it is a list of scalars, merged as a set.
    `replace` is for maps that are not merged. `retain_keys` says that the fields exclude each other, so whoever
    computes a patch has to send `$retainKeys`; applying one needs no such hint.
    """

    key: str = ""
    replace: bool = False
    retain_keys: bool = False


# (name of the struct class, JSON name of the field) -> rule. Rules of a base class hold for its subclasses.
MergeRules = Mapping[tuple[str, str], MergeRule]

JsonObject = dict[str, Any]
Identify = Callable[[Any], Any]


def strategic_merge(
    target: JsonObject, patch: JsonObject, model: type[msgspec.Struct], rules: MergeRules
) -> JsonObject:
    """Return `target` with `patch` applied, or raise `PatchError`; the inputs are neither changed nor shared."""
    return _Merge(rules).maps(copied(target), patch, Shape(struct=model))


class _Merge:
    """One merge. `original` values are ours to change; `patch` values are read only."""

    def __init__(self, rules: MergeRules) -> None:
        self.rules = rules

    def maps(self, original: JsonObject, patch: JsonObject, shape: Shape) -> JsonObject:
        directive = patch.get(PATCH, "merge")
        if directive == "delete":
            return {}
        if directive == "replace":
            return _fresh_map(patch)
        if directive != "merge":
            raise PatchError(f"unknown patch type: {_go(directive)} in map: {_go(patch)}")
        _retain_keys(original, patch)
        for name in _touched_fields(patch):
            self.field(original, name, patch, shape)
        return original

    def field(self, original: JsonObject, name: str, patch: JsonObject, shape: Shape) -> None:
        """Apply all that the patch says of one field, by its name and in directives."""
        rule, inner = self.rule(shape, name)
        deletions = patch.get(f"{DELETE}/{name}", MISSING)
        if deletions is not MISSING:
            _delete_scalars(original, name, deletions)
        before = original.get(name)
        value = patch.get(name, MISSING)
        if value is None or (_is_deletion(value) and not isinstance(before, dict)):
            original.pop(name, None)
        elif value is not MISSING:
            original[name] = self.value(before, value, rule, inner)
        order = patch.get(f"{ORDER}/{name}", MISSING)
        if order is not MISSING and name in original:
            original[name] = _as_ordered(original[name], value, order, before, rule)

    def value(self, before: Any, value: Any, rule: MergeRule | None, shape: Shape) -> Any:
        if rule and rule.replace:
            return _fresh(value)
        if isinstance(before, dict) and isinstance(value, dict):
            return self.maps(before, value, shape)
        if isinstance(before, list) and isinstance(value, list) and rule:
            return self.lists(before, value, rule, shape.list_item or ANYTHING)
        return _fresh(value)

    def rule(self, shape: Shape, name: str) -> tuple[MergeRule | None, Shape]:
        """Find the rule and the shape of a member of a map."""
        if shape.struct is None:
            return None, shape.map_item or ANYTHING
        field = fields_of(shape.struct).get(name)
        if field is None:
            return None, ANYTHING
        for base in shape.struct.__mro__:
            if rule := self.rules.get((base.__name__, name)):
                return rule, field.shape
        return None, field.shape

    def lists(self, before: list[Any], patch: list[Any], rule: MergeRule, item: Shape) -> list[Any]:
        identify = _identity(rule)
        if not _are_maps(before, patch):
            return _arranged(_without_twins([*before, *patch]), patch, before, identify)
        if not rule.key:
            raise PatchError("cannot merge lists without merge key for type struct")
        if any(element.get(PATCH) == "replace" for element in patch):
            return _fresh_list(patch)
        kept, wanted = _after_deletions(before, patch, identify)
        merged = list(kept)
        places = _places(merged, identify)
        for element in wanted:
            place = places.setdefault(identify(element), len(merged))
            if place == len(merged):
                merged.append(_fresh_map(element))
            else:
                merged[place] = self.maps(merged[place], element, item)
        return _arranged(merged, wanted, kept, identify)


def _touched_fields(patch: JsonObject) -> list[str]:
    """List the fields that a patch speaks of, by name or by a directive."""
    names: dict[str, None] = {}
    for key in patch:
        prefix, _, name = key.partition("/")
        if prefix in {ORDER, DELETE}:
            if not name:
                which = "setElementOrder list" if prefix == ORDER else "primitive list"
                raise PatchError(f"invalid patch format of {which}")
            names[name] = None
        elif key not in {PATCH, RETAIN}:
            names[key] = None
    return list(names)


def _retain_keys(original: JsonObject, patch: JsonObject) -> None:
    retained = patch.get(RETAIN, MISSING)
    if retained is MISSING:
        return
    named = {key for key, value in patch.items() if value is not None and not _is_directive(key)}
    if not isinstance(retained, list) or any(key not in retained for key in named):
        raise PatchError("invalid patch format of retainKeys")
    for key in original.keys() - set(retained):
        del original[key]


def _delete_scalars(original: JsonObject, name: str, deletions: Any) -> None:
    if not isinstance(deletions, list):
        raise PatchError("invalid patch format of primitive list")
    before = original.get(name)
    if isinstance(before, list):
        original[name] = [item for item in before if item not in deletions]


def _after_deletions(before: list[Any], patch: list[Any], identify: Identify) -> tuple[list[Any], list[Any]]:
    """Split a patch into what it deletes and what it wants; return the survivors and the wanted."""
    deleted, wanted = set(), []
    for element in patch:
        directive = element.get(PATCH, "merge")
        if directive == "delete":
            deleted.add(identify(element))
        elif directive == "merge":
            wanted.append(element)
        else:
            raise PatchError(f"unknown patch type: {_go(directive)} in map: {_go(element)}")
    return [element for element in before if identify(element) not in deleted], wanted


def _arranged(merged: list[Any], order: list[Any], before: list[Any], identify: Identify) -> list[Any]:
    """Bring a merged list in order: as `order` says, woven with the other items in the order of `before`."""
    wanted = _places(order, identify)
    known = _places(before, identify)
    placed = sorted((item for item in merged if identify(item) in wanted), key=lambda item: wanted[identify(item)])
    others = [item for item in merged if identify(item) not in wanted]
    woven: list[Any] = []
    taken = 0
    for item in placed:
        place = known.get(identify(item), -1)
        while taken < len(others) and known[identify(others[taken])] < place:
            woven.append(others[taken])
            taken += 1
        woven.append(item)
    return woven + others[taken:]


def _places(items: Sequence[Any], identify: Identify) -> dict[Any, int]:
    places: dict[Any, int] = {}
    for place, item in enumerate(items):
        places.setdefault(identify(item), place)
    return places


def _as_ordered(merged: Any, patch: Any, order: Any, before: Any, rule: MergeRule | None) -> Any:
    """Bring a merged list in the order that a directive asks for."""
    for value in (order, merged):
        if not isinstance(value, list):
            raise PatchError(f"expected a []interface {{}}, but received a {_go_type(value)}")
    if rule is None or rule.replace:
        return merged
    identify = _identity(rule)
    _check_order(patch if isinstance(patch, list) else [], order, identify)
    return _arranged(merged, order, before if isinstance(before, list) else [], identify)


def _check_order(patch: list[Any], order: list[Any], identify: Identify) -> None:
    """The items of the patch must appear in `order`, in the same order; deletions do not count."""
    remaining = iter([identify(item) for item in order])
    for item in patch:
        special = isinstance(item, dict) and PATCH in item
        if not special and identify(item) not in remaining:
            raise PatchError(f"The order in patch list:\n{_go(patch)}\n doesn't match {ORDER} list:\n{_go(order)}\n")


def _are_maps(before: list[Any], patch: list[Any]) -> bool:
    kinds = {dict if isinstance(item, dict) else list if isinstance(item, list) else None for item in before + patch}
    if kinds == {dict}:
        return True
    if kinds == {list}:
        raise PatchError("lists of lists are not supported")
    if len(kinds) > 1:
        raise PatchError(f"list element types are not identical: [{_go(before)} {_go(patch)}]")
    return False


def _identity(rule: MergeRule) -> Identify:
    """Return what makes two items of a list the same one: the value of the merge key, or the scalar itself."""
    if not rule.key:
        return _distinct

    def identify(item: Any) -> Any:
        if not isinstance(item, dict):
            raise PatchError(f"expected a map[string]interface {{}}, but received a {_go_type(item)}")
        if rule.key not in item:
            raise PatchError(f"map: {_go(item)} does not contain declared merge key: {rule.key}")
        return _distinct(item[rule.key])

    return identify


def _distinct(value: Any) -> Any:
    """Make a set member of a value: `true` is not `1`, and containers are no keys."""
    if isinstance(value, (dict, list)):
        raise PatchError(f"expected a scalar, but received a {_go_type(value)}")
    return isinstance(value, bool), value


def _without_twins(scalars: list[Any]) -> list[Any]:
    return list({_distinct(scalar): scalar for scalar in scalars}.values())


def _is_directive(key: str) -> bool:
    return key in {PATCH, RETAIN} or key.startswith((f"{ORDER}/", f"{DELETE}/"))


def _is_deletion(value: Any) -> bool:
    return isinstance(value, dict) and value.get(PATCH) == "delete"


def _fresh(value: Any) -> Any:
    """Copy a value of a patch that goes into the object as it is: without nulls in maps and without directives."""
    if isinstance(value, dict):
        return _fresh_map(value)
    return _fresh_list(value) if isinstance(value, list) else value


def _fresh_list(value: list[Any]) -> list[Any]:
    return [_fresh(item) for item in value if not (isinstance(item, dict) and PATCH in item)]


def _fresh_map(value: JsonObject) -> JsonObject:
    return {
        key: _fresh(item)
        for key, item in value.items()
        if item is not None and not _is_directive(key) and not _is_deletion(item)
    }


def _go(value: Any) -> str:
    """Format a value as Go's `%v` does."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_go(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_go, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return "<nil>" if value is None else str(value)


def _go_type(value: Any) -> str:
    names: dict[type, str] = {dict: "map[string]interface {}", list: "[]interface {}", str: "string", bool: "bool"}
    return names.get(type(value), "int64" if isinstance(value, int) else "float64" if value is not None else "<nil>")
