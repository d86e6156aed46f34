"""Models of scikit-learn, XGBoost and LightGBM: an InferenceService that names a format and nothing else."""

import http.client
import json
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from tests.e2e.running import Platform, eventually
from tests.server_engines.trained import judge_xgboost, trained_lightgbm, trained_xgboost

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

ROW = [0.1, 2.0, 0.0, -1.5, 3.0]


def inference_service(name: str, image: str) -> str:
    """The last one in the form of before `model` existed."""
    storage = f"storageUri: oci://localhost/{image}:1"
    predictor = (
        f"{{lightgbm: {{{storage}}}}}"
        if name == "lightgbm"
        else f"{{model: {{modelFormat: {{name: {name}}}, {storage}}}}}"
    )
    return f"""
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {{name: {name}, namespace: tables}}
spec: {{predictor: {predictor}}}
---
"""


def predictions(platform: Platform, name: str, instances: Any) -> Any:
    host, _, port = platform.facts["gateway_url"].removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    headers = {"Host": f"{name}-predictor-tables.apps.localhost"}
    connection.request("POST", f"/v1/models/{name}:predict", json.dumps({"instances": instances}), headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return json.loads(body)["predictions"] if response.status == 200 else (response.status, body)


def answers(platform: Platform, name: str) -> bool:
    return isinstance(predictions(platform, name, [ROW[:4] if name == "sklearn" else ROW]), list)


def test_a_format_is_enough(platform: Platform, tmp_path: Path) -> None:
    measured, species = load_iris(return_X_y=True)
    iris = LogisticRegression(max_iter=500).fit(measured, species)
    boosted = trained_xgboost("binary", objective="binary:logistic")
    lightened = trained_lightgbm("plain", objective="regression")
    for name in ("sklearn", "xgboost", "lightgbm"):
        (tmp_path / name).mkdir()
    joblib.dump(iris, tmp_path / "sklearn" / "model.joblib")
    boosted.save_model(tmp_path / "xgboost" / "model.ubj")
    lightened.save_model(tmp_path / "lightgbm" / "model.txt")

    assert platform.kubectl("create", "ns", "tables").returncode == 0
    for name in ("sklearn", "xgboost", "lightgbm"):
        built = platform.skerry("model", "build", str(tmp_path / name), "-t", f"localhost/{name}-model:1")
        assert built.returncode == 0, built.stderr
    wanted = "".join(inference_service(name, f"{name}-model") for name in ("sklearn", "xgboost", "lightgbm"))
    made = platform.kubectl("create", "-f", "-", stdin=wanted)
    assert made.returncode == 0, made.stderr
    for name in ("sklearn", "xgboost", "lightgbm"):
        waited = platform.kubectl("wait", "-n", "tables", "--for=condition=Ready", f"isvc/{name}", "--timeout=60s")
        assert waited.returncode == 0, platform.skerry("describe", "isvc", "-n", "tables", name).stdout
        exposed = platform.skerry("expose", "svc", "-n", "tables", f"{name}-predictor")
        assert exposed.returncode == 0, exposed.stderr
        eventually(partial(answers, platform, name), f"an answer of {name}")

    assert predictions(platform, "sklearn", measured[::50].tolist()) == iris.predict(measured[::50]).tolist()
    assert predictions(platform, "lightgbm", [ROW]) == pytest.approx(list(lightened.predict([ROW])), rel=1e-12)
    judged = judge_xgboost(boosted)(np.array([ROW])).tolist()
    assert predictions(platform, "xgboost", [ROW]) == pytest.approx(judged, rel=1e-5)
    chosen = platform.json("get", "-n", "tables", "isvc", "xgboost")["status"]["clusterServingRuntimeName"]
    assert chosen == "kserve-xgbserver"
