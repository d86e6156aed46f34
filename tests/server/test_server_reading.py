"""Reading inference requests: JSON, binary tensors, both mixed, and everything that is wrong."""

import json
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skerry.server.errors import InvalidRequest
from skerry.server.json_numbers import read_in_python
from skerry.server.rest import large, reading
from skerry.server.rest.plans import Plans
from skerry.server.rest.reading import Encoding, read_request
from skerry.server.tensors import DTYPES, InferRequest, Tensor, join_byte_strings

NUMBERS = sorted(set(DTYPES) - {"BOOL", "BF16"})  # BF16 has tests of its own


@pytest.fixture(params=["whole", "cut", "cut, without the compiled reader"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every document is read in each way, whatever its size."""
    monkeypatch.setattr(large, "WORTHWHILE", 1 << 60 if request.param == "whole" else 0)
    if "without" in request.param:
        monkeypatch.setattr(reading, "read", read_in_python)
    return str(request.param)


def read(document: Any, *tensors: bytes, binary: bool = False) -> tuple[InferRequest, Encoding]:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_request(b"".join((text, *tensors)), b"%d" % len(text) if binary or tensors else None, 0.0)


def numbers(item: Tensor) -> Any:
    assert isinstance(item.values, np.ndarray)
    return item.values


def tensor(datatype: str, data: Any, shape: list[int] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": datatype, "shape": [len(data)] if shape is None else shape, "data": data, **more}


@pytest.mark.parametrize("datatype", NUMBERS)
def test_numbers_at_the_ends_of_their_type(datatype: str, parser: str) -> None:
    dtype = DTYPES[datatype]
    ends = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
    values = [ends.min.item() if hasattr(ends.min, "item") else ends.min, 0, 1]
    values.append(ends.max.item() if hasattr(ends.max, "item") else ends.max)
    request, _ = read({"inputs": [tensor(datatype, values)]})
    array = numbers(request.inputs[0])
    assert array.dtype == dtype
    assert array.tolist() == values


@pytest.mark.parametrize("datatype", [name for name in NUMBERS if DTYPES[name].kind in "iu"])
def test_numbers_beyond_their_type_are_refused(datatype: str, parser: str) -> None:
    bounds = np.iinfo(DTYPES[datatype])
    for value in (int(bounds.min) - 1, int(bounds.max) + 1):
        with pytest.raises(InvalidRequest, match="Not valid ndarray detected - input x"):
            read({"inputs": [tensor(datatype, [value])]})


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("FP32", "1"),
        ("FP32", True),
        ("FP32", None),
        ("INT32", 1.0),
        ("INT32", True),
        ("BOOL", 1),
        ("BOOL", "true"),
        ("BYTES", 1),
        ("UINT8", {}),
    ],
)
def test_values_of_another_kind_are_refused(datatype: str, value: Any, parser: str) -> None:
    with pytest.raises(InvalidRequest, match="Not valid ndarray detected"):
        read({"inputs": [tensor(datatype, [value])]})


def test_nested_data_are_flattened_in_order(parser: str) -> None:
    document = {"inputs": [tensor("FP32", [[[1, 2], [3, 4]], [[5, 6], [7, 8.5]]], [2, 2, 2])]}
    assert numbers(read(document)[0].inputs[0]).tolist() == [1, 2, 3, 4, 5, 6, 7, 8.5]


def test_strings_and_booleans(parser: str) -> None:
    document = {"inputs": [tensor("BYTES", ["a", "é"]), tensor("BOOL", [True, False]) | {"name": "b"}]}
    first, second = read(document)[0].inputs
    assert first.values == [b"a", "é".encode()]
    assert numbers(second).tolist() == [True, False]


def test_the_number_of_values_must_fit_the_shape(parser: str) -> None:
    with pytest.raises(InvalidRequest, match="Expected: 10 values; Actual: 3 values; input name: x"):
        read({"inputs": [tensor("FP32", [1, 2, 3], [2, 5])]})


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (b"{", "The file is not valid json"),
        (b'{"inputs": [NaN]}', "The file is not valid json"),
        (b"\xff\xfe", "The file is not valid json"),
        (b'{"z": ' + b"[" * 100_000, "The file is not valid json"),
        (
            b'{"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": %b1%b}]}'
            % (b"[" * 9999, b"]" * 9999),
            "The file is not valid json",
        ),
        (b"[1]", "Request body should be JSON object"),
        (b"{}", "Invalid JSON structure, missing inputs"),
        ({"inputs": []}, "Not valid ndarray detected"),
        ({"inputs": 3}, "Not valid ndarray detected"),
        ({"inputs": [{"name": "x"}]}, "Not valid ndarray detected"),
        ({"inputs": [tensor("FP32", [1], [-1])]}, "Not valid ndarray detected"),
        ({"inputs": [tensor("FP32", [1], [2**40])]}, "Not valid ndarray detected"),
        ({"inputs": [tensor("FP8", [1])]}, "Unsupported data precision detected - FP8"),
        ({"inputs": [tensor("FP32", [1], parameters={"p": None})]}, "Could not parse request parameters"),
        ({"inputs": [tensor("FP32", [1])], "parameters": {"p": [1]}}, "Could not parse request parameters"),
        ({"inputs": [tensor("FP32", [1])], "outputs": [{}]}, "Could not parse output content."),
        ({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32"}]}, "has no data; binary data need the header"),
    ],
)
def test_faults_of_structure(document: Any, text: str, parser: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(document)
    assert text in str(caught.value)


# The binary extension.


def header(*inputs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"inputs": list(inputs), **more}


def raw(name: str, datatype: str, shape: list[int], size: object = None) -> dict[str, Any]:
    parameters = {} if size is None else {"parameters": {"binary_data_size": size}}
    return {"name": name, "datatype": datatype, "shape": shape, **parameters}


def test_binary_and_json_tensors_mix() -> None:
    floats, numbers = np.arange(4, dtype="<f4"), np.arange(3, dtype="<i8")
    document = header(
        raw("a", "FP32", [2, 2], 16),
        tensor("INT32", [7, 8]) | {"name": "b"},
        raw("c", "INT64", [3]),
        raw("d", "BYTES", [2]),
    )
    request, _ = read(document, floats.tobytes(), numbers.tobytes(), join_byte_strings([b"one", b""]))
    values = [item.values if isinstance(item.values, list) else item.values.tolist() for item in request.inputs]
    assert values == [[0, 1, 2, 3], [7, 8], [0, 1, 2], [b"one", b""]]
    assert [item.shape for item in request.inputs] == [(2, 2), (2,), (3,), (2,)]


def test_the_walkthroughs_request() -> None:
    picture = b"not really a jpeg"
    text = b'{"inputs" : [{"name": "0", "shape": [1], "datatype": "BYTES"}]}'
    body = text + len(picture).to_bytes(4, "little") + picture
    request, _ = read_request(body, b"63", 0.0)
    assert request.inputs[0].values == [picture]


def test_a_binary_boolean_is_any_byte_but_zero() -> None:
    request, _ = read(header(raw("a", "BOOL", [3])), b"\x00\x01\xff")
    array = numbers(request.inputs[0])
    assert array.tolist() == [False, True, True]
    assert array.view(np.uint8).max() == 1


@pytest.mark.parametrize(
    ("document", "data", "text"),
    [
        (header(raw("a", "FP32", [2], 8)), b"1234", "Received buffer size is smaller than binary_data_size"),
        (header(raw("a", "FP32", [2])), b"1234", "Received buffer size is smaller than binary_data_size"),
        (header(raw("a", "FP32", [2**31 - 1] * 20)), b"1234", "Received buffer size is smaller"),
        (header(raw("a", "FP32", [2], 4)), b"1234", "Expected: 8 bytes; Actual: 4 bytes; input name: a"),
        (header(raw("a", "FP32", [1], -4)), b"1234", "binary_data_size parameter is invalid"),
        (header(raw("a", "FP32", [1], "4")), b"1234", "binary_data_size parameter is invalid"),
        (header(raw("a", "FP32", [1], True)), b"1234", "binary_data_size parameter is invalid"),
        (header(raw("a", "FP32", [1], 4)), b"12345", "1 bytes follow the last tensor"),
        (
            header(tensor("FP32", [1], parameters={"binary_data_size": 4})),
            b"1234",
            "both in binary data and in content value",
        ),
        (header(raw("a", "BYTES", [1]), raw("b", "FP32", [1])), b"\0\0\0\0\0\0\0\0", "input a needs binary_data_size"),
    ],
)
def test_faults_of_binary_tensors(document: Any, data: bytes, text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(document, data)
    assert text in str(caught.value)


@pytest.mark.parametrize("length", [b"-1", b"+2", b"1.5", b"", b"abc", b"999", b"9" * 5000])
def test_a_lying_header_length(length: bytes) -> None:
    with pytest.raises(InvalidRequest, match="Inference-Header-Content-Length header"):
        read_request(b'{"inputs": []}', length, 0.0)


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=300), st.one_of(st.none(), st.integers(0, 400)))
def test_any_body_is_a_request_or_invalid(body: bytes, length: int | None) -> None:
    with pytest.raises(InvalidRequest):
        read_request(body, None if length is None else b"%d" % length, 0.0)


# Large documents: the numbers are cut out, and nobody can tell.


def outcome(body: bytes, worthwhile: int, *, missing: bool = False) -> Any:
    """What comes of a text, error texts included."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(large, "WORTHWHILE", worthwhile)
        try:
            request, encoding = read_request(body, None, 0.0, missing=missing)
        except InvalidRequest as why:
            return str(why)
    return [
        (item.name, item.datatype, item.shape, item.values if isinstance(item.values, list) else item.values.tolist())
        for item in request.inputs
    ], encoding


def test_numbers_are_cut_out() -> None:
    text = json.dumps({"inputs": [tensor("FP32", list(range(3000))), tensor("INT8", [1])], "id": "7"}).encode()
    found = large.cut(text)
    assert found is not None
    assert len(found.rest) < 200
    [array] = found.arrays.values()
    assert json.loads(bytes(array)) == list(range(3000))


_X: Final = '"name":"x","shape":[2],"datatype":"FP32"'


@pytest.mark.parametrize(
    "text",
    [
        '{"inputs":[{%s,"data":[1,2]}]}',
        '{"inputs":[{"data" :\n[ [1],[2] ] , %s}]}',
        '{"inputs":[{%s,"data":[1,2]},{%s,"data":[3,4]}]}',
        '{"inputs":[{%s,"data":[1,2],"data":[3,4]}]}',
        '{"inputs":[{%s,"data":[1,2],"data":["a"]}]}',
        '{"inputs":[{%s,"data":[1,2]}],"other":{"data":[3,4]}}',
        '{"inputs":[{%s,"data":[1,2]}],"other":{"data":[3,04]}}',
        '{"inputs":[{%s,"data":[1,2]}],"data":[1]}',
        '{"inputs":[{%s,"data":[1,2],"parameters":{"data":[1]}}]}',
        '{"inputs":[{%s,"data":[1,2],"parameters":{"a\\"data":[1,2]}}]}',
        '{"inputs":[{%s,"data":[1,2],"parameters":{"a":"\\"data\\":[1,2"}}]}',
        '{"inputs":[{%s,"data":{"cut":0}},{%s,"data":[1,2]}]}',
        '{"inputs":[{%s,"data":[1,2]},{%s,"data":{"cut":0}}]}',
        '{"inputs":[{%s,"data":[1,2]},{%s,"other":{"cut":0}}]}',
        '{"inputs":[{%s,"data":[1,2]],"id":"7"}]}',
        '{"inputs":[{%s,"data":[1],[2]}]}',
        '{"inputs":[{%s,"data":[1,2],}]}',
        '{"inputs":[{%s,"data":[1,2] 3}]}',
        '{"inputs":[{%s,"data":[1,2',
        '{"inputs":[{%s,"data":[1,2]',
        '{"inputs":[{%s,"data":[1,2,"a"]}]}',
        '{"inputs":[{%s,"data":[1,{}]}]}',
        '{"inputs":[{%s,"data":[1,null]}]}',
        '{"inputs":[{%s,"data":[1,1e999]}]}',
        '{"inputs":[{%s,"data":[1,1e99]}]}',
        '{"inputs":[{%s,"data":[1,01]}]}',
        '{"inputs":[{%s,"data":1}]}',
        '{"inputs":[{%s,"data":[1,2,3]}]}',
        '{"inputs":[{%s,"d\\u0061ta":[1,2]}]}',
        '"data":[1,2]',
        "[1,2]",
    ],
)
def test_a_text_with_pitfalls_reads_the_same_in_both_ways(text: str) -> None:
    for datatype in ("FP32", "FP16", "BF16", "INT8", "UINT64", "BOOL", "BYTES", "FP8"):
        body = text.replace("%s", _X.replace("FP32", datatype)).encode()
        for missing in (False, True):
            assert repr(outcome(body, 0, missing=missing)) == repr(outcome(body, 1 << 60, missing=missing))


def documents() -> st.SearchStrategy[Any]:
    scalars = st.one_of(st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.floats(allow_nan=False), st.text())
    values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3), max_leaves=8)
    item = st.fixed_dictionaries(
        {
            "name": st.text(max_size=3),
            "shape": st.lists(st.integers(-1, 4), max_size=3),
            "datatype": st.sampled_from([*sorted(DTYPES), "BYTES", "FP8"]),
        },
        optional={"data": values, "parameters": st.dictionaries(st.text(max_size=3), scalars, max_size=2)},
    )
    return st.fixed_dictionaries(
        {"inputs": st.lists(item, max_size=3)},
        optional={"id": st.text(max_size=3), "parameters": st.dictionaries(st.text(max_size=3), scalars, max_size=2)},
    )


