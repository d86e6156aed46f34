"""From a request to a call: every tensor is checked against the model's inputs, in OVMS's order and with its texts."""

from typing import Final

from skerry.server.byte_inputs import Reading, check_pictures, packed_rows, reading_of
from skerry.server.engines import Shape, Slot, Values
from skerry.server.errors import InvalidRequest
from skerry.server.layouts import batch_position
from skerry.server.pictures import decode
from skerry.server.registry import ServedVersion
from skerry.server.tensors import BYTES, InferRequest, InferResponse, Tensor, TensorSpec

_LIGHT_BYTES: Final = 1 << 16


class InferCall:
    """A checked request, ready for a slot."""

    __slots__ = ("_outputs", "_pictures", "_served", "feeds", "light")

    def __init__(self, served: ServedVersion, request: InferRequest) -> None:
        """Check the request; raises `InvalidRequest`."""
        self._served = served
        self._outputs = _selected(served.model.outputs, request.outputs) if request.outputs else served.every_output
        self._pictures: list[int] = []
        self.feeds: list[tuple[Values, Shape]] = []
        self.light = served.may_run_on_loop
        inputs = request.inputs if served.tabular is None else served.tabular.adapt(request.inputs)
        if len(inputs) != len(served.expected):
            raise InvalidRequest(f"Invalid number of inputs - Expected: {len(served.expected)}; Actual: {len(inputs)}")
        for spec, datatype, shape in served.expected:
            tensor = _named(inputs, spec.name)
            if tensor.datatype == BYTES:
                self._add_byte_strings(tensor, spec)
                continue
            if tensor.shape != shape or tensor.datatype != datatype:  # most models have one shape, most clients know it
                check_tensor(tensor, spec)
            values = tensor.values
            assert not isinstance(values, list)
            self.feeds.append((values, tensor.shape))
            if values.nbytes > _LIGHT_BYTES:
                self.light = False

    def _add_byte_strings(self, tensor: Tensor, spec: TensorSpec) -> None:
        match reading_of(spec):
            case Reading.STRINGS:
                check_tensor(tensor, spec)
                self.feeds.append((tensor.values, tensor.shape))
            case Reading.ROWS:
                self.feeds.append(packed_rows(tensor, spec))
            case Reading.PICTURES:
                check_pictures(tensor, spec)
                self._pictures.append(len(self.feeds))
                self.feeds.append((tensor.values, tensor.shape))
                self.light = False
            case None:
                raise InvalidRequest(
                    f"Invalid input precision - Expected: {spec.datatype}; Actual: BYTES; input name: {spec.name}"
                )

    def prepare(self) -> None:
        """Decode the pictures."""
        for index in self._pictures:
            pictures = self.feeds[index][0]
            assert isinstance(pictures, list)
            self.feeds[index] = decode(pictures, self._served.model.inputs[index])

    def infer(self, slot: Slot) -> InferResponse:
        return self.respond(slot.infer(self.feeds))

    def respond(self, results: list[tuple[Values, Shape]]) -> InferResponse:
        """Make the answer of what the engine returned."""
        served = self._served
        outputs = []
        for index in self._outputs:
            spec = served.model.outputs[index]
            values, shape = results[index]
            outputs.append(Tensor(spec.name, spec.datatype, shape, values))
        return InferResponse(served.name, served.version, outputs)


def check_tensor(tensor: Tensor, spec: TensorSpec) -> None:
    """Compare datatype and shape."""
    if tensor.datatype != spec.datatype:
        raise InvalidRequest(
            f"Invalid input precision - Expected: {spec.datatype}; Actual: {tensor.datatype}; input name: {spec.name}"
        )
    shape = tensor.shape
    actual = f"Actual: ({','.join(map(str, shape))}); input name: {spec.name}"
    if len(shape) != len(spec.dims):
        raise InvalidRequest(f"Invalid number of shape dimensions - Expected: {spec.expected}; {actual}")
    for index, (dim, size) in enumerate(zip(spec.dims, shape, strict=True)):
        if dim.accepts(size):
            continue
        if index == batch_position(spec.layout, len(shape)):
            raise InvalidRequest(f"Invalid input batch size - Expected: {dim}; Actual: {size}; input name: {spec.name}")
        raise InvalidRequest(f"Invalid input shape - Expected: {spec.expected}; {actual}")


def _named(inputs: list[Tensor], name: str) -> Tensor:
    """The input of this name. There are as many as the model has, so a name given twice shows as one missing."""
    for tensor in inputs:
        if tensor.name == name:
            return tensor
    given = ", ".join(tensor.name for tensor in inputs)
    raise InvalidRequest(f"Missing input with specific name - Required input: {name}; given: {given}")


def _selected(specs: tuple[TensorSpec, ...], wanted: list[str]) -> list[int]:
    """Where the outputs asked for are, in the order asked for."""
    positions = {spec.name: index for index, spec in enumerate(specs)}
    if unknown := [name for name in wanted if name not in positions]:
        raise InvalidRequest(f"the model has no output {', '.join(unknown)}; it has {', '.join(positions)}")
    if len(set(wanted)) != len(wanted):
        raise InvalidRequest("an output is asked for twice")
    return [positions[name] for name in wanted]
