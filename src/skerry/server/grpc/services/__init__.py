"""What is served: inference, health and reflection."""

from typing import Final

INFERENCE: Final = "inference.GRPCInferenceService"
HEALTH: Final = "grpc.health.v1.Health"


def path(service: str, method: str) -> bytes:
    """Where a method is called."""
    return f"/{service}/{method}".encode()
