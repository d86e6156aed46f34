"""Tracing as a whole: made where an endpoint is set, and put around the parts of the server."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from skerry.server import log
from skerry.server.dataplane import DataPlane
from skerry.server.http.messages import Handler
from skerry.server.metrics import Counter
from skerry.server.model_metrics import ServerMetrics
from skerry.server.registry import Registry
from skerry.server.tracing.exporter import Exporter
from skerry.server.tracing.handlers import TracedHandler, TracedPlane, Tracer
from skerry.server.tracing.settings import endpoint_of, read_settings

if TYPE_CHECKING:
    from skerry.server.grpc.calls import Answer
    from skerry.server.grpc.methods import Methods, Streaming

_FLUSH_SECONDS: Final = 2.0


class Tracing:
    """A tracer, and what carries it."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def plane(self, registry: Registry) -> DataPlane:
        return TracedPlane(registry, self._tracer)

    def handler(self, handler: Handler) -> Handler:
        return TracedHandler(handler, self._tracer).handle

    def methods(self, unary: "Mapping[bytes, Answer]", streaming: "Mapping[bytes, Streaming]") -> "Methods":
        from skerry.server.tracing.grpc import TracedMethods

        methods = TracedMethods(unary, streaming)
        methods.tracer = self._tracer
        return methods

    def close(self) -> None:
        """Send the last spans, if that takes little time. Blocks."""
        self._tracer.exporter.close(_FLUSH_SECONDS)


def tracing(metrics: ServerMetrics) -> Tracing | None:
    """Tracing as the environment wants it; raises `StartError`."""
    if not endpoint_of(os.environ):
        return None
    settings = read_settings(os.environ)
    dropped = metrics.family("skerry_trace_spans_dropped").series(Counter, {"exporter": "otlp_http"})
    log.info("traces are sent", endpoint=settings.endpoint, service=settings.resource["service.name"])
    return Tracing(Tracer(settings, Exporter(settings, dropped)))
