"""From directories to versions that answer.

What blocks runs in threads, so probes are answered meanwhile; what changes the registry runs on the event loop.
Versions are tried newest first; one that cannot be loaded is passed over for the next that the policy allows, as OVMS
does. When none is left, the reason of the newest is what the user gets to read.
"""

import asyncio
import time
from pathlib import Path

from skerry.server import log
from skerry.server.background import in_thread
from skerry.server.batching import Merging
from skerry.server.engines import Engine
from skerry.server.errors import LoadError
from skerry.server.execution import Execution, Limits, WarmModel
from skerry.server.memory import settle
from skerry.server.model_metrics import ServerMetrics, VersionMetrics
from skerry.server.options import ModelOptions
from skerry.server.registry import Registry, ServedVersion
from skerry.server.repository import chosen, versions_of, wait_for


class Loader:
    """Loads models into the registry."""

    def __init__(self, engine: Engine, registry: Registry, metrics: ServerMetrics, limits: Limits) -> None:
        self._engine = engine
        self._registry = registry
        self._metrics = metrics
        self._limits = limits

    async def load(self, options: ModelOptions, wait_seconds: float) -> None:
        """Load what the policy chooses; raises `LoadError` when nothing of it can be served."""
        await in_thread(lambda: wait_for(options.path, wait_seconds))
        present = versions_of(options.path)
        served: set[int] = set()
        failures: list[LoadError] = []
        while missing := [number for number in chosen(options.version_policy, present) if number not in served]:
            number = missing[0]
            try:
                await self._load_version(options, number, present[number])
                served.add(number)
            except LoadError as why:
                failures.append(why)
                self._registry.failed(options.name, number, str(why))
                del present[number]
        if failures and not served:
            raise failures[0]
        if not served:
            raise LoadError(f"cannot serve {options.name}: model_version_policy allows none of {sorted(present)}")
        self._registry.settled(options.name)
        await in_thread(settle)

    async def _load_version(self, options: ModelOptions, number: int, path: Path) -> None:
        self._registry.loading(options.name, number)
        start = time.perf_counter()
        merging = Merging(options.max_batch_size, options.max_queue_delay / 1e6)
        warm = await in_thread(lambda: WarmModel(self._engine.load(path, options), merging))
        metrics = VersionMetrics(self._metrics, options.name, str(number))
        execution = Execution(warm, metrics, self._limits, asyncio.get_running_loop())
        self._registry.publish(ServedVersion(options.name, number, warm.model, execution, metrics))
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
        )
