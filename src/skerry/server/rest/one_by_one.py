"""Rows for a model that takes one at a time: each runs as a request of its own, and the answers are joined.

KServe's first protocol speaks of rows and knows nothing of batches, so its clients send several to any model. One row
runs at a time: a request of a thousand rows takes no more of the queue than any other, and others go in between.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from skerry.server.dataplane import DataPlane
from skerry.server.errors import InvalidRequest, NotReady, ServingError
from skerry.server.registry import ServedVersion
from skerry.server.rest.routes import Route
from skerry.server.tensors import InferRequest, InferResponse, Tensor, TensorSpec

_AT_ONCE: Final = 16  # rows of a model on the event loop before others get a turn
_INTERFACE: Final = "REST"


def rows_of(tensors: Sequence[Tensor], served: ServedVersion) -> list[list[Tensor]] | None:
    """The rows, if there are several and the model takes one at a time; else None."""
    model = served.model
    if not all(_is_one_row(spec) for spec in (*model.inputs, *model.outputs)):
        return None
    counts = {tensor.shape[0] if tensor.shape else 1 for tensor in tensors}
    if len(counts) != 1 or (count := counts.pop()) < 2:
        return None
    return [[_row(tensor, index, count) for tensor in tensors] for index in range(count)]


def _is_one_row(spec: TensorSpec) -> bool:
    return bool(spec.dims) and spec.dims[0].low == spec.dims[0].high == 1


def _row(tensor: Tensor, index: int, count: int) -> Tensor:
    size = len(tensor.values) // count
    values = tensor.values[index * size : (index + 1) * size]
    return Tensor(tensor.name, tensor.datatype, (1, *tensor.shape[1:]), values)


class OneByOne:
    """One request of several rows."""

    def __init__(self, plane: DataPlane, served: ServedVersion, route: Route, rows: list[list[Tensor]]) -> None:
        self._plane = plane
        self._served = served
        self._route = route
        self._rows = rows
        self._answers: list[InferResponse] = []
        self._work: asyncio.Future[InferResponse] | None = None
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[InferResponse] = self._loop.create_future()

    def begin(self) -> asyncio.Future[InferResponse]:
        """Start; cancel the future when nobody waits for it any more."""
        self._future.add_done_callback(self._left)
        self._go_on()
        return self._future

    def _go_on(self) -> None:
        try:
            for _ in range(_AT_ONCE):
                if self._future.done():
                    return
                if len(self._answers) == len(self._rows):
                    self._future.set_result(_joined(self._answers))
                    return
                answer = self._ask(self._rows[len(self._answers)])
                if not isinstance(answer, InferResponse):
                    self._work = answer
                    answer.add_done_callback(self._done)
                    return
                self._answers.append(answer)
        except ServingError as why:
            self._future.set_exception(why)
            return
        self._loop.call_soon(self._go_on)

    def _ask(self, row: list[Tensor]) -> "InferResponse | asyncio.Future[InferResponse]":
        # A version that has retired meanwhile is closed as soon as it is idle, which between two rows it is.
        if self._plane.find(self._route.model, self._route.version) is not self._served:
            raise NotReady(f"{self._served.name} was replaced between two rows of the request; try again")
        return self._plane.infer(self._served, InferRequest(row, [], time.perf_counter()), _INTERFACE)

    def _done(self, done: "asyncio.Future[InferResponse]") -> None:
        if self._future.done() or done.cancelled():
            return
        if (why := done.exception()) is not None:
            self._future.set_exception(why)
            return
        self._answers.append(done.result())
        self._go_on()

    def _left(self, answer: "asyncio.Future[InferResponse]") -> None:
        if answer.cancelled() and self._work is not None:
            self._work.cancel()


def _joined(answers: list[InferResponse]) -> InferResponse:
    first = answers[0]
    outputs = [_stacked([answer.outputs[index] for answer in answers]) for index in range(len(first.outputs))]
    return InferResponse(first.model_name, first.model_version, outputs)


def _stacked(rows: list[Tensor]) -> Tensor:
    first = rows[0]
    if len({row.shape for row in rows}) != 1:
        raise InvalidRequest(f"output {first.name} has another shape for each row; send the rows one by one")
    values: Any
    if isinstance(first.values, list):
        values = [value for row in rows for value in row.values]
    else:
        values = np.concatenate([np.ravel(row.values) for row in rows])
    return Tensor(first.name, first.datatype, (len(rows), *first.shape[1:]), values)
