"""The plainest request, which is nearly every one: JSON with flat lists of numbers, one row, all outputs in JSON back.

A small model spends less time on such a request than the general way through `reading`, `calls` and `writing` does on
choosing between everything that a request could be. So there is a lane for them: their bodies are collected until the
turn of the event loop ends, and then all are read, all are inferred, and all are written, each of the three at once.
What is the same for all of a version's plain requests is worked out once: which decoder reads them, what their inputs
must look like, and the text of the answer around its numbers. Whatever is not plain, and whatever is wrong, is handed
back and goes the general way: the lane refuses nothing. What it answers is the same to the byte.
"""

from collections.abc import Callable, Sequence
from math import prod
from time import perf_counter
from typing import Annotated, Any, Final, Generic, TypeAlias, TypeVar

import msgspec
import numpy as np
import orjson

from skerry.server import log
from skerry.server.batching import Part, Rows
from skerry.server.bfloat16 import BF16
from skerry.server.dataplane import DataPlane
from skerry.server.errors import NotReady, ServingError, UnknownModel
from skerry.server.http.messages import Buffer, Handler, Later, Reply, Request, Response
from skerry.server.registry import ServedVersion
from skerry.server.rest import large, uploads
from skerry.server.rest.failures import response_of
from skerry.server.rest.reading import Output, Parameters, Size, element_type
from skerry.server.rest.routes import Route
from skerry.server.tensors import DTYPES
from skerry.server.turns import Turns

Data = TypeVar("Data")
_NOT_PLAIN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_INTERFACE: Final = "REST"
_REMEMBERED: Final = 512
_HEADER_LENGTH: Final = b"inference-header-content-length"
_ENCODING: Final = b"content-encoding"
_CONTENT_TYPE: Final = b"content-type"


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


class _Read:
    """Of the requests of a turn those that are plain and right: where they are, how their answers begin, the values."""

    __slots__ = ("begins", "places", "rows")

    def __init__(self) -> None:
        self.places: list[int] = []
        self.begins: list[bytes] = []
        self.rows: Rows = []


class PlainVersion:
    """How plain requests to one version are read and answered."""

    def __init__(self, served: ServedVersion) -> None:
        """Take only what `can_be_plain`."""
        self._datatype = served.common_datatype
        self._decode = _DECODERS[self._datatype]
        self._dtype = DTYPES[self._datatype]
        self._inputs = [(spec.name, list(spec.usual_shape), prod(spec.usual_shape)) for spec in served.model.inputs]
        self._input_shapes = [spec.usual_shape for spec in served.model.inputs]
        self._shapes = [spec.usual_shape for spec in served.model.outputs]
        about = orjson.dumps({"model_name": served.name, "model_version": served.version})
        self._about = about.removesuffix(b"}")
        self._around = []
        before = b',"outputs":['
        for spec in served.model.outputs:
            named = (orjson.dumps(spec.name), orjson.dumps(spec.usual_shape), spec.datatype.encode())
            self._around.append(before + b'{"name":%b,"shape":%b,"datatype":"%b","data":[' % named)
            before = b"]},"
        self._last = b"]}]}"

    def read(self, bodies: Sequence[Buffer]) -> "_Read":
        """Read requests of at most `large.WORTHWHILE` bytes."""
        found = _Read()
        columns: list[list[Any]] = [[] for _ in self._inputs]
        for place, body in enumerate(bodies):
            if (parsed := self._checked(body)) is not None:
                found.places.append(place)
                found.begins.append(self._begin(parsed.id) if parsed.id else self._about)
                for column, item in zip(columns, parsed.inputs, strict=True):
                    column.extend(item.data)
        try:
            arrays = [np.array(column, self._dtype) for column in columns]
        except OverflowError:  # one of them has a number that is too large: whose it is, the general way finds out
            return _Read()
        found.rows = list(zip(arrays, self._input_shapes, strict=True))
        return found

    def _begin(self, id_: str) -> bytes:
        return b'%b,"id":%b' % (self._about, orjson.dumps(id_))

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
        columns = []
        for (values, shape), usual in zip(results, self._shapes, strict=True):
            assert not isinstance(values, list)
            if shape != (usual if count == 1 else (count, *usual[1:])):
                return [None] * count
            text = orjson.dumps(values.reshape(count, -1), option=orjson.OPT_SERIALIZE_NUMPY)
            columns.append(text[2:-2].split(b"],["))
        if len(columns) == 1:
            [before], [column], last = self._around, columns, self._last
            pairs = zip(begins, column, strict=True)
            return [Response(200, b"%b%b%b%b" % (begin, before, numbers, last)) for begin, numbers in pairs]
        rows = zip(*columns, strict=True)
        return [Response(200, self._joined(begin, row)) for begin, row in zip(begins, rows, strict=True)]

    def _joined(self, begin: bytes, row: tuple[bytes, ...]) -> bytes:
        outputs = (piece for pair in zip(self._around, row, strict=True) for piece in pair)
        return b"".join((begin, *outputs, self._last))


