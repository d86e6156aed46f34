"""gRPC as a whole: the port, and what is behind it while the models load and after."""

import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from skerry.server.errors import StartError
from skerry.server.grpc import wire
from skerry.server.grpc.calls import Answer
from skerry.server.grpc.h2.listener import Listener
from skerry.server.grpc.h2.outbound import Buffer, Parts
from skerry.server.grpc.methods import Methods, Streaming
from skerry.server.grpc.services import HEALTH, INFERENCE, path, reflection
from skerry.server.grpc.services.health import Health
from skerry.server.grpc.status import CallError, Status

if TYPE_CHECKING:
    from skerry.server.dataplane import DataPlane
    from skerry.server.repository_control import Repository

_MESSAGES_AT_ONCE: Final = 2  # how many of the largest messages may be in memory


class GrpcServer:
    """One port. It is open before there are models, so that probes get an answer early."""

    def __init__(self, most_message: int, tls: ssl.SSLContext | None = None) -> None:
        self._health = Health((INFERENCE, HEALTH))
        unary = {
            path(INFERENCE, "ServerLive"): _live,
            path(INFERENCE, "ServerReady"): _not_ready,
            **self._health.unary(),
        }
        starting = Methods(unary, {**self._health.streaming(), **reflection.streaming()}, _starting)
        self._listener = Listener(
            starting, most_body=most_message, most_buffered=_MESSAGES_AT_ONCE * most_message, tls=tls
        )

    @property
    def ports(self) -> Sequence[int]:
        """The ports that are open, one for each address."""
        return self._listener.ports

    async def listen(self, addresses: Sequence[str], port: int) -> None:
        """Open the port; raises `StartError`."""
        await self._listener.listen(addresses, port)

    def serve(
        self,
        plane: "DataPlane",
        names: Callable[[], Sequence[str]],
        repository: "Repository",
        methods: "Callable[[Mapping[bytes, Answer], Mapping[bytes, Streaming]], Methods]" = Methods,
    ) -> None:
        """Let the real methods in; `names` are the models that are served or should be."""
        from skerry.server.grpc.services.inference import Inference
        from skerry.server.grpc.services.streaming import InferStream

        self._health.attach(plane, names)
        inference = Inference(plane, repository)
        unary: dict[bytes, Answer] = {
            path(INFERENCE, "ServerLive"): _live,
            **inference.methods(),
            **self._health.unary(),
        }
        streaming: dict[bytes, Streaming] = {
            path(INFERENCE, "ModelStreamInfer"): lambda *call: InferStream(inference, *call),
            **self._health.streaming(),
            **reflection.streaming(),
        }
        self._listener.service = methods(unary, streaming)

    def busy(self) -> bool:
        """Whether any call is being received or answered."""
        return any(connection.busy for connection in self._listener.connections)

    async def close(self, seconds: float) -> None:
        """Take no more calls, finish those that run within `seconds`, close."""
        await self._listener.close(seconds)


def server_tls(certificate: str, key: str) -> ssl.SSLContext:
    """What TLS needs for HTTP/2: version 1.2 at least, and `h2` agreed on. Raises `StartError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    try:
        context.load_cert_chain(certificate, key)
    except OSError as why:  # ssl's own errors are such
        raise StartError(f"cannot use --grpc_certificate={certificate} with --grpc_key={key}: {why}") from None
    return context


def _live(_message: Buffer) -> Parts:
    return [wire.put_number(1, 1)]


def _not_ready(_message: Buffer) -> Parts:
    return [b""]


def _starting(_method: str) -> CallError:
    return CallError(Status.UNAVAILABLE, "Server is not ready")
