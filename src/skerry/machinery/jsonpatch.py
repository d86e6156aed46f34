"""JSON patch (RFC 6902), with the words and the few liberties of the API server.

Liberties, because manifests and scripts rely on them: `replace` of a missing object member adds it, and `test` of a
missing member against `null` holds. Otherwise the RFC is followed where Kubernetes is lax: array indexes are plain
decimal numbers, `value` must be there, `copy` needs a source.

A chain of `copy` operations can double the document each time, so the copied bytes are limited as in the API server.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from skerry.machinery.jsonvalues import copied, equal
from skerry.machinery.patcherror import PatchError

__all__ = ["MAX_OPERATIONS", "PatchError", "apply_json_patch"]

MAX_OPERATIONS: Final = 10_000
COPY_LIMIT: Final = 3 * 1024 * 1024
NO_MEMBER: Final = object()

Operation = dict[str, Any]


def apply_json_patch(target: Any, operations: Any) -> Any:
    """Return `target` with all operations applied in order, or raise `PatchError`; the inputs are not changed."""
    if not isinstance(operations, list):
        raise PatchError(f"json: cannot unmarshal {_json_type(operations)} into Go value of type jsonpatch.Patch")
    if len(operations) > MAX_OPERATIONS:
        raise PatchError(f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}")
    document = _Document(copied(target))
    for operation in operations:
        document.apply(operation)
    return document.value["root"]


class _Document:
    """The document in work. It hangs below one more object, so that the empty path needs no special case."""

    def __init__(self, root: Any) -> None:
        self.value = {"root": root}
        self.copied_bytes = 0
        self.verbs: dict[str, Callable[[Operation], None]] = {
            "add": self.add,
            "remove": self.remove,
            "replace": self.replace,
            "move": self.move,
            "copy": self.copy,
            "test": self.test,
        }

    def apply(self, operation: Any) -> None:
        if not isinstance(operation, dict):
            raise PatchError(
                f"json: cannot unmarshal {_json_type(operation)} into Go value of type jsonpatch.Operation"
            )
        verb = operation.get("op", "unknown")
        if not isinstance(verb, str) or verb not in self.verbs:
            raise PatchError(f"Unexpected kind: {verb}")
        self.verbs[verb](operation)

    def add(self, operation: Operation) -> None:
        path = _path(operation)
        value = _value(operation)
        place = self.find(path)
        if place is None:
            raise PatchError(f'add operation does not apply: doc is missing path: "{path}": missing value')
        _insert(place, copied(value), f"error in add for path: '{path}'")

    def remove(self, operation: Operation) -> None:
        path = _path(operation)
        place = self.find(path) if path else None
        if place is None:
            raise PatchError(f'remove operation does not apply: doc is missing path: "{path}": missing value')
        _take(place, f"error in remove for path: '{path}'")

    def replace(self, operation: Operation) -> None:
        path = _path(operation)
        value = _value(operation)
        place = self.find(path)
        if place is None:
            raise PatchError(f"replace operation does not apply: doc is missing path: {path}: missing value")
        container, key = place
        if isinstance(container, dict):
            container[key] = copied(value)
            return
        index = _known_index(container, key)
        if index is None:
            raise PatchError(f"Object to be patched is missing field ({path}: missing value)")
        container[index] = copied(value)

    def move(self, operation: Operation) -> None:
        path, source = _path(operation), _source(operation)
        place = self.find(source) if source else None
        if place is None:
            raise PatchError(f"move operation does not apply: doc is missing from path: {source}: missing value")
        if path.startswith(source + "/"):
            raise PatchError(f"move operation does not apply: {path} is inside of {source}")
        value = _take(place, f"error in move for path: '{source}'")
        self.put("move", path, value)

    def copy(self, operation: Operation) -> None:
        path, source = _path(operation), _source(operation)
        place = self.find(source)
        value = NO_MEMBER if place is None else _read(place, f"error in copy for from: '{source}'")
        if value is NO_MEMBER:
            raise PatchError(f"copy operation does not apply: doc is missing from path: {source}: missing value")
        self.copied_bytes += len(msgspec.json.encode(value))
        if self.copied_bytes > COPY_LIMIT:
            raise PatchError(
                "Unable to complete the copy, the accumulated size increase of copy is "
                f"{self.copied_bytes}, exceeding the limit {COPY_LIMIT}"
            )
        self.put("copy", path, copied(value))

    def test(self, operation: Operation) -> None:
        path = _path(operation)
        wanted = _value(operation)
        place = self.find(path)
        if place is None:
            raise PatchError(f"test operation does not apply: is missing path: {path}: missing value")
        found = _read(place, f"error in test for path: '{path}'")
        if not equal(None if found is NO_MEMBER else found, wanted):
            raise PatchError(f"testing value {path} failed: test failed")

    def put(self, verb: str, path: str, value: Any) -> None:
        place = self.find(path)
        if place is None:
            raise PatchError(f"{verb} operation does not apply: doc is missing destination path: {path}: missing value")
        _insert(place, value, f"error in {verb} for path: '{path}'")

    def find(self, path: str) -> tuple[Any, str] | None:
        """Return the container and the last key of a pointer; the key itself may be missing."""
        container: Any = self.value
        *parents, last = ["root", *_tokens(path)]
        for token in parents:
            if isinstance(container, dict):
                container = container.get(token)
            elif (index := _known_index(container, token)) is not None:
                container = container[index]
            else:
                return None
            if not isinstance(container, (dict, list)):
                return None
        return container, last


def _tokens(path: str) -> list[str]:
    return [token.replace("~1", "/").replace("~0", "~") for token in path.split("/")[1:]]


def _path(operation: Operation) -> str:
    return _pointer(operation, "path", f"{operation['op']} operation failed to decode path: missing value")


def _source(operation: Operation) -> str:
    return _pointer(
        operation,
        "from",
        f"{operation['op']} operation failed to decode from: operation, missing from field: missing value",
    )


def _pointer(operation: Operation, field: str, problem: str) -> str:
    pointer = operation.get(field)
    if not isinstance(pointer, str):
        raise PatchError(problem)
    if pointer and not pointer.startswith("/"):
        raise PatchError(f"{operation['op']} operation failed to decode {field}: {pointer} does not start with '/'")
    return pointer


def _value(operation: Operation) -> Any:
    if "value" not in operation:
        raise PatchError(f"{operation['op']} operation failed to decode value: missing value")
    return operation["value"]


def _insert(place: tuple[Any, str], value: Any, context: str) -> None:
    container, key = place
    if isinstance(container, dict):
        container[key] = value
        return
    if key == "-":
        container.append(value)
        return
    if not _is_number(key):
        raise PatchError(
            f"{context}: value was not a proper array index: '{key}': strconv.Atoi: parsing \"{key}\": invalid syntax"
        )
    index = _index(key)
    if index is None or index > len(container):
        raise PatchError(f"{context}: Unable to access invalid index: {key}: invalid index referenced")
    container.insert(index, value)


def _take(place: tuple[Any, str], context: str) -> Any:
    container, key = place
    if not isinstance(container, dict):
        return container.pop(_existing_index(container, key, context))
    if key not in container:
        raise PatchError(f"{context}: Unable to remove nonexistent key: {key}: missing value")
    return container.pop(key)


def _read(place: tuple[Any, str], context: str) -> Any:
    container, key = place
    if isinstance(container, dict):
        return container.get(key, NO_MEMBER)
    return container[_existing_index(container, key, context)]


def _existing_index(array: list[Any], key: str, context: str) -> int:
    if not _is_number(key):
        raise PatchError(f'{context}: strconv.Atoi: parsing "{key}": invalid syntax')
    index = _known_index(array, key)
    if index is None:
        raise PatchError(f"{context}: Unable to access invalid index: {key}: invalid index referenced")
    return index


def _known_index(array: list[Any], key: str) -> int | None:
    index = _index(key)
    return index if index is not None and index < len(array) else None


def _index(key: str) -> int | None:
    """Read an array index: ASCII digits without a leading zero, short enough for any array."""
    plain = key.isascii() and key.isdigit() and len(key) < 10 and (key == "0" or key[0] != "0")
    return int(key) if plain else None


def _is_number(key: str) -> bool:
    digits = key[1:] if key[:1] in {"-", "+"} else key
    return digits.isascii() and digits.isdigit()


def _json_type(value: Any) -> str:
    names: dict[type, str] = {dict: "object", str: "string", bool: "bool", int: "number", float: "number"}
    return names.get(type(value), "array" if isinstance(value, list) else "null")
