"""Every format that OpenVINO reads, and what is said of files that it does not.

- the same small network in each format, as a version's directory and as a file by itself;
- files that are cut off, that are something else, whose weights are missing: one line that says so, and nothing of what
  the readers of other formats think of them;
- names: tensors without one, and `mapping_config.json`; what the model says about itself.

Real models of PyTorch (`.pt`) are not among them: they need PyTorch to be read.
"""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server import harness
from tests.server.harness import iris_answer, run_to_end, serving
from tests.server_engines import written

from skerry.cli.serve import model_name, model_path
from skerry.server.engines import openvino_files
from skerry.server.engines.choosing import Engines
from skerry.server.engines.openvino import OpenVinoModel
from skerry.server.errors import LoadError
from skerry.server.options import ModelOptions, VersionPolicy
from skerry.server.repository import versions_of

ROW = np.array([1, 2, 3, 4], np.float32)
KINDS = ["onnx", "frozen graph", "saved model", "tflite", "paddle"]


def load(path: Path, **options: str) -> OpenVinoModel:
    model = Engines().load(path, ModelOptions(name="m", path=path, version_policy=VersionPolicy(), **options))  # type: ignore[arg-type]
    assert isinstance(model, OpenVinoModel)
    return model


def answer_of(model: OpenVinoModel) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    [(values, shape)] = model.slot().infer([(ROW, (1, 4))])
    return np.asarray(values, np.float32).reshape(shape)


