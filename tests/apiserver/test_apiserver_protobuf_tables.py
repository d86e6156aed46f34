"""The tables of protobuf fields: against the JSON models of the same kinds, and there and back with random objects."""

import base64
import json
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.api.kinds import REGISTRY
from skerry.cluster.apiserver.protobuf import decode_object
from skerry.cluster.apiserver.protobuf_fields import KINDS, Field, fields_of, messages
from skerry.machinery import strict, structs
from skerry.machinery.status import StatusError
from skerry.machinery.structs import Shape

MODELS = {(kind.api_version, kind.kind): kind.model for kind in REGISTRY if (kind.api_version, kind.kind) in KINDS}
SCALARS = {
    "int": ("integer",),
    "bool": ("boolean",),
    "string": ("string",),
    "bytes": ("string",),
    "double": ("number",),
    "Quantity": ("quantity",),
    "Time": ("time",),
    "MicroTime": ("time",),
}


# Fields of the models that no release has switched on; a client that sends one is told that it is not known.
ALPHA = {"JobSpec": {"scheduling"}}


def flat(message: str) -> Iterator[Field]:
    """Yield the fields of a message as JSON has them."""
    for field in fields_of(message).values():
        if field.inline:
            yield from flat(field.type)
        else:
            yield field


def is_message(name: str) -> bool:
    return name in ALL


ALL = set(messages())


def test_every_served_kind_that_kubectl_makes_has_a_table() -> None:
    # Go's client for definitions speaks JSON unless it is told otherwise.
    json_only = {("apiextensions.k8s.io/v1", "CustomResourceDefinition")}
    sent = {(kind.api_version, kind.kind) for kind in REGISTRY if kind.built_in and "create" in kind.verbs}
    of_subresources = {
        ("v1", "Binding"),
        ("autoscaling/v1", "Scale"),
        ("policy/v1", "Eviction"),
        ("authentication.k8s.io/v1", "TokenRequest"),
    }
    assert sent - json_only | of_subresources == set(KINDS)
    for message in ALL:
        for field in fields_of(message).values():
            assert is_message(field.type) or field.type in {*SCALARS, "IntOrString", "FieldsV1", "ExtraValue"}, (
                f"{message}.{field.name}"
            )


