"""Runs a command in the surroundings of a running container, for exec probes and hooks."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from skerry.cluster.node.hardening import supervisor_command

_OUTPUT_LIMIT: Final = 10 << 10  # the kubelet's


async def exec_in(spec_file: Path, pid: int, command: Sequence[str], seconds: float) -> tuple[int, str]:
    """Return exit code and output; raises `TimeoutError`."""
    process = await asyncio.create_subprocess_exec(
        *supervisor_command(),
        "--exec",
        str(spec_file),
        str(pid),
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(seconds):
            output = b""
            while chunk := await process.stdout.read(_OUTPUT_LIMIT):
                output = (output + chunk)[:_OUTPUT_LIMIT]
            return await process.wait(), output.decode("utf-8", "replace")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
