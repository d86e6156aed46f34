"""A real HTTPS server and real kubectls that talk to it."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from skerry.cluster.apiserver.app import ApiServer
from skerry.daemon import certificates
from skerry.daemon.https import HttpsServer, bind

HOSTS = ["127.0.0.1"]


def kubectls() -> dict[str, str]:
    """Return the programs that are here: the one of the system, and the one installed beside this Python."""
    elsewhere = os.pathsep.join(
        part for part in os.environ["PATH"].split(os.pathsep) if Path(part) != Path(sys.executable).parent
    )
    found = {
        "system": shutil.which("kubectl", path=elsewhere),
        "installed": shutil.which("kubectl", path=str(Path(sys.executable).parent)),
    }
    return {name: path for name, path in found.items() if path}


class Said(NamedTuple):
    """What a run of kubectl printed."""

    out: str
    err: str
    code: int


@dataclass(frozen=True)
class Kubectl:
    """One kubectl against one server."""

    program: str
    home: Path
    kubeconfig: Path

    async def run(self, *arguments: str, stdin: str = "") -> Said:
        async with self._started(*arguments) as process:
            out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return Said(out.decode(), err.decode(), process.returncode)

    @asynccontextmanager
    async def lines(self, *arguments: str) -> AsyncIterator[AsyncIterator[str]]:
        """Run what does not end by itself, and end it afterwards."""
        async with self._started(*arguments) as process:
            assert process.stdout is not None
            yield (line.decode().rstrip("\n") async for line in process.stdout)

    @asynccontextmanager
    async def _started(self, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
        environment = {"HOME": str(self.home), "KUBECONFIG": str(self.kubeconfig), "PATH": os.environ["PATH"]}
        process = await asyncio.create_subprocess_exec(
            self.program,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        try:
            async with asyncio.timeout(30):
                yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    async def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Run it; it must succeed without complaint."""
        said = await self.run(*arguments, stdin=stdin)
        assert (said.code, said.err) == (0, ""), said
        return said.out

    async def refused(self, *arguments: str, stdin: str = "") -> str:
        """Run it; it must fail. Returns the complaint."""
        said = await self.run(*arguments, stdin=stdin)
        assert said.code != 0, said
        return said.err


def make_certificates(directory: Path) -> certificates.Pki:
    """Make a certificate authority for a session."""
    pki = certificates.Pki(directory)
    certificates.ensure(pki, HOSTS, datetime.now(UTC))
    return pki


@asynccontextmanager
async def serving(app: ApiServer, pki: certificates.Pki, kubeconfig: Path) -> AsyncIterator[int]:
    """Serve over TLS on a free port, and write the kubeconfig for it."""
    listening = bind("127.0.0.1", 0, "apiServer.port")
    server = HttpsServer(app, listening, pki.server_certificate, pki.server_key, pki.ca_certificate)
    kubeconfig.write_bytes(certificates.kubeconfig(pki, f"https://127.0.0.1:{server.port}"))
    running = asyncio.ensure_future(server.run())
    try:
        async with asyncio.timeout(10):
            await server.started()
        yield server.port
    finally:
        running.cancel()
        await asyncio.wait({running})


def columns(table: str) -> Sequence[str]:
    """Return the words of the first line of a table."""
    return table.splitlines()[0].split()
