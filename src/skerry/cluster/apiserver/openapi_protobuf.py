"""The OpenAPI document of version 2 as protobuf: the one form that Go's discovery client asks for.

`kubectl explain --output=plaintext-openapiv2` and everything else that calls `OpenAPISchema()` cannot read the JSON.
The messages are those of gnostic; below is the part of them that our documents use. A JSON object becomes a message
field by field; a map becomes a list of name and value; what may be anything (`default`, every `x-…`) is written as
YAML, of which JSON is a subset.

The fields of a message may come in pieces, which the reader merges: so each path and each definition is a piece of its
own, and the document need not be in memory as a whole.

Facts: google/gnostic `openapiv2/OpenAPIv2.proto`; client-go `discovery/discovery_client.go`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from skerry.api.schemas import Schema

MEDIA_TYPE: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
# What clients ask for: the `@` was no good in a media type, but is still sent.
ASKED: Final = frozenset({MEDIA_TYPE, "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"})

Write = Callable[[int, Any], bytes]  # the number of a field and its value → the field on the wire
Table = Mapping[str, tuple[int, Write]]

_EXTENSION: Final = "x-"  # stands in a table for every key that begins so


def document(paths: Iterable[tuple[str, Schema]], definitions: Iterable[tuple[str, Schema]]) -> Iterator[bytes]:
    """Yield the document, piece by piece."""
    yield _text(1, "2.0")
    yield _block(2, _text(1, "Kubernetes") + _text(2, "unversioned"))
    for path, item in paths:
        yield _block(8, _named(2, path, _PATH_ITEM, item))
    for name, schema in definitions:
        yield _block(9, _named(1, name, _schema, schema))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _block(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _text(number: int, value: str) -> bytes:
    return _block(number, value.encode())


def _whole(number: int, value: int) -> bytes:
    """Write an integer or a boolean."""
    return _varint(number << 3) + _varint(int(value))


def _anything(number: int, value: Any) -> bytes:
    return _block(number, _block(2, msgspec.json.encode(value)))


def _extension(number: int, pair: tuple[str, Any]) -> bytes:
    return _named(number, pair[0], _anything, pair[1])


def _named(number: int, name: str, write: Write, value: Any) -> bytes:
    return _block(number, _text(1, name) + write(2, value))


def _each(write: Write) -> Write:
    """Write a list: the field once for each value."""
    return lambda number, values: b"".join(write(number, value) for value in values)


def _map(inner: int, write: Write) -> Write:
    """Write an object whose keys are names, as a message that lists them in field `inner`."""
    return lambda number, values: _block(
        number, b"".join(_named(inner, name, write, value) for name, value in values.items())
    )


def _within(write: Write, *numbers: int) -> Write:
    """Write a value inside of messages that hold nothing but it, the outermost number first."""
    inner, *outer = reversed(numbers)

    def whole(number: int, value: Any) -> bytes:
        payload = write(inner, value)
        for one in outer:
            payload = _block(one, payload)
        return _block(number, payload)

    return whole


def _message(table: Table) -> Write:
    def whole(number: int, value: Mapping[str, Any]) -> bytes:
        fields = []
        for key, member in value.items():
            if key.startswith(_EXTENSION):
                place, write = table[_EXTENSION]
                fields.append(write(place, (key, member)))
            else:
                place, write = table[key]
                fields.append(write(place, member))
        return _block(number, b"".join(fields))

    return whole


def _schema(number: int, value: Schema) -> bytes:
    return _message(_SCHEMA)(number, value)


def _additional(number: int, value: Any) -> bytes:
    return _block(number, _whole(2, value) if isinstance(value, bool) else _schema(1, value))


_SCHEMA: Final[Table] = {
    "$ref": (1, _text),
    "format": (2, _text),
    "title": (3, _text),
    "description": (4, _text),
    "default": (5, _anything),
    "maxLength": (11, _whole),
    "minLength": (12, _whole),
    "pattern": (13, _text),
    "maxItems": (14, _whole),
    "minItems": (15, _whole),
    "uniqueItems": (16, _whole),
    "maxProperties": (17, _whole),
    "minProperties": (18, _whole),
    "required": (19, _each(_text)),
    "enum": (20, _each(_anything)),
    "additionalProperties": (21, _additional),
    "type": (22, _within(_text, 1)),
    "items": (23, _within(_schema, 1)),
    "allOf": (24, _each(_schema)),
    "properties": (25, _map(1, _schema)),
    _EXTENSION: (31, _extension),
}
_BODY: Final = _message(
    {"description": (1, _text), "name": (2, _text), "in": (3, _text), "required": (4, _whole), "schema": (5, _schema)}
)
_IN_QUERY: Final = _message(
    {
        "required": (1, _whole),
        "in": (2, _text),
        "description": (3, _text),
        "name": (4, _text),
        "type": (6, _text),
        "format": (7, _text),
    }
)
_IN_PATH: Final = _message(
    {
        "required": (1, _whole),
        "in": (2, _text),
        "description": (3, _text),
        "name": (4, _text),
        "type": (5, _text),
        "format": (6, _text),
    }
)


def _parameter(number: int, value: Schema) -> bytes:
    match value["in"]:
        case "body":
            return _within(_BODY, 1, 1)(number, value)
        case "query":
            return _within(_IN_QUERY, 1, 2, 3)(number, value)
    return _within(_IN_PATH, 1, 2, 4)(number, value)


_RESPONSE: Final = _message({"description": (1, _text), "schema": (2, _within(_schema, 1))})
_OPERATION: Final = _message(
    {
        "tags": (1, _each(_text)),
        "description": (3, _text),
        "operationId": (5, _text),
        "produces": (6, _each(_text)),
        "consumes": (7, _each(_text)),
        "parameters": (8, _each(_parameter)),
        "responses": (9, _map(1, _within(_RESPONSE, 1))),
        "schemes": (10, _each(_text)),
        _EXTENSION: (13, _extension),
    }
)
_PATH_ITEM: Final = _message(
    {
        "get": (2, _OPERATION),
        "put": (3, _OPERATION),
        "post": (4, _OPERATION),
        "delete": (5, _OPERATION),
        "patch": (8, _OPERATION),
        "parameters": (9, _each(_parameter)),
    }
)
