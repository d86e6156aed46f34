"""From the command line to a ready server, and every way in which that can fail: one line, the right code, no hanging.

Nothing here needs the classifier: these servers start with a model of a few bytes.
"""

import resource
import shutil
import socket
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.server import harness
from tests.server.harness import command, free_place, run_to_end, serving


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return harness.save(harness.iris(), tmp_path / "model")


def test_an_unknown_option_is_a_usage_error() -> None:
    done = run_to_end(sys.executable, "-m", "skerry.server", "--nonsense", "--rest_port=1")
    assert (done.returncode, done.stderr) == (64, "error parsing options - unmatched arguments: --nonsense, \n")


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_and_version(word: str) -> None:
    done = run_to_end(sys.executable, "-m", "skerry.server", word)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("--model_name" if word == "--help" else "OpenVINO backend 20") in done.stdout


def test_a_busy_port(model: Path) -> None:
    address, port = free_place()
    with socket.create_server((address, port)):
        done = run_to_end(*command(model, place=(address, port)))
    assert done.returncode == 1
    assert done.stderr == f"cannot listen on {address}:{port}: port is busy; another process listens there\n"


def test_an_address_of_another_machine(model: Path) -> None:
    done = run_to_end(*command(model, "--rest_bind_address=192.0.2.1"))
    assert done.returncode == 1
    assert "this machine has no such address" in done.stderr


def test_several_addresses(model: Path, tmp_path: Path) -> None:
    second, _ = free_place()
    with serving(tmp_path, model) as probe:
        first, port = probe.address, probe.port
    with serving(
        tmp_path, model, f"--rest_bind_address={first},{second}", f"--rest_port={port}", ready=False
    ) as server:
        server.address, server.port = second, port
        server.wait_until_ready()
        server.address = first
        assert server.get("/v2/health/ready").status == 200


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    done = run_to_end(*command(tmp_path / "nothing", "--model_wait_seconds=0.1"))
    assert done.returncode == 1
    expected = f"Directory does not exist: {tmp_path}/nothing (waited 0.1 s); check model_path and its volume\n"
    assert done.stderr == expected


def test_a_model_that_comes_later_is_waited_for(model: Path, tmp_path: Path) -> None:
    late = tmp_path / "late"
    with serving(tmp_path, late, ready=False) as server:
        deadline = time.monotonic() + 10
        while True:
            try:
                assert server.get("/v2/health/live").status == 200
                ready = server.get("/v2/health/ready")
                unready_model = server.get("/v2/models/tiny/ready")
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
        assert (ready.status, unready_model.status) == (503, 503)
        model.rename(late)
        server.wait_until_ready()


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({}, "No version found for model in path: {model} holds nothing; expected {model}/1/ with the model's files"),
        ({"model.xml": b"x"}, "No version found for model in path: {model} holds model.xml; expected {model}/1/"),
        ({"v1/model.xml": b"x"}, "No version found for model in path: {model} holds v1"),
        (
            {"1/notes.txt": b"x"},
            "cannot load {model}/1: it holds no model (.xml, .onnx, .pdmodel, .pb, .tflite), only notes.txt",
        ),
        ({"1/model.xml": b""}, "cannot load {model}/1/model.xml: the file is empty"),
        ({"1/model.xml": b"rubbish"}, "cannot load {model}/1/model.xml: it is no OpenVINO model"),
        (
            {"1/model.xml": b'<net name="x" version="11">'},
            "cannot load {model}/1/model.xml: its weights, model.bin, are missing",
        ),
        (
            {"1/model.xml": b'<?xml version="1.0"?><net name="x" version="11"><layers>', "1/model.bin": b"x"},
            "cannot load {model}/1/model.xml: Start-end tags mismatch",
        ),
    ],
)
def test_a_broken_model(tmp_path: Path, files: dict[str, bytes], text: str) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name, content in files.items():
        (model / name).parent.mkdir(exist_ok=True)
        (model / name).write_bytes(content)
    done = run_to_end(*command(model))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(text.format(model=model))


