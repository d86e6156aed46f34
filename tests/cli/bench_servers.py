"""Servers that misbehave on purpose, in a thread of the test."""

import asyncio
import gc
import json
import ssl
import threading
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

Answer = Callable[["Fake", str, bytes], Awaitable[tuple[int, bytes] | None]]

METADATA = {
    "name": "fake",
    "versions": ["1"],
    "platform": "none",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [],
}


@dataclass
class Fake:
    """What a server saw. `None` as an answer hangs up."""

    answer: Answer
    port: int = 0
    inferences: int = 0
    heads: list[str] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                self.heads.append(head)
                lengths = [int(line[15:]) for line in head.split("\r\n") if line.startswith("content-length:")]
                body = await reader.readexactly(lengths[0] if lengths else 0)
                reply = await self._reply(head.split(" ")[1], body)
                if reply is None:
                    return
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (reply[0], len(reply[1])) + reply[1])
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # asyncio of Python 3.11 complains of a handler that was cancelled
        finally:
            writer.close()

    async def _reply(self, path: str, body: bytes) -> tuple[int, bytes] | None:
        if path == "/v2/repository/index":
            return 200, b'[{"name": "fake"}]'
        if not path.endswith("/infer"):
            return 200, json.dumps(METADATA).encode()
        self.inferences += 1
        return await self.answer(self, path, body)


@contextmanager
def fake(answer: Answer, context: ssl.SSLContext | None = None) -> Iterator[Fake]:
    """Run it until the block ends."""
    server = Fake(answer)
    started = threading.Event()
    loop = asyncio.new_event_loop()
    end = asyncio.Event()

    async def run() -> None:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
        server.port = listening.sockets[0].getsockname()[1]
        started.set()
        await end.wait()
        listening.close()
        await asyncio.sleep(0)  # a handler that has not begun would not close its connection
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for writer in server.writers:
            writer.transport.abort()  # to close alone would wait for a client that does not read
        for _ in range(5):  # a connection is closed some turns of the loop after it was told to
            await asyncio.sleep(0)

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    assert started.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(end.set)
        thread.join(10)
        loop.close()
        with warnings.catch_warnings():
            # Python 3.11 loses a connection that was accepted in the loop's last turn; no server has a last turn.
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
