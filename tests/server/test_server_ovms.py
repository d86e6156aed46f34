"""`--compat=ovms`: every row of the documentation's table, on two servers that differ in nothing else."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from tests.server import harness
from tests.server.harness import Reply, Server, serving

REFERENCE = (Path(__file__).parents[2] / "docs/reference/model-server.md").read_text()
X = {"name": "x", "shape": [1, 4], "datatype": "FP32"}
DATA = X | {"data": [1, 2, 3, 4]}
RAW = np.array([1, 2, 3, 4], np.float32).tobytes()
DEEP = '{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ' + "[" * 150 + "]" * 150 + "}]}"


def two_outputs() -> ov.Model:
    """`x` comes back twice: as `a` and `b`."""
    x = harness.parameter("x", (1, 4), ov.Type.f32)
    results = [ov.opset13.result(harness.named(name, ov.opset13.relu(x))) for name in ("a", "b")]
    return ov.Model(results, [x], "two")


@pytest.fixture(scope="module")
def both(room: Path) -> Iterator[tuple[Server, Server]]:
    """A server of several models as it is, and one that is like OVMS; one of the models is broken."""
    entries = []
    for name, model in (("two", two_outputs()), ("camera", harness.echo({"p": ((1, 4, 4, 3), ov.Type.f32)}))):
        harness.save(model, room / f"ovms-{name}")
        entries.append({"config": {"name": name, "base_path": f"ovms-{name}"}})
    broken = room / "ovms-broken" / "1"
    broken.mkdir(parents=True)
    (broken / "model.xml").write_text("<no")
    (broken / "model.bin").touch()
    entries.append({"config": {"name": "broken", "base_path": "ovms-broken"}})
    config = room / "ovms.json"
    config.write_text(json.dumps({"model_config_list": entries}))
    with serving(room, config, name="two") as plain, serving(room, config, "--compat=ovms", name="two") as compatible:
        yield plain, compatible


def row(case: str) -> tuple[str, str]:
    """What the documentation says of a case."""
    [line] = [line for line in REFERENCE.splitlines() if line.startswith(f"| {case} |")]
    _, _, here, there, _ = line.split("|")
    return here.strip(), there.strip()


def post(body: bytes | dict[str, Any], path: str = "/v2/models/two/infer", **headers: str) -> tuple[Any, ...]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return "POST", path, body if isinstance(body, bytes) else json.dumps(body).encode(), named


def binary(header: dict[str, Any], *tensors: bytes) -> tuple[Any, ...]:
    text = json.dumps(header).encode()
    return post(text + b"".join(tensors), Inference_Header_Content_Length=str(len(text)))


LENGTH = "Inference_Header_Content_Length"
CAMERA = "/v2/models/camera/infer"
CASES: list[tuple[str, tuple[Any, ...], str | None]] = [
    ("wrong method", ("PUT", "/v2/models/two"), "Unsupported method"),
    ("wrong method", ("POST", "/v2/models/two"), "Unsupported method"),
    ("unknown path", ("GET", "/nowhere"), "Invalid request URL"),
    ("`/`, `/v2/models`", ("GET", "/"), "Invalid request URL"),
    ("`/`, `/v2/models`", ("GET", "/v2/models"), "Invalid request URL"),
    ("path with `..`", ("GET", "/v2/../x"), "The provided base path is invalid or doesn't exists"),
    ("`/metrics` when off", ("GET", "/metrics"), "Invalid request URL"),
    ("body that is no JSON", post(b"{"), None),
    (
        "picture that cannot be decoded, or is empty",
        post({"inputs": [{"name": "p", "shape": [1], "datatype": "BYTES", "data": ["no"]}]}, CAMERA),
        "Image parsing failed",
    ),
    (
        "picture that cannot be decoded, or is empty",
        post({"inputs": [{"name": "p", "shape": [1], "datatype": "BYTES", "data": [""]}]}, CAMERA),
        "Bytes contents is empty",
    ),
    (
        "wrong `Inference-Header-Content-Length`",
        post({"inputs": [X]}, **{LENGTH: "99999"}),
        "Inference-Header-Content-Length header exceeds actual payload length",
    ),
    (
        "wrong `Inference-Header-Content-Length`",
        post({"inputs": [X]}, **{LENGTH: "-1"}),
        "Inference-Header-Content-Length header is invalid and couldn't be parsed",
    ),
    (
        "data in JSON and binary for one input",
        binary({"inputs": [DATA | {"parameters": {"binary_data_size": 16}}]}, RAW),
        "Request contains values both in binary data and in content value",
    ),
    (
        "strings for an input that takes none",
        post({"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": ["a"]}]}),
        "Functionality not implemented",
    ),
    ("data nested too deeply", post(DEEP.encode()), "JSON nesting depth exceeds the allowed limit"),
    (
        "inference of an unknown model",
        post({"inputs": [X]}, "/v2/models/nobody/infer"),
        "Mediapipe graph definition with requested name is not found",
    ),
    (
        "model that is loading or broken",
        ("GET", "/v2/models/broken/ready"),
        "Model with requested version is not found",
    ),
    (
        "model that is loading or broken",
        ("GET", "/v2/models/broken/versions/1"),
        "Model with requested version is not loaded yet",
    ),
    ("version that is no number", ("GET", "/v2/models/two/versions/abc"), "Invalid request URL"),
]


@pytest.mark.parametrize(("case", "request_", "text"), CASES)
def test_codes_and_texts(both: tuple[Server, Server], case: str, request_: tuple[Any, ...], text: str | None) -> None:
    plain, compatible = both
    here, there = row(case)
    ours, theirs = plain.ask(*request_), compatible.ask(*request_)
    assert here.startswith(str(ours.status))
    assert str(theirs.status) == there[:3]
    assert list(theirs.json) == ["error"]
    if text is None:
        assert theirs.json["error"].startswith("The file is not valid json")
    else:
        assert theirs.json["error"] == text
        shown = there.replace("… is not", "Model with requested version is not")
        assert "`" not in there or text in shown
    assert theirs.headers["content-type"] == "application/json; charset=utf-8"


def test_head_is_a_wrong_method(both: tuple[Server, Server]) -> None:
    assert [server.ask("HEAD", "/v2").status for server in both] == [200, 406]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "Invalid JSON structure, missing inputs"),
        ({"inputs": [{"name": 1}]}, "Could not parse input content. Not valid ndarray detected"),
        ({"inputs": [DATA], "outputs": [{}]}, "Could not parse output content."),
        ({"inputs": [DATA], "parameters": {"a": {}}}, "Could not parse request parameters"),
        ({"inputs": [DATA, DATA]}, "Invalid number of inputs - Expected: 1; Actual: 2"),
    ],
)
def test_texts_without_details(both: tuple[Server, Server], body: dict[str, Any], text: str) -> None:
    reply = both[1].infer(body)
    assert (reply.status, reply.json["error"]) == (400, text)


# Answers that succeed.


def outputs(reply: Reply) -> list[tuple[str, bool]]:
    """The outputs of an answer, and whether each is binary."""
    assert reply.status == 200, reply.body
    size = int(reply.headers.get("inference-header-content-length", len(reply.body)))
    return [(output["name"], "data" not in output) for output in json.loads(reply.body[:size])["outputs"]]


def test_outputs_select_nothing(both: tuple[Server, Server]) -> None:
    plain, compatible = both

    def in_json(server: Server, body: dict[str, Any]) -> Reply:
        return server.infer(body | {"inputs": [DATA]})

    def in_binary(server: Server, body: dict[str, Any]) -> Reply:
        return server.infer_binary(body | {"inputs": [X]}, RAW)

    for make in (in_json, in_binary):
        one = {"outputs": [{"name": "b"}]}
        assert outputs(make(plain, one)) == [("b", False)]
        assert outputs(make(compatible, one)) == [("a", False), ("b", False)]
        binary_ = {"outputs": [{"name": name, "parameters": {"binary_data": True}} for name in ("b", "a")]}
        assert outputs(make(plain, binary_)) == [("b", True), ("a", True)]
        assert outputs(make(compatible, binary_)) == [("a", True), ("b", False)]
        assert outputs(make(compatible, {"outputs": [{"name": "nobody"}]})) == [("a", False), ("b", False)]
        every = {"parameters": {"binary_data_output": True}}
        assert outputs(make(plain, every)) == [("a", True), ("b", True)]
        assert outputs(make(compatible, every)) == [("a", False), ("b", False)]
        assert outputs(make(compatible, every | one)) == [("a", False), ("b", True)]


def test_the_rest_of_a_request_is_kept(both: tuple[Server, Server]) -> None:
    reply = both[1].infer({"inputs": [DATA], "outputs": [{"name": "a"}], "id": "i", "parameters": {"n": 2**40}})
    assert (reply.json["id"], reply.json["parameters"]) == ("i", {"n": 2**40})
    assert [output["data"] for output in reply.json["outputs"]] == [[1, 2, 3, 4]] * 2


def test_bytes_behind_the_last_tensor(both: tuple[Server, Server]) -> None:
    plain, compatible = [server.infer_binary({"inputs": [X]}, RAW, b"more") for server in both]
    assert (plain.status, compatible.status) == (400, 200)
    assert compatible.json["outputs"][0]["data"] == [1, 2, 3, 4]


def test_content_types(both: tuple[Server, Server]) -> None:
    header = {"inputs": [X], "outputs": [{"name": "a", "parameters": {"binary_data": True}}]}
    assert [server.infer_binary(header, RAW).headers["content-type"] for server in both] == [
        "application/octet-stream",
        "application/json; charset=utf-8",
    ]
    for path in ("/v2", "/v2/models/two", "/v2/health/ready", "/v1/config"):
        assert both[1].get(path).headers["content-type"] == "application/json; charset=utf-8"


def test_health_has_no_body(both: tuple[Server, Server]) -> None:
    for path, body in {"live": b'{"live":true}', "ready": b'{"ready":true}'}.items():
        assert [server.get(f"/v2/health/{path}").body for server in both] == [body, b""]


def test_who_answers(both: tuple[Server, Server]) -> None:
    assert both[1].get("/v2").json["name"] == "OpenVINO Model Server"
    assert list(both[1].get("/v2").json) == ["name", "version"]
    assert both[1].get("/v2").headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-origin" not in both[0].get("/v2").headers


def test_the_first_protocol_is_tensorflow_servings(both: tuple[Server, Server]) -> None:
    plain, compatible = both
    here, there = row("`/v1/models/M`")
    assert plain.get("/v1/models/two").json == json.loads(here.strip("`").replace("M", '"two"'))
    available = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": "OK"}}
    assert there == '`{"model_version_status": […]}`'
    for path in ("two", "two/versions/1"):
        assert compatible.get(f"/v1/models/{path}").json == {"model_version_status": [available]}
    [broken] = compatible.get("/v1/models/broken").json["model_version_status"]
    assert (broken["state"], broken["status"]["error_code"]) == ("LOADING", "UNKNOWN")
    missing = {"nobody": "Model with requested name is not found", "two/versions/9": "Model with requested version is "}
    for path, text in missing.items():
        reply = compatible.get(f"/v1/models/{path}")
        assert (reply.status, reply.json["error"][: len(text)]) == (404, text)
    for body, key in (({"instances": [[1, 2, 3, 4]]}, "predictions"), ({"inputs": [[1, 2, 3, 4]]}, "outputs")):
        replies = [server.ask(*post(body, "/v1/models/two:predict")) for server in both]
        assert [list(reply.json) for reply in replies] == [["predictions"], [key]]
        assert list(replies[0].json.values()) == list(replies[1].json.values())
    assert list(compatible.ask(*post({"inputs": 1}, "/v1/models/two:predict")).json) == ["error"]


def test_the_configuration(both: tuple[Server, Server], room: Path) -> None:
    reports = [server.get("/v1/config").json["broken"]["model_version_status"][0]["status"] for server in both]
    assert reports[0]["error_code"] == "UNKNOWN"
    assert "cannot" in reports[0]["error_message"]
    assert reports[1] == {"error_code": "UNKNOWN", "error_message": "UNKNOWN"}
    config = room / "ovms.json"
    good = config.read_text()
    try:
        config.write_text("{")
        plain, compatible = [server.ask("POST", "/v1/config/reload") for server in both]
        assert (plain.status, compatible.status) == (500, 500)
        assert compatible.json["error"] == "Reloading config file failed. Check server logs for more info."
        assert compatible.json != plain.json
    finally:
        config.write_text(good + " ")
    assert both[1].ask("POST", "/v1/config/reload").status == 200


def test_every_row_is_tested() -> None:
    table = REFERENCE.partition("| case | here |")[2].partition("\n\n")[0].splitlines()[2:]
    others = (
        "`/v2/health",
        "`outputs`",
        "`binary_data_output`",
        "bytes behind",
        "content type",
        "`GET /v2`",
        "`/v1/config",
        "`/v1/models/M`",
        "`:predict`",
        "CORS",
    )
    cases = {line.split("|")[1].strip() for line in table}
    assert {case for case in cases if not case.startswith(others)} == {case for case, _, _ in CASES}
