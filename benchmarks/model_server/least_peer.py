"""The least that a server in Python can do around the same OpenVINO call: no checks, no limits, no metrics, one model.

With `echo` in place of the model's file it does not even look at the request: what is left is the price of a request
on a socket of this machine.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any, cast

import httptools
import numpy as np
import orjson
import uvloop
from benchmarks.model_server.engine import Engine

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
_INFER = b"/v2/models/m/infer"


class Bare(asyncio.Protocol):
    """Parse, infer, write, one request after the other."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._parser: Any = httptools.HttpRequestParser(self)
        self._target = b""
        self._body: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_url(self, url: bytes) -> None:
        self._target = url

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        body, self._body = b"".join(self._body), []
        answer = self._infer(body) if self._target == _INFER else b""
        self._transport.write(_HEAD % (len(answer), answer))

    def _infer(self, body: bytes) -> bytes:
        [given] = orjson.loads(body)["inputs"]
        self._engine.input[:] = np.array(given["data"], np.float32).reshape(given["shape"])
        values = self._engine.infer()
        output = {"name": "y", "shape": values.shape, "datatype": "FP32", "data": values.reshape(-1)}
        document = {"model_name": "m", "model_version": "1", "outputs": [output]}
        return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)


class Echo(asyncio.Protocol):
    """The same answer to whatever comes."""

    values = np.array([0.09003057, 0.24472848, 0.66524094], np.float32).tolist()
    body = orjson.dumps({"outputs": [{"name": "y", "shape": [1, 3], "datatype": "FP32", "data": values}]})

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._transport.write(_HEAD % (len(self.body), self.body))


async def main(what: str, port: str) -> None:
    engine = None if what == "echo" else Engine(Path(what))
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Echo() if engine is None else Bare(engine), "127.0.0.1", int(port))
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
