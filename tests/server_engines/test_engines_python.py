"""Models written in Python: hooks, declarations, what goes wrong, and that the server survives it."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tests.server.harness import Server, serving
from tests.server_engines.test_engines_tables import predictions, tensor

from skerry.server.engines.choosing import Engines
from skerry.server.errors import LoadError
from skerry.server.options import ModelOptions, VersionPolicy

HEAD = """
import asyncio, sys, time
import numpy as np
from skerry.server.model import InvalidRequest, Model, TensorType
"""

HOOKS = (
    HEAD
    + """
from . import words

class Counting(Model):
    inputs = [TensorType("text", "BYTES", [-1])]
    outputs = [TensorType("words", "INT32", [-1]), TensorType("first", "BYTES", [-1])]

    async def load(self, directory):
        await asyncio.sleep(0)
        self.ignored = set((directory / "ignored.txt").read_text().split())

    def preprocess(self, tensors):
        return [text.decode() for text in tensors["text"]]

    async def predict(self, texts):
        await asyncio.sleep(0)
        return [[word for word in words.split(text) if word not in self.ignored] for text in texts]

    def postprocess(self, found):
        return {"words": [len(one) for one in found], "first": [one[0] if one else b"" for one in found]}
"""
)

MANNERS = (
    HEAD
    + """
class Bad(Model):
    inputs = [TensorType("x", "FP32", [-1])]
    outputs = [TensorType("y", "FP32", [-1])]
    concurrency = 2
    timeout_seconds = 0.5

    def predict(self, tensors):
        match int(tensors["x"][0]):
            case 0: return tensors["x"]
            case 1: raise InvalidRequest("one is not allowed")
            case 2: return 1 / 0
            case 3: sys.exit(3)
            case 4: return {"z": [1.0]}
            case 5: return [[1.0]]
            case 6: return ["a"]
            case 7: return None
            case 8: return asyncio.sleep(60)
            case 9: time.sleep(0.3); return tensors["x"]
            case 10: tensors["x"][0] = 5; return tensors["x"]
            case 11: return [1j]
            case 12: raise KeyboardInterrupt
