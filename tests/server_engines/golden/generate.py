"""Writes the models of older library versions and what those versions predict; run once, in an environment of its own.

    pip install xgboost-cpu==2.1.4 lightgbm==3.3.5 'numpy<2'
    python generate.py

The files beside this one were made with these versions. What the present versions write is tested with them directly.
"""

import json
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import xgboost

HERE = Path(__file__).parent


def main() -> None:
    """Train on whole numbers, some missing, so that nothing depends on the last digit."""
    generator = np.random.default_rng(7)
    table = generator.integers(-4, 5, (200, 4)).astype(float)
    table[generator.random(table.shape) < 0.1] = np.nan
    table[:, 3] = generator.integers(0, 6, 200)
    filled = np.nan_to_num(table)
    target = ((filled[:, 0] * filled[:, 1] + (filled[:, 3] % 2) * 3) > 1).astype(float)
    classes = np.digitize(filled[:, 0] + filled[:, 3], [1, 4]).astype(float)
    asked = table[:12]
    answers: dict[str, Any] = {}

    def train(name: str, targets: Any, **settings: Any) -> None:
        data = xgboost.DMatrix(table, targets, feature_types=["q", "q", "q", "c"], enable_categorical=True)
        booster = xgboost.train({"max_depth": 3, "seed": 0, **settings}, data, 3)
        booster.save_model(HERE / name)
        question = xgboost.DMatrix(asked, feature_types=["q", "q", "q", "c"], enable_categorical=True)
        answers[name] = booster.predict(question).tolist()

    train(f"xgboost-{xgboost.__version__}.json", target, objective="binary:logistic")
    train(f"xgboost-{xgboost.__version__}.ubj", classes, objective="multi:softprob", num_class=3)
    name = f"lightgbm-{lightgbm.__version__}.txt"
    data = lightgbm.Dataset(table, target, categorical_feature=[3])
    booster = lightgbm.train({"objective": "binary", "num_leaves": 5, "verbose": -1}, data, 3)
    booster.save_model(str(HERE / name))
    answers[name] = np.asarray(booster.predict(asked)).tolist()
    rows = [[None if np.isnan(value) else value for value in row] for row in asked.tolist()]
    (HERE / "answers.json").write_text(json.dumps({"rows": rows, "answers": answers}, indent=1) + "\n")


if __name__ == "__main__":
    main()
