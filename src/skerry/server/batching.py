"""Requests that run as one call of the engine.

A small model spends most of a call on being called: 32 rows take hardly longer than one. So what arrives in one turn
of the event loop (or within `--max_queue_delay`) is put together, rows behind rows, run once, and cut apart again;
each answer is a view on the common result. In the thread pool the same happens to what waits in the queue.

That is only right when the rows do not know of each other. The first dimension of every tensor must be free and all
others fixed, and before anything is merged, the model is asked twice: rows together must give what they give alone.
A softmax over the batch, or a first dimension that is a time, is found out in this way.

Calls that must not be merged are collected all the same and run one behind the other: reading requests, calling the
engine and writing answers are each more code than a processor's caches hold, and taking turns between the three with
every request costs a third more than doing each for all requests of a turn.
"""

import asyncio
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Final, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

import msgspec
import numpy as np

from skerry.server import log
from skerry.server.bfloat16 import BF16
from skerry.server.engines import LoadedModel, Repeating, Shape, Slot, Values
from skerry.server.errors import InferenceFailed, ServingError
from skerry.server.layouts import batch_position
from skerry.server.tensors import DTYPES, Array, TensorSpec, element_count
from skerry.server.turns import Turns

Feeds: TypeAlias = Sequence[tuple[Values, Shape]]
Rows: TypeAlias = Sequence[tuple[Array, Shape]]
"""Several requests of one shape: for each input the values of all, one behind the other, and the shape of one."""

USUAL_ROWS: Final = 64
_LOOP_SECONDS: Final = 1e-3
_CALL_SECONDS: Final = 10e-6
_RUNS: Final = 5


class Merging(msgspec.Struct, frozen=True):
    """How many rows may run as one call, and how long the first of them waits for others.

    With 0 rows the server chooses for models that run on the event loop, and merges nothing in threads.
    """

    rows: int = 0
    delay_seconds: float = 0.0


Answer = TypeVar("Answer")
Answer_co = TypeVar("Answer_co", covariant=True)
"""What a call makes of the engine's results: an `InferResponse`, or whatever its transport writes."""


class Call(Protocol[Answer_co]):
    """One inference, ready to run."""

    @property
    def light(self) -> bool:
        """Whether there is so little to copy and nothing to prepare that the event loop may run it."""

    @property
    def feeds(self) -> Feeds: ...

    def prepare(self) -> None:
        """The work that needs no slot, such as decoding pictures."""

    def infer(self, slot: Slot) -> Answer_co: ...

    def respond(self, results: list[tuple[Values, Shape]]) -> Answer_co:
        """Make the answer of what the engine returned."""


@runtime_checkable
class Paddable(Protocol):
    """A model whose engine is faster when it sees the same shape again."""

    def pad(self, rows: int) -> None:
        """Let slots made from now on fill requests up to so many rows, known to be independent; 0 is as before."""


class Waiting:
    """A call in the present batch, and since when it waits."""

    __slots__ = ("call", "future", "since")

    def __init__(self, call: Call[Any], future: asyncio.Future[Any]) -> None:
        self.call = call
        self.future = future
        self.since = perf_counter()


