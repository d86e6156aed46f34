"""The least that grpc.aio can do around the same OpenVINO call: what a gRPC server in Python is measured by."""

# ruff: noqa: E402 - the converter must be shut out before the import

import asyncio
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]  # it reports imports to its vendor

import grpc
import grpc.aio
import openvino as ov
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

import skerry.server.grpc.protos


def declared(name: str) -> Any:
    """A message class of protobuf's own runtime."""
    pool = descriptor_pool.DescriptorPool()
    files = Path(skerry.server.grpc.protos.__file__).with_name("services.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(files).file:
        pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


class Bare:
    """One request object with preset tensors, called in the cheapest way there is."""

    def __init__(self, xml: str) -> None:
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
        request = ov.Core().compile_model(xml, "CPU", options).create_infer_request()
        port = request.model_inputs[0]
        tensor = ov.Tensor(port.element_type, ov.Shape([max(size.min_length, 1) for size in port.partial_shape]))
        request.set_input_tensor(0, tensor)
        self._request = request
        self._room: Any = tensor.data.reshape(-1)
        self._call = super(ov.InferRequest, request).infer  # type: ignore[misc]
        self._name = request.model_outputs[0].any_name
        self._response = declared("inference.ModelInferResponse")

    async def infer(self, request: Any, _context: Any) -> Any:
        self._room[:] = np.frombuffer(request.raw_input_contents[0], np.float32)
        self._call({}, share_outputs=True, decode_strings=False)
        values = self._request.get_output_tensor(0).data
        response = self._response(model_name=request.model_name, model_version="1", id=request.id)
        output = response.outputs.add()
        output.name = self._name
        output.datatype = "FP32"
        output.shape.extend(values.shape)
        response.raw_output_contents.append(values.tobytes())
        return response


async def main(xml: str, port: str) -> None:
    bare = Bare(xml)
    request = declared("inference.ModelInferRequest")
    handler = grpc.unary_unary_rpc_method_handler(
        bare.infer, request.FromString, lambda response: response.SerializeToString()
    )
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    services = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelInfer": handler})
    server.add_generic_rpc_handlers((services,))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
