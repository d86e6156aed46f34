"""Closing one direction of a connection."""

import asyncio
from contextlib import suppress


def half_close(transport: asyncio.Transport) -> None:
    """Close our side; what was written goes out first. A peer that is gone already is no error.

    asyncio calls `shutdown` at once, which fails with ENOTCONN where a reset has come that the loop has not read
    yet; the loop will read it and end the connection. uvloop keeps such an error to itself.
    """
    if not transport.is_closing() and transport.can_write_eof():
        with suppress(OSError):
            transport.write_eof()