@pytest.mark.parametrize("kind", sorted(MODELS), ids="/".join)
def test_the_tables_and_the_models_say_the_same(kind: tuple[str, str]) -> None:
    seen: set[str] = set()
    differences: list[str] = []

    def compare(message: str, model: type[msgspec.Struct]) -> None:
        if message in seen:
            return
        seen.add(message)
        modelled = {name: field.shape for name, field in structs.fields_of(model).items()}
        modelled = {name: shape for name, shape in modelled.items() if name not in {"apiVersion", "kind"}}
        tabled = {field.name: field for field in flat(message)}
        tabled = {name: field for name, field in tabled.items() if name not in {"apiVersion", "kind"}}
        missing = set(modelled) - set(tabled)
        extra = set(tabled) - set(modelled)
        differences.extend(f"{message}.{name} is not in the table" for name in missing - ALPHA.get(message, set()))
        differences.extend(f"{message}.{name} is not in the model" for name in extra)
        for name in set(tabled) & set(modelled):
            compare_field(f"{message}.{name}", tabled[name], modelled[name])

    def compare_field(where: str, field: Field, shape: Shape) -> None:
        if field.repeated:
            assert shape.list_item is not None, where
            shape = shape.list_item
        elif field.is_map:
            assert shape.map_item is not None, where
            shape = shape.map_item
        if is_message(field.type):
            assert shape.struct is not None, where
            compare(field.type, shape.struct)
        elif field.type in SCALARS and shape.scalars != SCALARS[field.type] and shape != structs.ANYTHING:
            differences.append(f"{where} is {field.type} here and {shape.scalars} there")

    compare(KINDS[kind], MODELS[kind])
    assert differences == []


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def record(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def encode(message: str, item: dict[str, Any]) -> bytes:
    """Encode as Go does: fields that are no pointers are written even when they are zero."""
    out = b""
    for number, field in fields_of(message).items():
        if field.inline:
            out += record(number, encode(field.type, item))
        elif field.is_map:
            for key, value in item.get(field.name, {}).items():
                entry = record(1, key.encode()) + record(2, encode_value(field.type, value))
                out += record(number, entry)
        elif field.repeated:
            out += b"".join(record(number, encode_value(field.type, value)) for value in item.get(field.name, []))
        elif field.name in item:
            if field.type == "double":
                out += varint(number << 3 | 1) + struct.pack("<d", item[field.name])
            else:
                out += record(number, encode_value(field.type, item[field.name]))
        elif not field.keeps_zero and field.type in {"string", "bytes"}:
            out += record(number, b"")
        elif not field.keeps_zero and field.type in {"int", "bool"}:
            out += record(number, 0)
    return out


def encode_value(type_: str, value: Any) -> bytes | int:
    match type_:
        case "int" | "bool":
            return int(value)
        case "string":
            return str(value).encode()
        case "bytes":
            return base64.b64decode(value)
        case "Quantity":
            return record(1, value.encode())
        case "Time" | "MicroTime":
            moment = datetime.fromisoformat(value)
            return record(1, int(moment.timestamp())) + record(2, moment.microsecond * 1000)
        case "IntOrString":
            if isinstance(value, str):
                return record(1, 1) + record(2, 0) + record(3, value.encode())
            return record(1, 0) + record(2, value) + record(3, b"")
        case "ExtraValue":
            return b"".join(record(1, one.encode()) for one in value)
        case "FieldsV1":
            return record(1, json.dumps(value).encode())
        case message:
            return encode(message, value)


WORDS = st.text(max_size=6)
MOMENTS = st.integers(0, 4_000_000_000)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "int": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
    "string": WORDS,
    "bytes": st.binary(max_size=6).map(lambda raw: base64.b64encode(raw).decode()),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "Quantity": st.sampled_from(["0", "1", "100m", "2Gi", "-1", "1e3"]),
    "Time": MOMENTS.map(lambda second: datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")),
    "MicroTime": st.builds(
        lambda second, micro: (
            datetime.fromtimestamp(second, UTC).replace(microsecond=micro).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        ),
        MOMENTS,
        st.integers(0, 999_999),
    ),
    "IntOrString": st.one_of(st.integers(-(2**31), 2**31 - 1), WORDS),
    "FieldsV1": st.just({"f:metadata": {}}),
    "ExtraValue": st.lists(WORDS, max_size=2),
}


@st.composite
def items(draw: st.DrawFn, message: str) -> dict[str, Any]:
    """Draw an object with a few of its fields."""
    fields = [field for field in flat(message) if field.type != "FieldsV1"]
    chosen = draw(st.lists(st.sampled_from(fields), max_size=3, unique=True)) if fields else []
    item: dict[str, Any] = {}
    for field in chosen:
        value = items(field.type) if is_message(field.type) else VALUES[field.type]
        if field.repeated:
            value = st.lists(value, min_size=1, max_size=2)
        elif field.is_map:
            value = st.dictionaries(WORDS, value, min_size=1, max_size=2)
        item[field.name] = draw(value)
    return item


def shown(message: str, item: dict[str, Any]) -> dict[str, Any]:
    """Drop what Go's JSON does not show: zeros that no pointer holds, and add structs that are embedded."""
    out: dict[str, Any] = {}
    for field in flat(message):
        if field.name not in item:
            continue
        value = item[field.name]
        if is_message(field.type):
            if field.repeated:
                value = [shown(field.type, one) for one in value]
            elif field.is_map:
                value = {key: shown(field.type, one) for key, one in value.items()}
            else:
                value = shown(field.type, value)
        elif not (field.keeps_zero or field.repeated or field.is_map) and value in {"", 0}:
            continue
        out[field.name] = value
    return out


@settings(max_examples=50, deadline=None)
@given(st.data())
@pytest.mark.parametrize("kind", sorted(MODELS), ids="/".join)
def test_there_and_back(kind: tuple[str, str], data: st.DataObject) -> None:
    message = KINDS[kind]
    item = data.draw(items(message))
    type_meta = record(1, kind[0].encode()) + record(2, kind[1].encode())
    body = b"k8s\x00" + record(1, type_meta) + record(2, encode(message, item)) + record(3, b"") + record(4, b"")
    decoded = decode_object(body)
    assert decoded == {"apiVersion": kind[0], "kind": kind[1], **shown(message, item)}
    odd = [problem for problem in strict.problems(decoded, MODELS[kind]) if problem.sort == "unknown"]
    assert odd == []


def outcome(sent: bytes) -> int:
    """Return the code that the decoder answers with."""
    try:
        decode_object(sent)
    except StatusError as error:
        return error.code
    return 200


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from(sorted(KINDS)))
def test_random_bytes_are_refused_or_taken_but_never_break_it(noise: bytes, kind: tuple[str, str]) -> None:
    type_meta = record(1, kind[0].encode()) + record(2, kind[1].encode())
    assert outcome(b"k8s\x00" + record(1, type_meta) + record(2, noise)) in {200, 400, 415}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_bodies_are_refused_or_taken_but_never_break_it(data: st.DataObject) -> None:
    kind = ("apps/v1", "Deployment")
    raw = bytearray(encode("Deployment", data.draw(items("Deployment"))))
    for _ in range(data.draw(st.integers(1, 3))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    type_meta = record(1, kind[0].encode()) + record(2, kind[1].encode())
    assert outcome(b"k8s\x00" + record(1, type_meta) + record(2, bytes(raw))) in {200, 400, 415}


def body(kind: str, message: bytes, api_version: str = "v1") -> bytes:
    return b"k8s\x00" + record(1, record(1, api_version.encode()) + record(2, kind.encode())) + record(2, message)


def test_what_a_newer_client_writes_without_meaning_it_is_passed_over() -> None:
    nothing = record(90, 0) + record(91, b"") + record(92, record(1, b"") + record(2, record(1, 0)))
    assert decode_object(body("Namespace", nothing)) == {"apiVersion": "v1", "kind": "Namespace"}
    for something in (record(90, 1), record(91, b"x"), record(92, record(1, b"x"))):
        with pytest.raises(StatusError, match="field 9") as caught:
            decode_object(body("Namespace", something))
        assert caught.value.code == 415


def test_deeply_nested_nothing_ends() -> None:
    nested = b""
    for _ in range(30_000):
        nested = record(1, nested)
    with pytest.raises(StatusError):
        decode_object(body("Namespace", record(90, nested)))


@pytest.mark.parametrize(
    "message",
    [
        record(1, 10**15),  # a number where metadata should be: once, that many bytes were reserved
        record(1, record(1, 10**15)),
        record(1, record(8, record(1, 2**62))),
        record(1, record(8, record(1, b"x"))),
        record(1, record(11, record(1, 5))),
        record(1, record(14, 3)),
    ],
)
def test_numbers_where_text_should_be_and_the_reverse(message: bytes) -> None:
    with pytest.raises(StatusError) as caught:
        decode_object(body("Namespace", message))
    assert caught.value.code == 400


def test_options_come_in_every_group() -> None:
    options = record(1, 0) + record(2, record(1, b"u")) + record(4, b"Background") + record(5, b"All")
    for api_version in ("v1", "apps/v1", "meta.k8s.io/v1"):
        assert decode_object(body("DeleteOptions", options, api_version)) == {
            "apiVersion": api_version,
            "kind": "DeleteOptions",
            "gracePeriodSeconds": 0,
            "preconditions": {"uid": "u"},
            "propagationPolicy": "Background",
            "dryRun": ["All"],
        }


def test_managed_fields_are_json_inside() -> None:
    entry = record(1, b"kubectl") + record(7, record(1, b'{"f:data":{}}'))
    found = decode_object(body("ConfigMap", record(1, record(17, entry))))
    assert found["metadata"]["managedFields"] == [{"manager": "kubectl", "fieldsV1": {"f:data": {}}}]


def test_parts_of_kinds_are_no_kinds() -> None:
    for kind, api_version in (("PodSpec", "v1"), ("Deployment", "v1"), ("ObjectMeta", "v1"), ("CronJob", "batch/v1")):
        with pytest.raises(StatusError) as caught:
            decode_object(body(kind, b"", api_version))
        assert caught.value.code == 415
