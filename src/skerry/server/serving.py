"""The composition root: builds the rooms of the server, and runs them from the first socket to the last response.

    listen → answer probes with 503 → import the libraries → load the models → ready → SIGTERM → drain → end

The port is open after a tenth of a second, so a busy port is reported at once and liveness never waits for a model.
On SIGTERM readiness turns to 503 first and every response asks its client to go elsewhere; after `--drain_seconds`
the sockets close, running requests get up to `--shutdown_seconds` to finish, then the process ends. A second signal
ends it at once.
"""

import asyncio
import os
import signal
import time
from importlib import import_module
from typing import TYPE_CHECKING

from skerry.server import log
from skerry.server.background import in_thread
from skerry.server.errors import StartError
from skerry.server.http.listener import Listener
from skerry.server.http.messages import Handler
from skerry.server.memory import stay_lean
from skerry.server.model_metrics import ServerMetrics
from skerry.server.options import Options
from skerry.server.rest.cors import Cors
from skerry.server.rest.starting import starting

if TYPE_CHECKING:
    from skerry.server.dataplane import DataPlane
    from skerry.server.engines import Engine
    from skerry.server.grpc.server import GrpcServer
    from skerry.server.repository_models import Models
    from skerry.server.tracing.setup import Tracing

_TRACE_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_BODIES_AT_ONCE = 2  # how many of the largest bodies may be in memory


async def serve(options: Options, started_at: float) -> None:
    """Serve until a signal comes; raises `StartError` when it cannot begin."""
    metrics = ServerMetrics(options.metrics_list)
    listener = Listener(
        _open_to_pages(starting, options),
        max_body=options.max_body_bytes,
        max_buffered=_BODIES_AT_ONCE * options.max_body_bytes,
    )
    if options.rest_port:
        await listener.listen(options.rest_addresses, options.rest_port)
        log.info("REST server listening", addresses=",".join(options.rest_addresses), port=options.rest_port)
    grpc = await _listen_grpc(options) if options.grpc_port else None
    stopped = _stop_on_signals()
    server = _Server(options, metrics, listener, grpc)
    failures: list[StartError] = []
    try:
        async with asyncio.TaskGroup() as group:
            start = group.create_task(server.start(started_at))
            await stopped.wait()
            start.cancel()
    except* StartError as why:
        failures += [failure for failure in why.exceptions if isinstance(failure, StartError)]
    if failures:
        raise failures[0]
    await server.drain()


def _open_to_pages(handler: Handler, options: Options) -> Handler:
    return Cors(handler, options.cors).handle if options.cors.origins else handler


async def _listen_grpc(options: Options) -> "GrpcServer":
    from skerry.server.grpc.server import GrpcServer, server_tls

    tls = server_tls(options.grpc_certificate, options.grpc_key) if options.grpc_certificate else None
    grpc = GrpcServer(options.grpc_max_message_bytes, tls)
    await grpc.listen(options.grpc_addresses, options.grpc_port)
    log.info("Started gRPC server", addresses=",".join(options.grpc_addresses), port=options.grpc_port)
    return grpc


def _stop_on_signals() -> asyncio.Event:
    """An event for the first signal; the second ends the process."""
    stopped = asyncio.Event()

    def on_signal() -> None:
        if stopped.is_set():
            os._exit(1)
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    return stopped


