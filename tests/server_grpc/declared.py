"""The messages of the services as protobuf's own runtime makes them from our declarations: the judge of our codec."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from skerry.server.grpc.services.reflection import DESCRIPTORS

_pool = descriptor_pool.DescriptorPool()
for _file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file:
    _pool.Add(_file)


def declared(name: str) -> Any:
    """The class of a message."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(name))


ModelInferRequest = declared("inference.ModelInferRequest")
ModelInferResponse = declared("inference.ModelInferResponse")
ModelStreamInferResponse = declared("inference.ModelStreamInferResponse")
ModelMetadataResponse = declared("inference.ModelMetadataResponse")
