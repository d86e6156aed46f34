"""Decodes the protobuf bodies that Kubernetes' typed Go clients send (`kubectl create ns` among them).

A body is `k8s` and a zero byte, then a `runtime.Unknown` that holds the object's own message. The messages are decoded
straight into the JSON form that the rest of the server works on, by a table of field numbers (`protobuf_fields`).
Answers are always JSON: these clients accept both. A field that the table lacks is refused, never dropped in silence.

Facts: k8s.io/apimachinery `pkg/runtime/serializer/protobuf`, the `generated.proto` files of k8s.io/api.
"""

import base64
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from skerry.api.registry import Object
from skerry.cluster.apiserver.protobuf_fields import MESSAGES, Field
from skerry.machinery import status

_MAGIC: Final = b"k8s\x00"

_ZEROS: Final = (None, "", 0)
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class ProtobufError(ValueError):
    """The bytes are not what the table says they are."""


def decode_object(body: bytes) -> Object:
    """Decode an object.

    Raises a 400 for broken bytes, a 415 for a message or field that is not known here.
    """
    if not body.startswith(_MAGIC):
        raise status.bad_request("the object provided is unrecognized: want the protobuf prefix k8s")
    try:
        unknown = {number: value for number, _, value in _fields(memoryview(body)[len(_MAGIC) :])}
        type_meta = {number: bytes(value).decode() for number, _, value in _fields(unknown.get(1, memoryview(b"")))}
        api_version, kind = type_meta.get(1, ""), type_meta.get(2, "")
        if kind not in MESSAGES:
            raise _not_taken(f"{kind} of {api_version}")
        item = _message(unknown.get(2, memoryview(b"")), kind)
    except (ProtobufError, UnicodeDecodeError, struct.error) as error:
        raise status.bad_request(f"the object provided is unrecognized (must be of type protobuf): {error}") from None
    return {"apiVersion": api_version, "kind": kind, **item}


def _message(data: memoryview, name: str) -> Object:
    known = MESSAGES[name]
    item: Object = {}
    for number, wire, raw in _fields(data):
        field = known.get(number)
        if field is None:
            raise _not_taken(f"field {number} of {name}")
        _store(item, field, _value(field, wire, raw))
    return item


def _store(item: Object, field: Field, value: Any) -> None:
    if field.inline:
        item.update(value)
    elif field.is_map:
        item.setdefault(field.name, {}).update(value)
    elif field.repeated:
        item.setdefault(field.name, []).extend(value if isinstance(value, list) else [value])
    elif field.keeps_zero or isinstance(value, dict) or value not in _ZEROS:
        item[field.name] = value


def _value(field: Field, wire: int, raw: Any) -> Any:
    if field.is_map:
        return _entry(field, raw)
    match field.type:
        case "int":
            return _packed(raw) if wire == _BYTES else _signed(raw)
        case "bool":
            return bool(raw)
        case "string":
            return bytes(raw).decode()
        case "bytes":
            return base64.b64encode(raw).decode()
        case "double":
            return struct.unpack("<d", struct.pack("<Q", raw))[0]
        case "Quantity":
            return {number: bytes(value).decode() for number, _, value in _fields(raw)}.get(1, "0")
        case "Time" | "MicroTime":
            return _time(raw, micro=field.type == "MicroTime")
        case "IntOrString":
            return _int_or_string(raw)
        case name:
            return _message(raw, name)


def _entry(field: Field, raw: memoryview) -> dict[str, Any]:
    parts = {number: (wire, value) for number, wire, value in _fields(raw)}
    key = bytes(parts.get(1, (_BYTES, b""))[1]).decode()
    plain = Field(field.name, field.type)
    wire, value = parts.get(2, (_BYTES, memoryview(b"")))
    return {key: _value(plain, wire, value)}


def _time(raw: memoryview, *, micro: bool) -> str | None:
    parts = {number: _signed(value) for number, _, value in _fields(raw)}
    if not parts:
        return None
    moment = datetime.fromtimestamp(parts.get(1, 0), UTC)
    if micro:
        return moment.replace(microsecond=parts.get(2, 0) // 1000).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _int_or_string(raw: memoryview) -> int | str:
    parts = {number: value for number, _, value in _fields(raw)}
    if parts.get(1, 0) == 1:
        return bytes(parts.get(3, b"")).decode()
    return _signed(parts.get(2, 0))


def _fields(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Yield (field number, wire type, value) of a message; values of length-delimited fields are views."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield number, wire, value
        elif wire == _BYTES:
            length, position = _varint(data, position)
            if position + length > len(data):
                raise ProtobufError(f"field {number} is cut off")
            yield number, wire, data[position : position + length]
            position += length
        elif wire in {_FIXED64, _FIXED32}:
            size = 8 if wire == _FIXED64 else 4
            if position + size > len(data):
                raise ProtobufError(f"field {number} is cut off")
            yield number, wire, int.from_bytes(data[position : position + size], "little")
            position += size
        else:
            raise ProtobufError(f"field {number} has the unknown wire type {wire}")


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ProtobufError("a number is cut off")


def _packed(raw: memoryview) -> list[int]:
    values: list[int] = []
    position = 0
    while position < len(raw):
        value, position = _varint(raw, position)
        values.append(_signed(value))
    return values


def _signed(value: int) -> int:
    # Negative numbers travel as 64-bit two's complement.
    return value - (1 << 64) if value >= 1 << 63 else value


def _not_taken(what: str) -> status.StatusError:
    return status.StatusError(
        415, "UnsupportedMediaType", f"cannot decode the protobuf {what}: it is not known here; send application/json"
    )
