"""A small operator, run by kopf in a process of its own: it gives CronTabs a phase, and holds them by a finalizer."""

from typing import Any

import kopf

GROUP = "stable.example.com"


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.level = 20
    settings.persistence.finalizer = f"{GROUP}/held"


@kopf.on.create(GROUP, "v1", "crontabs")
def created(body: kopf.Body, spec: kopf.Spec, patch: kopf.Patch, **_: Any) -> None:
    patch.status["phase"] = f"Scheduled {spec['cron']}"
    kopf.info(body, reason="Scheduled", message=f"runs {spec['image']}")


@kopf.on.field(GROUP, "v1", "crontabs", field="spec.replicas")
def resized(old: Any, new: Any, patch: kopf.Patch, **_: Any) -> None:
    if old is not None:
        patch.status["replicas"] = new


@kopf.on.delete(GROUP, "v1", "crontabs")
def deleted(body: kopf.Body, **_: Any) -> None:
    kopf.info(body, reason="Unscheduled", message="runs no more")
