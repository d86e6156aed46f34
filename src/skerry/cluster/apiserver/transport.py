"""An `httpx2` transport that calls the API server inside this process: no socket, and a watch streams.

httpx2's own ASGI transport collects the whole body before it returns the response, and a watch never ends; this one
hands over each chunk as the application sends it. A slow reader slows the application down (a queue of bounded size).
An answer that breaks off is an error for the reader, as it is over a socket, and the client's time limit holds.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final

import httpx2

from skerry.cluster.apiserver.auth import IN_PROCESS

_CHUNKS: Final = 64

Message = MutableMapping[str, Any]
Application = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
Head = tuple[int, list[tuple[bytes, bytes]]]


class InProcessTransport(httpx2.AsyncBaseTransport):
    """Sends requests to the application as `user`."""

    def __init__(self, app: Application, user: str) -> None:
        self._app = app
        self._user = user
        self._running: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        body = b"".join([chunk async for chunk in request.stream])
        patience = (request.extensions.get("timeout") or {}).get("read")
        exchange = _Exchange(body, patience)
        # The task belongs to the response: it ends with the body, or is cancelled when the response is closed.
        task = asyncio.get_running_loop().create_task(self._call(self._scope(request), exchange))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(exchange.finished)
        try:
            status, headers = await exchange.head()
        except BaseException:
            task.cancel()
            raise
        return httpx2.Response(status, headers=headers, stream=_Body(exchange, task), request=request)

    async def aclose(self) -> None:
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _call(self, scope: Message, exchange: "_Exchange") -> None:
        await self._app(scope, exchange.receive, exchange.send)

    def _scope(self, request: httpx2.Request) -> Message:
        return {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.split(b"?")[0],
            "query_string": request.url.query,
            "headers": [(key.lower(), value) for key, value in request.headers.raw],
            "extensions": {IN_PROCESS: self._user},
        }


class _Exchange:
    """One request and its response, as ASGI messages."""

    def __init__(self, body: bytes, patience: float | None) -> None:
        self._body: bytes | None = body
        self._patience = patience  # seconds that the caller waits for the head and for each chunk
        self._head: asyncio.Future[Head] = asyncio.get_running_loop().create_future()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue(_CHUNKS)
        self._left = asyncio.Event()
        self._complete = False
        self._over = False
        self._why = ""

    async def receive(self) -> Message:
        """Return the request, then wait: a caller that leaves cancels the application."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if not self._head.done():  # the caller may have been cancelled while the application worked
                self._head.set_result((message["status"], list(message["headers"])))
            return
        if message.get("body"):
            await self._chunks.put(message["body"])
        if not message.get("more_body"):
            self._complete = True
            await self._chunks.put(None)

    def finished(self, task: "asyncio.Task[None]") -> None:
        """Wake whoever waits for an application that ended, with or without an answer."""
        error = None if task.cancelled() else task.exception()
        self._why = repr(error) if error is not None else "cancelled" if task.cancelled() else "no answer"
        self._over = True
        if not self._head.done():
            self._head.set_exception(self._broken())
        if not self._chunks.full():
            self._chunks.put_nowait(None)  # a reader with a full queue looks at `_over` when it has emptied it

    async def head(self) -> Head:
        try:
            async with asyncio.timeout(self._patience):
                return await self._head
        except TimeoutError:
            raise httpx2.ReadTimeout(f"the API server did not answer in {self._patience} s") from None

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the chunks; raises when the application breaks off or makes the caller wait too long."""
        while not (self._chunks.empty() and self._over):
            chunk = await self._chunk()
            if chunk is None:
                break
            yield chunk
        if not self._complete:
            raise self._broken()

    async def _chunk(self) -> bytes | None:
        try:
            async with asyncio.timeout(self._patience):
                return await self._chunks.get()
        except TimeoutError:
            raise httpx2.ReadTimeout(f"the API server said nothing for {self._patience} s") from None

    def _broken(self) -> httpx2.RemoteProtocolError:
        return httpx2.RemoteProtocolError(f"the API server broke off: {self._why}")


class _Body(httpx2.AsyncByteStream):
    def __init__(self, exchange: _Exchange, task: "asyncio.Task[None]") -> None:
        self._exchange = exchange
        self._task = task

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._exchange.body()

    async def aclose(self) -> None:
        self._task.cancel()
