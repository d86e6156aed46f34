"""An `httpx2` transport that calls the API server inside this process: no socket, and a watch streams.

httpx2's own ASGI transport collects the whole body before it returns the response, and a watch never ends; this one
hands over each chunk as the application sends it. A slow reader slows the application down (a queue of bounded size).
"""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from typing import Any, Final

import httpx2

from skerry.cluster.apiserver.app import ApiServer
from skerry.cluster.apiserver.auth import IN_PROCESS

_CHUNKS: Final = 64


class InProcessTransport(httpx2.AsyncBaseTransport):
    """Sends requests to the application as `user`."""

    def __init__(self, app: ApiServer, user: str) -> None:
        self._app = app
        self._user = user
        self._running: set[asyncio.Task[None]] = set()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        body = b"".join([chunk async for chunk in request.stream])
        exchange = _Exchange(body)
        scope = {
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
        # The task belongs to the response: it ends with the body, or is cancelled when the response is closed.
        task = asyncio.get_running_loop().create_task(self._app(scope, exchange.receive, exchange.send))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(exchange.finished)
        status, headers = await exchange.head
        return httpx2.Response(status, headers=headers, stream=_Body(exchange, task), request=request)

    async def aclose(self) -> None:
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)


class _Exchange:
    """One request and its response, as ASGI messages."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self.head: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = asyncio.get_running_loop().create_future()
        self.chunks: asyncio.Queue[bytes | None] = asyncio.Queue(_CHUNKS)
        self._left = asyncio.Event()

    async def receive(self) -> MutableMapping[str, Any]:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            if not self.head.done():  # the caller may have been cancelled while the application worked
                self.head.set_result((message["status"], list(message["headers"])))
            return
        if message.get("body"):
            await self.chunks.put(message["body"])
        if not message.get("more_body"):
            await self.chunks.put(None)

    def finished(self, task: "asyncio.Task[None]") -> None:
        """Fail a request whose application ended without an answer; the reader must not wait for ever."""
        if not self.head.done():
            error = None if task.cancelled() else task.exception()
            self.head.set_exception(httpx2.RemoteProtocolError(f"the API server stopped: {error or 'cancelled'}"))
        elif not self.chunks.full():
            self.chunks.put_nowait(None)  # wakes a reader that waits; one with a full queue looks at the task


class _Body(httpx2.AsyncByteStream):
    def __init__(self, exchange: _Exchange, task: "asyncio.Task[None]") -> None:
        self._exchange = exchange
        self._task = task

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._exchange.chunks
        while not (chunks.empty() and self._task.done()):
            chunk = await chunks.get()
            if chunk is None:
                return
            yield chunk

    async def aclose(self) -> None:
        self._task.cancel()
