"""What waits for a thread runs as one call, and over real sockets everybody gets their own answer."""

import asyncio
import json
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.server import harness
from tests.server.harness import serving

from skerry.server.batching import Merging
from skerry.server.engines import Shape, Slot, Values
from skerry.server.errors import InferenceFailed
from skerry.server.execution import Execution, Limits, WarmModel
from skerry.server.model_metrics import ServerMetrics, VersionMetrics
from skerry.server.tensors import Dim, InferResponse, Tensor, TensorSpec


class Gated:
    """A model whose calls wait for the test, then echo; it breaks on a 13."""

    platform = "test"
    inputs = outputs = (TensorSpec(name="x", datatype="FP32", dims=(Dim(0, None),)),)
    streams = slots = 1

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)
        self.calls: list[list[float]] = []

    def slot(self) -> Slot:
        return _GatedSlot(self)


class _GatedSlot:
    def __init__(self, model: Gated) -> None:
        self._model = model

    def infer(self, inputs: Sequence[tuple[Values, Shape]]) -> list[tuple[Values, Shape]]:
        [(values, shape)] = inputs
        self._model.calls.append([float(value) for value in values])
        self._model.begun.release()
        assert self._model.gate.acquire(timeout=10)
        if 13 in values:
            raise ZeroDivisionError("unlucky")
        return [(np.array(values), shape)]


class Call:
    """One number, or several."""

    light = False

    def __init__(self, *numbers: float) -> None:
        self.feeds: list[tuple[Values, Shape]] = [(np.array(numbers, np.float32), (len(numbers),))]

    def prepare(self) -> None: ...

    def infer(self, slot: Slot) -> InferResponse:
        return self.respond(slot.infer(self.feeds))

    def respond(self, results: list[tuple[Values, Shape]]) -> InferResponse:
        [(values, shape)] = results
        return InferResponse("m", "1", [Tensor("x", "FP32", shape, values)])


class Bench:
    """Two threads over one slot, the second of them waiting for it."""

    def __init__(self, merging: Merging, *, merges: bool = True) -> None:
        self.model = Gated()
        self.metrics = VersionMetrics(ServerMetrics(), "m", "1")
        warm = WarmModel.__new__(WarmModel)
        warm.model, warm.slot, warm.seconds = self.model, self.model.slot(), 1.0
        warm.merging, warm.merges_in_threads = merging, merges
        self.execution = Execution(warm, self.metrics, Limits(100, 30), asyncio.get_running_loop())

    def ask(self, *numbers: float) -> "asyncio.Future[InferResponse]":
        answer = self.execution.run(Call(*numbers))
        assert not isinstance(answer, InferResponse)
        return answer

    async def fill(self) -> "list[asyncio.Future[InferResponse]]":
        """Give both threads something to do."""
        first = self.ask(0)
        assert await asyncio.to_thread(self.model.begun.acquire, timeout=10)
        return [first, self.ask(1)]


async def numbers_of(answer: "asyncio.Future[InferResponse]") -> list[float]:
    [tensor] = (await asyncio.wait_for(answer, 10)).outputs
    assert tensor.shape == (len(tensor.values),)
    return [float(value) for value in tensor.values]


async def test_what_waits_becomes_one_call_of_at_most_so_many_rows() -> None:
    bench = Bench(Merging(4))
    busy = await bench.fill()
    waiting = [bench.ask(2), bench.ask(3, 4), bench.ask(5, 6), bench.ask(7)]
    bench.model.gate.release(10)
    answers = [await numbers_of(answer) for answer in (*busy, *waiting)]
    assert answers == [[0], [1], [2], [3, 4], [5, 6], [7]]
    assert sorted(bench.model.calls) == [[0], [1], [2, 3, 4], [5, 6, 7]]  # which thread is first is chance
    sizes, queued = bench.metrics.merging()
    assert (sizes.count, sizes.total) == (4, 8)
    assert queued.count == bench.metrics.inference_time.count == 6
    assert bench.metrics.current_requests.value == 0


async def test_without_the_option_nothing_is_merged_in_threads() -> None:
    bench = Bench(Merging(4), merges=False)
    answers = [*await bench.fill(), bench.ask(2), bench.ask(3)]
    bench.model.gate.release(10)
    assert [await numbers_of(answer) for answer in answers] == [[0], [1], [2], [3]]
    assert sorted(bench.model.calls) == [[0], [1], [2], [3]]


async def test_in_a_batch_only_who_is_at_fault_fails_and_who_left_is_left_out() -> None:
    bench = Bench(Merging(8))
    busy = await bench.fill()
    waiting = [bench.ask(2), bench.ask(13), bench.ask(4), bench.ask(5)]
    waiting[2].cancel()
    bench.model.gate.release(10)
    assert [await numbers_of(answer) for answer in (*busy, waiting[0], waiting[3])] == [[0], [1], [2], [5]]
    with pytest.raises(InferenceFailed, match="unlucky"):
        await waiting[1]
    assert sorted(bench.model.calls) == [[0], [1], [2], [2, 13, 5], [5], [13]]
    assert bench.metrics.current_requests.value == 0
    assert not bench.execution.busy


async def test_a_delay_gathers_what_idle_threads_could_take() -> None:
    bench = Bench(Merging(3, 30.0))
    bench.model.gate.release(10)
    answers = [bench.ask(number) for number in range(3)]
    assert [await numbers_of(answer) for answer in answers] == [[0], [1], [2]]
    assert bench.model.calls == [[0, 1, 2]]
    brief = Bench(Merging(3, 0.001))
    brief.model.gate.release(10)
    assert await numbers_of(brief.ask(9)) == [9]


def test_over_sockets_everybody_gets_their_own_answer(tmp_path: Path) -> None:
    model = harness.save(harness.iris((-1, 4)), tmp_path / "iris")
    with serving(tmp_path, model, "--metrics_enable", "--max_batch_size=64", "--max_queue_delay=3000") as server:
        generator = np.random.default_rng(3)

        def ask(number: int) -> None:
            rows = np.random.default_rng(number).random((1 + number % 4, 4), np.float32)
            tensor = {"name": "x", "shape": list(rows.shape), "datatype": "FP32", "data": rows.reshape(-1).tolist()}
            reply = server.infer({"id": str(number), "inputs": [tensor]})
            assert (reply.status, reply.json["id"]) == (200, str(number))
            [output] = reply.json["outputs"]
            answer = np.array(output["data"]).reshape(output["shape"])
            np.testing.assert_allclose(answer, harness.iris_answer(rows), rtol=1e-4)

        def leave(number: int) -> None:
            body = json.dumps(
                {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, number]}]}
            )
            with server.connect() as connection:
                head = f"POST /v2/models/tiny/infer HTTP/1.1\r\nhost: h\r\ncontent-length: {len(body)}\r\n\r\n"
                connection.sendall((head + body).encode())

        with ThreadPoolExecutor(8) as pool:
            tasks = [pool.submit(leave if generator.random() < 0.2 else ask, number) for number in range(200)]
            for task in tasks:
                task.result(timeout=30)
        rows = server.counted('skerry_batch_size_sum{name="tiny",version="1"}')
        calls = server.counted('skerry_batch_size_count{name="tiny",version="1"}')
        assert 0 < calls < rows
        assert server.counted('ovms_current_requests{name="tiny",version="1"}') == 0
