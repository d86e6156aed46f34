"""When inferences run: at once, in threads, in a bounded queue; and what becomes of those nobody waits for."""

import asyncio
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.server import harness
from tests.server.harness import serving

from skerry.server.engines import LoadedModel, Shape, Slot, Values
from skerry.server.errors import InferenceFailed, Overloaded, TimedOut
from skerry.server.execution import Execution, Limits, WarmModel
from skerry.server.model_metrics import ServerMetrics, VersionMetrics
from skerry.server.tensors import Dim, InferResponse, TensorSpec


class GatedModel:
    """A model whose inferences end when the test lets them, each in a slot of its own."""

    platform = "test"
    inputs = (TensorSpec(name="x", datatype="FP32", dims=(Dim(1, 1),)),)
    outputs = (TensorSpec(name="y", datatype="FP32", dims=(Dim(1, 1),)),)
    streams = 1

    def __init__(self, slots: int = 1) -> None:
        self.slots = slots
        self.gate = threading.Semaphore(0)
        self.begun = threading.Semaphore(0)

    def slot(self) -> Slot:
        return _GatedSlot(self)


class _GatedSlot:
    def __init__(self, model: GatedModel) -> None:
        self._model = model
        self._busy = threading.Lock()

    def infer(self, inputs: Sequence[tuple[Values, Shape]]) -> list[tuple[Values, Shape]]:
        assert self._busy.acquire(blocking=False), "a slot was given to two inferences at once"
        try:
            self._model.begun.release()
            assert self._model.gate.acquire(timeout=10)
            return list(inputs)
        finally:
            self._busy.release()


class Call:
    """An inference that leaves a trace."""

    light = False
    feeds: Sequence[tuple[Values, Shape]] = ((np.zeros(1, np.float32), (1,)),)

    def __init__(self, answer: str = "", prepare: Callable[[], None] = lambda: None) -> None:
        self.answer = answer
        self.prepare = prepare

    def infer(self, slot: Slot) -> InferResponse:
        return self.respond(slot.infer(self.feeds))

    def respond(self, results: list[tuple[Values, Shape]]) -> InferResponse:
        return InferResponse(model_name=self.answer, model_version="1", outputs=[])


class Bench:
    """An execution over a gated model."""

    def __init__(self, *, slots: int = 1, max_queue: int = 100, timeout: float = 30, seconds: float = 1.0) -> None:
        self.model = GatedModel(slots)
        self.metrics = VersionMetrics(ServerMetrics(), "m", "1")
        warm = WarmModel.__new__(WarmModel)
        loaded: LoadedModel = self.model
        warm.model, warm.slot, warm.seconds = loaded, loaded.slot(), seconds
        self.execution = Execution(warm, self.metrics, Limits(max_queue, timeout), asyncio.get_running_loop())

    def run(self, call: Call) -> "asyncio.Future[InferResponse]":
        answer = self.execution.run(call)
        assert not isinstance(answer, InferResponse)
        return answer

    async def has_begun(self) -> None:
        assert await asyncio.to_thread(self.model.begun.acquire, timeout=10)


async def test_answers_come_back_to_who_asked() -> None:
    bench = Bench(slots=2)
    answers = [bench.run(Call(str(number))) for number in range(20)]
    assert bench.metrics.current_requests.value == 20
    bench.model.gate.release(20)
    assert [(await answer).model_name for answer in answers] == [str(number) for number in range(20)]
    assert bench.metrics.current_requests.value == 0
    assert bench.metrics.inference_time.count == bench.metrics.wait_time.count == 20
    assert bench.metrics.active.value == 0


async def test_never_more_at_once_than_slots() -> None:
    bench = Bench(slots=3)
    answers = [bench.run(Call()) for _ in range(10)]
    for _ in range(3):
        await bench.has_begun()
    assert not bench.model.begun.acquire(timeout=0.05)
    bench.model.gate.release(10)
    await asyncio.gather(*answers)


async def test_the_next_request_is_prepared_while_the_engine_is_busy() -> None:
    bench = Bench()
    prepared = threading.Event()
    first = bench.run(Call())
    await bench.has_begun()
    second = bench.run(Call(prepare=prepared.set))
    assert await asyncio.to_thread(prepared.wait, 10)
    bench.model.gate.release(2)
    await asyncio.gather(first, second)


async def test_the_queue_has_an_end() -> None:
    bench = Bench(max_queue=3, seconds=2.0)
    waiting = [bench.run(Call()) for _ in range(5)]  # two threads take one each
    with pytest.raises(Overloaded, match="the queue is full: 3 requests wait") as caught:
        bench.run(Call())
    assert caught.value.retry_after == 8  # four of two seconds each
    assert bench.execution.waiting == 3
    waiting[3].cancel()  # somebody leaves, somebody may come
    assert bench.execution.waiting == 2
    bench.run(Call("late"))
    bench.model.gate.release(10)


async def test_a_request_takes_no_longer_than_it_may() -> None:
    bench = Bench(timeout=0.1)
    running, waiting = bench.run(Call()), bench.run(Call())
    for answer in (running, waiting):
        with pytest.raises(TimedOut, match="longer than 0.1 s"):
            await answer
    bench.model.gate.release(3)
    assert (await bench.run(Call("after"))).model_name == "after"


async def test_who_leaves_frees_the_slot() -> None:
    bench = Bench()
    running = bench.run(Call())
    await bench.has_begun()
    waiting = [bench.run(Call()) for _ in range(5)]
    for answer in (running, *waiting):
        answer.cancel()
    after = bench.run(Call("after"))
    bench.model.gate.release(2)
    assert (await asyncio.wait_for(after, 10)).model_name == "after"
    async with asyncio.timeout(10):  # the thread of the one that left may report after the one that stayed
        while bench.metrics.current_requests.value:
            await asyncio.sleep(0.001)
    await bench.has_begun()  # the last one; none of the five that left in the queue
    assert not bench.model.begun.acquire(blocking=False)


