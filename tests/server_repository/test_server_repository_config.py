"""A config file with several models, and what becomes of the good ones when something in it is wrong."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.server import harness
from tests.server.harness import Server, run_to_end, serving
from tests.server_repository.test_server_repository_versions import answer, save, until

from skerry.server import config_file
from skerry.server.errors import LoadError
from skerry.server.options import parse

COMMON = parse(["--rest_port=1", "--config_path=x", "--cache_dir=/cache"]).model


def write(path: Path, *entries: dict[str, Any], **more: Any) -> Path:
    text = json.dumps({"model_config_list": [{"config": entry} for entry in entries], **more})
    new = path.with_suffix(".new")
    new.write_text(text)
    return new.rename(path)


def entry(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "base_path": f"models/{name}", **more}


def test_every_key(tmp_path: Path) -> None:
    path = write(
        tmp_path / "config.json",
        entry("a", layout={"x": "NHWC:NCHW"}, shape={"x": "(1,3,4,4)"}, batch_size=2, nireq=3, mean="[1,2,3]"),
        entry("b", layout="NHWC:NCHW", scale="2.0", color_format="BGR:RGB", precision="fp32:u8", allow_cache=True),
        entry(
            "c", plugin_config={"NUM_STREAMS": 2}, model_version_policy={"all": {}}, target_device="CPU", stateful=False
        ),
        monitoring={"metrics": {"enable": True, "metrics_list": ["ovms_streams"]}},
    )
    config = config_file.read(path, COMMON)
    assert config == config_file.read(tmp_path, COMMON)
    assert config.digest == config_file.digest_of(tmp_path)
    a, b, c = config.models.values()
    assert (a.path, a.nireq, a.batch_size, a.mean) == (tmp_path / "models" / "a", 3, "2", "[1,2,3]")
    assert json.loads(a.layout) == {"x": "NHWC:NCHW"}
    assert (b.scale, b.color_format, b.precision, b.cache_dir) == ("2.0", "BGR:RGB", "fp32:u8", "/cache")
    assert (c.plugin_config, c.version_policy.latest) == ({"NUM_STREAMS": 2}, None)
    assert (config.metrics, config.metrics_list) == (True, ("ovms_streams",))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"name": "x"}, "base_path is missing"),
        (entry("x", nonsense=1), "unknown key nonsense"),
        (entry("x", nireq=-1), "nireq cannot be negative"),
        (entry("x", mean="1"), "mean needs layout"),
        (entry("x", base_path="s3://bucket/x"), "not a local directory"),
        (entry("x", graph_path="g.pbtxt"), "not supported"),
        (entry("x", stateful=True), "stateful: not supported"),
        (entry("x", model_version_policy={"latest": 1}), "model_version_policy"),
        (entry("x/y"), "cannot contain '/'"),
    ],
)
def test_a_wrong_entry_is_left_out(tmp_path: Path, wrong: dict[str, Any], reason: str) -> None:
    config = config_file.read(write(tmp_path / "config.json", entry("good"), wrong, entry("good", nireq=5)), COMMON)
    assert [(model.name, model.nireq) for model in config.models.values()] == [("good", 0)]
    assert reason in config.broken[wrong["name"]]


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "{}", '{"model_config_list": [{}]}', '{"model_config_list": [], "extra": 1}', "\xff"]
)
def test_a_file_of_another_form_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text, "latin-1")
    with pytest.raises(LoadError, match="cannot use"):
        config_file.read(path, COMMON)
    done = run_to_end(*words(path))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


def words(path: Path) -> list[str]:
    start = harness.command(path)
    return [word for word in start if not word.startswith(("--model_name", "--model_path"))] + [f"--config_path={path}"]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models").mkdir()
    save(tmp_path / "models" / "one", 1, 1.0)
    save(tmp_path / "models" / "two", 1, 2.0)
    path = tmp_path / "config.json"
    plain = harness.command

    def command(model: Path, *options: str, name: str, place: tuple[str, int] | None) -> list[str]:
        made = plain(model, *options, name=name, place=place)
        made = [word for word in made if not word.startswith(("--model_name", "--model_path"))]
        return [*made, f"--config_path={model}"]

    monkeypatch.setattr(harness, "command", command)
    return path


def report(server: Server) -> dict[str, Any]:
    found: dict[str, Any] = server.get("/v1/config").json
    return found


def test_broken_models_leave_the_good_ones_serving_and_say_why(tmp_path: Path, config: Path) -> None:
    (tmp_path / "models" / "bad" / "1").mkdir(parents=True)
    (tmp_path / "models" / "bad" / "1" / "model.xml").write_text("rubbish")
    write(config, entry("bad"), entry("missing"), entry("wrong", nireq=-1), entry("one"))
    with serving(tmp_path, config) as server:
        assert answer(server, "one") == 1.0
        found = report(server)
        good = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": "OK"}}
        assert found["one"] == {"model_version_status": [good]}
        [bad] = found["bad"]["model_version_status"]
        assert (bad["state"], bad["status"]["error_code"]) == ("LOADING", "UNKNOWN")
        assert "no OpenVINO model" in bad["status"]["error_message"]
        assert "cannot read" in found["missing"]["error"]
        assert "nireq" in found["wrong"]["error"]
        for name in ("bad", "missing", "wrong"):
            assert server.get(f"/v2/models/{name}/ready").status == 503


def test_the_file_is_followed(tmp_path: Path, config: Path) -> None:
    write(config, entry("one"))
    with serving(tmp_path, config, "--file_system_poll_wait_seconds=0") as server:
        assert server.ask("POST", "/v1/config/reload").status == 200
        write(config, entry("two"), entry("one", nireq=2))
        reloaded = server.ask("POST", "/v1/config/reload")
        assert (reloaded.status, set(reloaded.json)) == (201, {"one", "two"})
        assert (answer(server, "one"), answer(server, "two")) == (1.0, 2.0)
        config.write_text("{")
        failed = server.ask("POST", "/v1/config/reload")
        assert (failed.status, "Reloading config file failed" in failed.json["error"]) == (500, True)
        assert (answer(server, "one"), answer(server, "two")) == (1.0, 2.0)
        write(config, entry("two"))
        assert server.ask("POST", "/v1/config/reload").status == 201
        assert server.infer({}, model="one").status == 404
        assert set(report(server)) == {"two"}


def test_the_watcher_follows_the_file_too(tmp_path: Path, config: Path) -> None:
    write(config, entry("one"), monitoring={"metrics": {"enable": True}})
    with serving(tmp_path, config, "--file_system_poll_wait_seconds=1") as server:
        write(config, entry("one"), entry("two"))
        until(lambda: answer(server, "two") == 2.0)
        assert "ovms_requests_success" in server.get("/metrics").body.decode()
