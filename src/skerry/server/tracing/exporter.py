"""Spans to a collector: OTLP over HTTP with JSON, in a thread of its own.

Whoever ends a span appends it to a bounded queue and goes on. What the collector does not take in time is dropped and
counted (`skerry_trace_spans_dropped`): a server must not wait, or grow, because of somebody who watches it.
"""

import gzip
import threading
from collections import deque
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from importlib.metadata import version
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from skerry.server import log
from skerry.server.metrics import Counter
from skerry.server.tracing.settings import TraceSettings
from skerry.server.tracing.span import Clock, Span

_TRIES: Final = 3
_FIRST_PAUSE: Final = 0.5
_TRY_AGAIN: Final = frozenset({429, 502, 503, 504})
_QUIET_SECONDS: Final = 60.0
_ERROR: Final = 2  # OTLP's status code


class Exporter:
    """Takes spans from the event loop and sends them."""

    def __init__(self, settings: TraceSettings, dropped: Counter) -> None:
        self._settings = settings
        self._dropped = dropped
        self._queue: deque[Span] = deque()
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._clock = Clock()
        self._complained_at = -_QUIET_SECONDS
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def add(self, *spans: Span) -> None:
        """Take spans that have ended; never blocks."""
        if len(self._queue) + len(spans) > self._settings.most_queued:
            self._drop(len(spans), "the queue is full")
            return
        self._queue.extend(spans)
        if len(self._queue) >= self._settings.most_sent:
            self._wake.set()

    def close(self, seconds: float) -> None:
        """Send what is there for at most so long. Blocks."""
        self._closing.set()
        self._wake.set()
        self._thread.join(seconds)

    def _run(self) -> None:
        while True:
            self._wake.wait(self._settings.delay_seconds)
            self._wake.clear()
            while self._queue:
                self._send([self._queue.popleft() for _ in range(min(len(self._queue), self._settings.most_sent))])
            if self._closing.is_set():
                return

    def _send(self, spans: list[Span]) -> None:
        body = msgspec.json.encode(self._document(spans))
        headers = {"Content-Type": "application/json", **self._settings.headers}
        if self._settings.compress:
            body, headers["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        pause = _FIRST_PAUSE
        for attempt in range(1, _TRIES + 1):
            try:
                status = _post(self._settings, body, headers)
            except (OSError, HTTPException) as why:
                reason = f"{type(why).__name__}: {why}"
            else:
                if status < 300:
                    return
                reason = f"the collector answered {status}"
                if status not in _TRY_AGAIN:
                    break
            if attempt < _TRIES and self._closing.wait(pause):
                break
            pause *= 2
        self._drop(len(spans), reason)

    def _drop(self, count: int, reason: str) -> None:
        self._dropped.value += count
        if monotonic() - self._complained_at > _QUIET_SECONDS:
            self._complained_at = monotonic()
            log.warning("spans are dropped", endpoint=self._settings.endpoint, reason=reason)

    def _document(self, spans: list[Span]) -> dict[str, Any]:
        scope = {"name": "skerry.server", "version": version("skerry")}
        return {
            "resourceSpans": [
                {
                    "resource": {"attributes": _attributes(self._settings.resource)},
                    "scopeSpans": [{"scope": scope, "spans": [self._encoded(span) for span in spans]}],
                }
            ]
        }

    def _encoded(self, span: Span) -> dict[str, Any]:
        encoded: dict[str, Any] = {
            "traceId": span.trace_id,
            "spanId": span.span_id,
            "name": span.name,
            "kind": int(span.kind),
            "startTimeUnixNano": str(self._clock.nanoseconds(span.start)),
            "endTimeUnixNano": str(self._clock.nanoseconds(span.end)),
            "attributes": _attributes(span.attributes),
        }
        if span.parent_id:
            encoded["parentSpanId"] = span.parent_id
        if span.state:
            encoded["traceState"] = span.state
        if span.error is not None:
            encoded["status"] = {"code": _ERROR, "message": span.error}
        return encoded


def _attributes(values: Mapping[str, str | int]) -> list[dict[str, Any]]:
    return [
        {"key": key, "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}}
        for key, value in values.items()
    ]


def _post(settings: TraceSettings, body: bytes, headers: Mapping[str, str]) -> int:
    parts = urlsplit(settings.endpoint)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=settings.timeout_seconds)
    try:
        target = parts.path or "/"
        connection.request("POST", f"{target}?{parts.query}" if parts.query else target, body, dict(headers))
        answer = connection.getresponse()
        answer.read(1 << 16)
        return answer.status
    finally:
        connection.close()
