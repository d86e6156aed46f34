"""When to send, and what to note.

Closed loop: each client sends its next request when it has the answer to the last, so a slow server is asked less
often. Open loop (a rate): requests are due at fixed times whatever the server does. One that finds no free connection
waits, and its latency counts from when it was due: a server that stands still for a second shows a second, not one slow
request.
"""

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from skerry.cli.bench.client import Client, Sink, connect
from skerry.cli.bench.target import Target

_TICK: Final = 0.25
_PAUSE: Final = 0.1  # after a connection that failed: asking again at once would only measure the kernel
_TIMER: Final = 0.001  # what the event loop can wait; less would be a loop that eats the core
_TIMER_SLOP: Final = 0.002  # lateness that is the timer's, not the server's
_GRACE: Final = 1.0
_MOST_AT_ONCE: Final = 1000


class Latencies:
    """Counts by latency, exact to a thousandth: the same memory for a minute and for a day."""

    def __init__(self) -> None:
        self._counts: defaultdict[int, int] = defaultdict(int)
        self.count = 0
        self.total = 0.0
        self.most = 0.0

    def add(self, seconds: float) -> None:
        micros = int(seconds * 1e6)
        if (shift := micros.bit_length() - 11) > 0:
            micros = micros >> shift << shift
        self._counts[micros] += 1
        self.count += 1
        self.total += seconds
        self.most = max(self.most, seconds)

    def percentile(self, share: float) -> float:
        """Seconds within which this share was answered."""
        wanted, seen = share * self.count, 0
        for micros in sorted(self._counts):
            seen += self._counts[micros]
            if seen >= wanted:
                return micros / 1e6
        return self.most

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0


@dataclass
class Measured:
    """One line of the table."""

    concurrency: int
    rate: float | None
    seconds: float = 0.0
    answers: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    failures: Counter[str] = field(default_factory=Counter)
    unsent: int = 0
    client_cpu: float = 0.0
    interrupted: bool = False

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds if self.seconds else 0.0


class Load:
    """Some clients against one server."""

    def __init__(self, target: Target, make: Callable[[Sink], Client], concurrency: int, rate: float | None) -> None:
        self._target = target
        self._make = make
        self._rate = rate
        self._idle: deque[Client] = deque()
        self._backlog: deque[float] = deque()
        self._gone: dict[Client, asyncio.Future[None]] = {}
        self._running = True
        self._counting = False
        self._start = float("inf")
        self.measured = Measured(concurrency, rate)

    # Told by the clients.

    def ended(self, client: Client, failure: str) -> None:
        now, began = time.perf_counter(), client.began
        client.began = 0.0
        self._note(now - began, failure, began)
        if self._running and client.transport is not None:
            self._next(client, now)

    def gone(self, client: Client) -> None:
        if client in self._idle:
            self._idle.remove(client)
        if (future := self._gone.pop(client, None)) is not None and not future.done():
            future.set_result(None)

    def _note(self, seconds: float, failure: str, began: float) -> None:
        if self._counting and not failure:
            self.measured.answers += 1
        if not (began >= self._start if self._rate else self._counting):
            return
        if failure:
            self.measured.failures[failure] += 1
        else:
            self.measured.latencies.add(seconds)

    # What is sent when.

    def _next(self, client: Client, now: float) -> None:
        if self._rate is None:
            self._begin(client, now, now)
        elif self._backlog:
            self._begin(client, self._backlog.popleft(), now)
        else:
            self._idle.append(client)

    def _begin(self, client: Client, due: float, now: float) -> None:
        client.began, client.sent = due, now
        client.send()

    async def _pace(self, rate: float) -> None:
        due = time.perf_counter()
        while True:
            now = time.perf_counter()
            for _ in range(_MOST_AT_ONCE):
                if due > now:
                    break
                if self._idle:
                    self._begin(self._idle.popleft(), due if now - due > _TIMER_SLOP else now, now)
                else:
                    self._backlog.append(due)
                due += 1 / rate
            await asyncio.sleep(max(due - now, _TIMER))

    async def _keep_connected(self) -> None:
        """One connection after another, for as long as it is needed."""
        while True:
            client = self._make(self)
            try:
                await connect(self._target, client)
            except OSError as error:
                if self._counting:
                    self.measured.failures[_connect_failure(error)] += 1
                await asyncio.sleep(_PAUSE)
                continue
            if client.transport is not None:
                future = self._gone[client] = asyncio.get_running_loop().create_future()
                before = self.measured.answers
                self._next(client, time.perf_counter())
                await future
                if self.measured.answers > before:
                    continue
            await asyncio.sleep(_PAUSE)

    async def _time_out(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            oldest = time.perf_counter() - self._target.timeout
            for client in list(self._gone):
                if client.began and client.sent < oldest:
                    client.give_up("time-out")

    # The measurement.

    async def run(
        self, warm_up: float, seconds: float, stop: asyncio.Event, progress: Callable[[float, Measured], None]
    ) -> Measured:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._keep_connected()) for _ in range(self.measured.concurrency)]
            tasks.append(group.create_task(self._time_out()))
            if self._rate is not None:
                tasks.append(group.create_task(self._pace(self._rate)))
            if not await _within(stop, warm_up):
                await self._count(seconds, stop, progress)
            self.measured.interrupted = stop.is_set()
            await self._finish(tasks)
        return self.measured

    async def _count(self, seconds: float, stop: asyncio.Event, progress: Callable[[float, Measured], None]) -> None:
        self._backlog.clear()  # what piled up while it was warming up is not part of it
        self._start, cpu = time.perf_counter(), time.process_time()
        self._counting = True
        while (left := seconds - (time.perf_counter() - self._start)) > 0:
            progress(seconds - left, self.measured)
            if await _within(stop, min(left, _TICK)):
                break
        self._counting = False
        measured = self.measured
        measured.seconds = time.perf_counter() - self._start
        measured.client_cpu = (time.process_time() - cpu) / measured.seconds

    async def _finish(self, tasks: list[asyncio.Task[None]]) -> None:
        """Stop sending. In an open loop those under way still count, and those that were never sent count as waits."""
        self._running = False
        if self._rate is not None:
            tasks.pop().cancel()
            now = time.perf_counter()
            for due in self._backlog:
                self.measured.latencies.add(now - due)
            self.measured.unsent = len(self._backlog)
            self._backlog.clear()
            deadline = now + min(_GRACE, self._target.timeout)
            while any(client.began for client in self._gone) and time.perf_counter() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        for client in list(self._gone):
            client.began = 0.0
            client.abort()
        for task in tasks:
            task.cancel()


async def _within(event: asyncio.Event, seconds: float) -> bool:
    """Whether it happens in this time."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False


def _connect_failure(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "time-out while connecting"
    return "connection refused" if isinstance(error, ConnectionRefusedError) else "cannot connect"
