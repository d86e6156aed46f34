"""Where spans begin and end: around the REST handler, and around the data plane's inference.

The span of a request is in a context variable while the event loop works on it, so the data plane finds it whoever
called. What happens in between is timed by standing in for the call that the execution runs: it is asked for its
tensors when its turn has come, and for its answer when the engine is done, alone or in a batch.
"""

import asyncio
from time import perf_counter
from typing import Any, Final, Generic

from skerry.server.batching import Answer, Call, Feeds
from skerry.server.dataplane import DataPlane
from skerry.server.engines import Shape, Slot, Values
from skerry.server.http.messages import Handler, Later, Request, Response
from skerry.server.model_metrics import Interface
from skerry.server.registry import Registry, ServedVersion
from skerry.server.rest.routes import TEMPLATES, Endpoint, Routes
from skerry.server.tracing.exporter import Exporter
from skerry.server.tracing.settings import TraceSettings, sampled_by_ratio
from skerry.server.tracing.span import Context, Span, SpanKind, current, new_id, read_context

_UNTRACED: Final = frozenset({Endpoint.ALIVE, Endpoint.LIVE, Endpoint.READY, Endpoint.MODEL_READY, Endpoint.METRICS})


class Tracer:
    """Decides what is traced, and makes the spans of requests."""

    def __init__(self, settings: TraceSettings, exporter: Exporter) -> None:
        self._settings = settings
        self.exporter = exporter

    def request(self, name: str, parent: Context | None, **attributes: str | int) -> Span | None:
        """Begin the span of a request; None where it is not sampled."""
        if parent is not None and self._settings.follow_parent:
            sampled = parent.sampled
        else:
            sampled = sampled_by_ratio(self._settings)
        if not sampled:
            return None
        trace, span, state = (new_id(16), "", "") if parent is None else (parent.trace_id, parent.span_id, parent.state)
        return Span(trace, new_id(8), span, state, name, SpanKind.SERVER, perf_counter(), attributes=attributes)

    def end(self, span: Span, error: str | None = None) -> None:
        """End the span of a request."""
        span.end = perf_counter()
        span.error = error
        self.exporter.add(span)


class TracedHandler:
    """A REST handler whose requests are traced; probes are not."""

    def __init__(self, handler: Handler, tracer: Tracer) -> None:
        self._handler = handler
        self._tracer = tracer
        self._routes = Routes()

    def handle(self, request: Request) -> Response | Later:
        """Answer within a span."""
        route = self._routes.find(request.target)
        if route is not None and route.endpoint in _UNTRACED:
            return self._handler(request)
        method = request.method.decode("ascii", "replace")
        template = "" if route is None else TEMPLATES[route.endpoint]
        parent = read_context(request.headers.get(b"traceparent"), request.headers.get(b"tracestate"))
        span = self._tracer.request(f"{method} {template}".rstrip(), parent)
        if span is None:
            return self._handler(request)
        span.attributes = {
            "http.request.method": method,
            "http.route": template,
            "url.path": request.target.partition(b"?")[0].decode("ascii", "replace"),
        }
        token = current.set(span)
        try:
            result = self._handler(request)
        finally:
            current.reset(token)
        if isinstance(result, Response):
            return self._ended(span, result)
        result.future.add_done_callback(lambda done: self._left(span, done))
        return Later(result.future, lambda done: self._ended(span, result.render(done)))

    def _ended(self, span: Span, response: Response) -> Response:
        span.attributes["http.response.status_code"] = response.status
        self._tracer.end(span, f"status {response.status}" if response.status >= 500 else None)
        return response

    def _left(self, span: Span, done: "asyncio.Future[object]") -> None:
        if done.cancelled():
            self._tracer.end(span, "the client has left")


class _TracedCall(Generic[Answer]):
    """Stands in for a call and remembers when it was asked for what."""

    __slots__ = ("_call", "ended", "started", "submitted")

    def __init__(self, call: Call[Answer]) -> None:
        self._call = call
        self.submitted = perf_counter()
        self.started = self.ended = 0.0

    @property
    def light(self) -> bool:
        return self._call.light

    @property
    def feeds(self) -> Feeds:
        if not self.ended:  # looked at once more to count its rows
            self.started = perf_counter()
        return self._call.feeds

    def prepare(self) -> None:
        self._call.prepare()

    def infer(self, slot: Slot) -> Answer:
        self.started = perf_counter()
        try:
            return self._call.infer(slot)
        finally:
            self.ended = perf_counter()

    def respond(self, results: "list[tuple[Values, Shape]]") -> Answer:
        self.ended = perf_counter()
        return self._call.respond(results)


class TracedPlane(DataPlane):
    """A data plane that says how long a request waited and how long it was computed."""

    def __init__(self, registry: Registry, tracer: Tracer) -> None:
        super().__init__(registry)
        self._exporter = tracer.exporter

    def run(
        self, served: ServedVersion, call: Call[Answer], interface: Interface, received_at: float
    ) -> "Answer | asyncio.Future[Answer]":
        """Run a call, with spans if its request has one."""
        span = current.get()
        if span is None:
            return super().run(served, call, interface, received_at)
        span.attributes |= {"skerry.model.name": served.name, "skerry.model.version": served.version}
        traced = _TracedCall(call)
        answer = super().run(served, traced, interface, received_at)
        if isinstance(answer, asyncio.Future):
            answer.add_done_callback(lambda _done: self._ended(span, traced))
        else:
            self._ended(span, traced)
        return answer

    def _ended(self, span: Span, call: _TracedCall[Any]) -> None:
        now = perf_counter()
        started, ended = call.started or now, call.ended or now
        if call.ended:
            model = {"skerry.model.name": str(span.attributes["skerry.model.name"])}
            self._exporter.add(
                span.child("queue", call.submitted, started), span.child("inference", started, ended, **model)
            )
        else:  # it never had its turn
            self._exporter.add(span.child("queue", call.submitted, now))
