"""The frames that carry no request: what is checked of each, and what follows."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from skerry.server.grpc.h2 import frames
from skerry.server.grpc.h2.errors import ConnectionFault, ErrorCode, StreamFault
from skerry.server.grpc.h2.frames import ACK, MOST_WINDOW

if TYPE_CHECKING:
    from skerry.server.grpc.h2.connection import Connection

_MOST_SETTINGS: Final = 32
_DRAINING: Final = b"draining"
_KEEPALIVE: Final = b"alive? \0"
DRAIN_PING: Final = frames.frame(frames.PING, 0, 0, _DRAINING)
KEEPALIVE_PING: Final = frames.frame(frames.PING, 0, 0, _KEEPALIVE)
_SETTINGS_ACK: Final = frames.frame(frames.SETTINGS, ACK, 0)


def on_control(connection: "Connection", kind: int, flags: int, stream_id: int, payload: bytes) -> None:
    """Deal with a frame; raises `ConnectionFault` or `StreamFault`. Unknown kinds are ignored, as they must be."""
    connection.guard.cheap_frame()
    handler = _HANDLERS.get(kind)
    if handler is not None:
        handler(connection, flags, stream_id, payload)


def _on_settings(connection: "Connection", flags: int, stream_id: int, payload: bytes) -> None:
    _of_connection("SETTINGS", stream_id)
    if flags & ACK:
        _size("SETTINGS", payload, 0)
        connection.settings_deadline = float("inf")
        return
    if len(payload) % 6:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a broken size")
    if len(payload) > 6 * _MOST_SETTINGS:
        raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many settings at once")
    for key, value in frames.read_settings(payload):
        _set(connection, key, value)
    connection.outbound.put(_SETTINGS_ACK)
    connection.outbound.go_on()


def _set(connection: "Connection", key: int, value: int) -> None:
    outbound = connection.outbound
    if key == frames.ENABLE_PUSH and value > 1:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is neither 0 nor 1")
    if key == frames.MAX_FRAME_SIZE:
        if not frames.FRAME_BYTES <= value <= frames.MOST_FRAME:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of range")
        outbound.max_frame = min(value, frames.FRAME_BYTES << 4)  # so that streams still take turns
    if key == frames.INITIAL_WINDOW_SIZE:
        if value > MOST_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is out of range")
        change = value - outbound.initial_window
        outbound.initial_window = value
        for stream in connection.streams.values():
            stream.send_window += change
            if stream.send_window > MOST_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window grew beyond its limit")


def _on_ping(connection: "Connection", flags: int, stream_id: int, payload: bytes) -> None:
    _of_connection("PING", stream_id)
    _size("PING", payload, 8)
    if not flags & ACK:
        connection.outbound.put(frames.frame(frames.PING, ACK, 0, payload))
    elif payload == _DRAINING and connection.draining:
        connection.leave()


def _on_goaway(connection: "Connection", _flags: int, stream_id: int, payload: bytes) -> None:
    _of_connection("GOAWAY", stream_id)
    if len(payload) < 8:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY is too short")
    connection.leave(announced=False)


def _on_window_update(connection: "Connection", _flags: int, stream_id: int, payload: bytes) -> None:
    _size("WINDOW_UPDATE", payload, 4)
    more = frames.word(payload) & MOST_WINDOW
    outbound = connection.outbound
    if stream_id == 0:
        if not more:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
        outbound.window += more
        if outbound.window > MOST_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window grew beyond its limit")
    else:
        stream = connection.streams.get(stream_id)
        if stream is None:
            _not_idle(connection, "WINDOW_UPDATE", stream_id)
            return
        if not more:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
        stream.send_window += more
        if stream.send_window > MOST_WINDOW:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, "a window grew beyond its limit")
    if outbound.waiting:
        outbound.go_on()


def _on_rst_stream(connection: "Connection", _flags: int, stream_id: int, payload: bytes) -> None:
    _of_stream("RST_STREAM", stream_id)
    _size("RST_STREAM", payload, 4)
    if stream_id in connection.streams:
        connection.guard.reset()
        connection.lose(stream_id)
    else:
        _not_idle(connection, "RST_STREAM", stream_id)


def _on_priority(_connection: "Connection", _flags: int, stream_id: int, payload: bytes) -> None:
    _of_stream("PRIORITY", stream_id)
    if len(payload) != 5:
        raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY of a wrong size")


def _on_push(_connection: "Connection", _flags: int, _stream_id: int, _payload: bytes) -> None:
    raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "clients do not push")


def _of_connection(name: str, stream_id: int) -> None:
    if stream_id:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{name} on a stream")


def _of_stream(name: str, stream_id: int) -> None:
    if not stream_id:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{name} without a stream")


def _not_idle(connection: "Connection", name: str, stream_id: int) -> None:
    if connection.is_idle(stream_id):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{name} on stream {stream_id}, which was not opened")


def _size(name: str, payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"{name} of a wrong size")


_Handler: TypeAlias = Callable[["Connection", int, int, bytes], None]
_HANDLERS: Final[Mapping[int, _Handler]] = {
    frames.SETTINGS: _on_settings,
    frames.PING: _on_ping,
    frames.GOAWAY: _on_goaway,
    frames.WINDOW_UPDATE: _on_window_update,
    frames.RST_STREAM: _on_rst_stream,
    frames.PRIORITY: _on_priority,
    frames.PUSH_PROMISE: _on_push,
}
