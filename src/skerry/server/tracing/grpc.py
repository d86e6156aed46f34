"""Spans of gRPC: one for each ModelInfer, from its message to its answer."""

import asyncio
from typing import TYPE_CHECKING, Any, Final

from skerry.server.grpc.calls import Answer, Later, UnaryCall
from skerry.server.grpc.h2.outbound import Buffer, Parts
from skerry.server.grpc.h2.stream import Stream
from skerry.server.grpc.methods import Methods
from skerry.server.grpc.services import INFERENCE, path
from skerry.server.tracing.handlers import Tracer
from skerry.server.tracing.span import Span, current, read_context

if TYPE_CHECKING:
    from skerry.server.grpc.h2.connection import Connection
    from skerry.server.grpc.h2.heads import RequestHead

_INFER: Final = path(INFERENCE, "ModelInfer")


class TracedMethods(Methods):
    """Methods, of which inference is traced; streams are not."""

    tracer: Tracer

    def __call__(self, connection: "Connection", stream_id: int, head: "RequestHead") -> Stream:
        """Begin a call."""
        stream = super().__call__(connection, stream_id, head)
        if head.path == _INFER and isinstance(stream, UnaryCall):
            stream.answer_through(lambda answer: self._traced(answer, head))
        return stream

    def _traced(self, answer: Answer, head: "RequestHead") -> Answer:
        def respond(message: Buffer) -> Parts | Later:
            parent = read_context(head.fields.get(b"traceparent"), head.fields.get(b"tracestate"))
            named = {"rpc.system": "grpc", "rpc.service": INFERENCE, "rpc.method": "ModelInfer"}
            span = self.tracer.request(f"{INFERENCE}/ModelInfer", parent, **named)
            return answer(message) if span is None else self._within(span, answer, message)

        return respond

    def _within(self, span: Span, answer: Answer, message: Buffer) -> Parts | Later:
        token = current.set(span)
        try:
            result = answer(message)
        except Exception as why:
            self.tracer.end(span, str(why))
            raise
        finally:
            current.reset(token)
        if isinstance(result, Later):
            result.future.add_done_callback(lambda done: self._ended(span, done))
        else:
            self.tracer.end(span)
        return result

    def _ended(self, span: Span, done: "asyncio.Future[Any]") -> None:
        if done.cancelled():
            self.tracer.end(span, "the client has left")
        else:
            why = done.exception()
            self.tracer.end(span, None if why is None else str(why))
