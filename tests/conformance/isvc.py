"""A model small enough for tests of clients, and the InferenceService that serves it."""

from pathlib import Path
from typing import Any

from tests.e2e.running import Platform
from tests.server_engines.trained import trained_lightgbm

IMAGE = "localhost/clients-model:1"


def build_model(platform: Platform, directory: Path) -> None:
    """Make the model's image in the platform's store."""
    trained_lightgbm("plain", objective="regression", rounds=2).save_model(directory / "model.txt")
    built = platform.skerry("model", "build", str(directory), "-t", IMAGE)
    assert built.returncode == 0, built.stderr


def inference_service(name: str, namespace: str, image: str = IMAGE) -> dict[str, Any]:
    model = {"modelFormat": {"name": "lightgbm"}, "storageUri": f"oci://{image}"}
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"predictor": {"model": model}},
    }
