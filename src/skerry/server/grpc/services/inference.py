"""`inference.GRPCInferenceService` over the data plane that REST uses too.

A version that exists and cannot answer is `ready: false` here, as in OVMS; REST says 503. What is wrong with the
tensors is found by the same code and said in the same words.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import Final

from skerry.server.dataplane import DataPlane, TensorMetadata
from skerry.server.errors import NotReady, ServingError
from skerry.server.grpc import messages, wire
from skerry.server.grpc.calls import Answer, Later
from skerry.server.grpc.h2.outbound import Buffer, Parts
from skerry.server.grpc.infer_request import InferMessage, read_infer_request, tensors_of
from skerry.server.grpc.infer_response import write_infer_response
from skerry.server.grpc.services import INFERENCE, path
from skerry.server.repository_control import Repository
from skerry.server.rest.repository_api import entries
from skerry.server.tensors import InferRequest, InferResponse

_INTERFACE: Final = "gRPC"
_TRUE: Final = wire.put_number(1, 1)


class Inference:
    """The service."""

    def __init__(self, plane: DataPlane, repository: Repository) -> None:
        self._plane = plane
        self._repository = repository

    def methods(self) -> Mapping[bytes, Answer]:
        """The unary methods by path."""
        named: dict[str, Answer] = {
            "ServerReady": self._server_ready,
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self.infer,
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        return {path(INFERENCE, name): answer for name, answer in named.items()}

    def infer(self, message: Buffer) -> Parts | Later:
        """ModelInfer."""
        return self.run(read_infer_request(message))

    def run(self, request: InferMessage) -> Parts | Later:
        """Answer a request that has been read."""
        received_at = time.perf_counter()
        plane = self._plane
        served = plane.find(request.model_name, request.model_version)
        try:
            inputs = tensors_of(request)
        except ServingError:
            plane.count_failure(served, _INTERFACE, "ModelInfer")
            raise
        inference = InferRequest(inputs=inputs, outputs=request.outputs, received_at=received_at)
        answer = plane.infer(served, inference, _INTERFACE)
        if isinstance(answer, InferResponse):
            return write_infer_response(answer, request.echo)
        return Later(answer, partial(_written, request.echo))

    def _server_ready(self, message: Buffer) -> Parts:
        return [_TRUE if self._plane.ready() else b""]

    def _server_metadata(self, message: Buffer) -> Parts:
        who = wire.put_text(1, "skerry") + wire.put_text(2, version("skerry"))
        return [who + wire.put_text(3, "model_repository")]

    def _model_ready(self, message: Buffer) -> Parts:
        name, number = messages.texts(message, 1, 2)
        try:
            self._plane.model_ready(name, number, _INTERFACE)
        except NotReady:
            return [b""]
        return [_TRUE]

    def _model_metadata(self, message: Buffer) -> Parts:
        name, number = messages.texts(message, 1, 2)
        found = self._plane.metadata(name, number, _INTERFACE)
        head = [wire.put_text(1, found.name), *(wire.put_text(2, each) for each in found.versions)]
        return [
            b"".join([*head, wire.put_text(3, found.platform), *_tensors(4, found.inputs), *_tensors(5, found.outputs)])
        ]

    def _index(self, message: Buffer) -> Parts:
        only_ready = messages.flag(message, 2)
        found = (entry for model in self._repository.registry.state() for entry in entries(model))
        return [b"".join(_entry(entry) for entry in found if not only_ready or entry["state"] == "READY")]

    def _load(self, message: Buffer) -> Later:
        return self._change(message, "load")

    def _unload(self, message: Buffer) -> Later:
        return self._change(message, "unload")

    def _change(self, message: Buffer, what: str) -> Later:
        # The protocol's extension has the model's name in field 2, KServe's own file in field 1.
        first, second = messages.texts(message, 1, 2)
        name = second or first
        change = self._repository.load if what == "load" else self._repository.unload
        return Later(change(name), partial(_changed, name))


def _written(echo: bytes, done: "asyncio.Future[InferResponse]") -> Parts:
    return write_infer_response(done.result(), echo)


def _changed(name: str, done: "asyncio.Future[None]") -> Parts:
    done.result()
    return [wire.put_text(1, name) + wire.put_number(2, 1)]


def _tensors(number: int, described: Sequence[TensorMetadata]) -> list[bytes]:
    return [wire.put_bytes(number, messages.tensor(each.name, each.datatype, each.shape)) for each in described]


def _entry(entry: Mapping[str, str]) -> bytes:
    fields = (entry["name"], entry["version"], entry["state"], entry["reason"])
    return wire.put_bytes(1, b"".join(wire.put_text(position, value) for position, value in enumerate(fields, 1)))
