"""Lanes: requests that are alike, answered together.

A small model spends less time on a request than the general way through `reading`, `calls` and `writing` does on
choosing between everything that a request could be. So requests of the two commonest forms (`plain`, `raw`) have lanes:
they are collected until the turn of the event loop ends, and then all are read, all are inferred, and all are written,
each of the three at once. Whatever is not of the form, and whatever is wrong, is handed back and goes the general way:
a lane refuses nothing. What it answers is the same to the byte.
"""

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final, Protocol, TypeAlias
from weakref import ref

from skerry.server import log
from skerry.server.batching import Part, Rows
from skerry.server.dataplane import DataPlane
from skerry.server.errors import NotReady, UnknownModel
from skerry.server.http.messages import Handler, Later, Reply, Request, Response
from skerry.server.registry import ServedVersion
from skerry.server.rest import large, uploads
from skerry.server.rest.reading import HEADER_LENGTH
from skerry.server.rest.routes import Route
from skerry.server.turns import Turns

_INTERFACE: Final = "REST"
_REMEMBERED: Final = 512
_ENCODING: Final = b"content-encoding"
_CONTENT_TYPE: Final = b"content-type"


class Taken:
    """Of the requests of a turn those that have the form: where they are, how their answers begin, the values."""

    __slots__ = ("begins", "places", "rows")

    def __init__(self) -> None:
        self.places: list[int] = []
        self.begins: list[bytes] = []
        self.rows: Rows = []


class Form(Protocol):
    """How requests of one form are read and answered by one version of a model."""

    def read(self, requests: Sequence[Request]) -> Taken:
        """Take those that have the form, and nothing wrong with them."""

    def written(self, part: Part, begins: list[bytes]) -> list[Response | None]:
        """The answers, after these beginnings; None where the outputs are not as usual."""


FormOf: TypeAlias = Callable[[ServedVersion], Form | None]


def _tell(reply: Reply, answer: Response | None) -> None:
    """Write an answer, or have the general way find it; one broken connection must not cost the others theirs."""
    try:
        if answer is None:
            reply.hand_back()
        else:
            reply.answer(answer)
    except Exception as why:  # noqa: BLE001 - see above
        log.exception("connection broke", error=type(why).__name__)


def _nothing() -> None:
    """In place of a reference."""


_Item: TypeAlias = tuple[Reply, Request, float]


class Lane:
    """Takes requests of one form for one model, in one version or the one that is the default."""

    def __init__(self, plane: DataPlane, route: Route, otherwise: Handler, form: FormOf) -> None:
        self._plane = plane
        self._route = route
        self._otherwise = otherwise
        self._form_of = form
        self._served: Callable[[], ServedVersion | None] = _nothing  # weak: a lane must not keep a model in memory
        self._form: Form | None = None  # how its requests are read, if it takes any
        self._open = False  # and runs them on the loop
        self._turns: Turns[_Item]

    def handle(self, request: Request, reply: Reply) -> Response | Later | None:
        """Answer now or later, or with None: then the reply will be told."""
        if not self._open and self._look() is None:
            return self._otherwise(request)
        now = perf_counter()
        if self._turns.is_alone():
            [answer] = self._answers([request], [now])
            return self._otherwise(request) if answer is None else answer
        self._turns.add((reply, request, now))
        return None

    def _look(self) -> tuple[ServedVersion, Form] | None:
        """Find out which version answers at present, and whether it takes such requests, and on the loop."""
        self._open = False
        try:
            served = self._plane.find(self._route.model, self._route.version)
        except (NotReady, UnknownModel):
            self._served, self._form = _nothing, None
            return None
        if served is not self._served():
            self._served = ref(served)
            self._form = self._form_of(served)
            self._turns = served.execution.turns(self._end)
        if self._form is None or not served.execution.inline:
            return None
        self._open = True
        return served, self._form

    def _end(self, items: list[_Item], _size: int) -> None:
        """Answer who is still there."""
        wanted = [item for item in items if item[0].open]
        if len(wanted) < len(items) and (served := self._served()) is not None:
            self._plane.count_rows(served, _INTERFACE, [], len(items) - len(wanted))
        try:
            answers = self._answers([item[1] for item in wanted], [item[2] for item in wanted])
        except Exception as why:  # noqa: BLE001 - a defect of the lane is a slower answer, not a missing one
            log.exception("the lane broke; its requests go the general way", error=type(why).__name__)
            answers = [None] * len(wanted)
        for item, answer in zip(wanted, answers, strict=True):
            _tell(item[0], answer)

    def _answers(self, requests: list[Request], since: list[float]) -> list[Response | None]:
        """Answer what is plain and right."""
        answers: list[Response | None] = [None] * len(requests)
        if (found := self._look()) is None:
            return answers
        served, form = found
        read = form.read(requests)
        if not read.places:
            return answers
        if len(read.places) < len(requests):
            since = [since[place] for place in read.places]
        written: list[Response | None] = []
        for part in served.execution.run_rows(read.rows, since):
            written += form.written(part, read.begins[len(written) : len(written) + part[0]])
        if None in written:  # not a model for this lane
            self._form, self._open = None, False
        well = [at for at, answer in zip(since, written, strict=True) if answer is not None and answer.status == 200]
        self._plane.count_rows(served, _INTERFACE, well, len(written) - written.count(None) - len(well))
        if len(written) == len(answers):
            return written
        for place, answer in zip(read.places, written, strict=True):
            answers[place] = answer
        return answers


class Lanes:
    """The lanes of a server, by what is asked for. Bounded: who invents targets empties it, no more."""

    def __init__(self, plane: DataPlane, otherwise: Handler, text: FormOf, binary: FormOf) -> None:
        """Read JSON as `text` says, and JSON with tensors behind it as `binary`. `otherwise` is the general way."""
        self._plane = plane
        self._otherwise = otherwise
        self._forms = (text, binary)
        self._lanes: dict[bytes, list[Lane]] = {}

    def open(self, target: bytes, route: Route) -> None:
        """Have a lane for a target that was asked for, which is a model's inference."""
        if target not in self._lanes:
            if len(self._lanes) >= _REMEMBERED:
                self._lanes.clear()
            self._lanes[target] = [Lane(self._plane, route, self._otherwise, form) for form in self._forms]

    def find(self, request: Request) -> Lane | None:
        """Return the lane for a request that may be for one."""
        lanes = self._lanes.get(request.target)
        if lanes is None or len(request.body) >= large.WORTHWHILE or request.method != b"POST":
            return None
        headers = request.headers
        if _ENCODING in headers:
            return None
        if HEADER_LENGTH in headers:
            return lanes[1]
        return None if headers.get(_CONTENT_TYPE, b"").startswith(uploads.KINDS) else lanes[0]
