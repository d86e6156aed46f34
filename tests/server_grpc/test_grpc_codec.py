"""Our codec against protobuf's own runtime: the same messages, and the same opinion of what is no message."""

from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server_grpc.declared import ModelInferRequest, ModelInferResponse

from skerry.server.errors import InvalidRequest
from skerry.server.grpc import infer_request, messages, wire
from skerry.server.grpc.h2.outbound import Buffer
from skerry.server.grpc.infer_request import InferMessage, read_infer_request, tensors_of
from skerry.server.grpc.infer_response import write_infer_response
from skerry.server.grpc.packed import varints
from skerry.server.tensors import DTYPES, Array, InferResponse, Tensor

TEXT = st.text(max_size=8)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
UINT64 = st.integers(0, 2**64 - 1)
PARAMETERS = st.dictionaries(
    TEXT,
    st.one_of(
        st.builds(lambda value: {"bool_param": value}, st.booleans()),
        st.builds(lambda value: {"int64_param": value}, INT64),
        st.builds(lambda value: {"string_param": value}, TEXT),
        st.builds(lambda value: {"double_param": value}, st.floats(allow_nan=False)),
        st.just({}),
    ),
    max_size=3,
)


def few(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(elements, max_size=5)


CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "bool_contents": few(st.booleans()),
        "int_contents": few(INT32),
        "int64_contents": few(INT64),
        "uint_contents": few(st.integers(0, 2**32 - 1)),
        "uint64_contents": few(UINT64),
        "fp32_contents": few(st.floats(width=32)),
        "fp64_contents": few(st.floats()),
        "bytes_contents": few(st.binary(max_size=10)),
    },
)
INPUT = st.fixed_dictionaries(
    {
        "name": TEXT,
        "datatype": st.sampled_from([*DTYPES, "BYTES", "what"]),
        "shape": few(st.one_of(st.integers(0, 5), INT64)),
    },
    optional={"parameters": PARAMETERS, "contents": CONTENTS},
)
REQUEST = st.fixed_dictionaries(
    {},
    optional={
        "model_name": TEXT,
        "model_version": TEXT,
        "id": TEXT,
        "parameters": PARAMETERS,
        "inputs": few(INPUT),
        "outputs": few(st.fixed_dictionaries({"name": TEXT}, optional={"parameters": PARAMETERS})),
        "raw_input_contents": few(st.binary(max_size=300)),
    },
)
FIELDS = {
    1: ("bool_contents", "?"),
    2: ("int_contents", "i4"),
    3: ("int64_contents", "i8"),
    4: ("uint_contents", "u4"),
    5: ("uint64_contents", "u8"),
    6: ("fp32_contents", "<f4"),
    7: ("fp64_contents", "<f8"),
}


def values_of(number: int, pieces: list[Buffer]) -> bytes:
    """The values of a field, as the bytes of an array."""
    data = b"".join(pieces)
    if number in {6, 7}:
        return data
    dtype = np.dtype(FIELDS[number][1])
    if dtype.kind == "b":
        return varints(data).astype(np.bool_).tobytes()
    return varints(data).astype(f"u{dtype.itemsize}").tobytes()


def same(found: InferMessage, expected: Any) -> None:
    """Compare every field."""
    assert (found.model_name, found.model_version) == (expected.model_name, expected.model_version)
    assert [bytes(each) for each in found.raw] == list(expected.raw_input_contents)
    assert found.outputs == [each.name for each in expected.outputs]
    echo = ModelInferResponse.FromString(found.echo)
    assert echo.id == expected.id
    assert dict(echo.parameters) == dict(expected.parameters)
    assert len(found.inputs) == len(expected.inputs)
    for ours, theirs in zip(found.inputs, expected.inputs, strict=True):
        assert (ours.name, ours.datatype, list(ours.shape)) == (theirs.name, theirs.datatype, list(theirs.shape))
        contents = ours.contents or {}
        assert [bytes(each) for each in contents.get(8, [])] == list(theirs.contents.bytes_contents)
        for number, (name, kind) in FIELDS.items():
            assert (
                values_of(number, contents.get(number, [])) == np.array(getattr(theirs.contents, name), kind).tobytes()
            )


