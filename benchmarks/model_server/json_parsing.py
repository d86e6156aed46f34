"""How fast a picture's worth of JSON is read: by the server, and by Python's `json` on its own.

The request has 224 x 224 x 3 FP32 values: 1.3 MB with four decimals, 3.1 MB with all digits of FP64, which is what
`tolist()` makes of FP32. The server's reading ends with a checked array of the right type;
Python's with lists, which somebody would have to make an array of: that is not counted, to its advantage.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
from benchmarks.model_server.engine import ROOT

from skerry.server.rest.reading import read_request


def request(decimals: int | None) -> bytes:
    """As a client that looks after its bandwidth sends it, or one that does not."""
    values = np.random.default_rng(7).normal(size=(1, 3, 224, 224))
    values = values.astype(np.float32).astype(np.float64) if decimals is None else values.round(decimals)
    tensor = {"name": "x", "shape": values.shape, "datatype": "FP32", "data": values.reshape(-1).tolist()}
    return json.dumps({"inputs": [tensor]}).encode()


def rate(work: Callable[[], object], seconds: float) -> float:
    work()
    count, start = 0, time.perf_counter()
    while (now := time.perf_counter()) < start + seconds:
        work()
        count += 1
    return count / (now - start)


def compared(body: bytes, seconds: float) -> tuple[float, float]:
    """Both rates, in turns so short that a machine's moods meet both."""
    inputs = read_request(body, None, 0.0)[0].inputs
    np.testing.assert_array_equal(inputs[0].values, np.asarray(json.loads(body)["inputs"][0]["data"], np.float32))
    ours, python = [], []
    for _ in range(5):
        ours.append(rate(lambda: read_request(body, None, 0.0), seconds / 10))
        python.append(rate(lambda: json.loads(body), seconds / 10))
    return sum(ours) / 5, sum(python) / 5


def measured(seconds: float) -> dict[str, float]:
    ours, python = compared(request(4), seconds)
    ours_full, python_full = compared(request(None), seconds)
    return {"ours": ours, "json": python, "ours full": ours_full, "json full": python_full}


def measure_json(seconds: float) -> dict[str, float]:
    """In a process of its own, on the core of whoever calls."""
    words = [sys.executable, "-m", "benchmarks.model_server.json_parsing", str(seconds)]
    out = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True, timeout=2 * seconds + 60).stdout
    rates: dict[str, float] = json.loads(out)
    return rates


if __name__ == "__main__":
    print(json.dumps(measured(float(sys.argv[1]))))
