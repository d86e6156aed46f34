"""OpenVINO as an engine.

Three things here were chosen by measurement:

- Importing `openvino` also imports its model converter, which imports a telemetry client and reports the import to its
  vendor. The converter is kept out (the package allows for its absence): start-up is 75 ms shorter, memory 14 MiB
  smaller, and nothing calls home.
- Inputs and outputs live in tensors that are set once per request object, and `infer` of the binding's base class is
  called on them: 11 us instead of 16 to 89 us for the documented ways. It is reached by a name that is not
  documented, so each request object is tried once and falls back to the documented call.
- Threads are not pinned to cores: two models on one machine would be pinned to the same ones, and it gains nothing.
  OpenVINO is told so, and its threading library still sets the thread's affinity twice a call, to every core of the
  machine: that costs half of what a small model does, and lets a server out of the cores that `taskset` or a unit's
  `AllowedCPUs=` gave it. hwloc, which does it, binds nothing on what it believes to be another machine's topology.
"""

# ruff: noqa: E402 - some things must be settled before the import

import os
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # see the docstring
os.environ.setdefault("HWLOC_THISSYSTEM", "0")  # the same

import openvino as ov

from skerry.server import log
from skerry.server.bfloat16 import BF16
from skerry.server.cpu import usable_processors
from skerry.server.engines import Shape, Slot, Values
from skerry.server.engines.openvino_files import model_file
from skerry.server.engines.openvino_names import about, name_tensors
from skerry.server.engines.preprocessing import apply_options, dims_of
from skerry.server.errors import InferenceFailed, LoadError
from skerry.server.options import ModelOptions
from skerry.server.tensors import BYTES, DTYPES, Array, TensorSpec, element_count

_DATATYPES: Final = {
    "boolean": "BOOL",
    "u8": "UINT8",
    "u16": "UINT16",
    "u32": "UINT32",
    "u64": "UINT64",
    "i8": "INT8",
    "i16": "INT16",
    "i32": "INT32",
    "i64": "INT64",
    "f16": "FP16",
    "bf16": BF16,
    "f32": "FP32",
    "f64": "FP64",
    "string": BYTES,
}
_Numbered: TypeAlias = Sequence[tuple[TensorSpec, int]]  # by name, each with its place in the model
_INVALID: Final = "INVALID"  # what OVMS's metadata says of a type that the protocol has no name for
_INTEGER_KEYS: Final = frozenset({"INFERENCE_NUM_THREADS", "AUTO_BATCH_TIMEOUT"})
_DEVICES: Final = Path("/dev/dri")
_EXTERNAL: Final = re.compile(
    r"(?:externally stored data in file \(|data_full_path: )(.+), offset: \d+, data_length: \d+\)"
)


class OpenVino:
    """The engine; one per process."""

    def __init__(self) -> None:
        self._core = ov.Core()

    def load(self, version: Path, options: ModelOptions) -> "OpenVinoModel":
        path = model_file(version)
        try:
            read = self._core.read_model(path)
            name_tensors(read, path)
            told = about(read)
            model, layouts = apply_options(read, options)
            settable = not any(map(_is_an_input, model.outputs))
            return OpenVinoModel(self._compile(model, options), layouts, options.nireq, told, settable=settable)
        except RuntimeError as why:
            raise LoadError(f"cannot load {path}: {reason_of(why)}") from None
        except LoadError as why:
            raise LoadError(f"cannot load {path}: {why}") from None

    def _compile(self, model: ov.Model, options: ModelOptions) -> ov.CompiledModel:
        device = choose_device(options.target_device)
        if options.cpu_extension:
            self._core.add_extension(options.cpu_extension)
        config: dict[str, Any] = {"CACHE_DIR": options.cache_dir} if usable_cache(options.cache_dir) else {}
        config |= compile_config(device, options.plugin_config)
        log.debug("compiling", model=options.name, device=device, config=config)
        return self._core.compile_model(model, device, config)


def usable_cache(directory: str) -> bool:
    """Whether compiled models can be kept there. Where not, every start takes longer; that is no reason to end it."""
    if not directory:
        return False
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        if os.access(directory, os.W_OK | os.X_OK):
            return True
        why = "it is not writable"
    except OSError as error:
        why = error.strerror or str(error)
    log.warning("compiled models are not kept: cache_dir cannot be used", cache_dir=directory, reason=why)
    return False