def views(data: bytes) -> list[Buffer]:
    """What a message may arrive as."""
    return [data, memoryview(data), memoryview(bytearray(data))]


@given(REQUEST)
@settings(deadline=None)
def test_requests_are_read_as_they_were_meant(content: dict[str, Any]) -> None:
    expected = ModelInferRequest(**content)
    for view in views(expected.SerializeToString()):
        same(read_infer_request(view), expected)


@given(REQUEST, st.data())
@settings(deadline=None)
def test_damaged_requests_are_refused_when_protobuf_refuses_them(content: dict[str, Any], draw: st.DataObject) -> None:
    encoded = bytearray(ModelInferRequest(**content).SerializeToString())
    for _ in range(draw.draw(st.integers(1, 4))):
        place = draw.draw(st.integers(0, len(encoded)))
        encoded[place : place + draw.draw(st.integers(0, 3))] = draw.draw(st.binary(max_size=3))
    agree(bytes(encoded))


@given(st.binary(max_size=40))
@settings(deadline=None)
def test_random_bytes_are_refused_when_protobuf_refuses_them(data: bytes) -> None:
    agree(data)


def agree(data: bytes) -> None:
    try:
        expected = ModelInferRequest.FromString(data)
    except DecodeError:
        with pytest.raises(InvalidRequest):
            read_all(data)
    else:
        same(read_all(data), expected)


def read_all(data: bytes) -> InferMessage:
    """Read a request, contents of other fields than the one that counts included."""
    found = read_infer_request(data)
    for each in found.inputs:
        for number, pieces in (each.contents or {}).items():
            if number < 8:
                values_of(number, pieces)
    return found


ORDINARY = {
    "a map with a key only": b"\x22\x03\x0a\x01k",
    "an unpacked shape": b"\x2a\x04\x18\x01\x18\x02",
    "contents in two parts": b"\x2a\x0c\x2a\x04\x10\x01\x10\x02\x2a\x04\x12\x02\x03\x04",
    "a tag longer than it needs": b"\x8a\x00\x01x",
    "a length longer than it needs": b"\x0a\x81\x00x",
    "a name that is given twice": b"\x0a\x01a\x0a\x01b",
    "a name of another type": b"\x08\x05",
    "an unknown field of each type": b"\x78\x05\x79" + bytes(8) + b"\x7a\x01x\x7d" + bytes(4) + b"\x7b\x08\x01\x7c",
    "a number of ten bytes": b"\x2a\x0b\x18" + b"\xff" * 9 + b"\x01",
    "a number of ten bytes with too many bits": b"\x2a\x0b\x18" + b"\xff" * 9 + b"\x7f",
    "nothing": b"",
}
BROKEN = {
    "a number of eleven bytes": b"\x78" + b"\xff" * 10 + b"\x01",
    "a field number 0": b"\x02\x01x",
    "a type 6": b"\x0e",
    "a group that does not end": b"\x7b\x08\x01",
    "a group that ends otherwise": b"\x7b\x08\x01\x74",
    "an end without a group": b"\x0c",
    "groups without end": b"\x7b" * 200,
    "a name that is not UTF-8": b"\x0a\x01\xff",
    "a length beyond the end": b"\x0a\x05x",
    "a packed float cut off": b"\x2a\x07\x2a\x05\x32\x03abc",
    "a packed number cut off": b"\x2a\x05\x2a\x03\x12\x01\x80",
}


@pytest.mark.parametrize("data", [*ORDINARY.values(), *BROKEN.values()], ids=[*ORDINARY, *BROKEN])
def test_oddities(data: bytes) -> None:
    agree(data)


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_broken(data: bytes) -> None:
    with pytest.raises(InvalidRequest, match="cannot read the message"):
        read_infer_request(data)


@given(st.lists(UINT64, max_size=20))
@settings(deadline=None)
def test_packed_numbers(numbers: list[int]) -> None:
    assert varints(b"".join(map(wire.number_bytes, numbers))).tolist() == numbers


