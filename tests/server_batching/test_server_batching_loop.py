"""Requests of one turn of the event loop: merged, cut apart, isolated from each other's faults."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops
from tests.server import harness

from skerry.server.batching import LoopBatches, Merging, Waiting, most_rows, rows_for_nothing, rows_of, rows_within
from skerry.server.calls import InferCall
from skerry.server.dataplane import DataPlane
from skerry.server.engines import LoadedModel, Shape, Slot, Values
from skerry.server.engines.openvino import OpenVino, PaddedSlot
from skerry.server.errors import InferenceFailed, InvalidRequest
from skerry.server.execution import INLINE_SECONDS, Execution, Limits, WarmModel
from skerry.server.model_metrics import ServerMetrics, VersionMetrics
from skerry.server.options import ModelOptions, VersionPolicy
from skerry.server.registry import Registry, ServedVersion
from skerry.server.tensors import Array, Dim, InferRequest, InferResponse, Tensor, TensorSpec


class Doubling:
    """y = 2 x over rows of two numbers; counts its calls, and breaks on a row that starts with 13."""

    platform = "test"
    inputs = (TensorSpec(name="x", datatype="FP32", dims=(Dim(0, None), Dim(2, 2))),)
    outputs = (TensorSpec(name="y", datatype="FP32", dims=(Dim(0, None), Dim(2, 2))),)
    streams = slots = 1

    def __init__(self) -> None:
        self.calls: list[int] = []

    def slot(self) -> Slot:
        return _DoublingSlot(self)


class _DoublingSlot:
    def __init__(self, model: Doubling) -> None:
        self._model = model

    def infer(self, inputs: Sequence[tuple[Values, Shape]]) -> list[tuple[Values, Shape]]:
        [(values, shape)] = inputs
        assert not isinstance(values, list)
        self._model.calls.append(shape[0])
        if (values.reshape(shape)[:, :1] == 13).any():
            raise ZeroDivisionError("unlucky")
        return [(values * 2, shape)]


class Bench:
    """A served model and the data plane over it."""

    def __init__(self, model: LoadedModel, merging: Merging) -> None:
        warm = WarmModel(model, merging)
        warm.seconds = INLINE_SECONDS / 10  # a busy machine must not decide where this runs
        if warm.merging.rows == 1 and merging.rows != 1:
            warm.merging = Merging(most_rows(model, warm.slot, merging.rows), merging.delay_seconds)
        warm.merged_seconds = 10.0
        self.metrics = VersionMetrics(ServerMetrics(), "m", "1")
        self.execution = Execution(warm, self.metrics, Limits(100, 30), asyncio.get_running_loop())
        self.served = ServedVersion("m", 1, model, self.execution, self.metrics)
        self.plane = DataPlane(Registry())
        getattr(model, "calls", []).clear()

    def ask(self, rows: Array) -> "asyncio.Future[InferResponse]":
        request = InferRequest([Tensor("x", "FP32", rows.shape, rows.reshape(-1))])
        answer = self.plane.infer(self.served, request, "REST")
        assert not isinstance(answer, InferResponse)
        return answer


def row(number: float, count: int = 1) -> Array:
    return np.array([[number + index, number / 2] for index in range(count)], np.float32)


def values_of(answer: InferResponse) -> Array:
    [tensor] = answer.outputs
    assert not isinstance(tensor.values, list)
    return tensor.values.reshape(tensor.shape)


async def test_one_turn_is_one_call_and_each_gets_its_own_rows() -> None:
    model = Doubling()
    bench = Bench(model, Merging(32))
    sent = [row(100 * number, 1 + number % 3) for number in range(12)]
    answers = [bench.ask(rows) for rows in sent]
    busy = [bench.execution.busy]
    for rows, answer in zip(sent, answers, strict=True):
        np.testing.assert_array_equal(values_of(await answer), rows * 2)
    assert model.calls == [sum(len(rows) for rows in sent)]
    busy.append(bench.execution.busy)
    assert busy == [True, False]
    await asyncio.sleep(0)
    sizes, queued = bench.metrics.merging()
    assert (sizes.count, sizes.total) == (1, 24)
    assert queued.count == bench.metrics.inference_time.count == bench.metrics.wait_time.count == 12
    assert bench.metrics.success["REST", "ModelInfer"].value == 12


async def test_no_call_has_more_rows_than_allowed() -> None:
    model = Doubling()
    bench = Bench(model, Merging(4))
    answers = [bench.ask(row(number, count)) for number, count in ((100, 3), (200, 2), (300, 1), (400, 1), (500, 1))]
    await asyncio.gather(*answers)
    assert model.calls == [3, 4, 1]


async def test_only_who_is_at_fault_fails() -> None:
    bench = Bench(Doubling(), Merging(32))
    good, bad, other = bench.ask(row(1)), bench.ask(row(13)), bench.ask(row(3))
    with pytest.raises(InvalidRequest, match="Invalid input shape"):
        bench.ask(np.zeros((1, 3), np.float32))
    assert values_of(await good)[0, 0] == 2
    assert values_of(await other)[0, 0] == 6
    with pytest.raises(InferenceFailed, match="ZeroDivisionError: unlucky"):
        await bad
    await asyncio.sleep(0)
    assert bench.metrics.fail["REST", "ModelInfer"].value == 2
    assert bench.metrics.success["REST", "ModelInfer"].value == 2


async def test_nothing_is_computed_for_who_has_left() -> None:
    model = Doubling()
    bench = Bench(model, Merging(32))
    answers = [bench.ask(row(100 * number)) for number in range(4)]
    for left in (0, 2):
        answers[left].cancel()
    assert values_of(await answers[3])[0, 0] == 600
    assert model.calls == [2]
    last = bench.ask(row(5))
    last.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert model.calls == [2]


async def test_a_delay_waits_for_others() -> None:
    model = Doubling()
    bench = Bench(model, Merging(3, 30.0))  # only being full can end this within the test's time
    answers = []
    for number in range(3):
        answers.append(bench.ask(row(number)))
        await asyncio.sleep(0)
    await asyncio.gather(*answers)
    assert model.calls == [3]
    brief = Bench(model, Merging(3, 0.001))
    model.calls.clear()
    assert values_of(await brief.ask(row(7)))[0, 0] == 14
    assert model.calls == [1]


async def test_a_lone_client_does_not_wait_and_company_is_noticed() -> None:
    def run(waiting: list[Waiting], rows: int) -> None:
        sizes.append(rows)
        for each in waiting:
            each.future.set_result(InferResponse("m", "1", []))

    sizes: list[int] = []
    bench = Bench(Doubling(), Merging(32))
    call = InferCall(bench.served, InferRequest([Tensor("x", "FP32", (1, 2), np.zeros(2, np.float32))]))
    batches = LoopBatches(asyncio.get_running_loop(), Merging(32), run, rows_of)
    at_once = 0
    for _ in range(100):
        at_once += batches.add(call) is None
        await asyncio.sleep(0)
    assert at_once > 70
    for _ in range(20):
        for _ in range(8):
            batches.add(call)
        await asyncio.sleep(0)
    assert sizes[-1] == 8


def test_what_costs_too_much_is_not_done() -> None:
    assert rows_within(lambda rows: rows * 1e-4, 64) == 8
    assert rows_within(lambda rows: 5.0, 64) == 1
    assert rows_for_nothing(lambda rows: 1e-5 + rows * 1e-6, 64) == 8
    assert rows_for_nothing(lambda rows: 1e-5, 64) == 64


# With OpenVINO.


def loaded(directory: Path, model: ov.Model, batch: str = "") -> LoadedModel:
    repository = harness.save(model, directory / "model")
    options = ModelOptions(
        name="m",
        path=repository,
        batch_size=batch,
        plugin_config={"INFERENCE_NUM_THREADS": 1},
        version_policy=VersionPolicy(),
    )
    return OpenVino().load(repository / "1", options)


def over_rows(kind: str) -> ov.Model:
    """Models whose first dimension is free and no batch."""
    x = harness.parameter("x", (-1, 4), ov.Type.f32)
    if kind == "softmax":
        node = ops.softmax(x, axis=0)
    elif kind == "sum":
        node = ops.cum_sum(x, ops.constant(np.array(0, np.int64)))
    else:
        node = ops.reduce_mean(x, np.array([0], np.int64), keep_dims=True)
    y = harness.named("y", node)
    return ov.Model([ops.result(y)], [x], kind)


@pytest.mark.parametrize("kind", ["softmax", "sum", "mean"])
def test_rows_that_know_of_each_other_are_found_out(tmp_path: Path, kind: str) -> None:
    model = loaded(tmp_path, over_rows(kind))
    assert most_rows(model, model.slot(), 0) == 1


@pytest.mark.parametrize(
    ("model", "batch", "rows"),
    [
        (harness.iris((-1, 4)), "", 64),
        (harness.iris((1, 4)), "", 1),
        (harness.iris((1, 4)), "auto", 64),
        (harness.iris((1, 4)), "1:8", 8),
        (harness.iris((1, 4)), "2:8", 1),
        (harness.strings(), "", 1),
        (harness.echo({"a": ((-1, 2), ov.Type.i64), "b": ((-1, 3), ov.Type.boolean)}), "", 64),
        (harness.echo({"a": ((-1, 2), ov.Type.f32), "b": ((3,), ov.Type.f32)}), "", 1),
        (harness.echo({"a": ((-1, -1), ov.Type.f32)}), "", 1),
    ],
    ids=["free", "fixed", "made free", "range", "range without one", "strings", "two inputs", "one fixed", "ragged"],
)
def test_which_models_are_merged(tmp_path: Path, model: ov.Model, batch: str, rows: int) -> None:
    engine = loaded(tmp_path, model, batch)
    assert most_rows(engine, engine.slot(), 0) == rows
    assert most_rows(engine, engine.slot(), 1) == 1


async def test_answers_of_openvino_are_each_ones_own(tmp_path: Path) -> None:
    model = loaded(tmp_path, harness.iris((-1, 4)))
    bench = Bench(model, Merging(16))
    generator = np.random.default_rng(1)
    for _ in range(20):
        sent = [generator.random((int(generator.integers(1, 9)), 4), np.float32) for _ in range(12)]
        answers = await asyncio.gather(*[bench.ask(rows) for rows in sent])
        for rows, answer in zip(sent, answers, strict=True):
            np.testing.assert_allclose(values_of(answer), harness.iris_answer(rows), rtol=1e-5)


async def test_a_padded_slot_takes_any_number_of_rows(tmp_path: Path) -> None:
    model = loaded(tmp_path, harness.iris((-1, 4)))
    assert hasattr(model, "pad")
    model.pad(8)
    slot = model.slot()
    assert isinstance(slot, PaddedSlot)
    generator = np.random.default_rng(2)
    kept = []
    for count in (8, 1, 9, 3, 100, 8, 0, 2):
        rows = generator.random((count, 4), np.float32)
        [(values, shape)] = slot.infer([(rows.reshape(-1), rows.shape)])
        assert shape == (count, 3)
        kept.append((np.asarray(values).reshape(shape), rows))
    for values, rows in kept:  # later calls have not written over what earlier ones returned
        if len(rows):
            np.testing.assert_allclose(values, harness.iris_answer(rows), rtol=1e-5)


async def test_several_inputs_and_outputs_keep_their_order(tmp_path: Path) -> None:
    model = loaded(tmp_path, harness.echo({"b": ((-1, 2), ov.Type.f32), "a": ((-1, 3), ov.Type.i32)}))
    bench = Bench(model, Merging(32))
    answers = []
    for number in range(6):
        a = np.full((2, 3), number, np.int32)
        b = np.full((2, 2), -number, np.float32)
        tensors = [Tensor("b", "FP32", b.shape, b.reshape(-1)), Tensor("a", "INT32", a.shape, a.reshape(-1))]
        answers.append(bench.plane.infer(bench.served, InferRequest(tensors, ["b"] if number % 2 else []), "REST"))
    for number, answer in enumerate(answers):
        assert not isinstance(answer, InferResponse)
        outputs = {tensor.name: tensor for tensor in (await answer).outputs}
        assert list(outputs) == (["b"] if number % 2 else ["a", "b"])
        assert set(outputs["b"].values) == {-number}
        assert outputs["b"].shape == (2, 2)
