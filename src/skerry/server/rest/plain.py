"""The plainest request, which is nearly every one: JSON with flat lists of numbers, one row, all outputs in JSON back.

A small model spends less time on such a request than the general way through `reading`, `calls` and `writing` does on
choosing between everything that a request could be. So what is the same for all of a version's plain requests is
worked out once: which decoder reads them, what their inputs must look like, and the text of the answer around its
numbers. Whatever is not plain, and whatever is wrong, is left to the general way: this one refuses nothing. What it
answers is the same to the byte.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
import numpy as np
import orjson

from skerry.server.bfloat16 import BF16
from skerry.server.engines import Shape, Slot, Values
from skerry.server.registry import ServedVersion
from skerry.server.rest import large
from skerry.server.rest.reading import Output, Parameters, Size, element_type
from skerry.server.tensors import DTYPES

Data = TypeVar("Data")
_NOT_PLAIN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _PlainInput(msgspec.Struct, Generic[Data], gc=False):
    """An input without anything that is optional."""

    name: str
    shape: list[Size]
    datatype: str
    data: Data
    parameters: Parameters | None = None


class _PlainBody(msgspec.Struct, Generic[Data], gc=False):
    """A request whose data are flat lists of one type."""

    inputs: Annotated[list[_PlainInput[Data]], msgspec.Meta(min_length=1)]
    outputs: list[Output] | None = None
    id: str = ""
    parameters: Parameters | None = None


def _decoder(datatype: str) -> Callable[[bytes], _PlainBody[Any]]:
    kind = element_type(datatype)
    if kind is float:  # what would become infinity goes the long way
        bound = float(np.finfo(DTYPES[datatype]).max)
        kind = Annotated[float, msgspec.Meta(ge=-bound, le=bound)]
    decoder: Any = msgspec.json.Decoder(_PlainBody[list[kind]])  # type: ignore[valid-type]
    found: Callable[[bytes], _PlainBody[Any]] = decoder.decode
    return found


_DECODERS: Final = {name: _decoder(name) for name in DTYPES if name != BF16}


class PlainCall:
    """A request that was found plain; its answer is the text of a response."""

    __slots__ = ("_version", "feeds")
    light = True

    def __init__(self, version: "PlainVersion", feeds: list[tuple[Values, Shape]]) -> None:
        self._version = version
        self.feeds = feeds

    def prepare(self) -> None:
        """There is nothing to prepare."""

    def infer(self, slot: Slot) -> bytes:
        return self._version.written(slot.infer(self.feeds))

    def respond(self, results: list[tuple[Values, Shape]]) -> bytes:
        return self._version.written(results)


class PlainVersion:
    """How plain requests to one version are read and answered."""

    def __init__(self, served: ServedVersion) -> None:
        """Take only what `can_be_plain`."""
        self._datatype = served.common_datatype
        self._decode = _DECODERS[self._datatype]
        self._dtype = DTYPES[self._datatype]
        self._inputs = [(spec.name, spec.usual_shape) for spec in served.model.inputs]
        about = orjson.dumps({"model_name": served.name, "model_version": served.version, "outputs": []})
        self._begin = about.removesuffix(b"]}")
        self._outputs = [
            (b'{"name":%b,"shape":' % orjson.dumps(spec.name), b',"datatype":"%b","data":' % spec.datatype.encode())
            for spec in served.model.outputs
        ]

    def read(self, body: bytes) -> PlainCall | None:
        """Read a request of at most `large.WORTHWHILE` bytes; None for one that is not plain, or not right."""
        try:
            parsed = self._decode(body)
        except _NOT_PLAIN:
            return None
        inputs = parsed.inputs
        if parsed.outputs or parsed.id or parsed.parameters or len(inputs) != len(self._inputs):
            return None
        feeds: list[tuple[Values, Shape]] = []
        for (name, usual), item in zip(self._inputs, inputs, strict=True):
            data, shape = item.data, tuple(item.shape)
            plain = item.name == name and item.datatype == self._datatype and not item.parameters
            if not plain or shape != usual or prod(shape) != len(data):
                return None
            try:
                feeds.append((np.array(data, self._dtype), shape))
            except OverflowError:
                return None
        return PlainCall(self, feeds)

    def written(self, results: Sequence[tuple[Values, Shape]]) -> bytes:
        """Write what `writing.write_response` would."""
        parts = [
            b"%b%b%b%b}"
            % (name, orjson.dumps(shape), datatype, orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))
            for (name, datatype), (values, shape) in zip(self._outputs, results, strict=True)
        ]
        return b"%b%b]}" % (self._begin, b",".join(parts))


def can_be_plain(served: ServedVersion) -> bool:
    """Whether a model takes and gives numbers of one type, in the forms that its specs say, and is light."""
    numeric = all(spec.datatype in _DECODERS for spec in (*served.model.inputs, *served.model.outputs))
    return numeric and bool(served.common_datatype) and served.tabular is None and served.may_run_on_loop


def is_short(body: bytes) -> bool:
    """Whether a body is read faster by this than by simdjson."""
    return len(body) < large.WORTHWHILE
