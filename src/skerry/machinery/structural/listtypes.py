"""Whether `x-kubernetes-list-type`, `-list-map-keys` and `-map-type` fit the schemas that they mark."""

from collections.abc import Iterator

from skerry.machinery.fielderrors import FieldError, forbidden, invalid, not_supported, required
from skerry.machinery.structural import LIST_MAP_KEYS, LIST_TYPE, MAP_TYPE, Schema, items_of, properties_of


def list_type_errors(schema: Schema, path: str) -> Iterator[FieldError]:
    """Yield what is wrong with the marks of one schema."""
    kind, sort, keys = schema.get("type") or "", schema.get(LIST_TYPE), schema.get(LIST_MAP_KEYS) or []
    if (map_type := schema.get(MAP_TYPE)) is not None:
        yield from _typed(kind, "object", MAP_TYPE, path)
        if map_type not in {"atomic", "granular"}:
            yield not_supported(f"{path}.{MAP_TYPE}", map_type, ["atomic", "granular"])
    if sort is not None:
        yield from _typed(kind, "array", LIST_TYPE, path)
        if sort not in {"atomic", "set", "map"}:
            yield not_supported(f"{path}.{LIST_TYPE}", sort, ["atomic", "set", "map"])
    if keys and sort != "map":
        why = "must be map if x-kubernetes-list-map-keys is non-empty"
        yield invalid(f"{path}.{LIST_TYPE}", sort, why) if sort else required(f"{path}.{LIST_TYPE}", why)
    items = items_of(schema)
    if sort in {"set", "map"} and items.get("nullable"):
        yield forbidden(f"{path}.items.nullable", f"cannot be nullable when x-kubernetes-list-type is {sort}")
    if sort == "set":
        yield from _of_set(items, path)
    elif sort == "map":
        yield from _of_map(items, keys, path)


def _typed(kind: str, wanted: str, mark: str, path: str) -> Iterator[FieldError]:
    if kind != wanted:
        why = f"must be {wanted} if {mark} is specified"
        yield invalid(f"{path}.type", kind, why) if kind else required(f"{path}.type", why)


def _of_set(items: Schema, path: str) -> Iterator[FieldError]:
    why = "must be atomic as item of a list with x-kubernetes-list-type=set"
    if items.get("type") == "array" and items.get(LIST_TYPE, "atomic") != "atomic":
        yield invalid(f"{path}.items.{LIST_TYPE}", items[LIST_TYPE], why)
    if items.get("type") == "object" and items.get(MAP_TYPE) != "atomic":
        yield invalid(f"{path}.items.{MAP_TYPE}", items.get(MAP_TYPE), why)


def _of_map(items: Schema, keys: list[str], path: str) -> Iterator[FieldError]:
    if not keys:
        why = "must not be empty if x-kubernetes-list-type is map"
        yield required(f"{path}.{LIST_MAP_KEYS}", why)
    if not items:
        yield required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map")
        return
    if items.get("type") != "object":
        why = "must be object if parent array's x-kubernetes-list-type is map"
        yield invalid(f"{path}.items.type", items.get("type", ""), why)
        return
    named = properties_of(items)
    if any(key not in named for key in keys):
        yield invalid(f"{path}.{LIST_MAP_KEYS}", keys, "entries must all be names of item properties")
    if len(set(keys)) < len(keys):
        yield invalid(f"{path}.{LIST_MAP_KEYS}", keys, "must not contain duplicate entries")
    for key in keys:
        if key in named:
            yield from _of_key(items, key, f"{path}.items.properties[{key}]")


def _of_key(items: Schema, key: str, path: str) -> Iterator[FieldError]:
    schema = properties_of(items)[key]
    if schema.get("type") in {"array", "object"}:
        why = "must be a scalar type if parent array's x-kubernetes-list-type is map"
        yield invalid(f"{path}.type", schema["type"], why)
    why = "this property is in x-kubernetes-list-map-keys, so it "
    if key not in (items.get("required") or []) and "default" not in schema:
        yield required(f"{path}.default", why + "must have a default or be a required property")
    if schema.get("nullable"):
        yield forbidden(f"{path}.nullable", why + "cannot be nullable")
