"""Versions that come, go, and break while requests arrive without a pause."""

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
import openvino as ov
from openvino import opset13 as ops
from tests.server import harness
from tests.server.harness import Server, serving

ASK = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1]}]}
POLL = "--file_system_poll_wait_seconds=1"


def times(factor: float) -> ov.Model:
    """`y = x * factor`: the answer tells the version."""
    x = harness.parameter("x", (1,), ov.Type.f32)
    y = harness.named("y", ops.multiply(x, ops.constant(np.array([factor], np.float32))))
    return ov.Model([ops.result(y)], [x], "times")


def save(repository: Path, version: int, factor: float | None = None) -> Path:
    """Put a version in its place in one step."""
    ready = harness.save(times(version if factor is None else factor), repository.parent / "making", version)
    (repository / str(version)).parent.mkdir(exist_ok=True)
    (ready / str(version)).rename(repository / str(version))
    return repository


def answer(server: Server, model: str = "tiny") -> float | None:
    reply = server.infer(ASK, model=model)
    return float(reply.json["outputs"][0]["data"][0]) if reply.status == 200 else None


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def states(server: Server, model: str = "tiny") -> dict[str, str]:
    index = server.ask("POST", "/v2/repository/index").json
    return {entry["version"]: entry["state"] for entry in index if entry["name"] == model}


