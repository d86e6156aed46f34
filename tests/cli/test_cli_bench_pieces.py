"""What `skerry bench` sends: tensors judged by numpy, messages judged by protobuf's own library."""

import json
import struct
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server_grpc.declared import declared

from skerry.cli.bench import protobuf
from skerry.cli.bench.inputs import inputs_of
from skerry.cli.bench.load import Latencies, Measured
from skerry.cli.bench.metadata import Declared, Model
from skerry.cli.bench.report import remarks
from skerry.cli.bench.target import target_of
from skerry.cli.bench.tensors import CODES, elements_of, made_up, packed

MODEL = Model("m", "", "", (Declared("x", "FP32", (-1, 2, 3)),))
TWO = Model("m", "", "", (Declared("a", "INT64", (-1,)), Declared("b", "FP32", (2, -1))))
NUMPY = {"BOOL": "?", "FP16": "f2", "FP32": "f4", "FP64": "f8"} | {
    f"{sign}INT{bits}": f"{'u' if sign else 'i'}{bits // 8}" for sign in ("", "U") for bits in (8, 16, 32, 64)
}


@pytest.mark.parametrize("datatype", sorted(CODES))
def test_numbers_are_as_numpy_writes_them(datatype: str) -> None:
    tensor = made_up("x", datatype, (2, 3))
    array = np.frombuffer(tensor.raw, f"<{NUMPY[datatype]}")
    assert array.shape == (6,)
    np.testing.assert_allclose(array.astype(float), np.array(tensor.values(), float), atol=1e-4)
    assert made_up("x", datatype, (2, 3)) == tensor


def test_text_and_brain_floats() -> None:
    words = packed("x", "BYTES", (2,), ["été", b"\x00\x01"])
    assert elements_of(words.raw) == ["été".encode(), b"\x00\x01"]
    assert packed("x", "BYTES", (1,), [{"b64": "AAE="}]).values() == ["\x00\x01"]
    assert packed("x", "BF16", (3,), [1.0, -2.5, 0.15625]).values() == [1.0, -2.5, 0.15625]
    with pytest.raises(click.ClickException, match="--encoding binary"):
        packed("x", "BYTES", (1,), [b"\xff"]).values()


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["f4", "f8", "i8", "u2", "b1"])
def test_an_array_from_a_file(tmp_path: Path, order: str, kind: str) -> None:
    values = np.arange(12).reshape(2, 2, 3).astype(f"{order}{kind}")
    np.save(tmp_path / "x.npy", values)
    (tensor,) = inputs_of(MODEL, [str(tmp_path / "x.npy")], [], 1).tensors
    assert tensor.shape == (2, 2, 3)
    assert tensor.raw == values.astype(f"<{kind}").tobytes()


def test_a_picture_and_a_request_from_files(tmp_path: Path) -> None:
    picture, request = tmp_path / "bee.jpeg", tmp_path / "request.json"
    picture.write_bytes(b"\xff\xd8\xff and more")
    (tensor,) = inputs_of(MODEL, [f"x={picture}"], [], 1).tensors
    assert (tensor.datatype, tensor.shape, tensor.raw[:4]) == ("BYTES", (1,), struct.pack("<I", 12))
    content = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [[1, 2]]}]}
    request.write_text(json.dumps(content))
    inputs = inputs_of(MODEL, [str(request)], [], 1)
    assert (inputs.tensors[0].values(), inputs.document) == ([1.0, 2.0], request.read_bytes())


@pytest.mark.parametrize(
    ("files", "shapes", "text"),
    [
        ([], [], "say what to send with --shape b=N,N"),
        (["x.npy"], [], "say for which input x.npy is, as NAME=x.npy; the model has: a, b"),
        ([], ["3"], "say for which input 3 is"),
    ],
)
def test_several_inputs(files: list[str], shapes: list[str], text: str) -> None:
    with pytest.raises(click.UsageError, match=text):
        inputs_of(TWO, files, shapes, 1)


def test_a_model_that_declares_nothing(tmp_path: Path) -> None:
    silent = Model("m", "", "", ())
    with pytest.raises(click.UsageError, match="m does not declare its inputs: give a whole request"):
        inputs_of(silent, [], [], 1)
    request = tmp_path / "request.json"
    request.write_text('{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}')
    assert inputs_of(silent, [str(request)], [], 1).tensors[0].name == "x"


def test_shapes_of_several_inputs() -> None:
    first, second = inputs_of(TWO, [], ["b=2,5"], 7).tensors
    assert (first.shape, second.shape) == ((7,), (2, 5))


def test_a_request_is_what_protobuf_reads() -> None:
    tensors = (packed("x", "INT64", (2, 1), [1, -5]), packed("s", "BYTES", (1,), ["hello"]))
    request = declared("inference.ModelInferRequest").FromString(protobuf.infer_request("m", "3", tensors))
    assert (request.model_name, request.model_version) == ("m", "3")
    assert [(one.name, one.datatype, list(one.shape)) for one in request.inputs] == [
        ("x", "INT64", [2, 1]),
        ("s", "BYTES", [1]),
    ]
    assert list(request.raw_input_contents) == [tensors[0].raw, b"\x05\0\0\0hello"]


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_shapes_are_read_as_protobuf_writes_them(sizes: list[int]) -> None:
    message = declared("inference.ModelMetadataResponse.TensorMetadata")(name="x", shape=sizes)
    assert protobuf.signed(message.SerializeToString(), 3) == sizes


@given(st.binary(max_size=60))
def test_rubbish_is_no_message(data: bytes) -> None:
    try:
        list(protobuf.fields(data))
        protobuf.signed(data, 3)
    except ValueError:
        pass


@given(st.lists(st.floats(1e-6, 100), min_size=1, max_size=300))
def test_percentiles_are_exact_to_a_thousandth(values: list[float]) -> None:
    latencies = Latencies()
    for value in values:
        latencies.add(value)
    for share in (0.5, 0.9, 0.99, 1.0):
        exact = float(np.quantile(values, share, method="inverted_cdf"))
        assert latencies.percentile(share) == pytest.approx(exact, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize(
    ("url", "given", "said"),
    [
        ("host:81", {}, ("http", "host", 81, "host:81")),
        ("https://h/models/", {}, ("https", "h", 443, "h")),
        ("grpc://[::1]:9000", {}, ("grpc", "::1", 9000, "[::1]:9000")),
        ("http://h:1", {"host": "gate"}, ("http", "h", 1, "gate")),
    ],
)
def test_addresses(url: str, given: dict[str, Any], said: tuple[Any, ...]) -> None:
    rest: dict[str, Any] = {"host": None, "token": None, "cacert": None, "insecure": False, "timeout": 1.0} | given
    target = target_of(url, **rest)
    assert (target.scheme, target.host, target.port, target.authority) == said


@pytest.mark.parametrize("url", ["ftp://h", "http://", "http://h:x", "grpc:///"])
def test_no_addresses(url: str) -> None:
    with pytest.raises(click.UsageError, match="want http://HOST:PORT"):
        target_of(url, host=None, token=None, cacert=None, insecure=False, timeout=1.0)


def test_a_client_that_is_the_limit_says_so() -> None:
    busy = Measured(8, None, seconds=1, answers=5, client_cpu=0.97)
    assert remarks([busy]) == ["8 clients: this program used 97% of a core, so the server may be faster than this"]
    assert remarks([Measured(8, None, seconds=1, answers=5, client_cpu=0.5)]) == []