"""
)


def write(directory: Path, text: str, **files: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "model.py").write_text(text)
    for name, content in files.items():
        (directory / name.replace("_", ".")).write_text(content)
    return directory


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    room = tmp_path_factory.mktemp("bad")
    with serving(room, write(room / "model", MANNERS), name="bad") as server:
        yield server


def asked(server: Server, number: int) -> tuple[int, Any]:
    reply = server.infer({"inputs": [tensor([float(number)], "FP32", "x")]})
    return reply.status, reply.json.get("error") or reply.json["outputs"][0]["data"]


def test_hooks(tmp_path: Path) -> None:
    helper = "def split(text):\n    return text.split()\n"
    model = write(tmp_path / "m", HOOKS, words_py=helper, ignored_txt="the a")
    with serving(tmp_path, model) as server:
        texts = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["the quick fox", ""]}
        reply = server.infer({"inputs": [texts]})
        assert [(one["name"], one["datatype"], one["data"]) for one in reply.json["outputs"]] == [
            ("words", "INT32", [2, 0]),
            ("first", "BYTES", ["quick", ""]),
        ]
        assert predictions(server, {"instances": ["a b c"]}) == [{"words": 2, "first": "b"}]
        assert server.get("/v2/models/tiny").json["platform"] == "python"
        assert sorted(path.name for path in model.iterdir()) == ["ignored.txt", "model.py", "words.py"]
        assert "openvino" not in Path(f"/proc/{server.process.pid}/maps").read_text()


@pytest.mark.parametrize(
    ("number", "status", "text"),
    [
        (1, 400, "one is not allowed"),
        (2, 500, "predict of the model failed - ZeroDivisionError: division by zero"),
        (3, 500, "predict of the model failed - SystemExit: 3"),
        (4, 500, "the model returned z, and declares y"),
        (5, 500, "output y of the model has shape (1, 1), declared is (-1)"),
        (6, 500, "output y of the model is <U1, declared is FP32"),
        (7, 500, "output y of the model is not as declared: it is no array of numbers"),
        (8, 504, "predict of the model took too long and was cancelled"),
        (10, 500, "predict of the model failed - ValueError: assignment destination is read-only"),
        (11, 500, "output y of the model is complex128, declared is FP32"),
        (12, 500, "predict of the model failed - KeyboardInterrupt: "),
    ],
)
def test_what_goes_wrong_is_an_answer_and_the_server_goes_on(bad: Server, number: int, status: int, text: str) -> None:
    assert asked(bad, number) == (status, text)
    assert asked(bad, 0) == (200, [0.0])


def test_no_more_than_allowed_at_once_and_never_on_the_loop(bad: Server) -> None:
    for _ in range(40):  # so fast that another model would move to the event loop
        assert asked(bad, 0)[0] == 200
    start = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        slow = [pool.submit(asked, bad, 9) for _ in range(4)]
        assert bad.get("/v2/health/live").status == 200
        assert not all(one.done() for one in slow)
        assert [one.result() for one in slow] == [(200, [9.0])] * 4
    assert time.monotonic() - start >= 0.6  # two by two


def test_a_new_version_while_the_old_one_answers(tmp_path: Path) -> None:
    text = HEAD + (
        "class M(Model):\n"
        "    inputs = [TensorType('x', 'FP32', [-1])]\n"
        "    outputs = [TensorType('y', 'FP32', [-1])]\n"
        "    def predict(self, tensors): return tensors['x'] + NUMBER\n"
    )
    write(tmp_path / "m" / "1", text.replace("NUMBER", "1"))
    with serving(tmp_path, tmp_path / "m") as server:
        seen: list[tuple[int, Any]] = []
        stop = threading.Event()

        def ask() -> None:
            while not stop.is_set():
                seen.append(asked(server, 0))

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            write(tmp_path / "m" / "2", "raise RuntimeError('not yet')")
            deadline = time.monotonic() + 15
            while "line 1: RuntimeError: not yet" not in server.ask("POST", "/v2/repository/index").body.decode():
                assert time.monotonic() < deadline
            write(tmp_path / "m" / "2", text.replace("NUMBER", "2"))
            while not seen or seen[-1] != (200, [2.0]):
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            stop.set()
            asking.join()
        assert {status for status, _ in seen} == {200}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = (", "SyntaxError"),
        ("import nowhere_to_be_found", "line 1: ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("raise SystemExit(1)", "line 1: SystemExit: 1"),
        ("", "want one subclass of skerry.server.model.Model, found none"),
        (HEAD + "class A(Model): pass\nclass B(Model): pass", "found A, B"),
        (HEAD + "class A(Model): pass", "it declares no inputs"),
        (HEAD + "class A(Model):\n  inputs = [TensorType('x', 'FLOAT', [1])]", "x has datatype FLOAT"),
        (HEAD + "class A(Model):\n  inputs = [TensorType('x', 'FP32', ['a'])]", "x has shape ['a']"),
        (HEAD + "class A(Model):\n  inputs = ['x']", "inputs has a str: want TensorType"),
        (HEAD + "class A(Model):\n  inputs = [TensorType('x', 'FP32', [1])] * 2", "has a name twice"),
        (HEAD + "class A(Model):\n  def load(self, directory):\n    return 1 / 0", "line 7: ZeroDivisionError"),
        (
            HEAD + "class A(Model):\n  concurrency = 0\n  inputs = outputs = [TensorType('x', 'FP32', [1])]",
            "concurrency is 0",
        ),
    ],
)
def test_code_that_cannot_be_loaded(tmp_path: Path, text: str, reason: str) -> None:
    write(tmp_path / "1", text)
    with pytest.raises(LoadError, match=r"cannot load .*model\.py: ") as caught:
        Engines().load(tmp_path / "1", ModelOptions(name="x", path=tmp_path, version_policy=VersionPolicy()))
    assert reason in str(caught.value)


def test_pictures(tmp_path: Path, pictures: dict[str, Path]) -> None:
    text = HEAD + (
        "class M(Model):\n"
        "    inputs = [TensorType('image', 'UINT8', [1, 32, 48, 3], layout='NHWC')]\n"
        "    outputs = [TensorType('mean', 'FP32', [1])]\n"
        "    def predict(self, tensors): return tensors['image'].mean(axis=(1, 2, 3))\n"
    )
    with serving(tmp_path, write(tmp_path / "m", text)) as server:
        body = next(iter(pictures.values())).read_bytes()
        reply = server.infer(body, headers={"Content-Type": "image/jpeg"})
        assert reply.status == 200, reply.body
        assert 10 < json.loads(reply.body)["outputs"][0]["data"][0] < 245
