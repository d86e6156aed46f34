"""KServe's first protocol, and compressed bodies."""

import base64
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops
from tests.server import harness
from tests.server.harness import Reply, Server, serving

from skerry.server.rest import v1_metadata
from skerry.server.tensors import BYTES, DTYPES


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("v1")


@pytest.fixture(scope="module")
def rows(place: Path) -> Iterator[Server]:
    with serving(place, harness.save(harness.iris((-1, 4)), place / "rows"), "--max_body_mib=1") as server:
        yield server


def predict(server: Server, body: Any) -> Reply:
    return server.ask("POST", f"/v1/models/{server.model}:predict", json.dumps(body).encode())


ROWS = [[1, 2, 3, 4], [0.5, 0, 0, 1]]


def test_the_models(rows: Server) -> None:
    assert rows.get("/v1/models").json == {"models": ["tiny"]}
    assert rows.get("/v1/models/tiny").json == {"name": "tiny", "ready": True}
    assert rows.get("/v1/models/tiny/versions/1").status == 200
    assert [rows.get(f"/v1/models/{name}").status for name in ("nobody", "tiny/versions/2", "tiny:predict")] == [
        404,
        404,
        405,
    ]


def test_what_a_model_takes_and_gives(rows: Server) -> None:
    described = rows.get("/v1/models/tiny/metadata").json
    assert described == rows.get("/v1/models/tiny/versions/1/metadata").json
    assert described["modelSpec"] == {"name": "tiny", "signatureName": "", "version": "1"}
    signature = described["metadata"]["signature_def"]["signatureDef"]["serving_default"]
    assert signature["inputs"]["x"] == {
        "dtype": "DT_FLOAT",
        "tensorShape": {"dim": [{"size": "-1", "name": ""}, {"size": "4", "name": ""}], "unknownRank": False},
        "name": "x",
    }
    assert list(signature["outputs"]) == ["y"]
    assert [rows.get(f"/v1/models/{path}/metadata").status for path in ("nobody", "tiny/versions/2")] == [404, 404]
    assert set(v1_metadata._TYPES) >= {*DTYPES, BYTES}


def test_what_kserves_servers_have_beside_the_protocols(rows: Server) -> None:
    assert rows.get("/").json == {"status": "alive"}
    assert rows.get("/v2/models").json == rows.get("/v1/models").json


@pytest.mark.parametrize(
    "body",
    [{"instances": ROWS}, {"instances": [{"x": row} for row in ROWS]}, {"inputs": ROWS}, {"inputs": {"x": ROWS}}],
)
def test_rows_and_columns(rows: Server, body: dict[str, Any]) -> None:
    reply = predict(rows, body)
    assert (reply.status, list(reply.json)) == (200, ["predictions"])
    np.testing.assert_allclose(reply.json["predictions"], harness.iris_answer(ROWS), rtol=1e-5)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"instances": []},
        {"instances": ROWS, "inputs": ROWS},
        {"instances": [[1, 2], [3]]},
        {"instances": [["a", "b", "c", "d"]]},
        {"instances": [[None, 1, 2, 3]]},
        {"instances": [[1, 2, 3]]},
        {"instances": [{"z": [1, 2, 3, 4]}]},
        {"instances": [{"b64": "AAAA"}]},
        {"instances": 5},
    ],
)
def test_what_does_not_fit_is_the_clients_mistake(rows: Server, body: Any) -> None:
    reply = predict(rows, body)
    assert (reply.status, list(reply.json)) == (400, ["error"])


def test_several_inputs_and_outputs(place: Path) -> None:
    model = harness.echo({"a": ((-1,), ov.Type.i32), "b": ((-1, 2), ov.Type.f32)})
    with serving(place, harness.save(model, place / "several")) as server:
        instances = [{"a": 1, "b": [1, 2]}, {"a": 2, "b": [3, 4.5]}]
        assert predict(server, {"instances": instances}).json["predictions"] == instances
        columns = {"a": [1, 2], "b": [[1, 2], [3, 4.5]]}
        assert predict(server, {"inputs": columns}).json["predictions"] == columns
        assert predict(server, {"instances": [{"a": 1.5, "b": [1, 2]}]}).status == 400
        assert predict(server, {"instances": [{"a": 1 << 40, "b": [1, 2]}]}).status == 400


def test_texts(place: Path) -> None:
    with serving(place, harness.save(harness.strings(), place / "texts")) as server:
        odd = {"b64": base64.b64encode(b"\xff\xfe").decode()}
        assert predict(server, {"instances": ["hé", odd]}).json == {"predictions": ["hé", odd]}
        assert predict(server, {"instances": [{"b64": "?"}]}).status == 400