class _Server:
    """What lives from the first import to the last response."""

    def __init__(self, options: Options, metrics: ServerMetrics, listener: Listener, grpc: "GrpcServer | None") -> None:
        self._options = options
        self._metrics = metrics
        self._shown = options.metrics
        self._listener = listener
        self._grpc = grpc
        self._plane: DataPlane | None = None
        self._tracing: Tracing | None = None

    async def start(self, started_at: float) -> None:
        """Import what is heavy, let the real handler in, load the models; then look after the memory for ever."""
        engine = await in_thread(_import_engine)
        from skerry.server.execution import Limits
        from skerry.server.loading import Loader
        from skerry.server.registry import Registry
        from skerry.server.repository_models import Models

        options = self._options
        await self._read_monitoring()
        registry = Registry()
        if options.config_path is None:
            registry.declare(options.model.name)
        limits = Limits(options.max_queue, options.request_timeout_seconds)
        loader = Loader(engine, registry, self._metrics, limits)
        models = Models(loader, options.model, options.config_path)
        self._let_in(models)
        await models.start(options.model_wait_seconds)
        log.info("ready", took=round(time.time() - started_at, 3))
        if any("NHWC" in layout.upper() for layout in models.layouts()):
            # Laid out for pictures, so it will get some: better now than inside of the first request.
            await in_thread(_import_opencv)
        async with asyncio.TaskGroup() as group:
            group.create_task(models.run(options.poll_seconds))
            group.create_task(
                stay_lean(lambda: self._listener.busy() or (self._grpc is not None and self._grpc.busy()))
            )

    def _let_in(self, models: "Models") -> None:
        """From now on the real handlers answer, within the layers that the options and the environment ask for."""
        from skerry.server.dataplane import DataPlane
        from skerry.server.repository_control import FixedRepository
        from skerry.server.rest.application import Application

        options = self._options
        tracing = self._tracing = _tracing(self._metrics)
        plane = self._plane = DataPlane(models.registry) if tracing is None else tracing.plane(models.registry)
        repository = models if options.model_control_mode == "explicit" else FixedRepository(models)
        application = Application(
            plane, self._metrics if self._shown else None, repository, max_body=options.max_body_bytes
        )
        handler = application.handle
        if options.compat == "ovms":
            from skerry.server.rest.ovms import Ovms

            handler = Ovms(handler, plane).handle
        self._listener.handler = _open_to_pages(handler if tracing is None else tracing.handler(handler), options)
        if tracing is None and options.compat != "ovms" and not options.cors.origins:
            self._listener.lanes = application.lanes.find  # any other layer has to see each request by itself
        if self._grpc is None:
            return
        if tracing is None:
            self._grpc.serve(plane, models.registry.names, repository)
        else:
            self._grpc.serve(plane, models.registry.names, repository, tracing.methods)

    async def _read_monitoring(self) -> None:
        """What a config file says of metrics is read once, as in OVMS."""
        from skerry.server import config_file
        from skerry.server.repository import wait_for

        options, path = self._options, self._options.config_path
        if path is None:
            return
        await in_thread(lambda: wait_for(path, options.model_wait_seconds))
        config = await in_thread(lambda: config_file.read(path, options.model))
        if config.metrics is not None:
            if options.metrics:
                raise StartError("Metrics configuration duplicated in configuration file and CLI parameters")
            self._metrics = ServerMetrics(config.metrics_list)
            self._shown = config.metrics

    async def drain(self) -> None:
        """Say that we are leaving, finish what is running, leave."""
        log.info("draining")
        self._listener.draining = True
        if self._plane is not None:
            self._plane.draining = True
        await asyncio.sleep(self._options.drain_seconds)
        async with asyncio.TaskGroup() as group:
            if self._options.rest_port:
                group.create_task(self._listener.close(self._options.shutdown_seconds))
            if self._grpc is not None:
                group.create_task(self._grpc.close(self._options.shutdown_seconds))
        if self._tracing is not None:
            await in_thread(self._tracing.close)
        log.info("stopped")


def _tracing(metrics: ServerMetrics) -> "Tracing | None":
    if not any(os.environ.get(name) for name in _TRACE_ENDPOINTS):
        return None
    from skerry.server.tracing.setup import tracing

    return tracing(metrics)


def _import_engine() -> "Engine":
    """The imports that take the time; done in a thread they leave the loop free to answer."""
    import_module("skerry.server.loading")
    import_module("skerry.server.rest.application")
    from skerry.server.engines.choosing import Engines

    return Engines()


def _import_opencv() -> None:
    from skerry.server.pictures import opencv

    try:
        opencv()
    except ImportError as why:
        log.warning("OpenCV is missing: pictures cannot be decoded", reason=why)
