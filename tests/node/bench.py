"""A place to start real supervisors over real processes in."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from skerry.cluster.node.containers import Container, Exit, Launch, Mount, Program, User, launch


class Bench:
    """A place to start containers in; whatever still runs at the end is killed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._count = 0
        self._running: list[Container] = []

    def build(
        self,
        *argv: str,
        mounts: list[Mount] | None = None,
        isolation: str = "none",
        user: User | None = None,
        env: dict[str, str] | None = None,
        cgroups: tuple[str, ...] = (),
        cwd: str = "/",
    ) -> Launch:
        self._count += 1
        directory = self.root / f"container-{self._count}"
        directory.mkdir()
        program = Program(
            argv=list(argv),
            env={"PATH": "/usr/bin:/bin", **(env or {})},
            cwd=cwd,
            isolation=isolation,
            mounts=mounts or [],
            user=user,
            open_files=1024,
            cgroups=list(cgroups),
            directory=str(directory),
        )
        return Launch(directory, directory / "spec", directory / "log" / "0.log", program)

    async def start(self, what: Launch) -> Container:
        container = await launch(what)
        assert isinstance(container, Container), container
        self._running.append(container)
        return container

    async def run(self, what: Launch) -> Exit:
        started = await launch(what)
        if isinstance(started, Exit):
            return started
        self._running.append(started)
        async with asyncio.timeout(20):
            return await started.exited

    def output(self, what: Launch, stream: str = "stdout") -> list[str]:
        lines = what.log_file.read_text().splitlines()
        parts = [line.split(" ", 3) for line in lines]
        return [part[3] if len(part) > 3 else "" for part in parts if part[1] == stream]

    async def aclose(self) -> None:
        for container in self._running:
            if not container.exited.done():
                container.kill()
                async with asyncio.timeout(10):
                    await container.exited


async def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)
