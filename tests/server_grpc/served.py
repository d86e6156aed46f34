"""A server process with a gRPC port, and the ways to call it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from tests.server import harness
from tests.server_grpc.declared import declared


@dataclass
class Served:
    """A running server; `process` is its REST side."""

    process: harness.Server
    target: str

    @contextmanager
    def channel(self) -> Iterator[Any]:
        with grpc.insecure_channel(self.target) as channel:
            yield channel


@contextmanager
def serving(directory: Path, model: Path, *options: str, ready: bool = True) -> Iterator[Served]:
    """Run a server until the block ends."""
    address, port = harness.free_place()
    words = (f"--port={port}", f"--grpc_bind_address={address}", *options)
    with harness.serving(directory, model, *words, ready=ready) as process:
        yield Served(process, f"{address}:{port}")


def method(
    channel: Any, name: str, request: str, response: str, *, service: str = "inference.GRPCInferenceService"
) -> Any:
    """A unary method, with messages as they were declared."""
    return channel.unary_unary(
        f"/{service}/{name}",
        request_serializer=declared(request).SerializeToString,
        response_deserializer=declared(response).FromString,
    )


def infer(channel: Any) -> Any:
    """ModelInfer."""
    return method(channel, "ModelInfer", "inference.ModelInferRequest", "inference.ModelInferResponse")


def request(values: Any, *, name: str = "tiny", **more: Any) -> Any:
    """A ModelInferRequest with one raw input `x`."""
    array = np.asarray(values, np.float32)
    given = {"name": "x", "datatype": "FP32", "shape": array.shape}
    return declared("inference.ModelInferRequest")(
        model_name=name, inputs=[given], raw_input_contents=[array.tobytes()], **more
    )


def answer(response: Any) -> Any:
    """The first output."""
    (raw,) = response.raw_output_contents
    return np.frombuffer(raw, np.float32).reshape(list(response.outputs[0].shape))