def test_weights_that_are_cut_off(model: Path) -> None:
    weights = model / "1" / "model.bin"
    weights.write_bytes(weights.read_bytes()[:10])
    done = run_to_end(*command(model))
    assert (done.returncode, done.stderr) == (1, f"cannot load {model}/1/model.xml: Incorrect weights in bin file!\n")


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--layout=NHWC:NCHW", "cannot load {xml}: "),
        ("--layout=NXHW", "cannot load {xml}: The provided layout is in wrong format: NXHW"),
        ("--shape=(1,7)", "cannot load {xml}: Model could not be reshaped with requested shape --shape=(1,7): "),
        ("--target_device=TPU", "cannot load {xml}: "),
        (
            '--model_version_policy={"specific":{"versions":[9]}}',
            "cannot serve tiny: model_version_policy allows none of [1]",
        ),
    ],
)
def test_options_that_do_not_fit_the_model(model: Path, option: str, text: str) -> None:
    done = run_to_end(*command(model, option))
    assert done.returncode == 1
    assert done.stderr.startswith(text.format(xml=model / "1" / "model.xml"))


def test_a_wrong_name_in_metrics_list(model: Path) -> None:
    done = run_to_end(*command(model, "--metrics_enable", "--metrics_list=ovms_wrong"))
    assert (done.returncode, done.stderr) == (1, "Invalid name in metrics_list: ovms_wrong\n")


def test_the_newest_version_that_loads_is_served(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model / "1", model / "2")
    (model / "3").mkdir()
    (model / "3" / "model.xml").write_bytes(b"rubbish")
    with serving(tmp_path, model) as server:
        assert server.get("/v2/models/tiny").json["versions"] == ["2"]
        assert server.get("/v2/models/tiny/versions/1").status == 404
        broken = server.get("/v2/models/tiny/versions/3/ready")
        assert broken.status == 503
        expected = "Model with requested version is not loaded yet: tiny version 3: cannot load "
        assert broken.json["error"].startswith(expected)


def test_all_versions(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model / "1", model / "10")
    with serving(tmp_path, model, '--model_version_policy={"all": {}}') as server:
        assert server.get("/v2/models/tiny").json["versions"] == ["1", "10"]
        request = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
        assert server.infer(request).json["model_version"] == "10"


def test_a_compiled_model_is_kept(model: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    for _ in range(2):
        with serving(tmp_path, model, f"--cache_dir={cache}"):
            pass
    assert len(list(cache.glob("*.blob"))) == 1


def test_the_port_answers_while_the_model_is_still_loading(model: Path, tmp_path: Path) -> None:
    """No connection is refused or dropped between the first answer and readiness."""
    seen: list[int] = []
    with serving(tmp_path, model, ready=False) as server:
        deadline = time.monotonic() + 20
        while not seen or seen[-1] != 200:
            assert time.monotonic() < deadline
            try:
                seen.append(server.get("/v2/health/ready").status)
            except ConnectionRefusedError:
                assert not seen
    assert seen[0] == 503
    assert set(seen) == {503, 200}


def test_nothing_heavy_is_imported_before_the_port_is_open() -> None:
    code = "import sys, skerry.server.serving; print(' '.join(sys.modules))"
    modules = set(run_to_end(sys.executable, "-c", code).stdout.split())
    assert "uvloop" not in modules
    assert not modules & {"numpy", "openvino", "cv2", "orjson"}


def test_the_engine_calls_nobody() -> None:
    code = "import sys, skerry.server.engines.openvino; print(' '.join(sys.modules))"
    modules = set(run_to_end(sys.executable, "-c", code).stdout.split())
    assert not {name for name in modules if "telemetry" in name}


def test_more_connections_than_the_usual_limit_of_open_files(model: Path, tmp_path: Path) -> None:
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, usual[1]))
    try:
        with serving(tmp_path, model) as server:
            resource.setrlimit(resource.RLIMIT_NOFILE, usual)
            connections = [server.connect() for _ in range(150)]
            for connection in connections:
                connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: x\r\n\r\n")
                assert connection.recv(12) == b"HTTP/1.1 200"
            for connection in connections:
                connection.close()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)


def test_a_signal_before_the_model_is_there(tmp_path: Path) -> None:
    with serving(tmp_path, tmp_path / "nothing", ready=False) as server:
        deadline = time.monotonic() + 10
        while True:
            try:
                server.get("/v2/health/live")
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
        assert server.stop() == 0
        assert server.errors.read_text() == ""


def test_a_second_signal_ends_it_at_once(model: Path, tmp_path: Path) -> None:
    with serving(tmp_path, model, "--drain_seconds=30") as server:
        server.process.terminate()
        threading.Event().wait(0.05)
        server.process.terminate()
        assert server.process.wait(5) == 1
