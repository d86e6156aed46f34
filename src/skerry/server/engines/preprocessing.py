"""`--layout`, `--mean`, `--shape` and their like, as parts of an OpenVINO graph.

The order is OVMS's: colour conversion, precision, mean, scale; then, in the layout that clients send, shape and
batch. Beware of the colons: `precision T:S` and `layout T:S` take T from the client, `color_format T:S` takes S and
makes T of it.
"""

from typing import Any, Final

from openvino import Dimension, Layout, Model, PartialShape, Type, layout_helpers
from openvino.preprocess import ColorFormat, PrePostProcessor

from skerry.server.errors import LoadError
from skerry.server.layouts import (
    LayoutChange,
    batch_position,
    default_layout,
    parse_dim,
    parse_layouts,
    parse_shapes,
)
from skerry.server.options import ModelOptions
from skerry.server.tensors import ANY, Dim

_COLORS: Final = {
    "RGB": ColorFormat.RGB,
    "BGR": ColorFormat.BGR,
    "GRAY": ColorFormat.GRAY,
    "NV12": ColorFormat.NV12_SINGLE_PLANE,
    "NV12_2": ColorFormat.NV12_TWO_PLANES,
    "I420": ColorFormat.I420_SINGLE_PLANE,
    "I420_3": ColorFormat.I420_THREE_PLANES,
}
_PRECISIONS: Final = {
    "fp64": Type.f64,
    "fp32": Type.f32,
    "fp16": Type.f16,
    "bf16": Type.bf16,
    "int8": Type.i8,
    "int16": Type.i16,
    "int32": Type.i32,
    "int64": Type.i64,
    "uint8": Type.u8,
    "uint16": Type.u16,
    "uint32": Type.u32,
    "uint64": Type.u64,
}


def apply_options(model: Model, options: ModelOptions) -> tuple[Model, dict[str, str]]:
    """Return the graph with everything applied, and the layout of each input as clients see it."""
    inputs = [port.any_name for port in model.inputs]
    changes = parse_layouts(options.layout, inputs, [port.any_name for port in model.outputs])
    layouts = {port.any_name: _layout_of(port) for port in model.inputs}
    layouts |= {name: change.tensor for name, change in changes.items() if name in layouts}
    if changes:
        model = _preprocess(model, changes, options)
    _reshape(model, layouts, options)
    for port in model.inputs:
        if port.partial_shape.rank.is_dynamic:
            raise LoadError(f"input {port.any_name} may have any number of dimensions; say which with --shape")
    return model, layouts


def _layout_of(port: Any) -> str:
    """The layout that the model itself carries, else OVMS's default."""
    layout = layout_helpers.get_layout(port)
    if layout.empty and port.partial_shape.rank.is_dynamic:
        return "..."
    if layout.empty:
        return default_layout(len(port.partial_shape))
    return str(layout).strip("[]").replace(",", "")


def _preprocess(model: Model, changes: dict[str, LayoutChange], options: ModelOptions) -> Model:
    processor = PrePostProcessor(model)
    outputs = {port.any_name for port in model.outputs}
    for name, change in changes.items():
        port = processor.output(name) if name in outputs else processor.input(name)
        port.tensor().set_layout(Layout(change.tensor))
        port.model().set_layout(Layout(change.model))
    for port in model.inputs:
        _convert_input(processor.input(port.any_name), options)
    return processor.build()


def _convert_input(port: Any, options: ModelOptions) -> None:
    if options.color_format:
        target, source = _pair("color_format", options.color_format.upper(), _COLORS)
        port.tensor().set_color_format(source)
        port.preprocess().convert_color(target)
    if options.precision:
        target, source = _pair("precision", options.precision.lower(), _PRECISIONS)
        port.tensor().set_element_type(target)
        port.preprocess().convert_element_type(source)
    if options.mean:
        port.preprocess().mean(_numbers("mean", options.mean))
    if options.scale:
        port.preprocess().scale(_numbers("scale", options.scale))


def _pair(option: str, text: str, known: dict[str, Any]) -> tuple[Any, Any]:
    """`TARGET:SOURCE`, both from the list."""
    target, _, source = text.partition(":")
    if target not in known or source not in known:
        raise LoadError(f"cannot apply --{option}={text}: it is TARGET:SOURCE, each one of {', '.join(known)}")
    return known[target], known[source]


def _numbers(option: str, text: str) -> float | list[float]:
    """`0.5`, `[1,2,3]` or `(1,2,3)`."""
    try:
        if text[0] in "[(":
            return [float(part) for part in text.strip("[]()").split(",")]
        return float(text)
    except ValueError:
        raise LoadError(f"cannot apply --{option}={text}: it is a number, or [a,b,c]") from None


def _reshape(model: Model, layouts: dict[str, str], options: ModelOptions) -> None:
    """Give the inputs the shapes or the batch that were asked for; a shape wins over a batch."""
    shapes = parse_shapes(options.shape, {port.any_name: dims_of(port.partial_shape) for port in model.inputs})
    if not shapes and options.batch_size:
        shapes = _batched(model, layouts, options.batch_size)
    if not shapes:
        return
    try:
        model.reshape({name: _partial(dims) for name, dims in shapes.items()})
    except RuntimeError as why:
        asked = f"--shape={options.shape}" if options.shape else f"--batch_size={options.batch_size}"
        raise LoadError(f"Model could not be reshaped with requested shape {asked}: {_last_line(why)}") from None


def _batched(model: Model, layouts: dict[str, str], text: str) -> dict[str, tuple[Dim, ...]]:
    try:
        batch = ANY if text == "auto" else parse_dim(text)
    except ValueError:
        raise LoadError(f"cannot apply --batch_size={text}: it is a whole number or auto") from None
    shapes = {}
    for port in model.inputs:
        dims = dims_of(port.partial_shape)
        position = batch_position(layouts[port.any_name], len(dims))
        if position is not None:
            dims[position] = batch
            shapes[port.any_name] = tuple(dims)
    return shapes


def dims_of(shape: PartialShape) -> list[Dim]:
    """OpenVINO's shape in our words. Where the number of dimensions varies, all that can be said is that it does."""
    return [ANY] if shape.rank.is_dynamic else [_dim_of(dimension) for dimension in shape]


def _dim_of(dimension: Any) -> Dim:
    """OpenVINO writes -1 for no upper bound."""
    high = dimension.max_length
    return Dim(dimension.min_length, None if high < 0 else high)


def _partial(dims: tuple[Dim, ...]) -> PartialShape:
    return PartialShape([Dimension(dim.low, -1 if dim.high is None else dim.high) for dim in dims])


def _last_line(why: Exception) -> str:
    """OpenVINO's messages are call stacks; the reason is their last line."""
    lines = [line.strip() for line in str(why).splitlines() if line.strip()]
    return lines[-1] if lines else type(why).__name__
