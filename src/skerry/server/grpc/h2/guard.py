"""How much a client may cost without asking for anything.

Most attacks on HTTP/2 servers are cheap frames in bulk: empty DATA, PING, SETTINGS, WINDOW_UPDATE by one byte,
streams opened and reset at once, or streams that the server is provoked to reset. Every such frame is counted; a
request gives a little of that back, because honest clients ping and open windows in step with what they ask. Counts
start anew with every second of the listener's clock, resets refill slowly.
"""

from typing import Final

from skerry.server.grpc.h2.errors import ConnectionFault, ErrorCode

MOST_CHEAP_FRAMES: Final = 2000  # a second
_PER_REQUEST: Final = 10
MOST_RESETS: Final = 1000  # at once
RESETS_PER_SECOND: Final = 100
SMALL: Final = 64  # DATA that carries less than this is as cheap as none


class Guard:
    """The counts of one connection."""

    __slots__ = ("_cheap", "_resets")

    def __init__(self) -> None:
        self._cheap = 0
        self._resets = 0

    def cheap_frame(self) -> None:
        """A frame that costs more to handle than to send."""
        self._cheap += 1
        if self._cheap > MOST_CHEAP_FRAMES:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")

    def request(self) -> None:
        """A request was opened."""
        if self._cheap:
            self._cheap = max(0, self._cheap - _PER_REQUEST)

    def reset(self) -> None:
        """A stream ended before its time, by whatever side."""
        self._resets += 1
        if self._resets > MOST_RESETS:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many streams are reset")

    def second(self) -> None:
        """A second has passed."""
        self._cheap = 0
        self._resets = max(0, self._resets - RESETS_PER_SECOND)