def test_remembered_inputs_are_told_apart() -> None:
    for shape in ([1, 2], [2, 1], [2], [1, 2]):
        request = ModelInferRequest(inputs=[{"name": "x", "datatype": "FP32", "shape": shape}])
        (found,) = read_infer_request(request.SerializeToString()).inputs
        assert list(found.shape) == shape


def test_remembered_requests_are_told_apart_and_keep_no_tensor() -> None:
    def asked(name: str, value: float, size: int = 4) -> bytes:
        described = {"name": "x", "datatype": "FP32", "shape": [size]}
        raw = np.full(size, value, np.float32).tobytes()
        encoded: bytes = ModelInferRequest(
            model_name=name, inputs=[described], raw_input_contents=[raw]
        ).SerializeToString()
        return encoded

    for name, value in [("a", 1.0), ("a", 2.0), ("b", 3.0), ("a", 4.0)]:
        for view in views(asked(name, value)):
            found = read_infer_request(view)
            assert found.model_name == name
            assert array(tensors_of(found)[0]).tolist() == [value] * 4
    read_infer_request(asked("large", 1.0, 100_000))
    assert all(not message.raw for _, message in infer_request._known_requests.values())


# Answers.


@given(
    st.lists(
        st.tuples(TEXT, st.sampled_from(sorted(DTYPES)), st.lists(st.integers(0, 3), max_size=3)),
        min_size=1,
        max_size=4,
    ),
    TEXT,
    PARAMETERS,
)
@settings(deadline=None)
def test_answers_are_what_protobuf_reads(
    described: list[tuple[str, str, list[int]]], identifier: str, parameters: dict[str, Any]
) -> None:
    outputs = [
        Tensor(name, datatype, tuple(shape), np.arange(np.prod(shape, dtype=int)).astype(DTYPES[datatype]))
        for name, datatype, shape in described
    ]
    answer = InferResponse(model_name="m", model_version="3", outputs=outputs)
    echo = read_infer_request(ModelInferRequest(id=identifier, parameters=parameters).SerializeToString()).echo
    found = ModelInferResponse.FromString(b"".join(write_infer_response(answer, echo)))
    assert (found.model_name, found.model_version, found.id) == ("m", "3", identifier)
    assert dict(found.parameters) == {
        key: ModelInferRequest(parameters={key: value}).parameters[key] for key, value in parameters.items()
    }
    assert [(each.name, each.datatype, list(each.shape)) for each in found.outputs] == described
    assert list(found.raw_output_contents) == [array(each).tobytes() for each in outputs]


@pytest.mark.parametrize("datatype", sorted(DTYPES))
def test_large_outputs_are_not_copied(datatype: str) -> None:
    values = (np.arange(100_000) % 1000).astype(DTYPES[datatype])
    answer = InferResponse(model_name="m", model_version="1", outputs=[Tensor("y", datatype, (100_000,), values)] * 2)
    parts = write_infer_response(answer, b"")
    assert sum(len(part) for part in parts if isinstance(part, bytes)) < 200
    assert [len(part) for part in parts if isinstance(part, memoryview)] == [values.nbytes] * 2
    found = ModelInferResponse.FromString(b"".join(parts))
    assert list(found.raw_output_contents) == [values.tobytes()] * 2


def test_strings_in_an_answer() -> None:
    answer = InferResponse(model_name="m", model_version="1", outputs=[Tensor("y", "BYTES", (2,), [b"ab", b""])])
    found = ModelInferResponse.FromString(b"".join(write_infer_response(answer, b"")))
    assert list(found.raw_output_contents) == [b"\x02\0\0\0ab\0\0\0\0"]


# Tensors.


def tensor(datatype: str, shape: list[int], raw: bytes | None = None, **contents: Any) -> Tensor:
    given = {"name": "x", "datatype": datatype, "shape": shape, "contents": contents}
    request = ModelInferRequest(inputs=[given], raw_input_contents=[] if raw is None else [raw])
    return tensors_of(read_infer_request(request.SerializeToString()))[0]


