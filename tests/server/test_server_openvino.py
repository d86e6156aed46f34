"""OpenVINO as an engine: its two ways of calling, and the options that become parts of the graph."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops
from tests.server import harness
from tests.server_engines import written

from skerry.server.cpu import cpu_quota, usable_processors
from skerry.server.engines import Repeating, openvino_files
from skerry.server.engines import openvino as engine
from skerry.server.engines.openvino import OpenVino, OpenVinoModel, OpenVinoSlot, choose_device, compile_config
from skerry.server.errors import LoadError
from skerry.server.execution import WarmModel
from skerry.server.options import ModelOptions, VersionPolicy


def load(repository: Path, **options: Any) -> OpenVinoModel:
    settings = ModelOptions(name="m", path=repository, version_policy=VersionPolicy(), **options)
    return OpenVino().load(repository / "1", settings)


def run(model: OpenVinoModel, *values: Any) -> Any:
    [(answer, shape)] = model.slot().infer([(array.reshape(-1), array.shape) for array in values])
    assert isinstance(answer, np.ndarray)
    return answer.reshape(shape)


def picture_sum(tmp_path: Path) -> Path:
    """A model with a planar picture as its input: `y` is the mean of each channel."""
    x = harness.parameter("x", (1, 3, 2, 2), ov.Type.f32)
    y = harness.named("y", ops.reduce_mean(x, np.array([2, 3], np.int64), keep_dims=False))
    return harness.save(ov.Model([ops.result(y)], [x], "mean"), tmp_path / "mean")


def test_the_cheap_call_and_the_documented_one_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(harness.save(harness.iris(), tmp_path / "iris"))
    rows = np.array([[1, 2, 3, 4]], np.float32)
    cheap = run(model, rows)

    def missing(_: OpenVinoSlot) -> Any:
        raise AttributeError("infer")

    monkeypatch.setattr(OpenVinoSlot, "_cheap", missing)
    assert np.array_equal(cheap, run(model, rows))
    assert cheap == pytest.approx(harness.iris_answer(rows), abs=1e-6)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")
def test_inference_stays_on_the_processors_that_it_was_given(tmp_path: Path) -> None:
    """OpenVINO's threading library would set the thread's affinity to the whole machine, twice a call."""
    model = load(harness.save(harness.iris(), tmp_path / "iris"))
    given = {min(os.sched_getaffinity(0))}
    begun, over = threading.Event(), threading.Event()
    inside: list[int] = []

    def infer() -> None:
        os.sched_setaffinity(0, given)
        slot = model.slot()
        inside.append(threading.get_native_id())
        begun.set()
        for _ in range(2000):
            slot.infer([(np.zeros(4, np.float32), (1, 4))])
        over.set()

    thread = threading.Thread(target=infer)
    thread.start()
    assert begun.wait(10)
    seen = set()
    while not over.is_set():
        seen.add(frozenset(os.sched_getaffinity(inside[0])))
    thread.join(10)
    assert seen == {frozenset(given)}


def test_a_shape_that_comes_again_and_one_that_does_not(tmp_path: Path) -> None:
    model = load(harness.save(harness.iris((-1, 4)), tmp_path / "iris"))
    slot = model.slot()
    for rows in (1, 1, 3, 3, 2, 1, 5):
        values = np.arange(rows * 4, dtype=np.float32).reshape(rows, 4) + rows
        [(answer, shape)] = slot.infer([(values.reshape(-1), values.shape)])
        assert isinstance(answer, np.ndarray)
        assert shape == harness.iris_answer(values).shape
        assert answer.reshape(shape) == pytest.approx(harness.iris_answer(values), abs=1e-5)


def crossed(rows: int) -> ov.Model:
    """Two inputs and two outputs, in another order than their names: `a` is three times `b`, `z` twice `x`."""
    x = harness.parameter("x", (rows, 3), ov.Type.f32)
    b = harness.parameter("b", (rows, 2), ov.Type.f32)
    z = harness.named("z", ops.add(x, x))
    a = harness.named("a", ops.multiply(b, ops.constant(np.float32(3))))
    return ov.Model([ops.result(z), ops.result(a)], [x, b], "crossed")


@pytest.mark.parametrize("rows", [1, -1], ids=["fixed", "varying"])
def test_requests_behind_each_other_are_answered_as_each_alone(tmp_path: Path, rows: int) -> None:
    slot = load(harness.save(crossed(rows), tmp_path / "crossed")).slot()
    assert isinstance(slot, Repeating)
    generator = np.random.default_rng(3)
    for count in (1, 5, 2):
        b, x = generator.random((count, 2), np.float32), generator.random((count, 3), np.float32)
        found = slot.infer_each([(b.reshape(-1), (1, 2)), (x.reshape(-1), (1, 3))], count)
        assert found is not None
        assert [shape for _, shape in found] == [(1, 2), (1, 3)]
        for number in range(count):
            alone = slot.infer([(b[number], (1, 2)), (x[number], (1, 3))])
            for (values, _), (expected, _) in zip(found, alone, strict=True):
                np.testing.assert_array_equal(values.reshape(count, -1)[number], expected)
        np.testing.assert_array_equal(found[0][0], 3 * b.reshape(-1))
        np.testing.assert_array_equal(found[1][0], 2 * x.reshape(-1))


def test_outputs_that_vary_are_not_put_behind_each_other(tmp_path: Path) -> None:
    x = harness.parameter("x", (-1, 3), ov.Type.f32)
    found = harness.named("y", ops.non_zero(x))
    slot = load(harness.save(ov.Model([ops.result(found)], [x], "where"), tmp_path / "where")).slot()
    assert isinstance(slot, Repeating)
    assert slot.infer_each([(np.array([1, 0, 1, 1, 1, 1], np.float32), (1, 3))], 2) is None


def test_an_answer_belongs_to_its_caller(tmp_path: Path) -> None:
    slot = load(harness.save(harness.iris(), tmp_path / "iris")).slot()
    answers = [slot.infer([(np.full(4, value, np.float32), (1, 4))])[0][0] for value in (0, 100)]
    assert isinstance(answers[0], np.ndarray)
    assert not np.array_equal(answers[0], answers[1])


def test_an_output_that_is_an_input_shows_no_memory(tmp_path: Path) -> None:
    model = load(harness.save(harness.echo({"x": ((2, 2), ov.Type.i64)}), tmp_path / "echo"))
    for number in range(3):
        rows = np.arange(4).reshape(2, 2) + number
        np.testing.assert_array_equal(run(model, rows), rows)
    assert isinstance(model.slot(), engine.VaryingSlot)
    assert isinstance(load(harness.save(harness.iris(), tmp_path / "iris")).slot(), engine.FixedSlot)


def test_sizes_that_vary(tmp_path: Path) -> None:
    model = load(harness.save(harness.iris((-1, 4)), tmp_path / "iris"))
    for rows in (1, 5, 2):
        values = np.random.default_rng(rows).random((rows, 4), np.float32)
        assert run(model, values) == pytest.approx(harness.iris_answer(values), abs=1e-6)


def test_a_tiny_model_is_measured_as_fast(tmp_path: Path) -> None:
    assert WarmModel(load(harness.save(harness.iris((-1, 4)), tmp_path / "iris"))).seconds < 0.001


PIXELS = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)  # NHWC
MEANS = PIXELS.mean(axis=(1, 2))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"layout": "NHWC:NCHW"}, MEANS),
        ({"layout": "NHWC:NCHW", "color_format": "RGB:BGR"}, MEANS[:, ::-1]),
        ({"layout": "NHWC:NCHW", "mean": "[1,2,3]"}, MEANS - [1, 2, 3]),
        ({"layout": "NHWC:NCHW", "mean": "1", "scale": "(2,4,8)"}, (MEANS - 1) / [2, 4, 8]),
        ({"layout": "NHWC:NCHW", "color_format": "RGB:BGR", "mean": "[1,2,3]"}, MEANS[:, ::-1] - [1, 2, 3]),
    ],
)
def test_preprocessing_inside_the_graph(tmp_path: Path, options: dict[str, str], expected: Any) -> None:
    model = load(picture_sum(tmp_path), **options)
    assert model.inputs[0].shape == [1, 2, 2, 3]
    assert model.inputs[0].layout == "NHWC"
    assert run(model, PIXELS) == pytest.approx(np.asarray(expected, np.float32), abs=1e-5)


def test_the_precision_that_clients_send(tmp_path: Path) -> None:
    model = load(picture_sum(tmp_path), layout="NHWC:NCHW", precision="uint8:fp32")
    assert model.inputs[0].datatype == "UINT8"
    assert run(model, PIXELS.astype(np.uint8)) == pytest.approx(MEANS)


def test_shape_and_batch_are_in_the_clients_layout(tmp_path: Path) -> None:
    repository = picture_sum(tmp_path)
    assert load(repository, layout="NHWC:NCHW", shape="(1,4,-1,3)").inputs[0].shape == [1, 4, -1, 3]
    assert load(repository, layout="NHWC:NCHW", batch_size="5").inputs[0].shape == [5, 2, 2, 3]
    ranged = load(repository, layout="NHWC:NCHW", shape="(1,2:4,2,3)").inputs[0]
    assert (ranged.shape, ranged.expected) == ([1, -1, 2, 3], "(1,[2~4],2,3)")
    assert load(harness.save(harness.iris(), tmp_path / "iris"), batch_size="auto").inputs[0].shape == [-1, 4]
    free = load(harness.save(harness.iris(), tmp_path / "iris"), shape="auto")
    assert (free.inputs[0].shape, free.outputs[0].shape) == ([-1, -1], [-1, 3])


def test_the_layout_that_the_model_carries(tmp_path: Path) -> None:
    x = ops.parameter([1, 2, 2, 3], np.float32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NHWC"))
    y = harness.named("y", ops.reduce_mean(x, np.array([1, 2], np.int64), keep_dims=False))
    repository = harness.save(ov.Model([ops.result(y)], [x], "m"), tmp_path / "m")
    assert load(repository).inputs[0].layout == "NHWC"
    assert load(picture_sum(tmp_path)).inputs[0].layout == "N..."


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"layout": "NHWC:NCHW", "mean": "abc"}, "cannot apply --mean=abc: it is a number, or [a,b,c]"),
        ({"layout": "NHWC:NCHW", "color_format": "RGB"}, "cannot apply --color_format=RGB: it is TARGET:SOURCE"),
        ({"layout": "NHWC:NCHW", "precision": "int4:fp32"}, "cannot apply --precision=int4:fp32: it is TARGET:SOURCE"),
        ({"batch_size": "many"}, "cannot apply --batch_size=many: it is a whole number or auto"),
        ({"shape": "(1,3,2)"}, "Model could not be reshaped with requested shape --shape=(1,3,2)"),
        ({"plugin_config": {"NONSENSE": "1"}}, "cannot load"),
    ],
)
def test_options_that_cannot_be_applied(tmp_path: Path, options: dict[str, Any], text: str) -> None:
    with pytest.raises(LoadError) as caught:
        load(picture_sum(tmp_path), **options)
    assert text in str(caught.value)
    assert str(caught.value).startswith(f"cannot load {tmp_path}/mean/1/model.xml: ")
    assert "\n" not in str(caught.value)


def test_a_model_file_by_itself_is_version_1(tmp_path: Path) -> None:
    repository = harness.save(harness.iris(), tmp_path / "iris")
    assert openvino_files.model_file(repository / "1" / "model.xml") == repository / "1" / "model.xml"


def test_the_order_of_formats(tmp_path: Path) -> None:
    for kind in ("onnx", "tflite", "saved model"):
        written.write(tmp_path, kind)
    assert openvino_files.model_file(tmp_path).name == "model.onnx"
    (tmp_path / "model.onnx").unlink()
    assert openvino_files.model_file(tmp_path) == tmp_path


def test_defaults_stand_below_what_the_user_says() -> None:
    default = compile_config("CPU", {})
    assert default["PERFORMANCE_HINT"] == "LATENCY"
    assert default["INFERENCE_NUM_THREADS"] == usable_processors()
    given = compile_config("CPU", {"NUM_STREAMS": "2", "INFERENCE_NUM_THREADS": "3", "ENABLE_CPU_PINNING": True})
    assert given == {"NUM_STREAMS": "2", "INFERENCE_NUM_THREADS": 3, "ENABLE_CPU_PINNING": True}
    assert compile_config("GPU", {}) == {"PERFORMANCE_HINT": "LATENCY"}


def test_auto_means_the_cpu_where_there_is_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_DEVICES", tmp_path)
    assert [choose_device(wanted) for wanted in ("", "AUTO", "CPU", "GPU.1")] == ["CPU", "CPU", "CPU", "GPU.1"]
    (tmp_path / "renderD128").touch()
    assert choose_device("AUTO") == "AUTO"


# How many processors there are.


def cgroup(root: Path, path: str, content: str) -> Path:
    directory = root / path
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "cpu.max").write_text(content)
    return root


@pytest.mark.parametrize(
    ("content", "quota"),
    [("50000 100000\n", 0.5), ("max 100000\n", None), ("250000 100000", 2.5), ("", None), ("x y", None)],
)
def test_a_quota(tmp_path: Path, content: str, quota: float | None) -> None:
    (tmp_path / "own").write_text("0::/pod/container\n")
    assert cpu_quota(cgroup(tmp_path / "cg", "pod/container", content), tmp_path / "own") == quota


def test_the_tightest_quota_on_the_way_up_counts(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/pod/container\n")
    root = cgroup(tmp_path / "cg", "pod/container", "400000 100000")
    assert cpu_quota(cgroup(root, "pod", "100000 100000"), tmp_path / "own") == 1.0
    (tmp_path / "own").write_text("0::/path/of/the/host\n")  # inside a container without a cgroup namespace
    assert cpu_quota(cgroup(root, ".", "300000 100000"), tmp_path / "own") == 3.0


def test_the_quota_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("5:memory:/x\n4:cpu,cpuacct:/pod\n")
    directory = tmp_path / "cg" / "cpu,cpuacct" / "pod"
    directory.mkdir(parents=True)
    (directory / "cpu.cfs_quota_us").write_text("150000\n")
    (directory / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path / "cg", tmp_path / "own") == 1.5
    (directory / "cpu.cfs_quota_us").write_text("-1\n")
    assert cpu_quota(tmp_path / "cg", tmp_path / "own") is None


def test_part_of_a_processor_is_one(tmp_path: Path) -> None:
    (tmp_path / "own").write_text("0::/p\n")
    assert usable_processors(cgroup(tmp_path / "cg", "p", "10000 100000"), tmp_path / "own") == 1
    assert usable_processors(tmp_path / "none", tmp_path / "none") >= 1
