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
