"""Tree models against the libraries that trained them: every objective and booster, on ordinary and strange rows."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server_engines import trained
from tests.server_engines.trained import Rows, rows, strange_rows, trained_lightgbm, trained_xgboost

from skerry.server.engines import ubjson
from skerry.server.engines.lightgbm import LightGBM
from skerry.server.engines.tabular import TableModel
from skerry.server.engines.xgboost import XGBoost
from skerry.server.errors import LoadError
from skerry.server.options import ModelOptions, VersionPolicy
from skerry.server.tensors import DTYPES

Settings = dict[str, Any]
OPTIONS = ModelOptions(name="trees", path=Path(), version_policy=VersionPolicy())
TABLES = [rows(300, 2), rows(1, 3), rows(50, 4, missing=0), strange_rows()]
RANDOM_FOREST: Settings = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}


def predicted(model: TableModel, table: Rows) -> Any:
    values = table.astype(DTYPES[model.inputs[0].datatype])
    [(flat, shape)] = model.slot().infer([(values.reshape(-1), values.shape)])
    return np.asarray(flat).reshape(shape)


@pytest.mark.parametrize("categories", [False, True])
@pytest.mark.parametrize(
    ("kind", "objective", "more"),
    [
        ("plain", "reg:squarederror", {}),
        ("plain", "reg:absoluteerror", {}),
        ("plain", "reg:pseudohubererror", {}),
        ("plain", "reg:quantileerror", {"quantile_alpha": [0.1, 0.5]}),
        ("plain", "rank:pairwise", {}),
        ("plain", "survival:cox", {}),
        ("plain", "reg:squarederror", {"booster": "dart", "rate_drop": 0.5}),
        ("positive", "reg:squaredlogerror", {}),
        ("positive", "count:poisson", {}),
        ("positive", "count:poisson", {"base_score": 2.0}),
        ("positive", "reg:gamma", {}),
        ("positive", "reg:tweedie", {}),
        ("binary", "binary:logistic", {}),
        ("binary", "binary:logistic", {"base_score": 0.3}),
        ("binary", "binary:logistic", {"num_parallel_tree": 4, "subsample": 0.5}),
        ("binary", "binary:logistic", {"max_depth": 0, "grow_policy": "lossguide", "max_leaves": 40}),
        ("binary", "binary:logitraw", {}),
        ("binary", "binary:hinge", {}),
        ("share", "reg:logistic", {}),
        ("classes", "multi:softprob", {"num_class": 3}),
        ("classes", "multi:softprob", {"num_class": 3, "booster": "dart", "rate_drop": 0.5}),
        ("classes", "multi:softmax", {"num_class": 3}),
        ("targets", "reg:squarederror", {}),
    ],
)
def test_xgboost(tmp_path: Path, kind: str, objective: str, more: Settings, categories: bool) -> None:
    booster = trained_xgboost(kind, categories=categories, objective=objective, **more)
    judge = trained.judge_xgboost(booster)
    for suffix in ("json", "ubj"):
        booster.save_model(tmp_path / f"model.{suffix}")
        model = XGBoost().load(tmp_path / f"model.{suffix}", OPTIONS)
        assert model.columns == ("f0", "f1", "f2", "f3", "f4")
        for table in TABLES:
            np.testing.assert_allclose(predicted(model, table), judge(table), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("base", [{}, {"base_score": 0.5}])
def test_a_linear_booster(tmp_path: Path, base: Settings) -> None:
    fixed: Settings = {"objective": "reg:squarederror", "booster": "gblinear", "updater": "coord_descent"}
    booster = trained_xgboost("plain", **fixed, **base)
    booster.save_model(tmp_path / "model.ubj")
    model = XGBoost().load(tmp_path / "model.ubj", OPTIONS)
    for table in TABLES[:3]:
        np.testing.assert_allclose(predicted(model, table), trained.judge_xgboost(booster)(table), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("categories", [False, True])
@pytest.mark.parametrize(
    ("kind", "objective", "more"),
    [
        ("plain", "regression", {}),
        ("plain", "regression", {"reg_sqrt": True}),
        ("plain", "regression", {"zero_as_missing": True}),
        ("plain", "regression", {"use_missing": False}),
        ("plain", "regression", {"boosting": "dart"}),
        ("plain", "regression_l1", {}),
        ("plain", "huber", {}),
        ("plain", "fair", {}),
        ("plain", "quantile", {}),
        ("plain", "mape", {}),
        ("positive", "poisson", {}),
        ("positive", "gamma", {}),
        ("positive", "tweedie", {}),
        ("binary", "binary", {"sigmoid": 0.7}),
        ("binary", "binary", RANDOM_FOREST),
        ("share", "cross_entropy", {}),
        ("share", "cross_entropy_lambda", {}),
        ("classes", "multiclass", {"num_class": 3}),
        ("classes", "multiclass", {"num_class": 3, **RANDOM_FOREST}),
        ("classes", "multiclassova", {"num_class": 3, "sigmoid": 1.5}),
    ],
)
def test_lightgbm(tmp_path: Path, kind: str, objective: str, more: Settings, categories: bool) -> None:
    booster = trained_lightgbm(kind, categories=categories, objective=objective, **more)
    booster.save_model(tmp_path / "model.txt")
    model = LightGBM().load(tmp_path / "model.txt", OPTIONS)
    assert model.columns == ("f0", "f1", "f2", "f3", "f4")
    for table in TABLES:
        np.testing.assert_allclose(predicted(model, table), booster.predict(table), rtol=1e-12, atol=1e-12)


def test_stumps_and_nothing(tmp_path: Path) -> None:
    """Trees that are a single leaf, and no tree at all, where what is left is the base score."""
    table = rows(30, 5)
    booster = trained_xgboost("binary", objective="binary:logistic", max_depth=1, min_child_weight=1e9)
    booster.save_model(tmp_path / "model.json")
    model = XGBoost().load(tmp_path / "model.json", OPTIONS)
    np.testing.assert_allclose(predicted(model, table), trained.judge_xgboost(booster)(table), rtol=1e-6)
    trained_xgboost("binary", objective="binary:logistic", rounds=0, base_score=0.4).save_model(tmp_path / "none.json")
    np.testing.assert_allclose(predicted(XGBoost().load(tmp_path / "none.json", OPTIONS), table), 0.4, rtol=1e-6)
    leaf = trained_lightgbm("plain", objective="regression", min_data_in_leaf=10_000)
    leaf.save_model(tmp_path / "model.txt")
    model = LightGBM().load(tmp_path / "model.txt", OPTIONS)
    np.testing.assert_allclose(predicted(model, table), leaf.predict(table))


def test_many_rows_go_in_parts(tmp_path: Path) -> None:
    booster = trained_xgboost("classes", objective="multi:softprob", num_class=3, rounds=30)
    booster.save_model(tmp_path / "model.json")
    table = rows(3000, 6)
    model = XGBoost().load(tmp_path / "model.json", OPTIONS)
    np.testing.assert_allclose(predicted(model, table), trained.judge_xgboost(booster)(table), rtol=1e-5, atol=1e-6)
    assert predicted(model, table[:0]).shape == (0, 3)


def document(booster: Any) -> Any:
    return json.loads(booster.save_raw("json"))


def refused(engine: XGBoost | LightGBM, path: Path, content: bytes) -> str:
    path.write_bytes(content)
    with pytest.raises(LoadError) as caught:
        engine.load(path, OPTIONS)
    assert str(caught.value).startswith(f"cannot load {path}: ")
    return str(caught.value)


GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("file", sorted(json.loads((GOLDEN / "answers.json").read_text())["answers"]))
def test_models_of_older_libraries(file: str) -> None:
    known = json.loads((GOLDEN / "answers.json").read_text())
    engine = LightGBM() if file.endswith(".txt") else XGBoost()
    table = np.array(known["rows"], np.float64)
    predictions = predicted(engine.load(GOLDEN / file, OPTIONS), table)
    np.testing.assert_allclose(predictions, known["answers"][file], rtol=1e-5, atol=1e-6)


def test_files_of_older_versions(tmp_path: Path) -> None:
    """Before 3.1 the base score was one number without brackets; before 1.3 there were no categories."""
    booster = trained_xgboost("binary", objective="binary:logistic", base_score=0.3)
    old = document(booster)
    old["learner"]["learner_model_param"]["base_score"] = "3E-1"
    del old["learner"]["learner_model_param"]["num_target"], old["learner"]["feature_names"]
    for tree in old["learner"]["gradient_booster"]["model"]["trees"]:
        for key in [key for key in tree if key.startswith("categories") or key == "split_type"]:
            del tree[key]
    (tmp_path / "model.json").write_text(json.dumps(old))
    model = XGBoost().load(tmp_path / "model.json", OPTIONS)
    assert model.columns == ()
    table = rows(20, 7)
    np.testing.assert_allclose(predicted(model, table), trained.judge_xgboost(booster)(table), rtol=1e-5)


def test_what_xgboost_files_are_refused_for(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    booster = trained_xgboost("binary", objective="binary:logistic", rounds=2)

    def changed(*keys: Any, to: Any) -> str:
        part = whole = document(booster)
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = to
        return refused(XGBoost(), path, json.dumps(whole).encode())

    tree = ("learner", "gradient_booster", "model", "trees", 0)
    assert "objective my:own is not supported" in changed("learner", "objective", "name", to="my:own")
    assert "booster other is not supported" in changed("learner", "gradient_booster", "name", to="other")
    assert "multi_output_tree" in changed(*tree, "tree_param", "size_leaf_vector", to="3")
    assert "base score [2E0] is impossible" in changed("learner", "learner_model_param", "base_score", to="[2E0]")
    assert "asks for feature 99" in changed(*tree, "split_indices", 0, to=99)
    assert "child does not exist" in changed(*tree, "left_children", 0, to=10_000)
    assert "never end" in changed(*tree, "left_children", 1, to=1)
    assert "a class has no trees" in changed("learner", "learner_model_param", "num_class", to="3")
    assert "different lengths" in changed(*tree, "split_conditions", to=[1.0])
    assert "no learner" in refused(XGBoost(), path, b"{}")
    assert "save it as model.ubj" in refused(XGBoost(), path, b"binf\0\0")
    assert "it is no model of XGBoost" in refused(XGBoost(), path, b'{"learner": {}}')
    assert "the file is empty" in refused(XGBoost(), path, b"")


def test_what_lightgbm_files_are_refused_for(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    text = trained_lightgbm("binary", objective="binary", rounds=2).model_to_string()
    linear = trained_lightgbm("plain", objective="regression", rounds=2, linear_tree=True).model_to_string()
    assert "linear trees" in refused(LightGBM(), path, linear.encode())
    assert "objective my_own is not supported" in refused(
        LightGBM(), path, text.replace("objective=binary sigmoid:1", "objective=my_own").encode()
    )
    assert "ends before its trees do" in refused(LightGBM(), path, text[: len(text) // 3].encode())
    assert "values of leaf_value" in refused(LightGBM(), path, text.replace("leaf_value=", "leaf_value=1 ").encode())
    assert "does not begin with" in refused(LightGBM(), path, b"nothing")


@cache
def _small_model() -> bytes:
    return bytes(trained_xgboost("binary", categories=True, objective="binary:logistic", rounds=2).save_raw("ubj"))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_predicts(scratch: Path, data: st.DataObject) -> None:
    """Whatever the bytes are, loading ends, with a model that can be asked or a `LoadError`."""
    content = bytearray(_small_model())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(len(content) // 2, len(content))) :]
    path = scratch / "model.ubj"
    path.write_bytes(content)
    try:
        model = XGBoost().load(path, OPTIONS)
    except LoadError:
        return
    width = model.inputs[0].dims[1].low
    if width == trained.WIDTH:
        predicted(model, rows(3, 1))


def test_ubjson() -> None:
    assert ubjson.decode(b"{U\x01aTU\x01b[$U#U\x03\x01\x02\x03U\x01c[ZFN]}")["c"] == [None, False]
    assert ubjson.decode(b"{#U\x01U\x01ad?\x80\0\0") == {"a": 1.0}
    assert ubjson.decode(b"[#U\x02SU\x02hiCx") == ["hi", "x"]
    for broken in (b"", b"S", b"SU\x05ab", b"[$U#l\x7f\xff\xff\xff\x00", b"[$U\x01]", b"?", b"i\x01i\x01", b"SSab"):
        with pytest.raises(ValueError, match=r".+"):
            ubjson.decode(broken)
    with pytest.raises(ValueError, match="nested"):
        ubjson.decode(b"[" * 1000)
