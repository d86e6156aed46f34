"""Spans, and the trace context that a client sends (W3C `traceparent`)."""

import enum
import os
import re
import time
from contextvars import ContextVar
from typing import Final

import msgspec

_PARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?\Z")
_FIRST_VERSION: Final = re.compile(rb"00-[^-]*-[^-]*-[^-]*\Z")
_MOST_STATE: Final = 512


class SpanKind(enum.IntEnum):
    """The kinds of OTLP that occur here."""

    INTERNAL = 1
    SERVER = 2


class Context(msgspec.Struct, frozen=True, gc=False):
    """What a client's trace is."""

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""


class Span(msgspec.Struct, gc=False):
    """A piece of time. Times are `time.perf_counter()` until they are sent."""

    trace_id: str
    span_id: str
    parent_id: str
    state: str
    name: str
    kind: SpanKind
    start: float
    end: float = 0.0
    attributes: dict[str, str | int] = {}
    error: str | None = None

    def child(self, name: str, start: float, end: float, **attributes: str | int) -> "Span":
        """A finished piece of this one."""
        return Span(self.trace_id, new_id(8), self.span_id, self.state, name, SpanKind.INTERNAL, start, end, attributes)


# The request that the event loop is working on. Callbacks inherit it from whoever asked to be called.
current: "Final[ContextVar[Span | None]]" = ContextVar("current", default=None)


def new_id(size: int) -> str:
    """A random identifier of so many bytes."""
    return os.urandom(size).hex()


def read_context(parent: bytes | None, state: bytes | None) -> Context | None:
    """The client's trace context, None without one that is well-formed."""
    found = _PARENT.match(parent) if parent else None
    if found is None or parent is None or (parent.startswith(b"00") and not _FIRST_VERSION.match(parent)):
        return None
    trace, span, flags = (group.decode() for group in found.groups())
    if not int(trace, 16) or not int(span, 16):
        return None
    kept = state.decode("ascii", "ignore") if state and len(state) <= _MOST_STATE else ""
    return Context(trace, span, bool(int(flags, 16) & 1), kept)


class Clock:
    """From `perf_counter` to nanoseconds since 1970, as a trace has them."""

    def __init__(self) -> None:
        self._offset = time.time_ns() - round(time.perf_counter() * 1e9)

    def nanoseconds(self, moment: float) -> int:
        return self._offset + round(moment * 1e9)
