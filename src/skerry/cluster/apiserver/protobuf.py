"""Decodes the protobuf bodies that Kubernetes' typed Go clients send (`kubectl create ns` among them).

A body is `k8s` and a zero byte, then a `runtime.Unknown` that holds the object's own message. The messages are decoded
straight into the JSON form that the rest of the server works on, by a table of field numbers (`protobuf_fields`).
Answers are always JSON: these clients accept both.

A field that the table lacks is refused, never dropped in silence, unless there is nothing in it: a client that is newer
than the table writes the zeros of its new fields too.

Facts: k8s.io/apimachinery `pkg/runtime/serializer/protobuf`.
"""

import base64
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from skerry.api.registry import Object
from skerry.cluster.apiserver.protobuf_fields import Field, fields_of, message_of
from skerry.machinery import status

_MAGIC: Final = b"k8s\x00"

_ZEROS: Final = (None, "", 0)
_NOTHING: Final = memoryview(b"")
_DEPTH: Final = 8
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_WIRE: Final = {"int": _VARINT, "bool": _VARINT, "double": _FIXED64}  # all else is length-delimited

Raw = int | memoryview


class ProtobufError(ValueError):
    """The bytes are not what the table says they are."""


def decode_object(body: bytes) -> Object:
    """Decode an object.

    Raises a 400 for broken bytes, a 415 for a message or field that is not known here.
    """
    if not body.startswith(_MAGIC):
        raise status.bad_request("the object provided is unrecognized: want the protobuf prefix k8s")
    try:
        envelope = _last_of_each(memoryview(body)[len(_MAGIC) :])
        type_meta = _last_of_each(_view(envelope.get(1, _NOTHING)))
        api_version, kind = _text(type_meta.get(1, _NOTHING)), _text(type_meta.get(2, _NOTHING))
        message = message_of(api_version, kind)
        if message is None:
            raise _not_taken(f"{kind} of {api_version}")
        item = _message(_view(envelope.get(2, _NOTHING)), message)
    except (ValueError, OverflowError, OSError, struct.error) as error:
        raise status.bad_request(f"the object provided is unrecognized (must be of type protobuf): {error}") from None
    return {"apiVersion": api_version, "kind": kind, **item}


def _message(data: memoryview, name: str) -> Object:
    known = fields_of(name)
    item: Object = {}
    for number, wire, raw in _records(data):
        field = known.get(number)
        if field is not None:
            _store(item, field, _value(field, wire, raw))
        elif not _is_nothing(raw):
            raise _not_taken(f"field {number} of {name}")
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


def _value(field: Field, wire: int, raw: Raw) -> Any:
    if field.is_map:
        return _entry(field, _view(raw))
    if field.repeated and field.type == "int" and wire == _BYTES:
        return _packed(_view(raw))
    if wire != _WIRE.get(field.type, _BYTES):
        raise ProtobufError(f"{field.name} has the wire type {wire}")
    if isinstance(raw, int):
        match field.type:
            case "bool":
                return bool(raw)
            case "int":
                return _signed(raw)
            case _:
                return struct.unpack("<d", struct.pack("<Q", raw))[0]
    match field.type:
        case "string":
            return _text(raw)
        case "bytes":
            return base64.b64encode(raw).decode()
        case "Quantity":
            return _text(_last_of_each(raw).get(1, _NOTHING)) or "0"
        case "Time" | "MicroTime":
            return _time(raw, micro=field.type == "MicroTime")
        case "IntOrString":
            return _int_or_string(raw)
        case "ExtraValue":
            return [_text(part) for number, _, part in _records(raw) if number == 1]
        case "FieldsV1":
            return msgspec.json.decode(_view(_last_of_each(raw).get(1, _NOTHING)) or b"{}")
        case name:
            return _message(raw, name)


def _entry(field: Field, raw: memoryview) -> dict[str, Any]:
    key, value, wire = "", None, _WIRE.get(field.type, _BYTES)
    for number, found, part in _records(raw):
        if number == 1:
            key = _text(part)
        elif number == 2:
            wire, value = found, part
    default: Raw = 0 if wire == _VARINT else _NOTHING
    return {key: _value(Field(field.name, field.type), wire, default if value is None else value)}


def _time(raw: memoryview, *, micro: bool) -> str | None:
    parts = _last_of_each(raw)
    if not parts:
        return None
    moment = datetime.fromtimestamp(_signed(_number(parts.get(1, 0))), UTC)
    if not micro:
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    nanoseconds = _number(parts.get(2, 0))
    return moment.replace(microsecond=nanoseconds // 1000).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _int_or_string(raw: memoryview) -> int | str:
    parts = _last_of_each(raw)
    if parts.get(1, 0) == 1:
        return _text(parts.get(3, _NOTHING))
    return _signed(_number(parts.get(2, 0)))


def _records(data: memoryview) -> Iterator[tuple[int, int, Raw]]:
    """Yield (field number, wire type, value) of a message; values of length-delimited fields are views."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield number, wire, value
            continue
        if wire == _BYTES:
            size, position = _varint(data, position)
        elif wire in {_FIXED64, _FIXED32}:
            size = 8 if wire == _FIXED64 else 4
        else:
            raise ProtobufError(f"field {number} has the unknown wire type {wire}")
        if position + size > len(data):
            raise ProtobufError(f"field {number} is cut off")
        part = data[position : position + size]
        yield number, wire, part if wire == _BYTES else int.from_bytes(part, "little")
        position += size


def _last_of_each(data: memoryview) -> Mapping[int, Raw]:
    return {number: value for number, _, value in _records(data)}


def _is_nothing(raw: Raw, depth: int = 0) -> bool:
    """Say whether a value is zero, empty, or a message of nothing but such values."""
    if isinstance(raw, int):
        return raw == 0
    try:
        return depth < _DEPTH and all(_is_nothing(value, depth + 1) for _, _, value in _records(raw))
    except ProtobufError:
        return False


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, position
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


def _view(raw: Raw) -> memoryview:
    if isinstance(raw, int):
        raise ProtobufError("a number stands where a message should")
    return raw


def _number(raw: Raw) -> int:
    if not isinstance(raw, int):
        raise ProtobufError("a message stands where a number should")
    return raw


def _text(raw: Raw) -> str:
    return bytes(_view(raw)).decode()


def _not_taken(what: str) -> status.StatusError:
    return status.StatusError(
        415, "UnsupportedMediaType", f"cannot decode the protobuf {what}: it is not known here; send application/json"
    )
