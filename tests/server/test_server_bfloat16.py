"""BF16 everywhere: as halves on the wire, as numbers in JSON, in Python code and in tables.

NumPy has no such type; the judges are `struct` and ml_dtypes, which tritonclient brings along, and tritonclient itself.
"""

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import openvino as ov
import pytest
import tritonclient.grpc
import tritonclient.http
from hypothesis import given
from hypothesis import strategies as st
from tests.server import harness
from tests.server.harness import Server, serving

from skerry.server import bfloat16

# 1 + 2^-8 is in the middle of two halves: to the even one. 1 + 3 · 2^-8 likewise, the other way.
VALUES = [1.0, -2.5, 1 + 2**-8, 1 + 3 * 2**-8, 3e38, 1e-39]
HALVES = [0x3F80, 0xC020, 0x3F80, 0x3F82, 0x7F62, 0x000B]


def number_of(half: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", half << 16))[0])


def test_rounding() -> None:
    assert bfloat16.of_floats(VALUES).tolist() == HALVES
    ends = bfloat16.of_floats([math.inf, -math.inf, 3.4e38, 1e300, 0.0, -0.0])
    assert ends.tolist() == [0x7F80, 0xFF80, 0x7F80, 0x7F80, 0x0000, 0x8000]


@given(st.integers(0, 2**16 - 1))
def test_a_half_is_itself_again(half: int) -> None:
    number = bfloat16.to_floats(np.array([half], np.uint16))
    assert math.isnan(number[0]) if math.isnan(number_of(half)) else number[0] == number_of(half)
    [again] = bfloat16.of_floats(number).tolist()
    assert again == half or (math.isnan(number_of(half)) and math.isnan(number_of(again)))


@given(st.floats(width=32, allow_nan=False))
def test_rounding_as_ml_dtypes(number: float) -> None:
    judged = np.array([number], np.float32).astype(ml_dtypes.bfloat16)
    assert bfloat16.of_floats([number])[0] == judged.view(np.uint16)[0]


# Over the wire.


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bf16")


@pytest.fixture(scope="module")
def fixed(place: Path) -> Iterator[tuple[Server, str]]:
    model = harness.save(harness.echo({"x": ((1, 6), ov.Type.bf16)}), place / "fixed")
    address, port = harness.free_place()
    with serving(place, model, f"--grpc_bind_address={address}", f"--port={port}", "--metrics_enable") as server:
        yield server, f"{address}:{port}"


@pytest.fixture(scope="module")
def varying(place: Path) -> Iterator[Server]:
    with serving(place, harness.save(harness.echo({"x": ((-1,), ov.Type.bf16)}), place / "varying")) as server:
        yield server


X = {"name": "x", "datatype": "BF16", "shape": [1, 6]}


def test_numbers_in_json(fixed: tuple[Server, str]) -> None:
    server, _ = fixed
    assert server.get("/v2/models/tiny").json["inputs"] == [X]
    [output] = server.infer({"inputs": [X | {"data": [VALUES]}]}).json["outputs"]
    assert output["datatype"] == "BF16"
    assert output["data"] == pytest.approx([number_of(half) for half in HALVES], rel=1e-7)


def test_halves_behind_json(fixed: tuple[Server, str]) -> None:
    server, _ = fixed
    raw = struct.pack("<6H", *HALVES)
    reply = server.infer_binary({"inputs": [X], "parameters": {"binary_data_output": True}}, raw)
    assert reply.body.endswith(raw)
    assert server.infer_binary({"inputs": [X]}, raw[:-1]).status == 400


def test_no_value_breaks_the_json(fixed: tuple[Server, str]) -> None:
    server, _ = fixed
    [output] = server.infer_binary({"inputs": [X]}, struct.pack("<6H", 0x7F80, 0xFF80, 0x7FC1, 0, 1, 2)).json["outputs"]
    assert output["data"][:4] == [None, None, None, 0.0]


def test_any_size_and_large_json(varying: Server) -> None:
    numbers = np.arange(5000) / 8
    tensor = {"name": "x", "datatype": "BF16", "shape": [5000], "data": numbers.tolist()}
    [output] = varying.infer({"inputs": [tensor]}).json["outputs"]
    np.testing.assert_allclose(output["data"], numbers, rtol=2**-8)


def test_kserves_first_protocol(varying: Server) -> None:
    reply = varying.ask("POST", "/v1/models/tiny:predict", b'{"inputs": [1.5, -2, 3]}')
    assert reply.json == {"predictions": [1.5, -2.0, 3.0]}


def test_tritonclient(fixed: tuple[Server, str]) -> None:
    server, target = fixed
    row = np.array([VALUES], ml_dtypes.bfloat16)
    with tritonclient.grpc.InferenceServerClient(target) as over_grpc:
        given = tritonclient.grpc.InferInput("x", [1, 6], "BF16")
        given.set_data_from_numpy(row)
        found = over_grpc.infer("tiny", [given]).as_numpy("x")
    assert (found.view(np.uint16) == HALVES).all()
    with tritonclient.http.InferenceServerClient(f"{server.address}:{server.port}") as over_rest:
        asked = tritonclient.http.InferInput("x", [1, 6], "BF16")
        asked.set_data_from_numpy(row)
        found = over_rest.infer("tiny", [asked]).as_numpy("x")
    assert (found.view(np.uint16) == HALVES).all()


def test_it_cannot_hold_pictures(place: Path) -> None:
    model = harness.save(harness.echo({"p": ((1, 4, 4, 3), ov.Type.bf16)}), place / "camera")
    with serving(place, model, "--layout=NHWC") as server:
        reply = server.infer({"inputs": [{"name": "p", "shape": [1], "datatype": "BYTES", "data": ["x"]}]})
    assert (reply.status, reply.json["error"][:48]) == (400, "Invalid input precision - BF16 cannot hold pictu")


def test_python_code_sees_numbers(place: Path) -> None:
    (place / "half").mkdir()
    (place / "half" / "model.py").write_text(
        "from skerry.server.model import Model, TensorType\n"
        "class Half(Model):\n"
        "    inputs = [TensorType('x', 'BF16', [-1])]\n"
        "    outputs = [TensorType('y', 'BF16', [-1])]\n"
        "    def predict(self, tensors):\n"
        "        return tensors['x'] / 2\n"
    )
    with serving(place, place / "half") as server:
        tensor = {"name": "x", "shape": [2], "datatype": "BF16", "data": [3.0, -5.0]}
        [output] = server.infer({"inputs": [tensor]}).json["outputs"]
    assert (output["datatype"], output["data"]) == ("BF16", [1.5, -2.5])
