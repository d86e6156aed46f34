"""From HEADERS and CONTINUATION to requests.

A client asks the same again and again, with the same bytes once its fields are in the table. So a block is remembered
with what it meant, for as long as the table stays as it is.
"""

from contextlib import suppress
from typing import Final

from skerry.server.grpc.h2.errors import ConnectionFault, ErrorCode, StreamFault
from skerry.server.grpc.h2.frames import END_HEADERS, PADDED, WITH_PRIORITY
from skerry.server.grpc.h2.heads import Malformed, RequestHead, check_trailers, read_head
from skerry.server.grpc.h2.hpack import Decoder, Field

MOST_LIST: Final = 1 << 14  # of a request's fields, unpacked
MOST_BLOCK: Final = 1 << 16  # and as they arrive
MOST_CONTINUATIONS: Final = 32
_PRIORITY_BYTES: Final = 5
_REMEMBERED: Final = 64
_WORTH_REMEMBERING: Final = 1 << 10


class HeaderBlocks:
    """The fields of one connection."""

    __slots__ = ("_decoder", "_known", "_parts", "_size", "ended", "stream_id")

    def __init__(self) -> None:
        self._decoder = Decoder(MOST_LIST)
        self._known: dict[bytes, RequestHead] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self.stream_id = 0  # whose block is not complete
        self.ended = 0  # whether its HEADERS ended the stream

    def begin(self, flags: int, payload: bytes) -> bytes | None:
        """Take a HEADERS frame; return the block if it is complete."""
        if flags & PADDED:
            if not payload or payload[0] >= len(payload):
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a HEADERS frame has more padding than payload")
            payload = payload[1 : len(payload) - payload[0]]
        if flags & WITH_PRIORITY:
            if len(payload) < _PRIORITY_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a HEADERS frame is too short for its priority")
            payload = payload[_PRIORITY_BYTES:]
        if flags & END_HEADERS:
            return payload
        self._parts = [payload]
        self._size = len(payload)
        return None

    def go_on(self, flags: int, payload: bytes) -> bytes | None:
        """Take a CONTINUATION frame; return the block if it is complete."""
        self._parts.append(payload)
        self._size += len(payload)
        if self._size > MOST_BLOCK or len(self._parts) > MOST_CONTINUATIONS:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "the header block is too large")
        return b"".join(self._parts) if flags & END_HEADERS else None

    def request(self, block: bytes) -> RequestHead:
        """Return what a block asks for; raises `StreamFault` if that is no request."""
        known = self._known.get(block)
        if known is not None:
            return known
        before = self._decoder.generation
        fields = self._decode(block)
        try:
            head = read_head(fields)
        except Malformed as why:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, str(why)) from None
        if before == self._decoder.generation and len(block) <= _WORTH_REMEMBERING:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[block] = head
        return head

    def trailers(self, block: bytes) -> None:
        """Check a block behind a body; raises `StreamFault`."""
        try:
            check_trailers(self._decode(block))
        except Malformed as why:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, str(why)) from None

    def skip(self, block: bytes) -> None:
        """Only keep the table right."""
        with suppress(StreamFault):
            self._decode(block)

    def _decode(self, block: bytes) -> list[Field]:
        before = self._decoder.generation
        try:
            fields = self._decoder.decode(block)
        except ValueError as why:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, str(why)) from None
        if before != self._decoder.generation:
            self._known.clear()
        if fields is None:
            raise StreamFault(ErrorCode.ENHANCE_YOUR_CALM, f"the fields are larger than {MOST_LIST} bytes")
        return fields
