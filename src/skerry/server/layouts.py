"""Layouts and shapes as OVMS's command line writes them; text in, meaning out.

A layout is letters N C H W D (each once), `?` for a dimension without a name and `...` for any number of them.
`T:S` says that clients send T while the model itself has S.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from skerry.server.errors import LoadError
from skerry.server.tensors import ANY, Dim

_LAYOUT: Final = re.compile(r"^[NCHWD?]*(\.\.\.)?[NCHWD?]*$")
_PICTURE: Final = "NHWC"
_RESIZING: Final = frozenset({"NHWC", "N?HWC", "..."})


class LayoutChange(msgspec.Struct, frozen=True):
    """What clients send and what the model has; the same for a layout without a colon."""

    tensor: str
    model: str


def parse_layouts(text: str, inputs: Sequence[str], outputs: Sequence[str]) -> dict[str, LayoutChange]:
    """Read `--layout`: one layout for the only input, or a JSON object by tensor name."""
    if not text:
        return {}
    if text.startswith("{"):
        named = _by_name("layout", text)
        if unknown := set(named) - set(inputs) - set(outputs):
            raise LoadError(f"cannot apply --layout={text}: the model has no tensor {', '.join(sorted(unknown))}")
        return {name: _parse_layout(layout) for name, layout in named.items()}
    if len(inputs) != 1:
        raise LoadError("Anonymous fixed layout is invalid for models with multiple inputs")
    return {inputs[0]: _parse_layout(text)}


def _parse_layout(text: str) -> LayoutChange:
    tensor, colon, model = text.upper().partition(":")
    change = LayoutChange(tensor, model if colon else tensor)
    for layout in (change.tensor, change.model):
        letters = [letter for letter in layout if letter in "NCHWD"]
        if not layout or not _LAYOUT.match(layout) or len(letters) != len(set(letters)):
            raise LoadError(f"The provided layout is in wrong format: {text}")
    return change


def parse_shapes(text: str, inputs: Mapping[str, Sequence[Dim]]) -> dict[str, tuple[Dim, ...]]:
    """Read `--shape`: `(1,3,200:500,-1)` for the only input, or a JSON object by input name; `auto` is any size."""
    if not text:
        return {}
    if text.startswith("{"):
        named = _by_name("shape", text)
        if unknown := set(named) - set(inputs):
            raise LoadError(f"cannot apply --shape={text}: the model has no input {', '.join(sorted(unknown))}")
        return {name: _parse_shape(shape, inputs[name]) for name, shape in named.items()}
    if len(inputs) != 1 and text.strip() != "auto":
        raise LoadError(f"cannot apply --shape={text}: the model has {len(inputs)} inputs; give a JSON object by name")
    return {name: _parse_shape(text, dims) for name, dims in inputs.items()}


def _parse_shape(text: str, present: Sequence[Dim]) -> tuple[Dim, ...]:
    if text.strip() == "auto":
        return (ANY,) * len(present)
    try:
        return tuple(parse_dim(part) for part in text.strip().strip("()").split(",") if part.strip())
    except ValueError:
        raise LoadError(f"The provided shape is in wrong format: {text}") from None


def parse_dim(text: str) -> Dim:
    """`3`, `-1`, or `200:500`; raises `ValueError`."""
    low, colon, high = text.strip().partition(":")
    if colon:
        dim = Dim(int(low), int(high))
        if not 0 <= dim.low <= int(high):
            raise ValueError(text)
        return dim
    size = int(low)
    if size < -1:
        raise ValueError(text)
    return ANY if size == -1 else Dim(size, size)


def _by_name(option: str, text: str) -> dict[str, str]:
    try:
        return msgspec.convert(json.loads(text), dict[str, str])
    except (ValueError, msgspec.ValidationError) as why:
        raise LoadError(f"cannot read --{option}={text}: {why}") from None


def default_layout(rank: int) -> str:
    """What OVMS assumes of a model that says nothing."""
    return "N..." if rank else "..."


def batch_position(layout: str, rank: int) -> int | None:
    """Which dimension is the batch, if the layout names one."""
    expanded = _expand(layout, rank)
    return expanded.index("N") if expanded and "N" in expanded else None


def takes_pictures(layout: str, rank: int) -> bool:
    """Whether pictures, which are rows of pixels of channels, fit the layout."""
    expanded = _expand(layout, rank)
    return (
        rank == len(_PICTURE)
        and expanded is not None
        and all(have in {want, "?"} for have, want in zip(expanded, _PICTURE, strict=True))
    )


def resizes_pictures(layout: str) -> bool:
    """Whether OVMS resizes under this layout; `N...`, its default, is not among them."""
    return layout in _RESIZING


def _expand(layout: str, rank: int) -> str | None:
    """Write `...` out; None where the layout does not fit the rank."""
    before, dots, after = layout.partition("...")
    missing = rank - len(before) - len(after)
    if missing < 0 or (missing and not dots):
        return None
    return before + "?" * missing + after