class Load:
    """Requests one after the other, until the block ends."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.answers: list[float | None] = []
        self.slowest = 0.0

    def _run(self) -> None:
        while not self._over.is_set():
            start = time.monotonic()
            self.answers.append(answer(self._server))
            self.slowest = max(self.slowest, time.monotonic() - start)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=20)


def test_a_new_version_replaces_the_old_without_a_failed_or_slow_request(tmp_path: Path) -> None:
    model = save(tmp_path / "model", 1)
    with serving(tmp_path, model, POLL) as server, Load(server) as load:
        until(lambda: 1.0 in load.answers)
        save(model, 2)
        until(lambda: load.answers[-1] == 2.0)
        until(lambda: states(server) == {"1": "UNAVAILABLE", "2": "READY"})
        retired = server.get("/v2/models/tiny/versions/1/ready")
        assert (retired.status, "retired" in retired.json["error"]) == (404, True)
        save(model, 3)
        until(lambda: load.answers[-1] == 3.0)
    assert set(load.answers) == {1.0, 2.0, 3.0}
    assert load.answers == sorted(load.answers, key=lambda value: value or 0.0)
    assert load.slowest < 2.0, "two busy processors allow for much, a load that blocks for none of it"


def test_a_broken_newest_version_leaves_the_older_one_and_says_why_until_it_is_mended(tmp_path: Path) -> None:
    model = save(tmp_path / "model", 1)
    with serving(tmp_path, model, POLL) as server:
        (model / "2").mkdir()
        (model / "2" / "model.xml").write_bytes(b"rubbish")
        until(lambda: states(server) == {"1": "READY", "2": "UNAVAILABLE"})
        assert answer(server) == 1.0
        [broken] = [entry for entry in server.ask("POST", "/v2/repository/index").json if entry["version"] == "2"]
        assert "it is no OpenVINO model" in broken["reason"]
        shutil.rmtree(model / "2")
        save(model, 2)
        until(lambda: answer(server) == 2.0)


def test_a_removed_version_retires_and_the_next_older_one_takes_over(tmp_path: Path) -> None:
    model = save(save(tmp_path / "model", 1), 2)
    with serving(tmp_path, model, POLL) as server:
        assert answer(server) == 2.0
        (model / "2").rename(tmp_path / "gone")
        until(lambda: answer(server) == 1.0)
        (model / "1").rename(tmp_path / "gone-too")
        until(lambda: answer(server) is None)
        assert server.get("/v2/health/ready").status == 503
        assert "No version found" in server.infer(ASK).json["error"]


def test_replaced_files_are_noticed_and_broken_ones_do_not_take_the_old_out(tmp_path: Path) -> None:
    model = save(tmp_path / "model", 1)
    with serving(tmp_path, model, POLL) as server:
        other = save(tmp_path / "other", 1, 5.0)
        (model / "1").rename(tmp_path / "old")
        (other / "1").rename(model / "1")
        until(lambda: answer(server) == 5.0)
        (tmp_path / "rubbish").write_bytes(b"rubbish")
        (tmp_path / "rubbish").rename(model / "1" / "model.xml")
        until(lambda: "no OpenVINO model" in server.ask("POST", "/v2/repository/index").body.decode())
        assert (answer(server), states(server)) == (5.0, {"1": "READY"})


def test_policies(tmp_path: Path) -> None:
    model = save(save(save(tmp_path / "model", 1), 2), 3)
    for policy, expected in [
        ('{"all": {}}', ["1", "2", "3"]),
        ('{"latest": {"num_versions": 2}}', ["2", "3"]),
        ('{"specific": {"versions": [1, 2, 7]}}', ["1", "2"]),
    ]:
        with serving(tmp_path, model, f"--model_version_policy={policy}") as server:
            assert server.get("/v2/models/tiny").json["versions"] == expected
            assert answer(server) == float(expected[-1])


def test_running_requests_of_a_removed_version_are_answered(tmp_path: Path) -> None:
    model = harness.save(harness.slow(), tmp_path / "model", 2)
    save(model, 1)
    ask = {"inputs": [{"name": "x", "shape": [1, 900], "datatype": "FP32", "data": [1] * 900}]}
    codes: list[int] = []
    with serving(tmp_path, model, "--file_system_poll_wait_seconds=0") as server:
        threads = [threading.Thread(target=lambda: codes.append(server.infer(ask).status)) for _ in range(6)]
        for thread in threads:
            thread.start()
        shutil.rmtree(model / "2")
        assert server.ask("POST", "/v1/config/reload").status == 200
        for thread in threads:
            thread.join(timeout=20)
        # Those that came before the reload were answered by the old version; those after do not fit the new one.
        assert set(codes) <= {200, 400}
        until(lambda: states(server) == {"1": "READY", "2": "UNAVAILABLE"})


def test_load_and_unload(tmp_path: Path) -> None:
    model = save(tmp_path / "model", 1)
    with serving(tmp_path, model, POLL) as server:
        assert server.ask("POST", "/v2/repository/models/tiny/unload").json == {"name": "tiny", "unload": True}
        assert server.infer(ASK).status == 503
        assert "unloaded" in server.infer(ASK).json["error"]
        assert server.ask("POST", "/v1/config/reload").status == 200
        assert server.ask("POST", "/v2/repository/index", b'{"ready": true}').json == []
        assert server.ask("POST", "/v2/repository/models/tiny/load").json == {"name": "tiny", "load": True}
        assert answer(server) == 1.0
        assert server.ask("POST", "/v2/repository/models/nobody/load").status == 404
        assert server.ask("POST", "/v2/repository/index", b"[").status == 400
        assert server.get("/v2/repository/index").status == 405


def heavy() -> ov.Model:
    """32 MiB of weights."""
    x = harness.parameter("x", (1, 2048), ov.Type.f32)
    weights = np.arange(2048 * 4096, dtype=np.float32).reshape(2048, 4096)
    y = harness.named("y", ops.matmul(x, ops.constant(weights), False, False))
    return ov.Model([ops.result(y)], [x], "heavy")


def test_what_a_version_takes(tmp_path: Path) -> None:
    model = save(tmp_path / "model", 1)
    with serving(tmp_path, model, "--metrics_enable", "--file_system_poll_wait_seconds=0") as server:
        harness.save(heavy(), model, 2)
        assert server.ask("POST", "/v1/config/reload").status == 200
        labels = '{name="tiny",version="2"}'
        assert 24 << 20 < server.counted(f"skerry_model_memory_bytes{labels}") < 256 << 20
        assert 1_000 < server.counted(f"skerry_model_load_time_us{labels}") < 30_000_000
        assert server.counted(f"skerry_waiting_requests{labels}") == 0
        shutil.rmtree(model / "2")
        server.ask("POST", "/v1/config/reload")
        until(lambda: server.counted(f"skerry_model_memory_bytes{labels}") == 0)