@pytest.mark.parametrize("by_itself", [False, True], ids=["version", "file"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_format(tmp_path: Path, kind: str, by_itself: bool) -> None:
    file = written.write(tmp_path / "1", kind)
    model = load(file if by_itself else tmp_path / "1")
    np.testing.assert_allclose(answer_of(model), iris_answer([ROW]), rtol=1e-5)
    [x], [y] = model.inputs, model.outputs
    assert (x.datatype, x.shape, y.shape) == ("FP32", [1, 4], [1, 3])
    names = {"frozen graph": ("x:0", "y:0"), "saved model": ("x", "probabilities")}
    assert (x.name, y.name) == names.get(kind, ("x", "y"))


def test_over_the_wire(tmp_path: Path) -> None:
    file = written.write(tmp_path / "flowers", "saved model")
    with serving(tmp_path, file) as server:
        tensor = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": ROW.tolist()}
        [output] = server.infer({"inputs": [tensor]}).json["outputs"]
    np.testing.assert_allclose(output["data"], iris_answer([ROW])[0], rtol=1e-5)


def test_a_saved_model_is_its_directory(tmp_path: Path) -> None:
    file = written.write(tmp_path / "flowers", "saved model")
    assert model_name(file) == "flowers"
    before = versions_of(file)[1].mark
    (tmp_path / "flowers" / "variables").mkdir()
    (tmp_path / "flowers" / "variables" / "variables.index").write_bytes(b"x")
    assert versions_of(file)[1].mark != before


GOLDEN = Path(__file__).parent / "golden"


def test_a_saved_model_of_tensorflow_itself() -> None:
    [directory] = (path for path in GOLDEN.glob("tensorflow-*") if path.is_dir())
    assert {path.name for path in directory.iterdir()} >= {"fingerprint.pb", "saved_model.pb", "variables"}
    model = load(directory)
    assert [(spec.name, spec.shape) for spec in model.inputs] == [("x", [-1, 4])]
    assert [(spec.name, spec.shape) for spec in model.outputs] == [("probabilities", [-1, 3])]
    np.testing.assert_allclose(answer_of(model), iris_answer([ROW]), rtol=1e-5)


def test_a_quantised_model_of_tensorflow_itself() -> None:
    [file] = GOLDEN.glob("tensorflow-*.tflite")
    known = json.loads(file.with_suffix(".json").read_text())
    model = load(file)
    assert [(spec.datatype, spec.shape) for spec in (*model.inputs, *model.outputs)] == [
        ("UINT8", [-1, 4]),
        ("UINT8", [-1, 3]),
    ]
    rows = np.array(known["rows"], np.uint8)
    [(values, shape)] = model.slot().infer([(rows.reshape(-1), rows.shape)])
    # Where the steps of a byte are rounded is an engine's own.
    np.testing.assert_allclose(np.asarray(values).reshape(shape).astype(int), known["answers"], atol=1)


def test_what_tensorflow_writes_beside_a_saved_model(tmp_path: Path) -> None:
    file = written.write(tmp_path, "saved model")
    for name in ("fingerprint.pb", "keras_metadata.pb"):
        (tmp_path / name).write_bytes(written.message((1, 2**63), (2, 5)))
    assert openvino_files.model_file(tmp_path) == tmp_path
    assert model_path(tmp_path) == file
    np.testing.assert_allclose(answer_of(load(tmp_path)), iris_answer([ROW]), rtol=1e-5)


def test_a_text_graph_is_left_to_the_reader(tmp_path: Path) -> None:
    file = tmp_path / "graph.pb"
    file.write_text(relu_of('attr { key: "shape" value { shape { dim { size: 1 } dim { size: 4 } } } }'))
    assert [(spec.name, spec.shape) for spec in load(file).outputs] == [("y:0", [1, 4])]


def test_an_input_of_any_number_of_dimensions_needs_a_shape(tmp_path: Path) -> None:
    file = tmp_path / "graph.pb"
    file.write_text(relu_of(""))
    with pytest.raises(LoadError, match="input x:0 may have any number of dimensions; say which with --shape"):
        load(file)
    np.testing.assert_array_equal(answer_of(load(file, shape="(-1,4)")), [ROW])


def relu_of(shape: str) -> str:
    kind = "value { type: DT_FLOAT }"
    x = f'node {{ name: "x" op: "Placeholder" attr {{ key: "dtype" {kind} }} {shape} }}'
    return f'{x} node {{ name: "y" op: "Relu" input: "x" attr {{ key: "T" {kind} }} }}'


RUBBISH = b"rubbish rubbish rubbish"


@pytest.mark.parametrize(
    ("name", "content", "text"),
    [
        ("model.onnx", written.onnx()[:100], "it is no ONNX model, or a part of one: what begins at byte 2 would end "),
        ("model.onnx", RUBBISH, "it is no ONNX model, or a part of one"),
        ("model.onnx", b"\xff" * 40, "it is no ONNX model, or a part of one: the number at byte 0 does not end"),
        ("model.onnx", b"\x07" * 40, "it is no ONNX model, or a part of one: byte 0 begins nothing that is known"),
        ("model.onnx", b"\x00\x01", "it is no ONNX model, or a part of one: byte 0 begins nothing that is known"),
        ("model.onnx", written.frozen_graph(), "it is no ONNX model (there is no graph in it)"),
        ("model.onnx", written.onnx(external="w.bin"), "the file "),
        ("model.onnx", written.onnx(operation="Frobnicate"), "No conversion rule found for operations: Frobnicate"),
        ("model.pb", written.frozen_graph()[:120], "it is no TensorFlow model, or a part of one"),
        ("model.pb", RUBBISH, "it is no TensorFlow model, or a part of one"),
        ("model.pb", written.onnx(), "it is no TensorFlow graph (a frozen GraphDef)"),
        ("model.pb", written.saved_model(), "it is a SavedModel, whose file is to be called saved_model.pb"),
        ("saved_model.pb", written.saved_model()[:150], "it is no TensorFlow model, or a part of one"),
        ("saved_model.pb", written.frozen_graph(), "it is no SavedModel"),
        ("saved_model.pb", b"", "the file is empty"),
        ("model.tflite", RUBBISH, "it is no TensorFlow Lite model (there is no TFL3 in it)"),
        ("model.tflite", written.tflite()[:200], "TensorFlow Lite Frontend: the model file "),
        ("model.pdmodel", RUBBISH, "Model can't be parsed"),
        ("model.pdmodel", written.paddle()[0], "PaddlePaddle *.pdiparams format weight file doesn't exist!"),
    ],
)
def test_a_file_that_cannot_be_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, content: bytes, text: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LoadError, match=re.escape(f"cannot load {tmp_path / name}: {text}")) as caught:
        load(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@given(st.binary(max_size=300), st.sampled_from(["model.onnx", "model.pb", "saved_model.pb", "model.tflite"]))
def test_any_bytes_are_judged(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    file = tmp_path_factory.getbasetemp() / name
    file.write_bytes(content)
    with suppress(LoadError):
        assert openvino_files.model_file(file) in {file, file.parent}


def test_a_file_of_very_many_fields_is_not_walked_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x3a\x00" + b"\x08\x01" * (1 << 21) + b"\x07")
    assert openvino_files.model_file(tmp_path) == tmp_path / "model.onnx"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model.pt", "torch.onnx.export"),
        ("model.pt2", "torch.onnx.export"),
        ("model.keras", "model.export(directory)"),
        ("model.pdiparams", "a .pdmodel that is missing"),
        ("model.bin", "an .xml that is missing"),
        ("model.safetensors", "known are .xml, .onnx"),
    ],
)
def test_a_format_that_nobody_reads(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(LoadError, match=re.escape(text)):
        load(tmp_path / name)


def test_weights_in_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(written.onnx(external="weights.bin"))
    with pytest.raises(LoadError, match=r"the file .*weights\.bin, which holds weights of it, is missing or too short"):
        load(tmp_path)
    (tmp_path / "weights.bin").write_bytes(harness.IRIS_WEIGHTS.tobytes())
    np.testing.assert_allclose(answer_of(load(tmp_path)), iris_answer([ROW]), rtol=1e-5)


# Names.


@pytest.fixture
def nameless(tmp_path: Path) -> Path:
    """A model as some exporters write it: no tensor has a name."""
    directory = harness.save(harness.iris(), tmp_path / "nameless") / "1"
    text = (directory / "model.xml").read_text()
    (directory / "model.xml").write_text(re.sub(r' (?:output_)?names="[^"]*"', "", text))
    return directory


@pytest.mark.parametrize("options", [{}, {"layout": "NC"}, {"shape": "(2,4)"}, {"batch_size": "auto"}])
def test_tensors_without_names(nameless: Path, options: dict[str, str]) -> None:
    model = load(nameless, **options)
    assert ([spec.name for spec in model.inputs], [spec.name for spec in model.outputs]) == (["in_0"], ["out_0"])


def test_names_from_a_mapping(tmp_path: Path) -> None:
    directory = harness.save(harness.iris(), tmp_path / "iris") / "1"
    mapping = {"inputs": {"x": "flower"}, "outputs": {"y": "kind", "z": "nothing"}}
    (directory / "mapping_config.json").write_text(json.dumps(mapping))
    model = load(directory, shape='{"flower": "(3,4)"}')
    assert [(spec.name, spec.shape) for spec in model.inputs] == [("flower", [3, 4])]
    assert [spec.name for spec in model.outputs] == ["kind"]
    with pytest.raises(LoadError, match="the model has no input x"):
        load(directory, shape='{"x": "(3,4)"}')


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("{", "cannot read mapping_config.json: Input data was truncated"),
        ('{"inputs": {"x": 1}}', "cannot read mapping_config.json: Expected `str`"),
        ('{"outputs": {"y": "a", "z": "a"}}', "it gives one name to several tensors"),
    ],
)
def test_a_mapping_that_is_wrong(tmp_path: Path, content: str, text: str) -> None:
    directory = harness.save(harness.iris(), tmp_path / "iris") / "1"
    (directory / "mapping_config.json").write_text(content)
    with pytest.raises(LoadError, match=text):
        load(directory)