def choose_device(wanted: str) -> str:
    """Resolve `AUTO` and empty: the plug-in that chooses costs time and memory, so not where there is only a CPU."""
    if wanted in {"", "AUTO"}:
        return "AUTO" if any(_DEVICES.glob("renderD*")) else "CPU"
    return wanted


def compile_config(device: str, given: dict[str, str | bool | int | float]) -> dict[str, Any]:
    """Our defaults below what `--plugin_config` says."""
    config: dict[str, Any] = {key: int(value) if key in _INTEGER_KEYS else value for key, value in given.items()}
    if "NUM_STREAMS" not in config:
        config.setdefault("PERFORMANCE_HINT", "LATENCY")
    if device == "CPU":
        config.setdefault("INFERENCE_NUM_THREADS", usable_processors())
        config.setdefault("ENABLE_CPU_PINNING", False)
    return config


def reason_of(why: Exception) -> str:
    """OpenVINO's messages are call stacks; the reason is their last line."""
    if (missing := _EXTERNAL.search(str(why))) is not None:
        return f"the file {missing[1]}, which holds weights of it, is missing or too short"
    lines = [line.strip() for line in str(why).splitlines() if line.strip()]
    return lines[-1].removeprefix("-- ") if lines else type(why).__name__


class OpenVinoModel:
    """A compiled model; inputs and outputs sorted by name, as OVMS shows them.

    `rt_info` is what the model says about itself; `settable` whether OpenVINO writes outputs to tensors that are set
    for them.
    """

    platform = "OpenVINO"

    def __init__(
        self,
        compiled: ov.CompiledModel,
        layouts: dict[str, str],
        nireq: int,
        rt_info: dict[str, Any],
        *,
        settable: bool,
    ) -> None:
        self.rt_info = rt_info
        self._compiled = compiled
        self._settable = settable
        numbered = [
            (_spec(port, _name(port, "in", index), layouts), index) for index, port in enumerate(compiled.inputs)
        ]
        self._inputs = sorted(numbered, key=lambda pair: pair[0].name)
        numbered = [(_spec(port, _name(port, "out", index), {}), index) for index, port in enumerate(compiled.outputs)]
        self._outputs = sorted(numbered, key=lambda pair: pair[0].name)
        self.inputs = tuple(spec for spec, _ in self._inputs)
        self.outputs = tuple(spec for spec, _ in self._outputs)
        self.slots = nireq or int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self.streams = _streams(compiled)
        self._padded_rows = 0

    def pad(self, rows: int) -> None:
        """A change of shape costs as much as several calls, so small requests always fill the same one."""
        self._padded_rows = rows

    def slot(self) -> Slot:
        specs = (*self.inputs, *self.outputs)
        fixed = self._settable and all(spec.fixed_shape is not None and spec.datatype in DTYPES for spec in specs)
        kind = FixedSlot if fixed else VaryingSlot
        plain = kind(self._compiled.create_infer_request(), self._inputs, self._outputs)
        if fixed or not self._padded_rows:
            return plain
        return PaddedSlot(self._compiled.create_infer_request(), self._inputs, self._outputs, self._padded_rows, plain)


def _is_an_input(port: Any) -> bool:
    """Whether an output is an input as it is.

    OpenVINO does not write such a one to a tensor that was set for it, which then shows whatever was in memory. Only
    the model as it was read can tell; a compiled one has lost what is before its outputs.
    """
    return bool(port.get_node().input_value(0).get_node().get_type_name() == "Parameter")


def _name(port: Any, kind: str, index: int) -> str:
    return str(port.any_name) if port.names else f"{kind}_{index}"


def _spec(port: Any, name: str, layouts: dict[str, str]) -> TensorSpec:
    return TensorSpec(
        name=name,
        datatype=_DATATYPES.get(port.element_type.get_type_name(), _INVALID),
        dims=tuple(dims_of(port.partial_shape)),
        layout=layouts.get(name, ""),
    )


def _streams(compiled: ov.CompiledModel) -> int:
    try:
        return int(compiled.get_property("NUM_STREAMS"))
    except RuntimeError:  # not every device has streams
        return 1


