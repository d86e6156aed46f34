"""What a model takes and gives, in the words of the first protocol: those of TensorFlow Serving.

OVMS answered so until 2026.3, and so do TensorFlow Serving and its clients' mocks. A model has one signature there,
`serving_default`. Sizes are texts, -1 where they vary, as protocol buffers write 64-bit integers in JSON.
"""

from collections.abc import Sequence
from typing import Any, Final

from skerry.server.dataplane import ModelMetadata, TensorMetadata

_TYPES: Final = {
    "BOOL": "DT_BOOL",
    "UINT8": "DT_UINT8",
    "UINT16": "DT_UINT16",
    "UINT32": "DT_UINT32",
    "UINT64": "DT_UINT64",
    "INT8": "DT_INT8",
    "INT16": "DT_INT16",
    "INT32": "DT_INT32",
    "INT64": "DT_INT64",
    "FP16": "DT_HALF",
    "BF16": "DT_BFLOAT16",
    "FP32": "DT_FLOAT",
    "FP64": "DT_DOUBLE",
    "BYTES": "DT_STRING",
}


def signature_of(metadata: ModelMetadata, version: str) -> dict[str, Any]:
    """The answer to `GET /v1/models/M/metadata`."""
    signature = {
        "inputs": _tensors(metadata.inputs),
        "outputs": _tensors(metadata.outputs),
        "methodName": "tensorflow/serving/predict",
    }
    return {
        "modelSpec": {"name": metadata.name, "signatureName": "", "version": version},
        "metadata": {
            "signature_def": {
                "@type": "type.googleapis.com/tensorflow.serving.SignatureDefMap",
                "signatureDef": {"serving_default": signature},
            }
        },
    }


def _tensors(described: Sequence[TensorMetadata]) -> dict[str, Any]:
    return {
        tensor.name: {
            "dtype": _TYPES.get(tensor.datatype, "DT_INVALID"),
            "tensorShape": {"dim": [{"size": str(size), "name": ""} for size in tensor.shape], "unknownRank": False},
            "name": tensor.name,
        }
        for tensor in described
    }