def test_what_a_model_says_about_itself(tmp_path: Path) -> None:
    model = harness.iris()
    model.set_rt_info("setosa versicolor virginica", ["model_info", "labels"])
    model.set_rt_info(0.5, ["model_info", "configuration", "threshold"])
    harness.save(model, tmp_path / "iris")
    harness.save(harness.iris(), tmp_path / "silent")
    with serving(tmp_path, tmp_path / "iris") as server:
        metadata = server.get("/v2/models/tiny").json
    assert list(metadata) == ["name", "versions", "platform", "inputs", "outputs", "rt_info"]
    told = {"labels": "setosa versicolor virginica", "configuration": {"threshold": "0.5"}}
    assert metadata["rt_info"] == {"model_info": told}
    assert load(tmp_path / "silent" / "1").rt_info == {}


# The cache of compiled models.


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b"rubbish" * 99), lambda path: path.write_bytes(b"")])
def test_a_cache_that_is_damaged_is_made_again(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    directory, cache = harness.save(harness.iris(), tmp_path / "iris") / "1", tmp_path / "new" / "cache"
    load(directory, cache_dir=str(cache))
    [blob] = cache.glob("*.blob")
    spoil(blob)
    np.testing.assert_allclose(answer_of(load(directory, cache_dir=str(cache))), iris_answer([ROW]), rtol=1e-5)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    model = harness.save(harness.iris(), tmp_path / "iris")
    (tmp_path / "file").write_bytes(b"")
    with serving(tmp_path, model, f"--cache_dir={tmp_path / 'file' / 'cache'}") as server:
        log = server.errors.with_suffix(".log").read_text()
    assert "[warning]" in log
    assert "compiled models are not kept: cache_dir cannot be used" in log
    assert "Not a directory" in log


def test_a_broken_file_ends_the_server_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(RUBBISH)
    done = run_to_end(*harness.command(tmp_path / "model.onnx"))
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
