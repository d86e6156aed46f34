import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
import pytest
from lightkube.models import apiextensions_v1, core_v1, meta_v1, resource_v1, storage_v1
from lightkube.resources.core_v1 import Pod

from skerry.machinery.structs import ANYTHING, MAPS, QUANTITIES, QUANTITY, TEXTS, Shape, fields_of, shape_of

POD = Shape(struct=core_v1.Pod)


@pytest.mark.parametrize(
    ("annotation", "shape"),
    [
        (core_v1.Pod, POD),
        (core_v1.Pod | None, POD),
        (core_v1.Pod | msgspec.UnsetType, POD),
        (Annotated[core_v1.Pod, "x"], POD),
        (list[core_v1.Pod] | None, Shape(list_item=POD)),
        (Sequence[core_v1.Pod], Shape(list_item=POD)),
        (list, Shape(list_item=ANYTHING)),
        (dict[str, list[core_v1.Pod]], Shape(map_item=Shape(list_item=POD))),
        (Mapping[str, Any], Shape(map_item=ANYTHING)),
        (dict, Shape(map_item=ANYTHING)),
        (int | str, Shape(scalars=("integer", "string"))),
        (int | list[str], ANYTHING),
        (core_v1.Pod | str, ANYTHING),
        (str, Shape(scalars=("string",))),
        (datetime | None, Shape(scalars=("time",))),
        (Literal["a", "b"] | None, Shape(scalars=("string",))),
        (Any, ANYTHING),
        (object, ANYTHING),
        (TypeVar("T"), ANYTHING),
    ],
)
def test_shapes_of_annotations(annotation: Any, shape: Shape) -> None:
    assert shape_of(annotation) == shape


def test_fields_go_by_their_json_names() -> None:
    assert fields_of(core_v1.Container)["name"].required
    assert not fields_of(core_v1.Container)["image"].required
    assert "continue" in fields_of(meta_v1.ListMeta)
    assert fields_of(core_v1.Container)["env"].shape == Shape(list_item=Shape(struct=core_v1.EnvVar))


def test_quantities_and_maps_are_found_again() -> None:
    assert fields_of(core_v1.EmptyDirVolumeSource)["sizeLimit"].shape == QUANTITY
    assert fields_of(core_v1.EmptyDirVolumeSource)["medium"].shape != QUANTITY
    assert fields_of(resource_v1.CapacityRequestPolicy)["validValues"].shape == Shape(list_item=QUANTITY)
    assert fields_of(core_v1.ResourceRequirements)["limits"].shape == QUANTITIES
    assert fields_of(Pod)["metadata"].shape == Shape(struct=meta_v1.ObjectMeta)
    assert fields_of(meta_v1.ObjectMeta)["labels"].shape == TEXTS


@pytest.mark.parametrize(("struct", "field"), MAPS)
def test_every_map_of_the_table_exists(struct: str, field: str) -> None:
    models = (core_v1, meta_v1, storage_v1)
    model = next(getattr(module, struct) for module in models if hasattr(module, struct))
    assert field in fields_of(model)


def test_types_may_contain_themselves() -> None:
    schema = apiextensions_v1.JSONSchemaProps
    assert fields_of(schema)["not"].shape == Shape(struct=schema)


def test_every_model_can_be_read() -> None:
    module = sys.modules[core_v1.__name__]
    for model in vars(module).values():
        if isinstance(model, type) and issubclass(model, msgspec.Struct):
            assert fields_of(model) is fields_of(model)