async def test_what_breaks_is_one_failed_request() -> None:
    bench = Bench()

    def breaks() -> None:
        raise ZeroDivisionError("oh")

    bench.model.gate.release(3)
    for _ in range(3):
        with pytest.raises(InferenceFailed, match="ZeroDivisionError: oh"):
            await bench.run(Call(prepare=breaks))
    assert (await bench.run(Call("fine"))).model_name == "fine"


def light(name: str) -> Call:
    call = Call(name)
    call.light = True
    return call


async def test_a_fast_model_runs_on_the_loop_until_it_is_slow() -> None:
    bench = Bench(seconds=0.00001)
    bench.model.gate.release(1000)
    before = threading.active_count()
    assert (await bench.run(light("here"))).model_name == "here"
    assert threading.active_count() == before
    heavy = bench.execution.run(Call("there"))
    assert not isinstance(heavy, InferResponse)
    assert (await heavy).model_name == "there"
    slot_time = time.sleep
    bench.model.gate = _SlowGate(slot_time)
    for _ in range(100):
        answer = bench.execution.run(light("slow"))
        if isinstance(answer, asyncio.Future):
            await answer
        if not bench.execution.inline:
            break
    assert not bench.execution.inline


async def test_light_calls_of_one_turn_run_one_behind_the_other_and_each_for_itself() -> None:
    bench = Bench(seconds=0.00001)
    bench.model.gate.release(1000)

    class Broken(Call):
        light = True

        def infer(self, slot: Slot) -> InferResponse:
            raise ZeroDivisionError("oh")

    answers = [bench.run(call) for call in (light("a"), Broken("b"), light("c"), light("d"))]
    answers[2].cancel()
    assert not any(answer.done() for answer in (answers[0], answers[1], answers[3]))
    found = await asyncio.gather(*answers, return_exceptions=True)
    assert [getattr(each, "model_name", type(each).__name__) for each in found] == [
        "a",
        "InferenceFailed",
        "CancelledError",
        "d",
    ]
    assert bench.metrics.inference_time.count == bench.metrics.wait_time.count == 3


async def test_a_lone_client_does_not_wait_for_the_end_of_a_turn() -> None:
    bench = Bench(seconds=0.00001)
    bench.model.gate.release(1000)
    at_once = 0
    for _ in range(100):
        answer = bench.execution.run(light("alone"))
        if isinstance(answer, asyncio.Future):
            await answer
        else:
            at_once += 1
    assert at_once > 70


class _SlowGate(threading.Semaphore):
    def __init__(self, sleep: Callable[[float], None]) -> None:
        super().__init__(10_000)
        self._sleep = sleep

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        self._sleep(0.003)
        return super().acquire(blocking, timeout)


async def test_a_model_that_cannot_run_on_zeros_is_not_fast() -> None:
    class Refusing(GatedModel):
        inputs = (TensorSpec(name="x", datatype="INVALID", dims=(Dim(1, 1),)),)

    assert math.isinf(WarmModel(Refusing()).seconds)


# With a real process.


def test_clients_that_hang_up_during_inference(room: Path) -> None:
    """The trap: a response for a closed connection must not cost a slot, or the server falls silent."""
    body = json.dumps({"inputs": [{"name": "x", "shape": [1, 900], "datatype": "FP32", "data": [1.0] * 900}]}).encode()
    request = b"POST /v2/models/slow/infer HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    with serving(room, harness.save(harness.slow(), room / "slow"), "--metrics_enable", name="slow") as server:
        for _ in range(30):
            with server.connect() as connection:
                connection.sendall(request)
        assert server.infer(body).status == 200
        labels = '{name="slow",version="1"}'
        assert server.counted(f"ovms_current_requests{labels}") == 0
        assert server.counted(f"ovms_inference_time_us_count{labels}") < 30  # most were dropped from the queue


def test_an_overloaded_server_says_when_to_come_back(room: Path) -> None:
    body = json.dumps({"inputs": [{"name": "x", "shape": [1, 900], "datatype": "FP32", "data": [1.0] * 900}]}).encode()
    with (
        serving(room, room / "slow", "--max_queue=2", name="slow") as server,
        ThreadPoolExecutor(16) as clients,
    ):
        replies = list(clients.map(lambda _: server.infer(body), range(32)))
        refused = [reply for reply in replies if reply.status == 503]
        assert {reply.status for reply in replies} == {200, 503}
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in refused)
        assert all("the queue is full" in reply.json["error"] for reply in refused)
        start = time.monotonic()
        assert server.get("/v2/health/live").status == 200
        assert time.monotonic() - start < 1


def test_sigterm_finishes_what_runs_and_refuses_what_comes(room: Path) -> None:
    body = json.dumps({"inputs": [{"name": "x", "shape": [1, 900], "datatype": "FP32", "data": [1.0] * 900}]}).encode()
    request = b"POST /v2/models/slow/infer HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    with serving(room, room / "slow", "--drain_seconds=0.3", "--metrics_enable", name="slow") as server:
        running = [server.connect() for _ in range(4)]
        for connection in running:
            connection.sendall(request)
        while server.counted('ovms_current_requests{name="slow",version="1"}') == 0:
            pass
        server.process.terminate()
        while (ready := server.get("/v2/health/ready")).status == 200:
            pass
        assert (ready.status, ready.headers["connection"]) == (503, "close")
        for connection in running:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
            connection.close()
        assert server.process.wait(10) == 0
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.address, server.port), timeout=5)
