"""HTTP connections that cannot be held open for nothing, in front of the API server.

uvicorn's protocol waits without end for the head of a request, takes heads of any size, and keeps what a client does
not read. Here the head has a time and a size; and an answer that is not read, of which nothing moves for half a
minute, ends the connection at once, with everything that was kept for it. A client that reads slowly goes on reading.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_SECONDS: Final = 32.0  # as kube-apiserver gives it
HEAD_BYTES: Final = 1 << 20  # as Go's server takes it
STALLED_SECONDS: Final = 30.0
# What is kept for a client before its sender has to wait; TLS has eight times as much by itself.
_KEPT: Final = 64 * 1024


class CarefulProtocol(HttpToolsProtocol):
    """One connection."""

    _head_timer: asyncio.TimerHandle | None = None
    _stall_timer: asyncio.TimerHandle | None = None
    _heading = True  # what comes next belongs to a head
    _head_bytes = 0
    _unsent = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=_KEPT)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop(head=True, stall=True)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._heading:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._await_head()
        super().data_received(data)
        if self._head_bytes > HEAD_BYTES:
            self._refuse_head()

    def on_headers_complete(self) -> None:
        self._heading, self._head_bytes = False, 0
        self._stop(head=True)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._heading = True
        super().on_message_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = self.transport.get_write_buffer_size()
        self._stall_timer = self.loop.call_later(STALLED_SECONDS, self._look)

    def resume_writing(self) -> None:
        self._stop(stall=True)
        super().resume_writing()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _look(self) -> None:
        """End the connection when nothing of what is kept has left since the last look."""
        unsent = self.transport.get_write_buffer_size()
        if unsent >= self._unsent:
            self.transport.abort()
            return
        self._unsent = unsent
        self._stall_timer = self.loop.call_later(STALLED_SECONDS, self._look)

    def _refuse_head(self) -> None:
        self.transport.write(STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()

    def _stop(self, *, head: bool = False, stall: bool = False) -> None:
        if head and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        if stall and self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
