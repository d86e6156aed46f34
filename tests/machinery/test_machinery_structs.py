import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
import pytest
from lightkube.models import apiextensions_v1, core_v1, meta_v1

from skerry.machinery.structs import ANYTHING, Shape, fields_of, shape_of

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
        (int | str, ANYTHING),
        (str, ANYTHING),
        (Any, ANYTHING),
        (Literal["a"], ANYTHING),
    ],
)
def test_shapes_of_annotations(annotation: Any, shape: Shape) -> None:
    assert shape_of(annotation) == shape


def test_fields_go_by_their_json_names() -> None:
    assert fields_of(core_v1.Container)["name"].required
    assert not fields_of(core_v1.Container)["image"].required
    assert "continue" in fields_of(meta_v1.ListMeta)
    assert fields_of(core_v1.Container)["env"].shape == Shape(list_item=Shape(struct=core_v1.EnvVar))


def test_types_may_contain_themselves() -> None:
    schema = apiextensions_v1.JSONSchemaProps
    assert fields_of(schema)["not"].shape == Shape(struct=schema)


def test_every_model_can_be_read() -> None:
    module = sys.modules[core_v1.__name__]
    for model in vars(module).values():
        if isinstance(model, type) and issubclass(model, msgspec.Struct):
            assert fields_of(model) is fields_of(model)