@settings(deadline=None)  # the machine may be busy
@given(documents())
def test_both_ways_agree_on_every_document(document: Any) -> None:
    body = json.dumps(document).encode()
    assert outcome(body, 0) == outcome(body, 1 << 60)


@settings(deadline=None)
@given(documents(), st.data())
def test_both_ways_agree_on_every_text(document: Any, data: st.DataObject) -> None:
    changed = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed)))
        piece = data.draw(st.sampled_from([b"", b'"', b"]", b"[", b"}", b"{", b",", b"1", b"0", b'"data":[1]', b"\\"]))
        changed[at : at + data.draw(st.integers(0, 2))] = piece
    assert outcome(bytes(changed), 0) == outcome(bytes(changed), 1 << 60)


# Headers that are not parsed again.


def test_a_known_header_is_cut_as_the_first_time() -> None:
    plans = Plans()
    text = json.dumps(
        header(raw("a", "FP32", [2]), raw("b", "INT16", [1, 3]), id="7", outputs=[{"name": "y"}])
    ).encode()
    length = b"%d" % len(text)
    for seed in range(3):
        values = np.random.default_rng(seed).bytes(14)
        fresh = read_request(text + values, length, 1.0)
        known = plans.read(text + values, length, 1.0)
        assert (known is None) == (seed == 0)
        plans.remember(text + values, length, *fresh)
        for request, encoding in [fresh] + ([known] if known else []):
            assert b"".join(numbers(item).tobytes() for item in request.inputs) == values
            assert [(item.name, item.datatype, item.shape) for item in request.inputs] == [
                ("a", "FP32", (2,)),
                ("b", "INT16", (1, 3)),
            ]
            assert (request.outputs, encoding.id) == (["y"], "7")
    assert plans.read(text + bytes(13), length, 1.0) is None
    for lie in (b"-1", b"x", b"0", b"99999", length + b"0"):
        assert plans.read(text + bytes(14), lie, 1.0) is None


