"""Layouts and shapes from the command line."""

import pytest

from skerry.server.errors import LoadError
from skerry.server.layouts import (
    LayoutChange,
    batch_position,
    parse_layouts,
    parse_shapes,
    resizes_pictures,
    takes_pictures,
)
from skerry.server.tensors import ANY, Dim


def test_a_layout_for_the_only_input() -> None:
    assert parse_layouts("NHWC:NCHW", ["x"], ["y"]) == {"x": LayoutChange("NHWC", "NCHW")}
    assert parse_layouts("nhwc", ["x"], ["y"]) == {"x": LayoutChange("NHWC", "NHWC")}


def test_layouts_by_name_reach_outputs_too() -> None:
    assert parse_layouts('{"a": "NC", "y": "CN:NC"}', ["a", "b"], ["y"]) == {
        "a": LayoutChange("NC", "NC"),
        "y": LayoutChange("CN", "NC"),
    }


@pytest.mark.parametrize("text", ["NN", "NXC", "NHWC:", "N.C", "N......C", '{"x": "NHH"}'])
def test_bad_layouts(text: str) -> None:
    with pytest.raises(LoadError, match="The provided layout is in wrong format"):
        parse_layouts(text, ["x"], [])


def test_an_anonymous_layout_needs_a_single_input() -> None:
    with pytest.raises(LoadError, match="Anonymous fixed layout is invalid"):
        parse_layouts("NC", ["a", "b"], [])
    with pytest.raises(LoadError, match="the model has no tensor z"):
        parse_layouts('{"z": "NC"}', ["a", "b"], [])


@pytest.mark.parametrize(
    ("layout", "rank", "takes", "resizes"),
    [
        ("NHWC", 4, True, True),
        ("N...", 4, True, False),
        ("...", 4, True, True),
        ("N??C", 4, True, False),
        ("NCHW", 4, False, False),
        ("NHWC", 3, False, True),
        ("NC", 2, False, False),
    ],
)
def test_which_layouts_take_pictures(layout: str, rank: int, *, takes: bool, resizes: bool) -> None:
    assert takes_pictures(layout, rank) is takes
    assert resizes_pictures(layout) is resizes


@pytest.mark.parametrize(("layout", "position"), [("NHWC", 0), ("N...", 0), ("CN", 1), ("...N", 2), ("C...", None)])
def test_where_the_batch_is(layout: str, position: int | None) -> None:
    assert batch_position(layout, len(layout) if "." not in layout else 3) == position


def test_shapes() -> None:
    assert parse_shapes("(1,3,200:500,-1)", {"x": []}) == {"x": (Dim(1, 1), Dim(3, 3), Dim(200, 500), Dim(0, None))}
    assert parse_shapes('{"a": "(2)", "b": "(3,-1)"}', {"a": [], "b": []}) == {
        "a": (Dim(2, 2),),
        "b": (Dim(3, 3), Dim(0, None)),
    }


def test_any_shape() -> None:
    present = {"a": [Dim(2, 2), Dim(3, 3)], "b": [Dim(1, 1)]}
    assert parse_shapes("auto", present) == {"a": (ANY, ANY), "b": (ANY,)}
    assert parse_shapes('{"a": "auto"}', present) == {"a": (ANY, ANY)}


@pytest.mark.parametrize("text", ["(1,x)", "(1,-2)", "(5:2)", '{"z": "(1)"}', "{"])
def test_bad_shapes(text: str) -> None:
    with pytest.raises(LoadError):
        parse_shapes(text, {"x": []})


def test_dims_print_as_ovms_prints_them() -> None:
    assert [str(dim) for dim in (Dim(3, 3), Dim(200, 500), Dim(0, None))] == ["3", "[200~500]", "-1"]