def _values_of(tensor: ov.Tensor) -> Array:
    """A flat view."""
    return _typed(tensor.data.reshape(-1), BF16 if tensor.element_type == ov.Type.bf16 else "")


def _typed(values: Array, datatype: str) -> Array:
    """The same values; OpenVINO shows BF16 as if it were FP16."""
    return values.view(DTYPES[BF16]) if datatype == BF16 else values


class OpenVinoSlot:
    """One request object, called in the cheapest way."""

    def __init__(self, request: ov.InferRequest) -> None:
        self._request = request
        self._run: Callable[[], dict[Any, Array]] = self._untried

    def run(self) -> list[Array]:
        """Return the outputs in the model's order; the next run overwrites them."""
        try:
            return list(self._run().values())
        except RuntimeError as why:
            raise InferenceFailed(f"Internal inference error - {reason_of(why)}") from None

    def _untried(self) -> dict[Any, Array]:
        """Take the cheap call where it exists; a failed inference is not held against it."""
        try:
            run = self._cheap()
            outputs = run()
        except (AttributeError, TypeError):
            log.warning("the cheap OpenVINO call is missing, using the documented one", openvino=ov.__version__)
            run = partial(self._request.infer, {}, share_inputs=True, share_outputs=True, decode_strings=False)
            outputs = run()
        self._run = run
        return outputs

    def _cheap(self) -> Callable[[], dict[Any, Array]]:
        """Inputs nothing (they are set), outputs shared (they are copied from where they are), strings not decoded."""
        return partial(super(ov.InferRequest, self._request).infer, {}, True, False)  # type: ignore[misc]


class RepeatingSlot(OpenVinoSlot):
    """One whose input tensors stay from call to call."""

    def __init__(self, request: ov.InferRequest, outputs: _Numbered) -> None:
        super().__init__(request)
        self._order = [index for _, index in outputs]

    def _rooms_for(self, shapes: list[Shape]) -> list[Array]:
        """What to fill for inputs of these shapes."""
        raise NotImplementedError

    def infer_each(self, rows: Sequence[tuple[Array, Shape]], count: int) -> list[tuple[Array, Shape]] | None:
        pairs = [
            (room, values.reshape(count, -1))
            for room, (values, _) in zip(self._rooms_for([shape for _, shape in rows]), rows, strict=True)
        ]
        places: list[tuple[Array, Shape]] = []
        try:
            for number in range(count):
                for room, column in pairs:
                    room[:] = column[number]
                found = self._run().values()
                places = places or [(np.empty((count, *each.shape), each.dtype), each.shape) for each in found]
                for output, (place, shape) in zip(found, places, strict=True):
                    if output.shape != shape:
                        return None
                    place[number] = output
        except RuntimeError as why:
            raise InferenceFailed(f"Internal inference error - {reason_of(why)}") from None
        return [(places[index][0].reshape(-1), places[index][1]) for index in self._order]


class FixedSlot(RepeatingSlot):
    """For a model whose tensors have one shape each: all of them are set once."""

    def __init__(self, request: ov.InferRequest, inputs: _Numbered, outputs: _Numbered) -> None:
        super().__init__(request, outputs)
        self._rooms: list[Array] = []
        self._results: list[tuple[Array, Shape]] = []
        for spec, index in inputs:
            tensor = ov.Tensor(request.model_inputs[index].element_type, ov.Shape(spec.fixed_shape))
            request.set_input_tensor(index, tensor)
            self._rooms.append(_values_of(tensor))
        for spec, index in outputs:
            tensor = ov.Tensor(request.model_outputs[index].element_type, ov.Shape(spec.fixed_shape))
            request.set_output_tensor(index, tensor)
            self._results.append((_values_of(tensor), spec.fixed_shape or ()))

    def _rooms_for(self, shapes: list[Shape]) -> list[Array]:
        return self._rooms

    def infer(self, inputs: Sequence[tuple[Values, Shape]]) -> list[tuple[Values, Shape]]:
        for room, pair in zip(self._rooms, inputs, strict=True):
            room[:] = pair[0]
        self.run()
        return [(values.copy(), shape) for values, shape in self._results]


