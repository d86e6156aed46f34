"""The plainest request, which is nearly every one: JSON with flat lists of numbers, one row, all outputs in JSON back.

What is the same for all of a version's plain requests is worked out once: which decoder reads them, what their inputs
must look like, and the text of the answer around its numbers.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
import numpy as np
import orjson

from skerry.server.batching import Part
from skerry.server.bfloat16 import BF16
from skerry.server.engines import Shape, Values
from skerry.server.errors import ServingError
from skerry.server.http.messages import Buffer, Request, Response
from skerry.server.registry import ServedVersion
from skerry.server.rest import large
from skerry.server.rest.failures import response_of
from skerry.server.rest.lanes import Taken
from skerry.server.rest.reading import Output, Parameters, Size, element_type
from skerry.server.tensors import DTYPES, Array

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


def _decoder(datatype: str) -> Callable[[Buffer], _PlainBody[Any]]:
    kind = element_type(datatype)
    if kind is float:  # what would become infinity goes the long way
        bound = float(np.finfo(DTYPES[datatype]).max)
        kind = Annotated[float, msgspec.Meta(ge=-bound, le=bound)]
    decoder: Any = msgspec.json.Decoder(_PlainBody[list[kind]])  # type: ignore[valid-type]
    found: Callable[[Buffer], _PlainBody[Any]] = decoder.decode
    return found


_DECODERS: Final = {name: _decoder(name) for name in DTYPES if name != BF16}


class PlainVersion:
    """How plain requests to one version are read and answered."""

    def __init__(self, served: ServedVersion) -> None:
        """Take only what `can_be_plain`. `about` is how answers without an id begin."""
        self._datatype = served.common_datatype
        self._decode = _DECODERS[self._datatype]
        self._dtype = DTYPES[self._datatype]
        self._inputs = [(spec.name, list(spec.usual_shape), prod(spec.usual_shape)) for spec in served.model.inputs]
        self._input_shapes = [spec.usual_shape for spec in served.model.inputs]
        self._shapes = [spec.usual_shape for spec in served.model.outputs]
        about = orjson.dumps({"model_name": served.name, "model_version": served.version})
        self.about = about.removesuffix(b"}")
        self._around = []
        before = b',"outputs":['
        for spec in served.model.outputs:
            named = (orjson.dumps(spec.name), orjson.dumps(spec.usual_shape), spec.datatype.encode())
            self._around.append(before + b'{"name":%b,"shape":%b,"datatype":"%b","data":[' % named)
            before = b"]},"
        self._last = b"]}]}"

    def read(self, requests: Sequence[Request]) -> Taken:
        """Read requests of at most `large.WORTHWHILE` bytes."""
        found = Taken()
        columns: list[list[Any]] = [[] for _ in self._inputs]
        for place, request in enumerate(requests):
            if (parsed := self._checked(request.body)) is not None:
                found.places.append(place)
                found.begins.append(self._begin(parsed.id) if parsed.id else self.about)
                for column, item in zip(columns, parsed.inputs, strict=True):
                    column.extend(item.data)
        try:
            arrays = [np.array(column, self._dtype) for column in columns]
        except OverflowError:  # one of them has a number that is too large: whose it is, the general way finds out
            return Taken()
        found.rows = list(zip(arrays, self._input_shapes, strict=True))
        return found

    def _begin(self, id_: str) -> bytes:
        return b'%b,"id":%b' % (self.about, orjson.dumps(id_))

    def _checked(self, body: Buffer) -> _PlainBody[Any] | None:
        try:
            parsed = self._decode(body)
        except _NOT_PLAIN:
            return None
        inputs = parsed.inputs
        if parsed.outputs or parsed.parameters or len(inputs) != len(self._inputs):
            return None
        for (name, usual, count), item in zip(self._inputs, inputs, strict=True):
            plain = item.name == name and item.datatype == self._datatype and not item.parameters
            if not plain or item.shape != usual or len(item.data) != count:
                return None
        return parsed

    def written(self, part: Part, begins: list[bytes]) -> list[Response | None]:
        """Write what `writing.write_response` would, after these beginnings; None where outputs are not as usual."""
        count, results = part
        if isinstance(results, ServingError):
            return [response_of(results)]
        if (arrays := self.usual(count, results)) is None:
            return [None] * count
        texts = [orjson.dumps(array, option=orjson.OPT_SERIALIZE_NUMPY) for array in arrays]
        columns = [text[2:-2].split(b"],[") for text in texts]
        if len(columns) == 1:
            [before], [column], last = self._around, columns, self._last
            pairs = zip(begins, column, strict=True)
            return [Response(200, b"%b%b%b%b" % (begin, before, numbers, last)) for begin, numbers in pairs]
        rows = zip(*columns, strict=True)
        return [Response(200, self._joined(begin, row)) for begin, row in zip(begins, rows, strict=True)]

    def usual(self, count: int, results: Sequence[tuple[Values, Shape]]) -> list[Array] | None:
        """The outputs of so many requests, a row for each; None if one is not of its usual shape."""
        arrays = []
        for (values, shape), usual in zip(results, self._shapes, strict=True):
            assert not isinstance(values, list)
            if shape != usual:
                return None
            arrays.append(values.reshape(count, -1))
        return arrays

    def _joined(self, begin: bytes, row: tuple[bytes, ...]) -> bytes:
        outputs = (piece for pair in zip(self._around, row, strict=True) for piece in pair)
        return b"".join((begin, *outputs, self._last))


def plain_version(served: ServedVersion) -> PlainVersion | None:
    """How a version's plain requests are read and answered; None if it has none."""
    return PlainVersion(served) if can_be_plain(served) else None


def can_be_plain(served: ServedVersion) -> bool:
    """Whether a model takes and gives numbers of one type, in the forms that its specs say, and is light."""
    specs = (*served.model.inputs, *served.model.outputs)
    usual = all(spec.datatype in _DECODERS and 0 < prod(spec.usual_shape) < large.WORTHWHILE for spec in specs)
    return usual and bool(served.common_datatype) and served.tabular is None and served.may_run_on_loop
