"""Certificates in the daemon: made at the start, renewed in time by the wall clock, served without a restart.

A box may start in 1970 and learn the time a minute later, or be set back: so the wall clock is looked at again and
again, and what is compared is only "does the server's certificate end within a month from now".
"""

import asyncio
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from skerry.daemon import certificates
from skerry.daemon.config import ApiServer
from skerry.daemon.https import HttpsServer
from skerry.kit.clock import Clock
from skerry.kit.log import logger

log = logger(__name__)

_LOOK_SECONDS: Final = 60.0
_MAKE_SECONDS: Final = 60.0


class Certificates:
    """The pki directory of one daemon."""

    def __init__(self, api: ApiServer, directory: Path, clock: Clock) -> None:
        self._pki = certificates.Pki(directory)
        hosts = ["localhost", "127.0.0.1", "kubernetes.default.svc", *api.subject_alt_names]
        own = [] if api.listen_address in {"0.0.0.0", "::"} else [api.listen_address]  # noqa: S104
        self._names = sorted({*hosts, *own})
        self._clock = clock

    async def ensure(self) -> certificates.Pki:
        """Make what is missing, ends soon or cannot be used.

        Raises `OSError` when that fails and there is nothing to serve with.
        """
        try:
            if certificates.needs_work(self._pki, self._names, self._clock.now()):
                await self._make()
        except OSError as error:
            if not self._usable():
                raise
            log.error("certificates not renewed", error=str(error))
        if not self._usable():
            await self._make()
        return self._pki

    async def keep(self, server: HttpsServer, renewed: Callable[[], None]) -> None:
        """Renew and reload until cancelled; `renewed` is called when the files are new."""
        while True:
            await self._clock.sleep(_LOOK_SECONDS)
            if not certificates.needs_work(self._pki, self._names, self._clock.now()):
                continue
            try:
                await self._make()
                server.reload_certificate()
                renewed()
            except (OSError, ssl.SSLError) as error:
                log.error("certificates not renewed", error=str(error))

    def _usable(self) -> bool:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self._pki.server_certificate, self._pki.server_key)
            context.load_verify_locations(self._pki.ca_certificate)
        except (OSError, ssl.SSLError):
            return False
        return True

    async def _make(self) -> None:
        """In a process of its own: the cryptography library would stay in the daemon's memory."""
        now = self._clock.now().isoformat()
        command = (sys.executable, "-m", "skerry.daemon.certificates", str(self._pki.directory), now, *self._names)
        process = await asyncio.create_subprocess_exec(*command)
        try:
            async with asyncio.timeout(_MAKE_SECONDS):
                if await process.wait() != 0:
                    raise OSError(f"cannot make certificates in {self._pki.directory}; the lines above say why")
        except TimeoutError:
            process.kill()
            raise OSError(f"certificates were not made within {_MAKE_SECONDS:g} s") from None
        log.info("certificates made", directory=str(self._pki.directory))