class LoopBatches:
    """Collects calls. `run` gets them with their number of rows, and settles every future.

    `size_of` says how much a call adds to a batch: its rows, or 1 where each runs by itself.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        merging: Merging,
        run: Callable[[list[Waiting], int], None],
        size_of: Callable[[Feeds], int],
    ) -> None:
        self._loop = loop
        self._most = merging.rows
        self._size_of = size_of
        self._turns = Turns(loop, merging.rows, merging.delay_seconds, run)

    @property
    def busy(self) -> bool:
        """Whether anybody waits for the end of a turn."""
        return self._turns.busy

    def add(self, call: Call[Any]) -> asyncio.Future[Any] | None:
        """Return the future answer; None when the call is best run at once."""
        if self._turns.is_alone():
            return None
        rows = self._size_of(call.feeds)
        if not 0 < rows < self._most:
            return None
        waiting = Waiting(call, self._loop.create_future())
        self._turns.add(waiting, rows)
        return waiting.future


def one_of(_feeds: Feeds) -> int:
    """What a call counts that runs by itself."""
    return 1


def rows_of(feeds: Feeds) -> int:
    """How many rows a request has; 0 where its inputs do not agree."""
    rows = feeds[0][1][0]
    if len(feeds) > 1 and any(shape[0] != rows for _, shape in feeds):
        return 0
    return rows


def _run_together(slot: Slot, calls: Sequence[Call[Any]]) -> list[Any]:
    """Run several calls as one. Raises what the engine raises: then nobody has an answer yet."""
    each = [call.feeds for call in calls]
    counts = [feeds[0][1][0] for feeds in each]
    total = sum(counts)
    merged = [
        (np.concatenate([feeds[index][0] for feeds in each]), (total, *shape[1:]))
        for index, (_, shape) in enumerate(each[0])
    ]
    results = slot.infer(merged)
    if len(results) == 1:
        [(values, shape)] = results
        assert not isinstance(values, list)
        width = len(values) // total
        tail = shape[1:]
        answers = []
        end = 0
        for call, count in zip(calls, counts, strict=True):
            begin, end = end, end + count * width
            answers.append(call.respond([(values[begin:end], (count, *tail))]))
        return answers
    return _cut(calls, counts, total, results)


def _cut(calls: Sequence[Call[Any]], counts: list[int], total: int, results: list[tuple[Values, Shape]]) -> list[Any]:
    answers = []
    row = 0
    widths = [len(values) // total for values, _ in results]
    for call, count in zip(calls, counts, strict=True):
        parts: list[tuple[Values, Shape]] = [
            (values[row * width : (row + count) * width], (count, *shape[1:]))
            for (values, shape), width in zip(results, widths, strict=True)
        ]
        answers.append(call.respond(parts))
        row += count
    return answers


Part: TypeAlias = tuple[int, Sequence[tuple[Values, Shape]] | ServingError]
"""How many requests, and their outputs as `Rows`, or what was wrong with them."""


def rows_together(slot: Slot, rows: Rows, count: int) -> list[Part]:
    """Run requests of one row each as one call; when that fails each runs alone."""
    if count == 1:
        return [(1, row_alone(slot, rows, 0, 1))]
    try:
        found = slot.infer([(values, (count, *shape[1:])) for values, shape in rows])
        return [(count, [(values, (1, *shape[1:])) for values, shape in found])]
    except Exception as why:  # noqa: BLE001 - as below
        _say_that_they_run_alone(count, why)
    return [(1, row_alone(slot, rows, place, count)) for place in range(count)]


def rows_apart(slot: Slot, rows: Rows, count: int) -> list[Part]:
    """Run requests one behind the other, each for itself."""
    if count > 1 and hasattr(slot, "infer_each"):  # which is `Repeating`; to ask the class takes 5 us
        try:
            if (found := cast("Repeating", slot).infer_each(rows, count)) is not None:
                return [(count, found)]
        except Exception as why:  # noqa: BLE001 - one of them; the others shall have their answers
            _say_that_they_run_alone(count, why)
    return [(1, row_alone(slot, rows, place, count)) for place in range(count)]


def row_alone(slot: Slot, rows: Rows, place: int, count: int) -> list[tuple[Values, Shape]] | ServingError:
    """Run one of so many requests of one shape; what goes wrong is its outcome."""
    try:
        if count == 1:
            return slot.infer(rows)
        parts = [(len(values) // count, values, shape) for values, shape in rows]
        return slot.infer([(values[place * size : (place + 1) * size], shape) for size, values, shape in parts])
    except Exception as why:  # noqa: BLE001 - a defect is one failed request
        return failure(why)


def _say_that_they_run_alone(count: int, why: Exception) -> None:
    log.info("a batch failed; its requests run alone", requests=count, error=type(why).__name__)


def outcomes(slot: Slot, calls: Sequence[Call[Any]]) -> Sequence[Any | Exception]:
    """Run calls as one. When that fails each runs alone, so that only those fail whose fault it is."""
    if len(calls) > 1:
        try:
            return _run_together(slot, calls)
        except Exception as why:  # noqa: BLE001 - as below
            _say_that_they_run_alone(len(calls), why)
    return [outcome(slot, call) for call in calls]


def outcome(slot: Slot, call: Call[Any]) -> Any | Exception:
    """Run one call; what goes wrong is its outcome."""
    try:
        return call.infer(slot)
    except Exception as why:  # noqa: BLE001 - a defect is one failed request
        return failure(why)


def failure(why: Exception) -> ServingError:
    """What a client is told; call it where the exception was caught."""
    if isinstance(why, ServingError):
        return why
    log.exception("inference broke", error=type(why).__name__)
    return InferenceFailed(f"Internal inference error - {type(why).__name__}: {why}")


# Whether, and how far, a model's requests may be merged. Blocks: for the thread that loads the model.


def most_rows(model: LoadedModel, slot: Slot, wanted: int) -> int:
    """How many rows one call may have: 1 where requests must not be merged."""
    if wanted == 1 or not has_free_rows(model):
        return 1
    highest = [spec.dims[0].high for spec in model.inputs]
    rows = min([wanted or USUAL_ROWS, *(high for high in highest if high is not None)])
    if rows < 2 or not _are_rows_independent(model, slot):
        return 1
    return rows


def rows_within(seconds_of: Callable[[int], float], rows: int) -> int:
    """The most rows that do not hold the event loop up; `seconds_of` measures a call."""
    while rows > 1 and seconds_of(rows) > _LOOP_SECONDS:
        rows //= 2
    return rows


def rows_for_nothing(seconds_of: Callable[[int], float], rows: int) -> int:
    """How many rows cost no more than one and a change of shape: an engine may then always be given so many."""
    alone = seconds_of(1)
    while rows > 1 and seconds_of(rows) > alone + _CALL_SECONDS:
        rows //= 2
    return rows


def timed(model: LoadedModel, slot: Slot) -> Callable[[int], float]:
    """A function that measures a call with so many rows."""

    def seconds_of(rows: int) -> float:
        feeds = [(np.zeros(rows * _width(spec), DTYPES[spec.datatype]), _shape(spec, rows)) for spec in model.inputs]
        times = []
        for _ in range(_RUNS):
            start = perf_counter()
            slot.infer(feeds)
            times.append(perf_counter() - start)
        return min(times)

    return seconds_of


def has_free_rows(model: LoadedModel) -> bool:
    """Whether the first dimension of all tensors may be anything from one on, and all others are fixed."""
    return bool(model.inputs) and all(_has_free_rows(spec) for spec in (*model.inputs, *model.outputs))


def _has_free_rows(spec: TensorSpec) -> bool:
    dims = spec.dims
    if spec.datatype not in DTYPES or spec.datatype == BF16 or not dims or dims[0].fixed or dims[0].low > 1:
        return False
    if spec.layout and batch_position(spec.layout, len(dims)) != 0:
        return False
    return all(dim.fixed for dim in dims[1:])


def _width(spec: TensorSpec) -> int:
    return element_count([dim.low for dim in spec.dims[1:]])


def _shape(spec: TensorSpec, rows: int) -> Shape:
    return (rows, *(dim.low for dim in spec.dims[1:]))


def _are_rows_independent(model: LoadedModel, slot: Slot) -> bool:
    """Whether three different rows give together what they give alone."""
    generator = np.random.default_rng(0)
    rows = [[_row(spec, generator) for spec in model.inputs] for _ in range(3)]
    try:
        alone = [_inferred(slot, model, [row]) for row in rows]
        together = _inferred(slot, model, rows)
    except (ServingError, KeyError, ValueError, MemoryError):
        return False
    for index, (values, shape) in enumerate(together):
        if not shape or shape[0] != len(rows) or any(part[index][1] != (1, *shape[1:]) for part in alone):
            return False
        expected = np.concatenate([part[index][0] for part in alone])
        if not np.allclose(values, expected, rtol=1e-3, atol=1e-5, equal_nan=values.dtype.kind == "f"):
            return False
    return True


def _row(spec: TensorSpec, generator: np.random.Generator) -> Array:
    """Small whole numbers where numbers are whole: they may be places in a table."""
    width = _width(spec)
    dtype = DTYPES[spec.datatype]
    row: Array = generator.random(width).astype(dtype) if dtype.kind == "f" else generator.integers(2, size=width)
    return row.astype(dtype)


def _inferred(slot: Slot, model: LoadedModel, rows: list[list[Array]]) -> list[tuple[Array, Shape]]:
    feeds: list[tuple[Values, Shape]] = [
        (np.concatenate([row[index] for row in rows]), _shape(spec, len(rows)))
        for index, spec in enumerate(model.inputs)
    ]
    return [(np.asarray(values), shape) for values, shape in slot.infer(feeds)]
