"""When an inference runs.

A model that answers in less than 0.2 ms runs on the event loop at once: handing it to a thread costs more than the
model. Every other runs in a small pool. Each inference holds one of the model's slots; there is one thread more than
there are slots, so that the next request's picture is decoded while the engine is busy. Where a model's requests may
be merged (`batching`), what arrives in one turn of the loop runs as one call, and so does what waits for a thread.

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
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from time import perf_counter
from typing import Any, Final, TypeAlias

import msgspec
import numpy as np

from skerry.server import log
from skerry.server.batching import (
    USUAL_ROWS,
    Answer,
    Call,
    LoopBatches,
    Merging,
    Paddable,
    Part,
    Rows,
    Waiting,
    failure,
    has_free_rows,
    most_rows,
    one_of,
    outcome,
    outcomes,
    rows_apart,
    rows_for_nothing,
    rows_of,
    rows_together,
    rows_within,
    timed,
)
from skerry.server.engines import LoadedModel, Shape, Slot, UserCode, Values
from skerry.server.errors import Overloaded, ServingError, TimedOut
from skerry.server.model_metrics import VersionMetrics
from skerry.server.tensors import BYTES, DTYPES, TensorSpec, element_count
from skerry.server.turns import Item, Turns

INLINE_SECONDS: Final = 200e-6
_SMOOTHING: Final = 0.1
_MOST_RUNS: Final = 6
_MEASURING_SECONDS: Final = 0.02
_SLOW_SECONDS: Final = 0.25  # on no machine so busy a model for the event loop
_MOST_THREADS: Final = 256
_CONVINCING: Final = 20


class Limits(msgspec.Struct, frozen=True):
    """How much may wait, and how long a request may take in all."""

    max_queue: int
    timeout_seconds: float


class _Job:
    """A call in the pool. Written by one thread at a time; the loop reads the rest when the thread is done."""

    __slots__ = ("call", "future", "inferring", "outcome", "rows", "submitted", "timer", "waited")

    def __init__(self, call: Call[Any], future: asyncio.Future[Any], rows: int) -> None:
        self.call = call
        self.future = future
        self.rows = rows  # 0 where it must run alone
        self.outcome: Any = None
        self.submitted = perf_counter()
        self.timer: asyncio.TimerHandle | None = None
        self.waited = 0.0
        self.inferring = 0.0


class _Abandoned(Exception):
    """Nobody waits for the answer any more."""


_Inbox: TypeAlias = "SimpleQueue[list[_Job] | None]"


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
        self._idle: list[_Inbox] = []
        self._threads: list[_Inbox] = []
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
        self._merging = warm.merging if warm.merging.rows > 1 else Merging(USUAL_ROWS)
        self._merged_seconds = warm.merged_seconds
        self._merges = warm.merging.rows > 1
        run, size_of = (self._run_turn, rows_of) if self._merges else (self._run_each, one_of)
        self._batches = LoopBatches(loop, self._merging, run, size_of)
        self._rows_in_threads = warm.merging.rows if warm.merges_in_threads else 1
        self._due: asyncio.TimerHandle | None = None
        if self._merges:
            self._batch_sizes, self._queue_time = metrics.merging()
        metrics.streams.value = model.streams
        metrics.queue_size.value = self._slot_count

    @property
    def inline(self) -> bool:
        """Whether light calls run on the event loop."""
        return self._inline

    @property
    def busy(self) -> bool:
        """Whether any inference waits or runs; one on the event loop is over before anybody can ask."""
        return self._batches.busy or bool(self._waiting) or len(self._idle) < len(self._threads)

    @property
    def waiting(self) -> int:
        """How many requests wait for a thread, and somebody for them."""
        return sum(not job.future.done() for job in self._waiting)

    def run(self, call: Call[Answer]) -> Answer | asyncio.Future[Answer]:
        """Return the answer, or a future of it; cancel the future when nobody waits for it any more."""
        if self._inline and call.light:
            answer = self._batches.add(call)
            return self._run_here(call) if answer is None else answer
        return self._enqueue(call)

    def _run_here(self, call: Call[Answer]) -> Answer:
        assert self._loop_slot is not None
        start = perf_counter()
        answer = call.infer(self._loop_slot)
        took = perf_counter() - start
        self._inference_time.observe(took)
        self._wait_time.observe(0.0)
        if self._merges:
            self._batch_sizes.observe(rows_of(call.feeds))
            self._queue_time.observe(0.0)
        if self._dissenting or took > 2 * INLINE_SECONDS:
            self._judge(took)
        return answer

    def _run_each(self, waiting: list[Waiting], _count: int) -> None:
        """Answer what arrived together, one behind the other; those who have left are passed over."""
        assert self._loop_slot is not None
        for each in waiting:
            if each.future.done():
                continue
            start = perf_counter()
            found = outcome(self._loop_slot, each.call)
            took = perf_counter() - start
            self._inference_time.observe(took)
            self._wait_time.observe(start - each.since)
            _settle(each.future, found)
            if self._dissenting or took > 2 * INLINE_SECONDS:
                self._judge(took)

    def _run_turn(self, waiting: list[Waiting], rows: int) -> None:
        """Answer what arrived together; those who have left are passed over."""
        assert self._loop_slot is not None
        start = perf_counter()
        wanted = [each for each in waiting if not each.future.done()]
        if not wanted:
            return
        calls = [each.call for each in wanted]
        answers = outcomes(self._loop_slot, calls)
        took = perf_counter() - start
        self._batch_sizes.observe(rows if len(wanted) == len(waiting) else sum(rows_of(call.feeds) for call in calls))
        for each, found in zip(wanted, answers, strict=True):
            waited = start - each.since
            self._inference_time.observe(took)
            self._wait_time.observe(waited)
            self._queue_time.observe(waited)
            _settle(each.future, found)
        if self._dissenting or took > 2 * INLINE_SECONDS + self._merged_seconds:
            self._judge(max(took - self._merged_seconds, 0))

    def turns(self, run: Callable[[list[Item], int], None]) -> Turns[Item]:
        """Return what collects requests for `run_rows`."""
        return Turns(self._loop, self._merging.rows, self._merging.delay_seconds, run)

    def run_rows(self, rows: Rows, since: list[float]) -> list[Part]:
        """Answer requests that `turns` collected, each waiting since then; only while `inline`."""
        assert self._loop_slot is not None
        count = len(since)
        start = perf_counter()
        parts = (rows_together if self._merges else rows_apart)(self._loop_slot, rows, count)
        took = perf_counter() - start
        if self._merges:
            waited = [start - each for each in since]
            self._batch_sizes.observe(count)
            self._queue_time.observe_each(waited)
            alone = took - self._merged_seconds
        else:
            took = alone = took / count
            waited = [start + place * took - each for place, each in enumerate(since)]
        self._wait_time.observe_each(waited)
        self._inference_time.observe_each([took] * count)
        if self._dissenting or alone > 2 * INLINE_SECONDS:
            self._judge(max(alone, 0))
        return parts

    def _enqueue(self, call: Call[Answer]) -> asyncio.Future[Answer]:
        if not self._threads:
            self._start_threads()
        if len(self._waiting) >= self._limits.max_queue:
            self._refuse_when_full()
        rows = rows_of(call.feeds) if self._rows_in_threads > 1 else 0
        job = _Job(call, self._loop.create_future(), rows)
        job.timer = self._loop.call_later(self._limits.timeout_seconds, self._time_out, job)
        self._metrics.current_requests.value += 1
        self._waiting.append(job)
        self._dispatch()
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
            inbox: _Inbox = SimpleQueue()
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

    def _work(self, inbox: _Inbox) -> None:
        while (jobs := inbox.get()) is not None:
            self._infer(jobs)
            try:
                self._loop.call_soon_threadsafe(self._finished, inbox, jobs)
            except RuntimeError:  # the loop is closed: the process is ending
                return

    def _infer(self, jobs: list[_Job]) -> None:
        begun = perf_counter()
        for job in jobs:
            job.outcome = _prepared(job)
        ready = [job for job in jobs if job.outcome is None]
        if not ready:
            return
        prepared = perf_counter()
        slot = self._slots.get()
        start = perf_counter()
        try:
            for job in ready:
                job.waited = start - prepared + begun - job.submitted
                if job.future.done():
                    job.outcome = _Abandoned()
            ready = [job for job in ready if job.outcome is None]
            for job, found in zip(ready, outcomes(slot, [job.call for job in ready]), strict=True):
                job.outcome = found
        finally:
            self._slots.put(slot)
        took = perf_counter() - start
        for job in ready:
            job.inferring = took

    # On the loop again.

    def _finished(self, inbox: _Inbox, jobs: list[_Job]) -> None:
        self._idle.append(inbox)
        self._dispatch()
        ran = [job for job in jobs if job.inferring]
        if ran:
            self._learn(ran[0].inferring / len(ran))
            if len(ran) == 1 and ran[0].call.light:
                self._judge(ran[0].inferring)
            if self._merges:
                self._batch_sizes.observe(sum(job.rows or rows_of(job.call.feeds) for job in ran))
        for job in jobs:
            self._settle(job)

    def _settle(self, job: _Job) -> None:
        self._metrics.current_requests.value -= 1
        if job.timer is not None:
            job.timer.cancel()
        if job.inferring:
            self._inference_time.observe(job.inferring)
            self._wait_time.observe(job.waited)
            if self._merges:
                self._queue_time.observe(job.waited)
        if job.future.done():
            return
        assert job.outcome is not None
        _settle(job.future, job.outcome)

    def _dispatch(self) -> None:
        """Give idle threads the oldest jobs that somebody still waits for."""
        while self._idle and self._waiting and not self._holds_back():
            if jobs := self._take():
                self._idle.pop().put(jobs)
        self._count_active()

    def _take(self) -> list[_Job]:
        """As many as may run as one call."""
        jobs: list[_Job] = []
        rows = 0
        while self._waiting:
            job = self._waiting[0]
            if not job.future.done():
                if jobs and (not job.rows or rows + job.rows > self._rows_in_threads):
                    break
                jobs.append(job)
                rows += job.rows
            else:
                self._metrics.current_requests.value -= 1
            self._waiting.popleft()
            if jobs and not jobs[-1].rows:
                break
        return jobs

    def _holds_back(self) -> bool:
        """Whether the oldest job should wait a little for company; a timer then comes back to it."""
        delay = self._merging.delay_seconds
        if not delay or self._rows_in_threads == 1 or not self._waiting[0].rows:
            return False
        if sum(job.rows for job in self._waiting) >= self._rows_in_threads:
            return False
        left = self._waiting[0].submitted + delay - perf_counter()
        if left <= 0:
            return False
        if self._due is None:
            self._due = self._loop.call_later(left, self._on_due)
        return True

    def _on_due(self) -> None:
        self._due = None
        self._dispatch()

    def _count_active(self) -> None:
        self._metrics.active.value = min(self._slot_count, len(self._threads) - len(self._idle))


def _settle(future: asyncio.Future[Any], found: Any) -> None:
    if isinstance(found, Exception):
        future.set_exception(found)
    else:
        future.set_result(found)


def _prepared(job: _Job) -> Exception | None:
    """Do what needs no slot; return what went wrong."""
    if job.future.done():
        return _Abandoned()
    try:
        job.call.prepare()
    except Exception as why:  # noqa: BLE001 - a defect is one failed request
        return failure(why)
    return None


class WarmModel:
    """A loaded model that has run, and how long a run takes; infinity where zeros are no input for it."""

    merging = Merging(rows=1)
    merged_seconds = 0.0  # what the largest batch on the event loop takes
    merges_in_threads = False

    def __init__(self, model: LoadedModel, merging: Merging = merging) -> None:
        """Run the model a few times: the first pays for its memory, the best is its time. Blocks."""
        self.model = model
        self.slot = model.slot()
        try:
            self.seconds = math.inf if isinstance(model, UserCode) else self._measure()
        except (ServingError, KeyError, ValueError, MemoryError):
            self.seconds = math.inf
        self._merge(merging)

    def _merge(self, wanted: Merging) -> None:
        """Find out what may run as one call."""
        inline = self.seconds < INLINE_SECONDS
        if not (inline or wanted.rows > 1) or not has_free_rows(self.model):
            if wanted.rows > 1:
                log.warning("requests are not merged: the model's batch is fixed, or other dimensions are not")
            return
        rows = most_rows(self.model, self.slot, wanted.rows)
        if rows == 1 and wanted.rows > 1:
            log.warning("requests are not merged: rows together give something else than alone")
        filled = 1
        if inline:
            seconds_of = timed(self.model, self.slot)
            rows = rows_within(seconds_of, rows)
            filled = rows_for_nothing(seconds_of, rows)
            self.merged_seconds = seconds_of(rows)
        if filled > 1 and isinstance(self.model, Paddable):
            self._pad(self.model, filled)
        self.merging = Merging(rows, wanted.delay_seconds)
        self.merges_in_threads = wanted.rows > 1 and rows > 1

    def _pad(self, model: Paddable, rows: int) -> None:
        """Keep to one shape, provided that the answers stay the same."""
        model.pad(rows)
        self.slot = self.model.slot()
        if most_rows(self.model, self.slot, 0) == 1:
            model.pad(0)
            self.slot = self.model.slot()

    def _measure(self) -> float:
        sample = [_zeros(spec) for spec in self.model.inputs]
        # The first run pays for the model's memory, and on a busy machine for others; it says nothing of the next.
        times = [self._timed(sample)]
        while len(times) < _MOST_RUNS and sum(times[1:]) < _MEASURING_SECONDS and times[0] < _SLOW_SECONDS:
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
