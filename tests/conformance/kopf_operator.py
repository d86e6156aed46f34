"""A small operator as people write them: it greets each InferenceService, counts its changes, and says good-bye."""

from typing import Any

import kopf

GROUP = ("serving.kserve.io", "v1beta1", "inferenceservices")


@kopf.on.create(*GROUP)
def created(spec: kopf.Spec, body: kopf.Body, patch: kopf.Patch, **_: Any) -> dict[str, Any]:
    kopf.event(body, type="Normal", reason="Greeted", message="welcome")
    patch.metadata.labels["greeted"] = "yes"
    return {"format": spec["predictor"]["model"]["modelFormat"]["name"]}


@kopf.on.update(*GROUP, field="spec.predictor.minReplicas")
def resized(new: Any, **_: Any) -> dict[str, Any]:
    return {"to": new}


@kopf.timer(*GROUP, interval=0.2)
def ticking(patch: kopf.Patch, status: kopf.Status, **_: Any) -> None:
    if not status.get("ticked"):
        patch.status["ticked"] = True


@kopf.on.delete(*GROUP)
def deleted(name: str, namespace: str | None, logger: Any, **_: Any) -> None:
    logger.info("good-bye %s/%s", namespace, name)
