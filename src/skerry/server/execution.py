"""When an inference runs.

A model that answers in less than 0.2 ms runs on the event loop at once: handing it to a thread costs more than the
model. Every other runs in a small pool. Each inference holds one of the model's slots; there is one thread more than
there are slots, so that the next request's picture is decoded while the engine is busy.

The event loop owns all the state: the queue, the idle threads, the counters. A thread gets one job, works, and hands
the outcome back through `call_soon_threadsafe`; nothing is locked. A job whose client has gone (its future is
cancelled) or whose time is over is dropped where it stands: in the queue, or before it takes a slot. One that already
runs is left to finish, because no engine can be interrupted, and its outcome falls to the floor; its slot and its
thread come back either way. The queue is bounded: beyond it the answer is "try again in n seconds", not memory.
"""

import asyncio
import math
import threading
from collections import deque
from collections.abc import Sequence
from queue import SimpleQueue
from time import perf_counter
from typing import Final, Protocol

import msgspec
import numpy as np

from skerry.server import log
from skerry.server.engines import LoadedModel, Shape, Slot, Values
from skerry.server.errors import InferenceFailed, Overloaded, ServingError, TimedOut
from skerry.server.model_metrics import VersionMetrics
from skerry.server.tensors import BYTES, DTYPES, InferResponse, TensorSpec, element_count

INLINE_SECONDS: Final = 200e-6
_SMOOTHING: Final = 0.1
_MOST_RUNS: Final = 6
_MEASURING_SECONDS: Final = 0.02
_MOST_THREADS: Final = 256
_CONVINCING: Final = 20


class Limits(msgspec.Struct, frozen=True):
    """How much may wait, and how long a request may take in all."""

    max_queue: int
    timeout_seconds: float


class Call(Protocol):
    """One inference, ready to run."""

    @property
    def light(self) -> bool:
        """Whether there is so little to copy and nothing to prepare that the event loop may run it."""

    def prepare(self) -> None:
        """The work that needs no slot, such as decoding pictures."""

    def infer(self, slot: Slot) -> InferResponse: ...


class _Job:
    """A call in the pool. Written by one thread at a time; the loop reads the times when the thread is done."""

    __slots__ = ("call", "future", "inferring", "submitted", "timer", "waited")

    def __init__(self, call: Call, future: asyncio.Future[InferResponse]) -> None:
        self.call = call
        self.future = future
        self.submitted = perf_counter()
        self.timer: asyncio.TimerHandle | None = None
        self.waited = 0.0
        self.inferring = 0.0


class _Abandoned(Exception):
    """Nobody waits for the answer any more."""


