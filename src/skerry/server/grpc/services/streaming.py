"""ModelStreamInfer: many requests and their answers over one call, in the order of the requests.

What is wrong with one request is said in its answer, and the stream goes on.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from skerry.server import log
from skerry.server.errors import ServingError
from skerry.server.grpc import wire
from skerry.server.grpc.calls import CallHead, Later, StreamingCall
from skerry.server.grpc.h2.outbound import Buffer, Parts
from skerry.server.grpc.infer_request import InferMessage, read_infer_request
from skerry.server.grpc.services.inference import Inference
from skerry.server.grpc.status import CallError, Status

if TYPE_CHECKING:
    from skerry.server.grpc.h2.connection import Connection
    from skerry.server.grpc.h2.heads import RequestHead

_MOST_AT_ONCE: Final = 16
_MOST_BYTES: Final = 8 << 20
_RESPONSE_TAG: Final = b"\x12"


class _Question:
    """A request that is being answered."""

    __slots__ = ("answer", "request", "size", "work")

    def __init__(self, request: InferMessage, size: int) -> None:
        self.request = request
        self.size = size
        self.answer: Parts | None = None
        self.work: Later | None = None


class InferStream(StreamingCall):
    """One stream of requests."""

    __slots__ = ("_draining", "_inference", "_questions")

    def __init__(
        self, inference: Inference, connection: "Connection", stream_id: int, head: "RequestHead", meaning: CallHead
    ) -> None:
        super().__init__(connection, stream_id, head, meaning)
        self._inference = inference
        self._questions: deque[_Question] = deque()
        self._draining = False

    @property
    def room(self) -> bool:
        questions = self._questions
        return not questions or (
            len(questions) < _MOST_AT_ONCE
            and sum(question.size for question in questions) < _MOST_BYTES
            and not self.unsent_size
        )

    def on_message(self, message: Buffer) -> None:
        question = _Question(read_infer_request(message), len(message))
        self.hold(question.size)
        self._questions.append(question)
        try:
            answer = self._inference.run(question.request)
        except Exception as why:  # noqa: BLE001 - a defect is one answer
            question.answer = _refusal(why, question.request)
        else:
            if isinstance(answer, Later):
                question.work = answer
                answer.future.add_done_callback(lambda future: self._answered(question, future))
            else:
                question.answer = _wrapped(answer)
        self._emit()

    def on_half_close(self) -> None:
        self._emit()

    def on_drain(self) -> None:
        self._draining = True
        self._emit()

    def on_close(self) -> None:
        super().on_close()
        for question in self._questions:
            if question.work is not None:
                question.work.future.cancel()

    def _answered(self, question: _Question, future: "asyncio.Future[Any]") -> None:
        work, question.work = question.work, None
        if self.closed or work is None:
            return
        try:
            question.answer = _wrapped(work.render(future))
        except asyncio.CancelledError:
            question.answer = _refusal(CallError(Status.UNAVAILABLE, "the request was given up"), question.request)
        except Exception as why:  # noqa: BLE001 - a defect is one answer
            question.answer = _refusal(why, question.request)
        self._emit()
        self.go_on()

    def _emit(self) -> None:
        """Send the answers whose turn it is; end the call behind the last one."""
        while self._questions and self._questions[0].answer is not None and not self.closed:
            question = self._questions.popleft()
            self.let_go(question.size)
            assert question.answer is not None
            self.write(question.answer)
        if self._questions or self.closed:
            return
        if self._half_closed:
            self.succeed()
        elif self._draining:
            self.fail(CallError(Status.UNAVAILABLE, "the server is stopping"))


def _wrapped(answer: Parts) -> Parts:
    """A ModelInferResponse as the field of a ModelStreamInferResponse."""
    return [_RESPONSE_TAG + wire.number_bytes(sum(map(len, answer))), *answer]


def _refusal(why: Exception, request: InferMessage) -> Parts:
    """What went wrong, with the name and the id of the request, so that its sender can tell which one it was."""
    if not isinstance(why, ServingError | CallError):
        log.exception("inference broke", model=request.model_name, error=type(why).__name__)
        why = CallError(Status.INTERNAL, f"Internal server error: {type(why).__name__}")
    return [wire.put_text(1, str(why)) + wire.put_bytes(2, wire.put_text(1, request.model_name) + request.echo)]
