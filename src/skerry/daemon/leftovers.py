"""What a killed daemon leaves: its pods and its gateway go on. `skerry down` ends them without a daemon."""

import asyncio
from typing import Final

from skerry.cluster.gateway.process import GatewayProcess
from skerry.cluster.node.agent import stop_leftovers as stop_pods
from skerry.daemon.paths import Paths

_GRACE_SECONDS: Final = 30.0


def stop_leftovers(paths: Paths) -> str:
    """End them; returns what there was, for people, or "" for nothing."""
    return asyncio.run(_stop(paths))


async def _stop(paths: Paths) -> str:
    gateway = GatewayProcess(run_dir=paths.run / "gateway", log_dir=paths.log, listen="127.0.0.1:0")
    found = ["the gateway"] if await gateway.stop_leftover() else []
    containers = await stop_pods(paths.state / "node", paths.run / "node", paths.log / "pods", _GRACE_SECONDS)
    if containers:
        found.append(f"{containers} container{'s' if containers > 1 else ''}")
    return " and ".join(found)
