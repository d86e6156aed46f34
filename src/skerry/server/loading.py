"""From files to a version that answers, and back to free memory.

What blocks runs in threads, so requests are answered meanwhile; what changes the registry runs on the event loop. A
version is loaded and warmed beside the one that it replaces, published in one step, and what it replaces is closed
after its last request.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from skerry.server import log
from skerry.server.background import in_thread
from skerry.server.batching import Merging
from skerry.server.engines import Engine
from skerry.server.errors import LoadError
from skerry.server.execution import Execution, Limits, WarmModel
from skerry.server.memory import resident, settle, trim
from skerry.server.model_metrics import ServerMetrics, VersionMetrics
from skerry.server.options import ModelOptions
from skerry.server.registry import Registry, ServedVersion
from skerry.server.repository import Version

_LOOK_SECONDS: Final = 0.01


class Loader:
    """Loads versions into the registry, and takes them out of it."""

    def __init__(self, engine: Engine, registry: Registry, metrics: ServerMetrics, limits: Limits) -> None:
        self.registry = registry
        self._engine = engine
        self._metrics = metrics
        self._limits = limits

    async def load(self, options: ModelOptions, number: int, version: Version) -> ServedVersion | None:
        """Load a version and let it answer; return the one that it replaces. Raises `LoadError`."""
        self.registry.loading(options.name, number)
        start = time.perf_counter()
        warm, grown = await in_thread(lambda: _grown_by(lambda: self._warm(options, version.path)))
        metrics = VersionMetrics(self._metrics, options.name, str(number))
        execution = Execution(warm, metrics, self._limits, asyncio.get_running_loop())
        metrics.load_time.value = int((time.perf_counter() - start) * 1e6)
        metrics.memory.value = grown
        metrics.waiting.read = lambda: execution.waiting
        replaced = self.registry.publish(ServedVersion(options.name, number, warm.model, execution, metrics))
        log.info(
            "model loaded",
            model=options.name,
            version=number,
            inputs=[f"{spec.name} {spec.datatype} {spec.expected}" for spec in warm.model.inputs],
            outputs=[f"{spec.name} {spec.datatype} {spec.expected}" for spec in warm.model.outputs],
            slots=warm.model.slots,
            inference_ms=round(warm.seconds * 1000, 3),
            inline=execution.inline,
            most_rows=warm.merging.rows,
            took=round(time.perf_counter() - start, 3),
            memory_mib=round(grown / 2**20, 1),
        )
        return replaced

    def _warm(self, options: ModelOptions, path: Path) -> WarmModel:
        try:
            merging = Merging(options.max_batch_size, options.max_queue_delay / 1e6)
            return WarmModel(self._engine.load(path, options), merging)
        except LoadError:
            raise
        except Exception as why:
            # Whatever a file does to an engine concerns its model alone.
            log.exception("loading broke", model=options.name, error=type(why).__name__)
            raise LoadError(f"cannot load {path}: {type(why).__name__}: {why}") from why

    async def settle(self) -> None:
        """Give back what loading needed."""
        await in_thread(settle)


def _grown_by(work: Callable[[], WarmModel]) -> tuple[WarmModel, int]:
    """Do it, and return by how much the process grew. Loads run one after the other; requests meanwhile blur it."""
    before = resident()
    warm = work()
    trim()
    return warm, max(resident() - before, 0)


async def finish(registry: Registry, retired: ServedVersion) -> None:
    """Wait for the requests of a version that gets no new ones, then close it. Requests have time-outs, so it ends."""
    execution = retired.execution
    while execution.busy:  # noqa: ASYNC110 - retiring is rare, and every inference would pay for telling
        await asyncio.sleep(_LOOK_SECONDS)
    execution.close()
    if registry.ended(retired.name, retired.number):  # otherwise the series are its successor's
        metrics = retired.metrics
        metrics.queue_size.value = metrics.streams.value = metrics.memory.value = 0
        metrics.waiting.read = int  # it would keep the model in memory
    log.info("model unloaded", model=retired.name, version=retired.number)
    await in_thread(trim)
