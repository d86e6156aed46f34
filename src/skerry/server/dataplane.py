"""The operations of the Open Inference Protocol, without a transport.

REST calls it now and gRPC later; both get the same answers, checks and counts. An inference returns its response at
once or as a future, so that the fast case pays for no scheduling.
"""

import asyncio
from functools import partial
from time import perf_counter
from typing import Any

import msgspec

from skerry.server import log
from skerry.server.batching import Answer, Call
from skerry.server.calls import InferCall
from skerry.server.engines import SelfDescribed
from skerry.server.errors import InferenceFailed, ServingError
from skerry.server.model_metrics import Interface, Method
from skerry.server.registry import Registry, ServedVersion
from skerry.server.tensors import InferRequest, InferResponse, TensorSpec


class TensorMetadata(msgspec.Struct, frozen=True):
    """An input or output; the order of the fields is the order in the JSON."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(msgspec.Struct, frozen=True):
    """What a client needs to know to ask."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]
    rt_info: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    """What the model's author wrote into it, as OVMS has it; left out where there is nothing."""


class DataPlane:
    """Answers for all models of the process."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.draining = False

    def ready(self) -> bool:
        """Whether new requests should be sent here."""
        return self._registry.ready() and not self.draining

    def model_ready(self, name: str, version: str, interface: Interface) -> None:
        """Return if the model can answer; raise why not."""
        served = self._registry.find(name, version)
        served.metrics.success[interface, "ModelReady"].value += 1

    def metadata(self, name: str, version: str, interface: Interface) -> ModelMetadata:
        served = self._registry.find(name, version)
        served.metrics.success[interface, "ModelMetadata"].value += 1
        return ModelMetadata(
            name=name,
            versions=self._registry.versions(name),
            platform=served.model.platform,
            inputs=_described(served.model.inputs),
            outputs=_described(served.model.outputs),
            rt_info=(served.model.rt_info if isinstance(served.model, SelfDescribed) else None) or msgspec.UNSET,
        )

    def find(self, name: str, version: str) -> ServedVersion:
        """Return the version that will answer; raises `UnknownModel` or `NotReady`."""
        return self._registry.find(name, version)

    def infer(
        self, served: ServedVersion, request: InferRequest, interface: Interface
    ) -> InferResponse | asyncio.Future[InferResponse]:
        """Run an inference, now or soon; raises `InvalidRequest` for one that the model does not take."""
        try:
            call = InferCall(served, request)
        except ServingError:
            self.count_failure(served, interface, "ModelInfer")
            raise
        return self.run(served, call, interface, request.received_at)

    def run(
        self, served: ServedVersion, call: Call[Answer], interface: Interface, received_at: float
    ) -> Answer | asyncio.Future[Answer]:
        """Run a call that was checked, and count how it ends."""
        try:
            answer = served.execution.run(call)
        except ServingError:
            self.count_failure(served, interface, "ModelInfer")
            raise
        except Exception as why:  # noqa: BLE001 - a defect is one failed request
            self.count_failure(served, interface, "ModelInfer")
            log.exception("inference broke", model=served.name, error=type(why).__name__)
            raise InferenceFailed(f"Internal inference error - {type(why).__name__}: {why}") from None
        if isinstance(answer, asyncio.Future):
            answer.add_done_callback(partial(self._count, served, received_at, interface))
        else:
            successes, times = served.metrics.inferred[interface]
            successes.value += 1
            times.observe(perf_counter() - received_at)
        return answer

    def count_rows(self, served: ServedVersion, interface: Interface, received_at: list[float], failed: int) -> None:
        """Count requests that ended together: when those that succeeded had come, and how many did not."""
        successes, times = served.metrics.inferred[interface]
        successes.value += len(received_at)
        now = perf_counter()
        times.observe_each([now - each for each in received_at])
        served.metrics.fail[interface, "ModelInfer"].value += failed

    def count_failure(self, served: ServedVersion, interface: Interface, method: Method) -> None:
        """A request that reached the model and got no answer, one that cannot be parsed included."""
        served.metrics.fail[interface, method].value += 1

    def _count(
        self, served: ServedVersion, received_at: float, interface: Interface, done: asyncio.Future[Any]
    ) -> None:
        if done.cancelled() or done.exception() is not None:
            self.count_failure(served, interface, "ModelInfer")
        else:
            successes, times = served.metrics.inferred[interface]
            successes.value += 1
            times.observe(perf_counter() - received_at)


def _described(specs: tuple[TensorSpec, ...]) -> list[TensorMetadata]:
    return [TensorMetadata(spec.name, spec.datatype, spec.shape) for spec in specs]
