"""gRPC's messages inside of a stream: one byte that says whether it is compressed, four of length, the message."""

import asyncio
import threading
import zlib
from collections.abc import Iterator
from typing import Final

from skerry.server.grpc.h2.outbound import Buffer
from skerry.server.grpc.status import CallError, Status
from skerry.server.memory import room

PREFIX_BYTES: Final = 5
_AHEAD: Final = 4
_USUAL: Final = 1 << 20
_NOTHING: Final = memoryview(bytearray())
# What zlib is told: 32 is "look whether it is gzip or zlib".
_WINDOW_BITS: Final = 32 + zlib.MAX_WBITS
ENCODINGS: Final = frozenset({b"identity", b"gzip", b"deflate"})
AT_ONCE: Final = 1 << 20  # more than this is not unpacked on the event loop
_GZIP: Final = 16 + zlib.MAX_WBITS


class MessageReader:
    """Collects the messages of one call.

    Room for a message is made as it arrives, a few times what has come so far and not less than is usual: a length
    that lies costs us little, and an honest message is hardly ever moved.
    """

    __slots__ = ("_body", "_compressed", "_filled", "_limit", "_missing", "_prefix")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._prefix = b""
        self._body = _NOTHING
        self._filled = 0
        self._missing = -1  # of the present message; -1 while its prefix is not complete
        self._compressed = False

    @property
    def partial(self) -> bool:
        """Whether a message has begun and not ended."""
        return bool(self._prefix) or self._missing >= 0

    @property
    def room(self) -> int:
        """Bytes that the message which has begun occupies: what was not written to is no memory yet."""
        return self._filled

    def goes_on(self, chunk: Buffer) -> bool:
        """Take a chunk from the middle of a message; any other is left to `feed`."""
        if not self._filled or self._missing <= len(chunk):
            return False
        self._missing -= len(chunk)
        self._keep(chunk)
        return True

    def feed(self, chunk: Buffer) -> Iterator[tuple[bool, Buffer]]:
        """Yield the messages that are complete now, and whether each is compressed; raises `CallError`."""
        position = 0
        while position < len(chunk) or self._missing == 0:
            if self._missing < 0:
                position = self._begin(chunk, position)
                continue
            part = chunk[position : position + self._missing]
            position += len(part)
            self._missing -= len(part)
            if not self._missing and not self._filled:
                self._missing = -1
                yield self._compressed, part  # it came in one piece, so it need not be copied
                continue
            self._keep(part)
            if not self._missing:
                message = self._body[: self._filled]
                self._body, self._filled, self._missing = _NOTHING, 0, -1
                yield self._compressed, message

    def _begin(self, chunk: Buffer, position: int) -> int:
        part = bytes(chunk[position : position + PREFIX_BYTES - len(self._prefix)])
        prefix = self._prefix + part
        if len(prefix) < PREFIX_BYTES:
            self._prefix = prefix
        else:
            self._prefix = b""
            self._missing = int.from_bytes(prefix[1:], "big")
            check_prefix(prefix[0], self._missing, self._limit)
            self._compressed = bool(prefix[0])
        return position + len(part)

    def _keep(self, part: Buffer) -> None:
        filled = self._filled + len(part)
        if filled > len(self._body):
            larger = room(min(filled + self._missing, max(_AHEAD * filled, _USUAL)))
            larger[: self._filled] = self._body[: self._filled]
            self._body = larger
        self._body[self._filled : filled] = part
        self._filled = filled


def check_prefix(flag: int, length: int, limit: int) -> None:
    """Raise `CallError` for a message that is not taken."""
    if flag > 1:
        raise CallError(Status.INTERNAL, f"a message begins with {flag} instead of 0 or 1")
    if length > limit:
        raise CallError(
            Status.RESOURCE_EXHAUSTED,
            f"the message has {length} bytes, more than the {limit} that are taken (--grpc_max_message_mib)",
        )


class Unpacking:
    """One compressed message. A little that unpacks to very much is stopped at the limit."""

    def __init__(self, message: Buffer, limit: int) -> None:
        self._message = message
        self._limit = limit

    def at_once(self) -> bytes | None:
        """The message, None if it takes longer than the event loop should wait; raises `CallError`."""
        if len(self._message) > AT_ONCE:
            return None
        return self._unpack(min(AT_ONCE, self._limit), final=self._limit <= AT_ONCE)

    def in_thread(self) -> "asyncio.Future[bytes]":
        """The message, later."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()

        def deliver(outcome: bytes | Exception) -> None:
            if not future.done():
                if isinstance(outcome, bytes):
                    future.set_result(outcome)
                else:
                    future.set_exception(outcome)

        def work() -> None:
            outcome: bytes | Exception
            try:
                outcome = self._unpack(self._limit, final=True) or b""
            except CallError as why:
                outcome = why
            try:
                loop.call_soon_threadsafe(deliver, outcome)
            except RuntimeError:  # the loop is closed: the process is ending
                return

        threading.Thread(target=work, name="unpack", daemon=True).start()
        return future

    def _unpack(self, limit: int, *, final: bool) -> bytes | None:
        unpacker = zlib.decompressobj(_WINDOW_BITS)
        try:
            data = unpacker.decompress(self._message, limit + 1)
        except zlib.error:
            raise CallError(Status.INTERNAL, "the compressed message cannot be unpacked") from None
        if len(data) > limit:
            if not final:
                return None
            raise CallError(
                Status.RESOURCE_EXHAUSTED,
                f"the message unpacks to more than the {limit} bytes that are taken (--grpc_max_message_mib)",
            )
        if not unpacker.eof or unpacker.unused_data:
            raise CallError(Status.INTERNAL, "the compressed message is cut off or has something behind it")
        return data


def packed(data: bytes) -> bytes:
    """Compress a message with gzip, quickly rather than well."""
    packer = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
    return packer.compress(data) + packer.flush()
