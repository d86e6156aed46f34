"""Models trained by the real libraries, which are also the judges."""

from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import xgboost

Rows = npt.NDArray[np.float64]
WIDTH = 5
CATEGORY = 4  # the last feature is one where a model has categories


def rows(count: int, seed: int, *, missing: float = 0.1) -> Rows:
    """Numbers, some of them missing, zero or repeated; whole numbers in the last column."""
    generator = np.random.default_rng(seed)
    table = generator.normal(size=(count, WIDTH))
    table[:, 1] = np.round(table[:, 1])
    table[:, 2][generator.random(count) < 0.3] = 0
    table[:, CATEGORY] = generator.integers(0, 40, count)
    table[generator.random(table.shape) < missing] = np.nan
    return table


def strange_rows() -> Rows:
    """What no training data have: unknown and negative categories, infinities, everything missing."""
    table = rows(40, 99)
    table[:, CATEGORY] = np.resize([-1, -0.5, 2.7, 39, 40, 63, 64, 1000, 1e9, np.nan], 40)
    table[::7, 0] = 1e30
    table[3] = np.nan
    table[5, :4] = 0
    return table


def _targets(table: Rows, kind: str) -> npt.NDArray[Any]:
    filled = np.nan_to_num(table)
    score = filled[:, 0] + filled[:, 1] * filled[:, 2] + np.where(filled[:, CATEGORY] % 3 == 0, 1.5, -0.5)
    match kind:
        case "positive":
            return np.exp(score / 3) + 0.1
        case "binary":
            return (score > 0).astype(np.float64)
        case "share":
            return 1 / (1 + np.exp(-score))
        case "classes":
            return np.digitize(score, [-1, 1]).astype(np.float64)
        case "targets":
            return np.stack([score, -score, score**2], axis=1)
    return score


def trained_xgboost(kind: str, *, categories: bool = False, rounds: int = 12, **settings: Any) -> xgboost.Booster:
    table = rows(400, 1)
    types = ["q"] * WIDTH
    if categories:
        types[CATEGORY] = "c"
    names = [f"f{index}" for index in range(WIDTH)]
    data = xgboost.DMatrix(
        table, _targets(table, kind), feature_names=names, feature_types=types, enable_categorical=categories
    )
    fixed = {"nthread": 1, "seed": 0} | ({} if settings.get("booster") == "gblinear" else {"max_depth": 4})
    return xgboost.train(fixed | settings, data, rounds)


def judge_xgboost(booster: xgboost.Booster) -> Callable[[Rows], npt.NDArray[Any]]:
    def predict(table: Rows) -> npt.NDArray[Any]:
        data = xgboost.DMatrix(table, feature_names=booster.feature_names, feature_types=booster.feature_types)
        return np.asarray(booster.predict(data))

    return predict


def trained_lightgbm(kind: str, *, categories: bool = False, rounds: int = 12, **settings: Any) -> lightgbm.Booster:
    table = rows(400, 1)
    fixed = {"verbose": -1, "num_leaves": 13, "num_threads": 1, "seed": 0, "min_data_in_leaf": 5}
    data = lightgbm.Dataset(
        table,
        _targets(table, kind),
        categorical_feature=[CATEGORY] if categories else [],
        feature_name=[f"f{index}" for index in range(WIDTH)],
        params={"verbose": -1, **settings},
    )
    return lightgbm.train(fixed | settings, data, rounds)
