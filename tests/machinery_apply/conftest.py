"""A small kind with every sort of field, and field managers for it and for Deployment."""

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from lightkube.resources.apps_v1 import Deployment

from skerry.api.apply_keys import SCHEMAS
from skerry.machinery.apply.manager import FieldManager
from skerry.machinery.apply.structs import SET, WHOLE, ApplyRules, Schemas, keyed

# For each property: no time limit of its own, the machine may be busy.
PROPERTY = settings(max_examples=80, deadline=None)


class Meta(msgspec.Struct):
    name: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    managedFields: list[dict[str, Any]] | None = None  # noqa: N815


class Port(msgspec.Struct):
    port: int
    protocol: str | None = None
    name: str | None = None


class Knobs(msgspec.Struct):
    speed: int | None = None
    colour: str | None = None
    flags: dict[str, str] | None = None


class Spec(msgspec.Struct):
    replicas: int | None = None
    paused: bool | None = None
    args: list[str] | None = None
    tags: list[str] | None = None
    ports: list[Port] | None = None
    knobs: Knobs | None = None
    selector: dict[str, str] | None = None
    extra: Any = None


class Toy(msgspec.Struct):
    apiVersion: str | None = None  # noqa: N815
    kind: str | None = None
    metadata: Meta | None = None
    spec: Spec | None = None
    status: dict[str, int] | None = None


RULES = ApplyRules(
    {
        ("Spec", "ports"): keyed("port", "protocol", port=0, protocol="TCP"),
        ("Spec", "tags"): SET,
        ("Spec", "selector"): WHOLE,
    },
    zero=frozenset({("Toy", "metadata")}),
)

TOY_SCHEMAS = Schemas(RULES)


def toy_manager() -> FieldManager:
    return FieldManager(TOY_SCHEMAS.of(Toy), "toys/v1", "Toy", ignored=lambda name: name == "status")


def toy_status_manager() -> FieldManager:
    return FieldManager(TOY_SCHEMAS.of(Toy), "toys/v1", "Toy", "status", ignored=lambda name: name != "status")


def deployment_manager() -> FieldManager:
    return FieldManager(SCHEMAS.of(Deployment), "apps/v1", "Deployment", ignored=lambda name: name == "status")


def make_toy(spec: dict[str, Any] | None = None, **metadata: Any) -> dict[str, Any]:
    item: dict[str, Any] = {"apiVersion": "toys/v1", "kind": "Toy", "metadata": {"name": "toy", **metadata}}
    return item if spec is None else {**item, "spec": spec}


@pytest.fixture
def toys() -> FieldManager:
    return toy_manager()


@pytest.fixture
def deployments() -> FieldManager:
    return deployment_manager()