def can_be_plain(served: ServedVersion) -> bool:
    """Whether a model takes and gives numbers of one type, in the forms that its specs say, and is light."""
    specs = (*served.model.inputs, *served.model.outputs)
    usual = all(spec.datatype in _DECODERS and 0 < prod(spec.usual_shape) < large.WORTHWHILE for spec in specs)
    return usual and bool(served.common_datatype) and served.tabular is None and served.may_run_on_loop


def _tell(reply: Reply, answer: Response | None) -> None:
    """Write an answer, or have the general way find it; one broken connection must not cost the others theirs."""
    try:
        if answer is None:
            reply.hand_back()
        else:
            reply.answer(answer)
    except Exception as why:  # noqa: BLE001 - see above
        log.exception("connection broke", error=type(why).__name__)


_Item: TypeAlias = tuple[Reply, Buffer, float]


class PlainLane:
    """Takes what may be plain of the requests for one model, in one version or the one that is the default."""

    def __init__(self, plane: DataPlane, route: Route, otherwise: Handler) -> None:
        self._plane = plane
        self._route = route
        self._otherwise = otherwise
        self._served: ServedVersion | None = None
        self._plain: PlainVersion | None = None
        self._turns: Turns[_Item]

    def handle(self, request: Request, reply: Reply) -> Response | Later | None:
        """Answer now or later, or with None: then the reply will be told."""
        if self._closed():
            self._look()
            if self._closed():
                return self._otherwise(request)
        now = perf_counter()
        if self._turns.is_alone():
            [answer] = self._answers([request.body], [now])
            return self._otherwise(request) if answer is None else answer
        self._turns.add((reply, request.body, now))
        return None

    def _closed(self) -> bool:
        return self._plain is None or self._served is None or not self._served.execution.inline

    def _look(self) -> None:
        """Find out which version answers at present, and whether it takes plain requests."""
        try:
            served = self._plane.find(self._route.model, self._route.version)
        except (NotReady, UnknownModel):
            self._served = self._plain = None
            return
        if served is not self._served:
            self._served = served
            self._plain = PlainVersion(served) if can_be_plain(served) else None
            self._turns = served.execution.turns(self._end)

    def _end(self, items: list[_Item], _size: int) -> None:
        """Answer who is still there."""
        wanted = [item for item in items if item[0].open]
        if self._served is not None:
            for _ in range(len(items) - len(wanted)):
                self._plane.count_failure(self._served, _INTERFACE, "ModelInfer")
        try:
            answers = self._answers([item[1] for item in wanted], [item[2] for item in wanted])
        except Exception as why:  # noqa: BLE001 - a defect of the lane is a slower answer, not a missing one
            log.exception("the lane broke; its requests go the general way", error=type(why).__name__)
            answers = [None] * len(wanted)
        for item, answer in zip(wanted, answers, strict=True):
            _tell(item[0], answer)

    def _answers(self, bodies: list[Buffer], since: list[float]) -> list[Response | None]:
        """Answer what is plain and right."""
        answers: list[Response | None] = [None] * len(bodies)
        self._look()
        served, plain = self._served, self._plain
        if served is None or plain is None or not served.execution.inline:
            return answers
        read = plain.read(bodies)
        if not read.places:
            return answers
        if len(read.places) < len(bodies):
            since = [since[place] for place in read.places]
        found: list[Response | None] = []
        for part in served.execution.run_rows(read.rows, since):
            found += plain.written(part, read.begins[len(found) : len(found) + part[0]])
        if None in found:  # not a model for this lane
            self._plain = None
        succeeded = [at for at, answer in zip(since, found, strict=True) if answer is not None and answer.status == 200]
        self._plane.count_rows(served, _INTERFACE, succeeded, len(found) - found.count(None) - len(succeeded))
        for place, answer in zip(read.places, found, strict=True):
            answers[place] = answer
        return answers


class PlainLanes:
    """The lanes of a server, by what is asked for. Bounded: who invents targets empties it, no more."""

    def __init__(self, plane: DataPlane, otherwise: Handler) -> None:
        """Give `otherwise` what is not plain."""
        self._plane = plane
        self._otherwise = otherwise
        self._lanes: dict[bytes, PlainLane] = {}

    def open(self, target: bytes, route: Route) -> None:
        """Have a lane for a target that was asked for, which is a model's inference."""
        if target not in self._lanes:
            if len(self._lanes) >= _REMEMBERED:
                self._lanes.clear()
            self._lanes[target] = PlainLane(self._plane, route, self._otherwise)

    def find(self, request: Request) -> PlainLane | None:
        """Return the lane for a request that may be plain."""
        lane = self._lanes.get(request.target)
        return lane if lane is not None and _may_be_plain(request) else None


def _may_be_plain(request: Request) -> bool:
    headers = request.headers
    return (
        len(request.body) < large.WORTHWHILE
        and request.method == b"POST"
        and _HEADER_LENGTH not in headers
        and _ENCODING not in headers
        and not headers.get(_CONTENT_TYPE, b"").startswith(uploads.KINDS)
    )
