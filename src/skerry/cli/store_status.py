"""What `skerry status` says of the database, from its files alone: it has to work when nothing else does."""

import os
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from skerry.daemon.health import Notice, read_health
from skerry.daemon.paths import Paths

_FULL: Final = 1 << 20  # less than this is free: writes are refused, or soon will be


def store_facts(paths: Paths, notices: Sequence[Notice]) -> dict[str, Any]:
    """Collect what there is to say."""
    health = read_health(paths.health)
    free = _free(paths.store.parent)
    copies = sorted((paths.store.parent / "copies").glob("copy-*.db"))
    return {
        "database": str(paths.store),
        "bytes": sum(_size(path) for path in paths.store.parent.glob("store.db*")),
        "free": free,
        "trouble": _trouble(paths, free),
        "cannotStart": health.cannot_start,
        "copies": [{"file": str(path), "time": _time(path), "bytes": _size(path)} for path in copies],
        "notices": [{"time": one.time, "reason": one.reason, "message": one.message} for one in notices],
    }


def store_lines(store: dict[str, Any]) -> list[tuple[str, str]]:
    """Say it to people: labels and what stands behind them."""
    lines = []
    if store["trouble"]:
        lines.append(store["trouble"])
    elif store["bytes"]:
        newest = f"the newest of {store['copies'][-1]['time']}" if store["copies"] else "the first is taken soon"
        lines.append(f"{store['bytes']} bytes; {len(store['copies'])} verified copies, {newest}")
    lines += [f"{one['time']} {one['reason']}: {one['message']}" for one in store["notices"]]
    if store["notices"]:
        lines.append("These notices stay until you have read them: skerry status --acknowledge")
    return [("" if index else "Store", line) for index, line in enumerate(lines)]


def _trouble(paths: Paths, free: int | None) -> str:
    if free is not None and free < _FULL:
        return (
            f"the disk of {paths.state} is full ({free} bytes are free): models and reads go on, writes are refused "
            "until there is room"
        )
    for path in (paths.store, paths.store.parent):
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            return f"{path} cannot be written: models and reads go on, writes are refused"
    return ""


def _free(directory: Path) -> int | None:
    try:
        return shutil.disk_usage(directory).free
    except OSError:
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _time(path: Path) -> str:
    try:
        return f"{datetime.fromtimestamp(path.stat().st_mtime, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except OSError:
        return ""