class _Room:
    """The tensor of one input, made anew when the shape changes."""

    __slots__ = ("_array", "_index", "_kind", "_request", "_shape")

    def __init__(self, request: ov.InferRequest, index: int) -> None:
        self._request = request
        self._index = index
        self._kind = request.model_inputs[index].element_type
        self._shape: Shape | None = None
        self._array: Array

    def fill(self, values: Values, shape: Shape) -> None:
        if isinstance(values, list):
            self._fill_with_strings(values, shape)
        else:
            self.array(shape)[:] = values

    def array(self, shape: Shape) -> Array:
        """What to fill for numbers in this shape."""
        if shape != self._shape:
            tensor = ov.Tensor(self._kind, ov.Shape(shape))
            self._request.set_input_tensor(self._index, tensor)
            self._array, self._shape = _values_of(tensor), shape
        return self._array

    def _fill_with_strings(self, values: list[bytes], shape: Shape) -> None:
        tensor = ov.Tensor(self._kind, ov.Shape(shape))
        if values:
            tensor.bytes_data = np.array(values, np.bytes_).reshape(shape)
        self._request.set_input_tensor(self._index, tensor)


class VaryingSlot(RepeatingSlot):
    """For a model with strings, or shapes that vary: outputs are asked for afterwards.

    An input whose shape is that of the request before keeps its tensor: setting another one costs several times what
    a small model does.
    """

    def __init__(self, request: ov.InferRequest, inputs: _Numbered, outputs: _Numbered) -> None:
        super().__init__(request, outputs)
        self._inputs = [_Room(request, index) for _, index in inputs]
        self._outputs = [(index, spec.datatype) for spec, index in outputs]

    def _rooms_for(self, shapes: list[Shape]) -> list[Array]:
        return [room.array(shape) for room, shape in zip(self._inputs, shapes, strict=True)]

    def infer(self, inputs: Sequence[tuple[Values, Shape]]) -> list[tuple[Values, Shape]]:
        for room, (values, shape) in zip(self._inputs, inputs, strict=True):
            room.fill(values, shape)
        found = self.run()
        return [
            self._strings(index)
            if datatype == BYTES
            else (_typed(found[index], datatype).flatten(), found[index].shape)
            for index, datatype in self._outputs
        ]

    def _strings(self, index: int) -> tuple[Values, Shape]:
        tensor = self._request.get_output_tensor(index)
        return [bytes(element) for element in tensor.bytes_data.reshape(-1)], tuple(tensor.shape)


class PaddedSlot(OpenVinoSlot):
    """For independent rows up to some number: they fill the top of tensors that are set once; below is what was there.

    What does not fit goes to the slot for any shape. Outputs are asked for each time: where shapes may vary, OpenVINO
    does not always write to tensors that were set.
    """

    def __init__(self, request: ov.InferRequest, inputs: _Numbered, outputs: _Numbered, rows: int, other: Slot) -> None:
        super().__init__(request)
        self._other = other
        self._rows = rows
        self._rooms: list[Array] = []
        for spec, index in inputs:
            shape = ov.Shape((rows, *(dim.low for dim in spec.dims[1:])))
            tensor = ov.Tensor(request.model_inputs[index].element_type, shape)
            request.set_input_tensor(index, tensor)
            self._rooms.append(_values_of(tensor))
        self._outputs = []
        for spec, index in outputs:
            tail = tuple(dim.low for dim in spec.dims[1:])
            self._outputs.append((index, spec.datatype, element_count(tail), tail))
        self._clear()

    def infer(self, inputs: Sequence[tuple[Values, Shape]]) -> list[tuple[Values, Shape]]:
        rows = inputs[0][1][0]
        if not 0 < rows <= self._rows or (len(inputs) > 1 and any(shape[0] != rows for _, shape in inputs)):
            return self._other.infer(inputs)
        for room, (values, _) in zip(self._rooms, inputs, strict=True):
            room[: len(values)] = values
        try:
            found = self.run()
        except InferenceFailed:
            self._clear()  # or what the engine cannot bear would stay for the next request
            raise
        return [
            (_typed(found[index], datatype).reshape(-1)[: rows * width].copy(), (rows, *tail))
            for index, datatype, width, tail in self._outputs
        ]

    def _clear(self) -> None:
        for room in self._rooms:
            room[:] = 0
