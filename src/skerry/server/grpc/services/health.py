"""`grpc.health.v1.Health`: how the server is (the empty name), its services, and every model by its name."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from skerry.server.errors import NotReady, UnknownModel
from skerry.server.grpc import messages, wire
from skerry.server.grpc.calls import Answer, CallHead, StreamingCall
from skerry.server.grpc.h2.outbound import Buffer, Parts
from skerry.server.grpc.services import HEALTH, path
from skerry.server.grpc.status import CallError, Status

if TYPE_CHECKING:
    from skerry.server.dataplane import DataPlane
    from skerry.server.grpc.h2.connection import Connection
    from skerry.server.grpc.h2.heads import RequestHead
    from skerry.server.grpc.methods import Streaming

SERVING: Final = 1
NOT_SERVING: Final = 2
SERVICE_UNKNOWN: Final = 3


class Health:
    """The service. It is there from the first moment, and learns of the models when there are some."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = frozenset({"", *services})
        self._plane: DataPlane | None = None
        self._names: Callable[[], Sequence[str]] = tuple

    def attach(self, plane: "DataPlane", names: Callable[[], Sequence[str]]) -> None:
        """From now on, tell of these models."""
        self._plane = plane
        self._names = names

    def unary(self) -> Mapping[bytes, Answer]:
        return {path(HEALTH, "Check"): self._check, path(HEALTH, "List"): self._list}

    def streaming(self) -> "Mapping[bytes, Streaming]":
        return {path(HEALTH, "Watch"): partial(_Watch, self)}

    def state(self, name: str) -> int:
        """How something is; `SERVICE_UNKNOWN` if there is no such thing."""
        plane = self._plane
        if name in self._services:
            return SERVING if plane is not None and plane.ready() else NOT_SERVING
        if plane is None:
            return NOT_SERVING
        try:
            plane.find(name, "")
        except NotReady:
            return NOT_SERVING
        except UnknownModel:
            return SERVICE_UNKNOWN
        return NOT_SERVING if plane.draining else SERVING

    def _check(self, message: Buffer) -> Parts:
        (name,) = messages.texts(message, 1)
        state = self.state(name)
        if state == SERVICE_UNKNOWN:
            raise CallError(Status.NOT_FOUND, f"there is no service and no model {name}")
        return [wire.put_number(1, state)]

    def _list(self, message: Buffer) -> Parts:
        names = sorted(self._services) + sorted(self._names())
        entries = (wire.put_text(1, name) + wire.put_bytes(2, wire.put_number(1, self.state(name))) for name in names)
        return [b"".join(wire.put_bytes(1, entry) for entry in entries)]


class _Watch(StreamingCall):
    """Tells the state, and every change of it within a second."""

    __slots__ = ("_health", "_name", "_told")

    def __init__(
        self, health: Health, connection: "Connection", stream_id: int, head: "RequestHead", meaning: CallHead
    ) -> None:
        super().__init__(connection, stream_id, head, meaning)
        self._health = health
        self._name: str | None = None
        self._told: int | None = None

    def on_message(self, message: Buffer) -> None:
        if self._name is not None:
            raise CallError(Status.UNIMPLEMENTED, "this method takes one message, and a second one came")
        (self._name,) = messages.texts(message, 1)
        self._tell(self._health.state(self._name))

    def on_half_close(self) -> None:
        if self._name is None:
            raise CallError(Status.INTERNAL, "the request ended before its message did")

    def on_second(self, clock: float) -> None:
        super().on_second(clock)
        if self._name is not None and not self.closed:
            self._tell(self._health.state(self._name))

    def on_drain(self) -> None:
        if self._name is not None:
            self._tell(NOT_SERVING)
        super().on_drain()

    def _tell(self, state: int) -> None:
        if state != self._told:
            self._told = state
            self.write([wire.put_number(1, state)])