@pytest.mark.parametrize(
    ("document", "data"),
    [
        (header(raw("a", "BYTES", [1])), b"\1\0\0\0x"),
        (header(raw("a", "BOOL", [1])), b"\1"),
        (header(tensor("FP32", [1.5]), raw("b", "FP32", [1])), b"1234"),
    ],
)
def test_what_is_more_than_numbers_is_read_each_time(document: Any, data: bytes) -> None:
    plans = Plans()
    text = json.dumps(document).encode()
    length = b"%d" % len(text)
    plans.remember(text + data, length, *read_request(text + data, length, 0.0))
    assert plans.read(text + data, length, 0.0) is None


# How the answer is wanted.


@pytest.mark.parametrize(
    ("more", "binary"),
    [
        ({}, []),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": True}}]}, ["y"]),
        ({"parameters": {"binary_data_output": True}}, ["y", "z"]),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "y", "parameters": {"binary_data": False}}, {"name": "z"}],
            },
            ["z"],
        ),
        ({"outputs": [{"name": "y"}, {"name": "z", "parameters": {"binary_data": True}}]}, ["z"]),
    ],
)
def test_which_outputs_are_binary(more: dict[str, Any], binary: list[str]) -> None:
    _, encoding = read(header(tensor("FP32", [1]), **more))
    assert [name for name in ("y", "z") if encoding.is_binary(name)] == binary


def test_id_and_the_clients_own_parameters_come_back() -> None:
    _, encoding = read(header(tensor("FP32", [1]), id="7", parameters={"binary_data_output": False, "trace": 3}))
    assert (encoding.id, encoding.parameters) == ("7", {"trace": 3})
