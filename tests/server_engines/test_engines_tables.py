"""Tables over the wire: what KServe's clients send to servers of scikit-learn, XGBoost and LightGBM models."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import msgspec
import numpy as np
import pytest
import sklearn
import tritonclient.grpc
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from skops import io as skops_io
from tests.server import harness
from tests.server.harness import Server, serving
from tests.server_engines.trained import trained_lightgbm, trained_xgboost

from skerry.server.engines import LoadedModel
from skerry.server.engines.choosing import Engines
from skerry.server.errors import LoadError
from skerry.server.options import ModelOptions, VersionPolicy

IRIS, SPECIES = load_iris(return_X_y=True)


def classifier(labels: Any = SPECIES) -> LogisticRegression:
    return LogisticRegression(max_iter=500).fit(IRIS, labels)


def tensor(values: Any, datatype: str = "FP64", name: str = "anything") -> dict[str, Any]:
    array = np.array(values)
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": array.ravel().tolist()}


def answer(server: Server, *inputs: dict[str, Any]) -> Any:
    reply = server.infer({"inputs": list(inputs)})
    assert reply.status == 200, reply.body
    return reply.json["outputs"]


def predictions(server: Server, request: Any) -> Any:
    reply = server.ask("POST", f"/v1/models/{server.model}:predict", json.dumps(request).encode())
    return reply.json.get("predictions", (reply.status, reply.json.get("error")))


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@pytest.fixture(scope="module")
def boosted(room: Path) -> Iterator[Server]:
    (room / "xgboost").mkdir()
    trained_xgboost("binary", objective="binary:logistic").save_model(room / "xgboost" / "model.ubj")
    (room / "xgboost" / "model.ubj").rename(room / "xgboost" / "model.bst")
    with serving(room, room / "xgboost", name="boosted") as server:
        yield server


ROW = [0.1, 2.0, 0.0, -1.5, 3.0]
NAMES = [f"f{index}" for index in range(5)]


def test_every_form_of_a_table_is_the_same_table(boosted: Server) -> None:
    [expected] = answer(boosted, tensor([ROW], "FP32"))
    assert (expected["name"], expected["datatype"], expected["shape"]) == ("output-0", "FP32", [1])
    value = expected["data"]
    for datatype, row in (("FP64", ROW), ("FP16", ROW)):
        assert answer(boosted, tensor([row], datatype))[0]["data"] == pytest.approx(value, rel=0.05)
    columns = [tensor([one], "FP32", name) for name, one in zip(NAMES, ROW, strict=True)]
    assert answer(boosted, *reversed(columns))[0]["data"] == value
    assert answer(boosted, *[{**one, "shape": [1, 1]} for one in columns])[0]["data"] == value
    named = dict(zip(NAMES, ROW, strict=True))
    lists = {name: [one, one] for name, one in named.items()}
    for request in ({"instances": [ROW]}, {"inputs": [ROW]}, {"instances": [named]}, {"inputs": [named]}):
        assert predictions(boosted, request) == value, request
    for double in ({"instances": [lists]}, {"inputs": lists}, {"inputs": [[named], [named]]}):
        assert predictions(boosted, double) == value * 2, double
    whole = answer(boosted, tensor([[1, 2, 0, 3, 3]], "INT64"))
    assert whole == answer(boosted, tensor([[1, 2, 0, 3, 3]], "FP32"))


def test_null_is_a_missing_value(boosted: Server) -> None:
    missing = np.array([[0.1, np.nan, 0.0, np.nan, 3.0]], np.float32)
    header = {"inputs": [{"name": "x", "shape": [1, 5], "datatype": "FP32", "parameters": {"binary_data_size": 20}}]}
    expected = boosted.infer_binary(header, missing.tobytes()).json["outputs"][0]["data"]
    row = [0.1, None, 0.0, None, 3.0]
    assert predictions(boosted, {"instances": [row]}) == expected
    body = {"inputs": [{"name": "x", "shape": [1, 5], "datatype": "FP32", "data": row}]}
    assert boosted.infer(body).json["outputs"][0]["data"] == expected
    large = {"inputs": [{"name": "x", "shape": [500, 5], "datatype": "FP32", "data": [row] * 500}]}
    assert boosted.infer(large).json["outputs"][0]["data"] == expected * 500
    whole = {"inputs": [{"name": "x", "shape": [1, 5], "datatype": "INT32", "data": [1, None, 2, 3, 4]}]}
    assert boosted.infer(whole).status == 400


def test_what_does_not_fit_is_refused(boosted: Server) -> None:
    def error(*inputs: dict[str, Any]) -> str:
        reply = boosted.infer({"inputs": list(inputs)})
        assert reply.status == 400
        return str(reply.json["error"])

    assert "Expected: (-1,5); Actual: (1,4)" in error(tensor([ROW[:4]]))
    assert "one for each of its columns f0, f1" in error(tensor(ROW))
    assert "given: f0, other" in error(tensor([1.0], name="f0"), tensor([1.0], name="other"))
    assert "Actual: BYTES" in error({"name": "x", "shape": [1, 5], "datatype": "BYTES", "data": ["a"] * 5})
    columns = [tensor([1.0], name=name) for name in NAMES[:4]]
    assert "column f4 has shape (2,)" in error(*columns, tensor([1.0, 2.0], name="f4"))
    assert "column f4 has shape (1,) and datatype BYTES" in error(
        *columns, {"name": "f4", "shape": [1], "datatype": "BYTES", "data": ["a"]}
    )
    status, text = predictions(boosted, {"instances": [{"f0": 1}]})
    assert (status, text) == (400, "the model's columns are f0, f1, f2, f3, f4; given: f0")
    assert predictions(boosted, {"instances": [ROW, ROW[:2]]})[0] == 400
    assert predictions(boosted, {"instances": [["a", "b", "c", "d", "e"]]})[0] == 400
    assert predictions(boosted, {"inputs": {name: [1] * (index or 2) for index, name in enumerate(NAMES)}})[0] == 400


def test_a_real_client(boosted: Server, room: Path) -> None:
    host, port = harness.free_place()
    options = (f"--port={port}", f"--grpc_bind_address={host}")
    with serving(room, room / "xgboost", *options, name="boosted"):
        client = tritonclient.grpc.InferenceServerClient(f"{host}:{port}")
        [declared] = client.get_model_metadata("boosted").inputs
        assert (declared.name, declared.datatype, list(declared.shape)) == ("input-0", "FP32", [-1, 5])
        given = tritonclient.grpc.InferInput("args", [2, 5], "FP64")
        given.set_data_from_numpy(np.array([ROW, ROW]))
        values = client.infer("boosted", [given]).as_numpy("output-0")
        client.close()
    assert values.tolist() == np.array(predictions(boosted, {"instances": [ROW, ROW]}), np.float32).tolist()


def test_a_server_of_trees_has_no_openvino(boosted: Server) -> None:
    mapped = Path(f"/proc/{boosted.process.pid}/maps").read_text()
    assert "openvino" not in mapped
    assert harness.pid_memory(boosted.process.pid) < 70 << 20


def test_lightgbm_beside_other_versions(tmp_path: Path) -> None:
    """Numbered versions work as for every model, whatever the engine of each is."""
    harness.save(harness.iris((-1, 4)), tmp_path / "m", version=1)
    (tmp_path / "m" / "2").mkdir()
    booster = trained_lightgbm("classes", objective="multiclass", num_class=3)
    booster.save_model(tmp_path / "m" / "2" / "model.bst")
    with serving(tmp_path, tmp_path / "m", '--model_version_policy={"all": {}}') as server:
        [output] = answer(server, tensor([ROW]))
        assert output["shape"] == [1, 3]
        assert output["data"] == pytest.approx(np.ravel(booster.predict([ROW])).tolist(), rel=1e-12)
        assert server.get("/v2/models/tiny/versions/1").json["platform"] == "OpenVINO"
        assert server.get("/v2/models/tiny/versions/2").json["platform"] == "lightgbm"


def test_scikit_learn_started_with_kserves_options(tmp_path: Path) -> None:
    model = classifier()
    joblib.dump(model, tmp_path / "model.joblib")
    host, port = harness.free_place()
    words = [sys.executable, "-m", "skerry.server", "--model_name=iris", f"--model_dir={tmp_path}"]
    words += ["--http_port", str(port), f"--rest_bind_address={host}", "--nthread=1", "--drain_seconds=0"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        server = Server(process, host, port, "iris", tmp_path / "none")
        server.wait_until_ready()
        [output] = answer(server, tensor(IRIS[:150:40]))
        assert (output["datatype"], output["data"]) == ("INT64", model.predict(IRIS[:150:40]).tolist())
        assert predictions(server, {"instances": IRIS[::40].tolist()}) == model.predict(IRIS[::40]).tolist()
        status, text = predictions(server, {"instances": [[1, None, 2, 3]]})
        assert (status, text.split(":")[0], "Input X contains NaN" in text) == (400, "scikit-learn", True)
        assert server.stop() == 0
    finally:
        process.kill()
        process.communicate(timeout=10)


def loaded(path: Path) -> LoadedModel:
    return Engines().load(path, ModelOptions(name="x", path=path, version_policy=VersionPolicy()))


@pytest.mark.parametrize(("name", "value"), [("layout", "NHWC"), ("target_device", "GPU"), ("plugin_config", {"A": 1})])
def test_options_of_openvino_are_refused(tmp_path: Path, name: str, value: Any) -> None:
    (tmp_path / "model.py").touch()
    options = ModelOptions(name="x", path=tmp_path, version_policy=VersionPolicy())
    with pytest.raises(LoadError, match=f"--{name} is for OpenVINO's models, and this one is Python code"):
        Engines().load(tmp_path, msgspec.structs.replace(options, **{name: value}))


def test_probabilities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = classifier()
    joblib.dump(model, tmp_path / "model.pkl")
    monkeypatch.setenv("PREDICT_PROBA", "true")
    serving_it = loaded(tmp_path)
    assert [(spec.datatype, spec.shape) for spec in serving_it.outputs] == [("FP64", [-1, 3])]
    [(values, shape)] = serving_it.slot().infer([(IRIS[:2].reshape(-1), (2, 4))])
    assert shape == (2, 3)
    assert list(values) == pytest.approx(model.predict_proba(IRIS[:2]).ravel().tolist())


def test_texts_in_words_out(tmp_path: Path) -> None:
    model = make_pipeline(CountVectorizer(), MultinomialNB())
    model.fit(["good fine nice", "bad poor ugly"], ["praise", "blame"])
    skops_io.dump(model, tmp_path / "model.skops")
    with serving(tmp_path, tmp_path) as server:
        texts = {"name": "any", "shape": [2], "datatype": "BYTES", "data": ["a nice day", "poor thing"]}
        [output] = answer(server, texts)
        assert (output["datatype"], output["data"]) == ("BYTES", ["praise", "blame"])
        assert predictions(server, {"instances": ["ugly", "good"]}) == ["blame", "praise"]


def start_error(*words: str, **environment: str) -> str:
    done = subprocess.run(
        [*words, "--model_wait_seconds=0"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_missing_library_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "joblib.py").write_text("raise ImportError('No module named joblib')")
    model = tmp_path / "model.joblib"
    joblib.dump(classifier(), model)
    said = start_error(*harness.command(model), PYTHONPATH=str(tmp_path / "hidden"))
    assert "pip install 'skerry[sklearn]'" in said


def test_files_that_are_no_models(tmp_path: Path) -> None:
    def error(name: str, content: Any) -> str:
        path = tmp_path / name
        path.write_bytes(content) if isinstance(content, bytes) else joblib.dump(content, path)
        with pytest.raises(LoadError) as caught:
            loaded(path)
        return str(caught.value)

    assert "which has no predict" in error("a.joblib", {"weights": 1})
    assert "it is damaged, or of another scikit-learn" in error("b.joblib", b"nonsense")
    assert "needs nowhere, which is not installed" in error("c.pkl", b"cnowhere\nThing\n.")
    assert "it cannot predict" in error("d.joblib", LogisticRegression())
    assert "it is not JSON or UBJSON" in error("e.bst", b"binf\0")
    directory = tmp_path / "both"
    directory.mkdir()
    joblib.dump(classifier(), directory / "model.joblib")
    joblib.dump(classifier(), directory / "model.pkl")
    assert "several models (model.joblib, model.pkl)" in start_error(*harness.command(directory))


def test_another_version_of_scikit_learn_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "model.joblib"
    joblib.dump(classifier(), path)
    here = sklearn.__version__
    there = "0" + here[1:]
    assert here.encode() in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(here.encode(), there.encode()))
    with caplog.at_level("WARNING", "serving"):
        loaded(path)
    [record] = caplog.records
    assert record.getMessage() == "the model is of another scikit-learn"
    assert record.__dict__["skerry_fields"] == {"file": path, "wrote": there, "here": here}