def array(given: Tensor) -> Array:
    assert isinstance(given.values, np.ndarray)
    return given.values


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("INT16", "int_contents", [-(2**15), 2**15 - 1]),
        ("INT32", "int_contents", [-(2**31), 2**31 - 1]),
        ("INT64", "int64_contents", [-(2**63), 2**63 - 1]),
        ("UINT8", "uint_contents", [0, 255]),
        ("UINT16", "uint_contents", [0, 2**16 - 1]),
        ("UINT32", "uint_contents", [0, 2**32 - 1]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]),
        ("FP32", "fp32_contents", [1.5, -0.0]),
        ("FP64", "fp64_contents", [0.1, 1e300]),
    ],
)
def test_typed_contents(datatype: str, field: str, values: list[Any]) -> None:
    found = array(tensor(datatype, [2], None, **{field: values}))
    assert found.dtype == DTYPES[datatype]
    assert found.tolist() == values
    assert array(tensor(datatype, [2], found.tobytes())).tolist() == values


def test_strings_and_their_raw_form() -> None:
    assert tensor("BYTES", [2], bytes_contents=[b"a", b"\xff\0"]).values == [b"a", b"\xff\0"]
    assert tensor("BYTES", [2], b"\x01\0\0\0a\x02\0\0\0\xff\0").values == [b"a", b"\xff\0"]


def test_halves_and_truth_values_in_raw_form() -> None:
    assert array(tensor("FP16", [2], np.array([1, 2], "<f2").tobytes())).tolist() == [1, 2]
    assert array(tensor("BOOL", [3], b"\x00\x01\x02")).tolist() == [False, True, True]


def test_nothing_is_a_tensor_too() -> None:
    assert array(tensor("FP32", [0, 3])).size == 0
    assert tensor("BYTES", [0]).values == []


@pytest.mark.parametrize(
    ("text", "make"),
    [
        (
            "Invalid content size of tensor proto - Expected: 8 bytes; Actual: 7 bytes; input name: x",
            lambda: tensor("FP32", [2], bytes(7)),
        ),
        (
            "Invalid number of values in tensor proto container - Expected: 2 values; Actual: 1 values; input name: x",
            lambda: tensor("FP32", [2], fp32_contents=[1]),
        ),
        (
            "Detected buffer in InferInputTensor contents for input: x",
            lambda: tensor("FP32", [1], bytes(4), fp32_contents=[1]),
        ),
        ("Unsupported data precision detected - FP8; input name: x", lambda: tensor("FP8", [1])),
        ("Invalid input shape - Actual: (1,-2); input name: x", lambda: tensor("FP32", [1, -2], bytes(8))),
        ("FP16 has no typed contents", lambda: tensor("FP16", [1], fp32_contents=[1])),
        ("FP32 belongs in fp32_contents, not in int_contents", lambda: tensor("FP32", [1], int_contents=[1])),
        ("a value is outside of -128..127; input name: x", lambda: tensor("INT8", [1], int_contents=[128])),
        ("a value is outside of 0..255; input name: x", lambda: tensor("UINT8", [1], uint_contents=[256])),
        ("Inputs inside buffer does not match expected format", lambda: tensor("BYTES", [1], b"\x05\0\0\0ab")),
    ],
)
def test_what_is_wrong_with_a_tensor_is_said(text: str, make: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        make()
    assert text in str(caught.value)


def test_raw_contents_for_some_inputs_only() -> None:
    request = ModelInferRequest(inputs=[{"name": "a"}, {"name": "b"}], raw_input_contents=[b""])
    with pytest.raises(InvalidRequest, match="raw_input_contents: 1 is different than number of inputs: 2"):
        tensors_of(read_infer_request(request.SerializeToString()))


def test_a_shape_that_lies_costs_nothing() -> None:
    with pytest.raises(InvalidRequest, match="Invalid content size"):
        tensor("FP32", [2**31 - 1] * 4, bytes(4))


def test_small_messages() -> None:
    assert messages.texts(wire.put_text(2, "b") + wire.put_bytes(3, b"\xff") + wire.put_text(1, "a"), 1, 2) == [
        "a",
        "b",
    ]
    assert messages.flag(wire.put_number(2, 1), 2)
    assert not messages.flag(b"", 2)
