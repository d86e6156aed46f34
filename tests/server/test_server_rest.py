"""The REST interface of a real server process: every path, what it answers, and what it answers to mistakes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from tests.server import harness
from tests.server.harness import Server, serving

ROW = [1.0, 2.0, 3.0, 4.0]
REQUEST = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW}]}


def test_health_and_metadata_of_the_server(tiny: Server) -> None:
    for path, body in {
        "/v2/health/live": b'{"live":true}',
        "/v2/health/ready": b'{"ready":true}',
        "/v2/models/tiny/ready": b"",
        "/v2/models/tiny/versions/1/ready": b"",
    }.items():
        reply = tiny.get(path)
        assert (reply.status, reply.body) == (200, body)
        assert list(reply.headers) == ["content-type", "date", "content-length"]  # as in the walkthrough
        assert reply.headers["content-type"] == "application/json"
        assert reply.headers["date"].endswith(" GMT")
    extensions = ["binary_tensor_data", "model_repository"]
    assert tiny.get("/v2").json == {"name": "skerry", "version": "0.1.0", "extensions": extensions}


def test_metadata_text_is_ovms_text(tiny: Server) -> None:
    assert tiny.get("/v2/models/tiny").body == (
        b'{"name":"tiny","versions":["1"],"platform":"OpenVINO",'
        b'"inputs":[{"name":"x","datatype":"FP32","shape":[1,4]}],'
        b'"outputs":[{"name":"y","datatype":"FP32","shape":[1,3]}]}'
    )
    assert tiny.get("/v2/models/tiny/versions/1/").body == tiny.get("/v2/models/tiny").body


def test_an_inference(tiny: Server) -> None:
    reply = tiny.infer(REQUEST)
    assert reply.status == 200
    document = reply.json
    assert list(document) == ["model_name", "model_version", "outputs"]
    assert (document["model_name"], document["model_version"]) == ("tiny", "1")
    [output] = document["outputs"]
    assert list(output) == ["name", "shape", "datatype", "data"]
    assert (output["name"], output["shape"], output["datatype"]) == ("y", [1, 3], "FP32")
    assert output["data"] == pytest.approx(harness.iris_answer([ROW])[0], abs=1e-6)


def test_id_and_parameters_are_echoed(tiny: Server) -> None:
    document = tiny.infer(REQUEST | {"id": "abc", "parameters": {"tag": "t", "n": 3}}).json
    assert (document["id"], document["parameters"]) == ("abc", {"tag": "t", "n": 3})


def test_binary_both_ways(tiny: Server) -> None:
    header = {
        "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
    reply = tiny.infer_binary(header, np.array(ROW, "<f4").tobytes())
    assert (reply.status, reply.headers["content-type"]) == (200, "application/octet-stream")
    length = int(reply.headers["inference-header-content-length"])
    [output] = json.loads(reply.body[:length])["outputs"]
    assert output == {"name": "y", "shape": [1, 3], "datatype": "FP32", "parameters": {"binary_data_size": 12}}
    assert np.frombuffer(reply.body[length:], "<f4") == pytest.approx(harness.iris_answer([ROW])[0], abs=1e-6)


def test_binary_data_may_start_at_any_byte(tiny: Server) -> None:
    for padding in range(4):
        header = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32"}], "id": "i" * (padding + 1)}
        answer = tiny.infer_binary(header, np.array(ROW, "<f4").tobytes()).json
        assert answer["outputs"][0]["data"] == pytest.approx(harness.iris_answer([ROW])[0], abs=1e-6)


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/nowhere", 404, "there is nothing at /nowhere"),
        ("GET", "/v2/nothing", 404, "there is nothing at /v2/nothing"),
        ("GET", "/v2/models/other", 404, "Model with requested name is not found: other"),
        ("GET", "/v2/models/other/ready", 404, "Model with requested name is not found: other"),
        ("GET", "/v2/models/tiny/versions/2", 404, "Model with requested version is not found: tiny version 2"),
        ("GET", "/v2/models/tiny/versions/x", 404, "invalid model version format in request"),
        ("GET", f"/v2/models/tiny/versions/{'9' * 50}", 404, "invalid model version format in request"),
        ("POST", "/v2/models/other/infer", 404, "Model with requested name is not found: other"),
        ("GET", "/v2/models/tiny/infer", 405, "Unsupported method: use POST here"),
        ("POST", "/v2/models/tiny", 405, "Unsupported method: use GET, HEAD here"),
        ("DELETE", "/metrics", 405, "Unsupported method"),
        ("POST", "/v2/models/tiny/infer", 400, "The file is not valid json"),
    ],
)
def test_what_is_not_there_or_not_allowed(tiny: Server, method: str, path: str, status: int, text: str) -> None:
    reply = tiny.ask(method, path)
    assert reply.status == status
    assert list(reply.json) == ["error"]
    assert reply.json["error"].startswith(text)


def changed(**fields: Any) -> dict[str, Any]:
    return {"inputs": [REQUEST["inputs"][0] | fields]}


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"inputs": REQUEST["inputs"] * 2}, "Invalid number of inputs - Expected: 1; Actual: 2"),
        (changed(name="z"), "Missing input with specific name - Required input: x; given: z"),
        (
            changed(datatype="INT32", data=[1, 2, 3, 4]),
            "Invalid input precision - Expected: FP32; Actual: INT32; input name: x",
        ),
        (
            changed(shape=[4]),
            "Invalid number of shape dimensions - Expected: (1,4); Actual: (4); input name: x",
        ),
        (
            changed(shape=[2, 4], data=ROW * 2),
            "Invalid input batch size - Expected: 1; Actual: 2; input name: x",
        ),
        (changed(shape=[1, 3], data=ROW[:3]), "Invalid input shape - Expected: (1,4); Actual: (1,3); input name: x"),
        (changed(data=ROW[:3]), "Invalid number of values in tensor proto container - Expected: 4 values; Actual: 3"),
        (changed(datatype="BYTES", data=["a"] * 4), "Invalid input precision - Expected: FP32; Actual: BYTES"),
        (REQUEST | {"outputs": [{"name": "nope"}]}, "the model has no output nope; it has y"),
        (REQUEST | {"outputs": [{"name": "y"}] * 2}, "an output is asked for twice"),
    ],
)
def test_tensors_that_do_not_fit(tiny: Server, request_: dict[str, Any], text: str) -> None:
    reply = tiny.infer(request_)
    assert reply.status == 400
    assert reply.json["error"].startswith(text)


def test_what_is_counted(room: Path) -> None:
    labels = 'api="KServe",interface="REST",method="{}",name="counted",version="1"'
    infers = "{" + labels.format("ModelInfer") + "}"
    with serving(room, harness.save(harness.iris(), room / "counted"), "--metrics_enable", name="counted") as server:
        assert server.get("/metrics").headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        server.infer(REQUEST)
        server.infer(REQUEST)
        server.infer({"inputs": 3})
        server.infer(changed(shape=[4]))
        server.infer(REQUEST, model="unknown")
        server.get("/v2/models/counted")
        server.get("/v2/models/counted/ready")
        assert server.counted(f"ovms_requests_success{infers}") == 2
        assert server.counted(f"ovms_requests_fail{infers}") == 2
        assert server.counted("ovms_requests_success{" + labels.format("ModelMetadata") + "}") == 1
        ready = 'ovms_requests_success{api="KServe",interface="REST",method="ModelReady",name="counted"}'
        assert server.counted(ready) == 1
        assert server.counted('ovms_request_time_us_count{interface="REST",name="counted",version="1"}') == 2
        assert server.counted('ovms_inference_time_us_count{name="counted",version="1"}') == 2


def test_metrics_are_off_unless_asked_for(room: Path) -> None:
    with serving(room, room / "counted", name="counted") as server:
        assert server.get("/metrics").status == 404


# Many tensors, many types.


@pytest.fixture(scope="module")
def echo(room: Path) -> Iterator[Server]:
    model = harness.echo({name.lower(): ((1, -1), kind) for name, kind in harness.KINDS.items()})
    with serving(room, harness.save(model, room / "echo"), name="echo") as server:
        yield server


SAMPLES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 2**16 - 1],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-(2**15), 2**15 - 1],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [0.5, -65504.0],
    "FP32": [0.1, -3.4028235e38],
    "FP64": [0.1, 1.7976931348623157e308],
}


def json_inputs() -> list[dict[str, Any]]:
    return [
        {"name": kind.lower(), "shape": [1, 2], "datatype": kind, "data": values} for kind, values in SAMPLES.items()
    ]


def test_metadata_is_sorted_by_name_and_shows_what_varies(echo: Server) -> None:
    metadata = echo.get("/v2/models/echo").json
    assert [item["name"] for item in metadata["inputs"]] == sorted(kind.lower() for kind in SAMPLES)
    assert {(item["datatype"], tuple(item["shape"])) for item in metadata["inputs"]} == {
        (kind, (1, -1)) for kind in SAMPLES
    }


def test_every_type_passes_through_json_unharmed(echo: Server) -> None:
    answer = echo.infer({"inputs": json_inputs()}).json
    got = {output["datatype"]: output["data"] for output in answer["outputs"]}
    assert got == SAMPLES


def test_every_type_passes_through_binary_unharmed(echo: Server) -> None:
    kinds = list(SAMPLES)
    arrays = {kind: np.array(SAMPLES[kind], harness.KINDS[kind].to_dtype()) for kind in kinds}
    header = {
        "inputs": [{"name": kind.lower(), "shape": [1, 2], "datatype": kind} for kind in kinds],
        "parameters": {"binary_data_output": True},
    }
    reply = echo.infer_binary(header, *(arrays[kind].tobytes() for kind in kinds))
    length = int(reply.headers["inference-header-content-length"])
    rest = reply.body[length:]
    for output in json.loads(reply.body[:length])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        assert rest[:size] == arrays[output["datatype"]].tobytes()
        rest = rest[size:]
    assert rest == b""


def test_requested_outputs_filter_and_give_the_order(echo: Server) -> None:
    wanted = [{"name": "int8"}, {"name": "fp64", "parameters": {"binary_data": True}}, {"name": "bool"}]
    reply = echo.infer({"inputs": json_inputs(), "outputs": wanted})
    length = int(reply.headers["inference-header-content-length"])
    outputs = json.loads(reply.body[:length])["outputs"]
    assert [output["name"] for output in outputs] == ["int8", "fp64", "bool"]
    assert ["data" in output for output in outputs] == [True, False, True]
    assert np.frombuffer(reply.body[length:], "<f8").tolist() == SAMPLES["FP64"]


def test_no_value_breaks_the_json(echo: Server) -> None:
    inputs = [item for item in json_inputs() if item["name"] not in {"fp16", "fp32", "fp64"}]
    header = {"inputs": inputs + [{"name": f"fp{n}", "shape": [1, 3], "datatype": f"FP{n}"} for n in (16, 32, 64)]}
    odd = [float("nan"), float("inf"), -float("inf")]
    answer = echo.infer_binary(header, *(np.array(odd, f"<f{n // 8}").tobytes() for n in (16, 32, 64))).json
    assert [output["data"] for output in answer["outputs"] if output["datatype"].startswith("FP")] == [[None] * 3] * 3


def test_tensors_without_values(echo: Server) -> None:
    inputs = [item | {"shape": [1, 0], "data": []} for item in json_inputs()]
    answer = echo.infer({"inputs": inputs}).json
    assert {tuple(output["shape"]) for output in answer["outputs"]} == {(1, 0)}


def test_strings(room: Path) -> None:
    with serving(room, harness.save(harness.strings(), room / "strings"), name="s") as server:
        assert server.get("/v2/models/s").json["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
        words = ["one", "zwei", "trois\u00e9", ""]
        request = {"inputs": [{"name": "text", "shape": [4], "datatype": "BYTES", "data": words}]}
        assert server.infer(request).json["outputs"][0]["data"] == words
        header = {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES"}]}
        refused = server.infer_binary(header, b"\x02\0\0\0\xff\xfe")
        assert (refused.status, refused.json["error"].startswith("output text holds bytes that are no text")) == (
            400,
            True,
        )
        raw = header | {"parameters": {"binary_data_output": True}}
        assert server.infer_binary(raw, b"\x02\0\0\0\xff\xfe").body.endswith(b"\x02\0\0\0\xff\xfe")


def test_strings_as_rows_of_bytes(room: Path) -> None:
    model = harness.echo({"rows": ((-1, -1), ov.Type.u8)})
    with serving(room, harness.save(model, room / "rows"), name="r") as server:
        request = {"inputs": [{"name": "rows", "shape": [2], "datatype": "BYTES", "data": ["ab", "c"]}]}
        [output] = server.infer(request).json["outputs"]
        assert (output["shape"], output["data"]) == ([2, 3], [97, 98, 0, 99, 0, 0])


def test_large_json(room: Path) -> None:
    model = harness.echo({"x": ((1, -1), ov.Type.f32)})
    values = np.random.default_rng(1).random(20_000, np.float32)
    with serving(room, harness.save(model, room / "large"), name="l") as server:
        request = {"inputs": [{"name": "x", "shape": [1, 20_000], "datatype": "FP32", "data": values.tolist()}]}
        assert np.array_equal(np.array(server.infer(request).json["outputs"][0]["data"], np.float32), values)
