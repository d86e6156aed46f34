"""What both protocols have in common: one connection with at most one request at a time."""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol, TypeVar

import click
import uvloop

from skerry.cli.bench.target import Target

T = TypeVar("T")
LOST: Final = "connection lost"


class Sink(Protocol):
    """Who is told."""

    def ended(self, client: "Client", failure: str) -> None:
        """The request has its answer; `failure` is the kind of it, "" for a good answer."""

    def gone(self, client: "Client") -> None:
        """The connection is closed; a request without an answer has been told before."""


class Client(asyncio.Protocol):
    """One connection. `began` is when the request under way was due (0: there is none), `sent` when it was sent."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.began = 0.0
        self.sent = 0.0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:  # uvloop's is none of asyncio's classes
        self.transport = transport
        self.greet()

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        self.finish(LOST)
        self.sink.gone(self)

    def greet(self) -> None:
        """Say what has to be said before the first request."""

    @abstractmethod
    def send(self) -> None:
        """Send the request. The caller sets `began`."""

    def finish(self, failure: str) -> None:
        """Tell the end of the request under way, once."""
        if self.began:
            self.sink.ended(self, failure)

    def give_up(self, failure: str) -> None:
        """Leave the connection, and tell why the request has no answer."""
        transport, self.transport = self.transport, None  # nothing more is sent here
        self.finish(failure)
        if transport is not None:
            transport.abort()

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class Once:
    """Waits for one answer."""

    def __init__(self) -> None:
        self._end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def ended(self, client: Client, failure: str) -> None:
        client.began = 0.0
        if not self._end.done():
            self._end.set_result(failure)

    def gone(self, client: Client) -> None:
        if not self._end.done():
            self._end.set_result(LOST)

    async def end(self) -> str:
        return await self._end


async def connect(target: Target, client: Client) -> None:
    """Connect within the target's time-out; raises `OSError` (a `TimeoutError` is one)."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(target.timeout):
        await loop.create_connection(
            lambda: client, target.address, target.port, ssl=target.tls, server_hostname=target.server_name
        )


async def one_answer(target: Target, make: Callable[[Sink], Client]) -> tuple[Client, str]:
    """Connect, send once, and return the client with the failure."""
    once = Once()
    client = make(once)
    await connect(target, client)
    try:
        if client.transport is not None:
            client.began = asyncio.get_running_loop().time()
            client.send()
        async with asyncio.timeout(target.timeout):
            return client, await once.end()
    finally:
        client.abort()


def run(target: Target, work: Callable[[], Awaitable[T]]) -> T:
    """Run to the end; what cannot be reached becomes a `click.ClickException`."""

    async def all_of_it() -> T:
        return await work()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(all_of_it())
    except TimeoutError as error:
        raise click.ClickException(
            f"no answer from {target.url} within {target.timeout:g} s; give a longer --timeout"
        ) from error
    except OSError as error:  # certificates, names, refusals
        raise click.ClickException(f"cannot reach {target.url}: {error.strerror or error}") from error
