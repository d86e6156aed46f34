"""Request bodies with `Content-Encoding: gzip` or `deflate`.

A kilobyte can stand for a megabyte, so nothing is trusted to be small: what unpacks to little is unpacked at once, the
rest in a thread, and never to more than a body may have uncompressed. Only few large ones are unpacked and answered at
a time, because their memory is not counted where bodies are read.
"""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any, Final

import msgspec

from skerry.server.background import in_thread_future
from skerry.server.errors import InvalidRequest, NotReady, ServingError, TooLarge, UnsupportedContent
from skerry.server.http.messages import Buffer, Handler, Later, Request, Response
from skerry.server.rest.failures import response_of

_AT_ONCE: Final = 1 << 18
_LARGE_AT_ONCE: Final = 2
_EITHER: Final = 32 + zlib.MAX_WBITS  # gzip or zlib, by the first bytes


class Inflating:
    """Unpacks bodies in front of a handler."""

    def __init__(self, handler: Handler, limit: int) -> None:
        """`limit` is the most bytes of an unpacked body."""
        self._handler = handler
        self._limit = limit
        self._large = 0

    def handle(self, request: Request) -> Response | Later:
        """Unpack and hand on; raises `ServingError`."""
        encoding = request.headers[b"content-encoding"].strip().lower()
        if encoding not in {b"gzip", b"x-gzip", b"deflate"}:
            raise UnsupportedContent(
                f"cannot read a body with Content-Encoding {encoding[:40].decode('ascii', 'replace')};"
                " use gzip, deflate or none"
            )
        body = request.body
        if len(body) <= _AT_ONCE and (unpacked := inflate(body, min(_AT_ONCE, self._limit))) is not None:
            return self._handler(_plain(request, unpacked))
        if self._large >= _LARGE_AT_ONCE:
            raise NotReady("too many large compressed requests at once; try again")
        self._large += 1
        return _Unpacking(self, request).begin()

    def unpack(self, body: Buffer) -> bytes:
        """Unpack within the limit, in a thread; raises `ServingError`."""
        unpacked = inflate(body, self._limit)
        if unpacked is None:
            raise TooLarge(f"the request's unpacked body is larger than {self._limit} bytes (--max_body_mib)")
        return unpacked

    def hand_on(self, request: Request, body: bytes) -> Response | Later:
        return self._handler(_plain(request, body))

    def done(self, _future: "asyncio.Future[Response]") -> None:
        """A large one is answered, or its client has gone."""
        self._large -= 1


class _Unpacking:
    """One large body: unpacked in a thread, then answered, now or later."""

    def __init__(self, owner: Inflating, request: Request) -> None:
        self._owner = owner
        self._request = request
        self._answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()
        self._work: asyncio.Future[Any] | None = None

    def begin(self) -> Later:
        body = self._request.body
        unpacked = in_thread_future(lambda: self._owner.unpack(body))
        unpacked.add_done_callback(self._unpacked)
        self._answer.add_done_callback(self._owner.done)
        self._answer.add_done_callback(self._left)
        return Later(self._answer, lambda done: done.result())

    def _unpacked(self, done: "asyncio.Future[bytes]") -> None:
        why = done.exception()
        if self._answer.done():
            return
        if isinstance(why, ServingError):
            self._answer.set_result(response_of(why))
        elif why is not None:
            self._answer.set_exception(why)
        else:
            self._hand_on(done.result())

    def _hand_on(self, body: bytes) -> None:
        try:
            result = self._owner.hand_on(self._request, body)
        except Exception as why:  # noqa: BLE001 - it is raised again where the answer is awaited
            self._answer.set_exception(why)
            return
        if isinstance(result, Response):
            self._answer.set_result(result)
            return
        render: Callable[[asyncio.Future[Any]], Response] = result.render
        self._work = result.future
        self._work.add_done_callback(lambda done: self._rendered(render, done))

    def _rendered(self, render: "Callable[[asyncio.Future[Any]], Response]", done: "asyncio.Future[Any]") -> None:
        if self._answer.done() or done.cancelled():
            return
        try:
            self._answer.set_result(render(done))
        except Exception as why:  # noqa: BLE001 - as above
            self._answer.set_exception(why)

    def _left(self, answer: "asyncio.Future[Response]") -> None:
        if answer.cancelled() and self._work is not None:
            self._work.cancel()


def inflate(body: Buffer, limit: int) -> bytes | None:
    """Unpack; None if that is more than `limit` bytes. Raises `InvalidRequest`."""
    unpacker = zlib.decompressobj(_EITHER)
    if body[:2] != b"\x1f\x8b" and (body[:1] != b"\x78" or int.from_bytes(body[:2], "big") % 31):
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)  # `deflate` without its head, as some clients send it
    try:
        unpacked = unpacker.decompress(body, limit + 1)
    except zlib.error as why:
        raise InvalidRequest(f"the compressed body cannot be unpacked: {why}") from None
    if len(unpacked) > limit:
        return None
    if not unpacker.eof:
        raise InvalidRequest("the compressed body ends too early")
    if unpacker.unused_data:
        raise InvalidRequest("bytes follow the compressed body")
    return unpacked


def _plain(request: Request, body: bytes) -> Request:
    headers = {name: value for name, value in request.headers.items() if name != b"content-encoding"}
    return msgspec.structs.replace(request, headers=headers, body=body)
