"""What can go wrong, by what it ends.

Fault               the client broke the protocol or a limit
  ConnectionFault     the connection ends: GOAWAY
  StreamFault         one stream ends: RST_STREAM
"""

import enum


class ErrorCode(enum.IntEnum):
    """The codes of RFC 9113, section 7."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD


class Fault(Exception):
    """The client broke the protocol or a limit."""

    def __init__(self, code: ErrorCode, text: str) -> None:
        super().__init__(text)
        self.code = code


class ConnectionFault(Fault):
    """The connection cannot go on."""


class StreamFault(Fault):
    """A stream cannot go on; the others can."""