def test_pictures(place: Path) -> None:
    x = harness.parameter("x", (1, 2, 2, 3), ov.Type.f32)
    twice = harness.named("y", ops.multiply(x, ops.constant(np.array(2, np.float32))))
    model = ov.Model([ops.result(twice)], [x], "twice")
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    png = base64.b64encode(cv2.imencode(".png", pixels)[1].tobytes()).decode()
    with serving(place, harness.save(model, place / "pictures"), "--layout=NHWC") as server:
        for body in ({"instances": [{"b64": png}]}, {"instances": [{"x": {"b64": png}}]}, {"inputs": [{"b64": png}]}):
            assert predict(server, body).json["predictions"] == [(pixels * 2).tolist()]


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def infer_packed(server: Server, body: bytes, encoding: str) -> Reply:
    return server.infer(body, headers={"Content-Encoding": encoding})


@pytest.mark.parametrize("count", [1, 20_000])
@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", raw_deflate), ("identity", bytes)],
)
def test_compressed_bodies(rows: Server, count: int, encoding: str, pack: Any) -> None:
    data = [0.25] * (4 * count)
    body = json.dumps({"inputs": [{"name": "x", "shape": [count, 4], "datatype": "FP32", "data": data}]}).encode()
    reply = infer_packed(rows, pack(body), encoding)
    assert reply.status == 200
    assert reply.json["outputs"][0]["shape"] == [count, 3]


def test_bombs_and_rubbish(rows: Server) -> None:
    bomb = gzip.compress(b"[" * (64 << 20))
    replies = [
        infer_packed(rows, bomb, "gzip"),
        infer_packed(rows, b"rubbish", "gzip"),
        infer_packed(rows, gzip.compress(b"{}")[:-4], "gzip"),
        infer_packed(rows, gzip.compress(b"{}") + b"x", "gzip"),
        infer_packed(rows, b"{}", "br"),
    ]
    assert [reply.status for reply in replies] == [413, 400, 400, 400, 415]
    assert all(list(reply.json) == ["error"] for reply in replies)
    assert harness.pid_memory(rows.process.pid) < 400 << 20


# Rows for models that take one at a time.


def test_rows_one_by_one(place: Path) -> None:
    single = harness.save(harness.iris(), place / "single")
    many = np.random.default_rng(1).normal(size=(100, 4)).tolist()
    with serving(place, single, "--metrics_enable") as server:
        for count in (1, 2, 100):
            reply = predict(server, {"instances": many[:count]})
            np.testing.assert_allclose(reply.json["predictions"], harness.iris_answer(many[:count]), rtol=1e-4)
        labels = 'api="KServe",interface="REST",method="ModelInfer",name="tiny",version="1"'
        assert server.counted(f"ovms_requests_success{{{labels}}}") == 103
        refused = predict(server, {"inputs": many})
        assert (refused.status, "Invalid input batch size - Expected: 1; Actual: 100" in refused.json["error"]) == (
            400,
            True,
        )
        crooked = predict(server, {"instances": [[1, 2, 3], [1, 2, 3]]})
        assert (crooked.status, "Invalid input shape" in crooked.json["error"]) == (400, True)


def test_pictures_and_several_outputs_one_by_one(place: Path) -> None:
    inputs = [harness.parameter("p", (1, 4, 4, 3), ov.Type.f32), harness.parameter("n", (1, 2), ov.Type.f32)]
    results = [ops.result(harness.named(name, ops.relu(node))) for name, node in zip("PN", inputs, strict=True)]
    model = harness.save(ov.Model(results, inputs, "single"), place / "single-pictures")
    shades = [10, 200, 90]
    coded = [
        base64.b64encode(cv2.imencode(".png", np.full((4, 4, 3), shade, np.uint8))[1].tobytes()) for shade in shades
    ]
    instances = [{"p": {"b64": text.decode()}, "n": [shade, 1]} for text, shade in zip(coded, shades, strict=True)]
    with serving(place, model, '--layout={"p": "NHWC"}') as server:
        answers = predict(server, {"instances": instances}).json["predictions"]
        assert [answer["N"] for answer in answers] == [[shade, 1] for shade in shades]
        assert [answer["P"][0][0][0] for answer in answers] == shades


def test_rows_one_by_one_in_threads(place: Path) -> None:
    x = harness.parameter("x", (1, 200), ov.Type.f32)
    big = ops.matmul(x, ops.constant(np.ones((1, 200), np.float32)), True, False)
    for _ in range(8):
        big = ops.matmul(big, ops.constant(np.full((200, 200), 1e-3, np.float32)), False, False)
    y = harness.named("y", ops.reduce_sum(big, np.array([1], np.int64), keep_dims=False))
    y = harness.named("z", ops.reshape(ops.reduce_sum(y, np.array([0], np.int64), False), np.array([1, 1]), False))
    model = harness.save(ov.Model([ops.result(y)], [x], "heavy"), place / "single-heavy")
    with serving(place, model, "--max_queue=1", "--nireq=1") as server:
        rows = [[float(index)] * 200 for index in range(12)]
        found = predict(server, {"instances": rows}).json["predictions"]
        assert [np.shape(row) for row in found] == [(1,)] * 12
        np.testing.assert_allclose([row[0] for row in found], [row[0] * found[1][0] for row in rows], rtol=1e-4)
