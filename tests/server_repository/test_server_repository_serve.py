"""`skerry serve PATH`: what it finds, what it says, and that the line it prints works in a shell."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openvino as ov
import pytest
from tests.server import harness
from tests.server.harness import free_place

from skerry.cli.serve import model_name


@contextmanager
def served(path: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run it until its summary is there; yields the process and the lines."""
    host, port = free_place()
    words = [sys.executable, "-m", "skerry", "serve", str(path), "--host", host, "--http-port", str(port)]
    words += ["--drain_seconds=0", *options]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    watchdog = threading.Timer(30, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if "skerry bench" in line:
                break
        yield process, lines
    finally:
        watchdog.cancel()
        if process.poll() is None:
            process.kill()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()


def run(line: str) -> str:
    """Paste it into a shell; the answer must be 200."""
    code = subprocess.run(
        ["bash", "-c", f"{line} -sS -o /dev/null -w '%{{http_code}}'"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert code.stdout == "200", code
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=20, check=True).stdout


@pytest.mark.parametrize("form", ["file", "directory", "versions"])
def test_the_line_that_is_printed_works(tmp_path: Path, form: str) -> None:
    versions = harness.save(harness.iris(), tmp_path / "iris model")
    path = {"versions": versions, "directory": versions / "1", "file": versions / "1" / "model.xml"}[form]
    if form == "directory":
        path = path.rename(tmp_path / "iris")
    with served(path) as (process, lines):
        assert any(line == "Input    x  FP32 [1, 4]" for line in lines)
        assert any(line == "Output   y  FP32 [1, 3]" for line in lines)
        assert '"name":"y"' in run(lines[-2])
        bench = f"{sys.executable} -m {lines[-1].strip()} -c 1 -d 100ms --warm-up 0s"
        assert (
            "REQUESTS/S" in subprocess.run(bench.split(), capture_output=True, text=True, timeout=20, check=True).stdout
        )
        command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert b"skerry.server" in command, "the command has become the server"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_the_names_that_ovms_has_for_its_options_are_understood(tmp_path: Path) -> None:
    """Handed on to the server only, the command would wait for an answer at another port, and say nothing."""
    host, port = free_place()
    path = harness.save(harness.iris(), tmp_path / "iris")
    with served(path, f"--rest_bind_address={host}", "--rest_port", str(port), "--model_name=flowers") as (_, lines):
        assert f"REST     http://{host}:{port}" in lines
        assert "/v2/models/flowers/infer" in lines[-2]


def test_several_models_from_a_list(tmp_path: Path) -> None:
    models = [{"config": {"name": name, "base_path": str(tmp_path / name)}} for name in ("first", "second")]
    for name in ("first", "second"):
        harness.save(harness.iris(), tmp_path / name)
    (tmp_path / "config.json").write_text(json.dumps({"model_config_list": models}))
    with served(tmp_path / "config.json", "--grpc-port", str(free_place()[1])) as (_, lines):
        assert any(line.startswith("gRPC     127.") for line in lines)
        assert '"name":"y"' in run(lines[-2])
        assert lines[-1].endswith("--model first")


def test_a_json_file_that_lists_no_models_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "trees.json").write_text("{}")
    words = [sys.executable, "-m", "skerry", "serve", str(tmp_path / "trees.json")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 1
    assert "trees.json" in done.stderr


def test_a_large_input_is_zeros_from_the_shell(tmp_path: Path) -> None:
    model = harness.save(harness.echo({"it's": ((1, 3, 8, 8), ov.Type.f32)}), tmp_path / "big")
    with served(model) as (_, lines):
        assert "head -c 768 /dev/zero" in lines[-2]
        assert '"shape":[1,3,8,8]' in run(lines[-2])


def test_nothing_to_serve(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    words = [sys.executable, "-m", "skerry", "serve", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, "holds no model" in done.stderr) == (1, True)


def test_what_the_server_refuses_is_its_own_message_and_code(tmp_path: Path) -> None:
    model = harness.save(harness.iris(), tmp_path / "m")
    words = [sys.executable, "-m", "skerry", "serve", str(model), "--nonsense=1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False, env=dict(os.environ))
    assert (done.returncode, "unmatched arguments: --nonsense=1" in done.stderr) == (64, True)


@pytest.mark.parametrize(("name", "expected"), [("My model v2", "My-model-v2"), ("resnet-50", "resnet-50")])
def test_names(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / name).mkdir()
    assert model_name(tmp_path / name) == expected
