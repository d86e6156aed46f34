"""curl, as people type it."""

import gzip
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.server import harness
from tests.server_grpc.served import Served

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")

REQUEST = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
ANSWER = harness.iris_answer([[1, 2, 3, 4]])


def curl(served: Served, path: str, *words: str) -> tuple[int, bytes]:
    url = f"http://{served.process.address}:{served.process.port}{path}"
    command = ["curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", url, *words]
    body, _, code = subprocess.run(command, capture_output=True, check=True, timeout=30).stdout.rpartition(b"\n")
    return int(code), body


def values(body: bytes) -> Any:
    return np.array(json.loads(body)["outputs"][0]["data"]).reshape(1, 3)


def test_health(served: Served) -> None:
    assert curl(served, "/v2/health/live")[0] == 200
    assert curl(served, "/v2/health/ready", "--head")[0] == 200
    assert curl(served, "/v2/models/nothing/ready")[0] == 404


def test_json_with_the_content_type_that_curl_makes_up(served: Served) -> None:
    code, body = curl(served, "/v2/models/iris/infer", "-d", json.dumps(REQUEST))
    assert code == 200
    np.testing.assert_allclose(values(body), ANSWER, rtol=1e-5)


def test_a_file_with_chunks_and_with_a_question_before(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "request.json"
    rows = np.ones((60_000, 4)).tolist()  # more than a megabyte, so curl asks with Expect: 100-continue
    file.write_text(json.dumps({"inputs": [{"name": "x", "shape": [60_000, 4], "datatype": "FP32", "data": rows}]}))
    for words in (["--data-binary", f"@{file}"], ["-T", str(file), "-X", "POST", "-H", "Transfer-Encoding: chunked"]):
        code, body = curl(served, "/v2/models/iris/infer", *words)
        assert code == 200
        assert json.loads(body)["outputs"][0]["shape"] == [60_000, 3]


def test_a_compressed_body_and_a_compressed_answer(served: Served, tmp_path: Path) -> None:
    file = tmp_path / "request.json.gz"
    file.write_bytes(gzip.compress(json.dumps(REQUEST).encode()))
    words = ["--data-binary", f"@{file}", "-H", "Content-Encoding: gzip", "--compressed"]
    code, body = curl(served, "/v2/models/iris/infer", *words)
    assert code == 200
    np.testing.assert_allclose(values(body), ANSWER, rtol=1e-5)


def test_binary_values_behind_a_header(served: Served, tmp_path: Path) -> None:
    tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32"}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    file = tmp_path / "request"
    file.write_bytes(header + np.array([1, 2, 3, 4], "<f4").tobytes())
    words = ["--data-binary", f"@{file}", "-H", f"Inference-Header-Content-Length: {len(header)}"]
    code, body = curl(served, "/v2/models/iris/infer", *words)
    assert code == 200
    np.testing.assert_allclose(np.frombuffer(body[-12:], "<f4")[None], ANSWER, rtol=1e-5)


def test_an_error_has_the_form_of_the_protocol(served: Served) -> None:
    code, body = curl(served, "/v2/models/iris/infer", "-d", "{")
    assert code == 400
    assert list(json.loads(body)) == ["error"]
