"""The models that are measured, and the engine's call with nothing around it."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # it reports imports to its vendor
os.environ.setdefault("HWLOC_THISSYSTEM", "0")  # or each call would set the thread's affinity, as the server explains

import openvino as ov  # noqa: E402
from openvino import opset13 as ops  # noqa: E402
from openvino.preprocess import PrePostProcessor  # noqa: E402

ROOT: Final = Path(__file__).parents[2]


def classifier() -> Path:
    """Build the example's classifier; its downloads are kept."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "skerry", "efficientnet")
    out = cache / "benchmark"
    build = [sys.executable, str(ROOT / "examples/efficientnet/build.py"), "--out", str(out), "--cache", str(cache)]
    subprocess.run(build, check=True, timeout=600, stdout=subprocess.DEVNULL)
    return out


def tiny_model(directory: Path) -> Path:
    """Four numbers to three, any number of rows: only overhead."""
    x = ops.parameter(ov.PartialShape([-1, 4]), np.float32, name="x")
    x.output(0).set_names({"x"})
    weights = ops.constant(np.arange(12, dtype=np.float32).reshape(4, 3) / 10)
    y = ops.softmax(ops.matmul(x, weights, transpose_a=False, transpose_b=False), axis=1)
    y.output(0).set_names({"y"})
    (directory / "1").mkdir(parents=True)
    ov.save_model(ov.Model([ops.result(y)], [x], "tiny"), directory / "1" / "model.xml")
    return directory


def picture_tensor(picture: bytes) -> Any:
    """What the server makes of a picture."""
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None
    return cv2.resize(pixels.astype(np.float32), (224, 224))[None]


# The limit: the same engine call, with nothing around it.


class Engine:
    """A compiled model with preset tensors, called in the cheapest way there is."""

    def __init__(self, xml: Path, *, pictures: bool = False) -> None:
        core = ov.Core()
        model = core.read_model(xml)
        if pictures:
            processor = PrePostProcessor(model)
            processor.input(0).tensor().set_layout(ov.Layout("NHWC"))
            processor.input(0).model().set_layout(ov.Layout("NCHW"))
            model = processor.build()
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
        self._request = core.compile_model(model, "CPU", options).create_infer_request()
        port = self._request.model_inputs[0]
        # One row at a time where there may be several.
        self._tensor = ov.Tensor(port.element_type, ov.Shape([max(size.min_length, 1) for size in port.partial_shape]))
        self._request.set_input_tensor(0, self._tensor)
        self._call = super(ov.InferRequest, self._request).infer  # type: ignore[misc]
        self.input: Any = self._tensor.data

    def infer(self) -> Any:
        """Return the first output, which the next call overwrites."""
        return next(iter(self._call({}, share_outputs=True, decode_strings=False).values()))


def limit_of(kind: str, files: Sequence[str], seconds: float) -> dict[str, float]:
    """Run in a process of its own, on the server's core."""
    engine = Engine(Path(files[0]), pictures=kind == "jpeg")
    work: Callable[[], object] = engine.infer
    if kind == "jpeg":
        cv2.setNumThreads(1)
        picture = Path(files[1]).read_bytes()

        def work() -> None:
            engine.input[:] = picture_tensor(picture)
            engine.infer()

    for _ in range(5):
        work()
    times = []
    deadline = time.perf_counter() + seconds
    start = before = time.perf_counter()
    while before < deadline:
        work()
        now = time.perf_counter()
        times.append(now - before)
        before = now
    return {"rate": len(times) / (before - start), "p50_ms": statistics.median(times) * 1000}


def measure_limit(kind: str, seconds: float, *files: Path) -> dict[str, float]:
    """The bare loop in a process of its own, on the core of whoever calls."""
    words = [sys.executable, "-m", "benchmarks.model_server.engine", kind, str(seconds), *map(str, files)]
    out = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True, timeout=seconds + 60).stdout
    measured: dict[str, float] = json.loads(out)
    return measured


if __name__ == "__main__":
    print(json.dumps(limit_of(sys.argv[1], sys.argv[3:], float(sys.argv[2]))))