class Execution:
    """Runs the inferences of one version of a model."""

    def __init__(
        self, warm: "WarmModel", metrics: VersionMetrics, limits: Limits, loop: asyncio.AbstractEventLoop
    ) -> None:
        model = warm.model
        self._model = model
        self._metrics = metrics
        self._limits = limits
        self._loop = loop
        self._waiting: deque[_Job] = deque()
        self._idle: list[SimpleQueue[_Job | None]] = []
        self._threads: list[SimpleQueue[_Job | None]] = []
        self._slots: SimpleQueue[Slot] = SimpleQueue()
        self._slot_count = min(model.slots, _MOST_THREADS)
        self.typical_seconds = warm.seconds
        self._inline = self.typical_seconds < INLINE_SECONDS
        self._dissenting = 0
        self._loop_slot = warm.slot if self._inline else None
        if not self._inline:
            self._slots.put(warm.slot)
        self._inference_time = metrics.inference_time
        self._wait_time = metrics.wait_time
        metrics.streams.value = model.streams
        metrics.queue_size.value = self._slot_count

    @property
    def inline(self) -> bool:
        """Whether light calls run on the event loop."""
        return self._inline

    def run(self, call: Call) -> InferResponse | asyncio.Future[InferResponse]:
        """Return the answer, or a future of it; cancel the future when nobody waits for it any more."""
        if self._inline and call.light:
            return self._run_here(call)
        return self._enqueue(call)

    def _run_here(self, call: Call) -> InferResponse:
        assert self._loop_slot is not None
        start = perf_counter()
        answer = call.infer(self._loop_slot)
        took = perf_counter() - start
        self._inference_time.observe(took)
        self._wait_time.observe(0.0)
        if self._dissenting or took > 2 * INLINE_SECONDS:
            self._judge(took)
        return answer

    def _enqueue(self, call: Call) -> asyncio.Future[InferResponse]:
        if not self._threads:
            self._start_threads()
        if len(self._waiting) >= self._limits.max_queue:
            self._refuse_when_full()
        job = _Job(call, self._loop.create_future())
        job.timer = self._loop.call_later(self._limits.timeout_seconds, self._time_out, job)
        self._metrics.current_requests.value += 1
        if self._idle:
            self._idle.pop().put(job)
            self._count_active()
        else:
            self._waiting.append(job)
        return job.future

    def close(self) -> None:
        """Let every thread end after its present job; what waits is refused."""
        for inbox in self._threads:
            inbox.put(None)
        for job in self._waiting:
            if not job.future.done():
                job.future.set_exception(Overloaded("the model is being unloaded"))

    def _start_threads(self) -> None:
        for _ in range(self._slot_count - self._slots.qsize()):
            self._slots.put(self._model.slot())
        for number in range(self._slot_count + 1):
            inbox: SimpleQueue[_Job | None] = SimpleQueue()
            # Daemons: a process that ends does not wait for an engine.
            threading.Thread(target=self._work, args=(inbox,), name=f"infer-{number}", daemon=True).start()
            self._threads.append(inbox)
        self._idle = list(self._threads)

    def _refuse_when_full(self) -> None:
        wanted = deque(job for job in self._waiting if not job.future.done())
        self._metrics.current_requests.value -= len(self._waiting) - len(wanted)
        self._waiting = wanted
        waiting = len(wanted)
        if waiting >= self._limits.max_queue:
            seconds = math.ceil((waiting + 1) * min(self.typical_seconds, 60) / self._slot_count)
            raise Overloaded(
                f"the queue is full: {waiting} requests wait; try again later", retry_after=min(max(seconds, 1), 60)
            )

    def _time_out(self, job: _Job) -> None:
        if not job.future.done():
            seconds = self._limits.timeout_seconds
            job.future.set_exception(TimedOut(f"the request took longer than {seconds:g} s and was given up"))

    def _learn(self, took: float) -> None:
        before = self.typical_seconds if math.isfinite(self.typical_seconds) else took
        self.typical_seconds = before + (took - before) * _SMOOTHING

    def _judge(self, took: float) -> None:
        """Change between loop and threads when the model is not what it was measured to be.

        A machine that is busy elsewhere stops us in the middle now and then, so only an unbroken run of votes counts.
        """
        dissents = took > 2 * INLINE_SECONDS if self._inline else took < INLINE_SECONDS
        self._dissenting = self._dissenting + 1 if dissents else 0
        if self._dissenting == _CONVINCING:
            self._dissenting = 0
            self._inline = not self._inline
            log.info("inference moves", to="event loop" if self._inline else "threads", seconds=took)
            if self._inline and self._loop_slot is None:
                self._loop_slot = self._model.slot()

    # In a thread.

    def _work(self, inbox: SimpleQueue[_Job | None]) -> None:
        while (job := inbox.get()) is not None:
            outcome = self._attempt(job)
            try:
                self._loop.call_soon_threadsafe(self._finished, inbox, job, outcome)
            except RuntimeError:  # the loop is closed: the process is ending
                return

    def _attempt(self, job: _Job) -> InferResponse | Exception:
        try:
            return self._infer(job)
        except (ServingError, _Abandoned) as why:
            return why
        except Exception as why:  # noqa: BLE001 - a defect is one failed request
            log.exception("inference broke", error=type(why).__name__)
            return InferenceFailed(f"Internal inference error - {type(why).__name__}: {why}")

    def _infer(self, job: _Job) -> InferResponse:
        begun = perf_counter()
        if job.future.done():
            raise _Abandoned
        job.call.prepare()
        prepared = perf_counter()
        slot = self._slots.get()
        start = perf_counter()
        job.waited = start - prepared + begun - job.submitted
        try:
            if job.future.done():
                raise _Abandoned
            answer = job.call.infer(slot)
        finally:
            self._slots.put(slot)
        job.inferring = perf_counter() - start
        return answer

    # On the loop again.

    def _finished(self, inbox: SimpleQueue[_Job | None], job: _Job, outcome: InferResponse | Exception) -> None:
        self._next(inbox)
        self._metrics.current_requests.value -= 1
        if job.timer is not None:
            job.timer.cancel()
        if job.inferring:
            self._inference_time.observe(job.inferring)
            self._wait_time.observe(job.waited)
            self._learn(job.inferring)
            if job.call.light:
                self._judge(job.inferring)
        if job.future.done():
            return
        if isinstance(outcome, Exception):
            job.future.set_exception(outcome)
        else:
            job.future.set_result(outcome)

    def _next(self, inbox: SimpleQueue[_Job | None]) -> None:
        """Give the thread the oldest job that somebody still waits for."""
        while self._waiting:
            job = self._waiting.popleft()
            if not job.future.done():
                inbox.put(job)
                return
            self._metrics.current_requests.value -= 1
        self._idle.append(inbox)
        self._count_active()

    def _count_active(self) -> None:
        self._metrics.active.value = min(self._slot_count, len(self._threads) - len(self._idle))


class WarmModel:
    """A loaded model that has run, and how long a run takes; infinity where zeros are no input for it."""

    def __init__(self, model: LoadedModel) -> None:
        """Run the model a few times: the first pays for its memory, the best is its time. Blocks."""
        self.model = model
        self.slot = model.slot()
        try:
            self.seconds = self._measure()
        except (ServingError, KeyError, ValueError, MemoryError):
            self.seconds = math.inf

    def _measure(self) -> float:
        sample = [_zeros(spec) for spec in self.model.inputs]
        times = [self._timed(sample)]
        while len(times) < _MOST_RUNS and sum(times) < _MEASURING_SECONDS:
            times.append(self._timed(sample))
        return min(times)

    def _timed(self, sample: Sequence[tuple[Values, Shape]]) -> float:
        start = perf_counter()
        self.slot.infer(sample)
        return perf_counter() - start


def _zeros(spec: TensorSpec) -> tuple[Values, Shape]:
    shape = tuple(dim.low or 1 for dim in spec.dims)
    count = element_count(shape)
    return ([b""] * count if spec.datatype == BYTES else np.zeros(count, DTYPES[spec.datatype])), shape
