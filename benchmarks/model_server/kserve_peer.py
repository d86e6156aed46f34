"""KServe's Python SDK server with the cheapest OpenVINO call; runs in an environment of its own."""

# mypy: ignore-errors
import argparse
import logging
import sys

sys.modules.setdefault("openvino.tools.ovc", None)  # it reports imports to its vendor

import kserve  # noqa: E402
import openvino as ov  # noqa: E402
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer  # noqa: E402
from kserve.utils.utils import generate_uuid  # noqa: E402


class Bare(Model):
    """A preset tensor, and the binding's base class called on it."""

    def __init__(self, xml: str) -> None:
        super().__init__("m")
        options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
        self._request = ov.Core().compile_model(xml, "CPU", options).create_infer_request()
        tensor = ov.Tensor(self._request.model_inputs[0].element_type, ov.Shape([1, 4]))
        self._request.set_input_tensor(0, tensor)
        self._room = tensor.data
        self._call = super(ov.InferRequest, self._request).infer
        self.ready = True

    async def predict(
        self, payload: InferRequest, headers: object = None, response_headers: object = None
    ) -> InferResponse:
        self._room[:] = payload.inputs[0].as_numpy()
        self._call({}, share_outputs=True, decode_strings=False)
        values = self._request.get_output_tensor(0).data
        output = InferOutput("y", list(values.shape), "FP32")
        output.set_data_from_numpy(values, binary_data=False)
        return InferResponse(payload.id or generate_uuid(), self.name, [output])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(parents=[kserve.model_server.parser])
    parser.add_argument("xml")
    options, _ = parser.parse_known_args()
    server = ModelServer(http_port=options.http_port, enable_grpc=False, workers=1)
    logging.disable(logging.INFO)  # a line for each request would be most of its time
    server.start([Bare(options.xml)])
