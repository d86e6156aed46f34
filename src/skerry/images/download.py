"""One blob from a registry to the store, surviving cut connections, restarts and power cuts.

Bytes go to `incoming/HEX.partial`. A later attempt, of this process or another, hashes what is there and asks for the
rest with a Range; a server that sends everything anyway is taken at its word and the file begins anew. Only when digest
and size are those of the descriptor does the file get its name. A finished file with a wrong digest is thrown away.

The file is locked while it grows: of two processes that want the same blob one downloads, the other waits and finds it.
"""

import asyncio
import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final

from skerry.images.blobs import CHUNK, BlobStore
from skerry.images.errors import DamagedContent, RegistryRefused, RegistryUnreachable, StoreError
from skerry.images.manifest import Descriptor
from skerry.images.session import Session
from skerry.kit.clock import Clock

_POLL: Final = 0.2
_MOST_WRONG: Final = 2
"""Whole transfers with a wrong digest: the second shows that it was not what an earlier attempt had left."""

Moved = Callable[[str, int, int], None]
"""Told a blob's digest, how many of its bytes are here (or there), and how many there are."""


async def download(session: Session, blob: Descriptor, blobs: BlobStore, clock: Clock, moved: Moved) -> None:
    """Fetch a blob unless it is here.

    Raises `RegistryUnreachable`, `RegistryRefused`, `AccessDenied`, `DamagedContent` or `StoreError`.
    """
    path = blobs.partial(blob.digest)
    while not blobs.has(blob):
        partial = await asyncio.to_thread(_Partial.take, path)
        if partial is None:
            await clock.sleep(_POLL)
            continue
        try:
            if not blobs.has(blob):
                await _complete(session, blob, partial, moved)
                await asyncio.to_thread(partial.adopt, blobs, blob)
        except OSError as error:
            raise StoreError(f"cannot store blob {blob.digest}: {error.strerror or error}; check the disk") from error
        finally:
            partial.close()
    moved(blob.digest, blob.size, blob.size)


async def _complete(session: Session, blob: Descriptor, partial: "_Partial", moved: Moved) -> None:
    attempts = session.attempts()
    await asyncio.to_thread(partial.replay, blob.size)
    wrong = 0
    while True:
        before = partial.size
        try:
            if partial.size < blob.size:
                await _transfer(session, blob, partial, moved)
            if partial.matches(blob):
                return
            await asyncio.to_thread(partial.restart)
            wrong += 1
            if wrong == _MOST_WRONG:
                raise _not_as_announced(session, blob)
        except RegistryUnreachable as error:
            if partial.size > before:
                attempts.progressed()
            await attempts.failed(error, getattr(error, "wish", 0.0))


async def _transfer(session: Session, blob: Descriptor, partial: "_Partial", moved: Moved) -> None:
    headers = {"range": f"bytes={partial.size}-"} if partial.size else {}
    pending = bytearray()
    async with session.open(
        "GET", session.url(f"blobs/{blob.digest}"), headers, accept=(200, 206, 404, 416)
    ) as response:
        if response.status_code == 404:
            raise RegistryRefused(
                f"cannot fetch blob {blob.digest}: {session.host} does not have it; push the image again"
            )
        if not _continues(response.status_code, response.headers.get("content-range", ""), partial.size):
            await asyncio.to_thread(partial.restart)
        if response.status_code == 416:
            return
        try:
            async for piece in response.aiter_raw():
                pending += piece
                if partial.size + len(pending) > blob.size:
                    break  # the digest cannot match any more
                moved(blob.digest, partial.size + len(pending), blob.size)
                if len(pending) >= CHUNK:
                    await asyncio.to_thread(partial.append, bytes(pending))
                    pending.clear()
        finally:
            # Also what came before a cut is kept.
            await asyncio.shield(asyncio.to_thread(partial.append, bytes(pending)))
    if partial.size < blob.size:
        raise RegistryUnreachable(f"{session.host} ended the transfer of {blob.digest} early; try again")


def _not_as_announced(session: Session, blob: Descriptor) -> DamagedContent:
    return DamagedContent(
        f"cannot fetch blob {blob.digest}: what {session.host} sends is not what was announced; "
        "something on the way or in the registry is damaged; push the image again"
    )


def _continues(status: int, content_range: str, size: int) -> bool:
    return status == 206 and content_range.startswith(f"bytes {size}-")


class _Partial:
    """The growing file, locked and hashed. Its methods block."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file
        self._hash = hashlib.sha256()
        self.size = 0

    @classmethod
    def take(cls, path: Path) -> "_Partial | None":
        """Open and lock the file; nothing when another process has it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        file = os.fdopen(descriptor, "r+b", buffering=0)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        # Whoever had it may have finished and renamed it between our opening and locking.
        if not path.exists() or path.stat().st_ino != os.fstat(descriptor).st_ino:
            file.close()
            return None
        return cls(path, file)

    def replay(self, most: int) -> None:
        """Hash what an earlier attempt left."""
        while piece := self._file.read(CHUNK):
            self._hash.update(piece)
            self.size += len(piece)
        if self.size > most:
            self.restart()

    def append(self, data: bytes) -> None:
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self.size += len(data)

    def restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._hash = hashlib.sha256()
        self.size = 0

    def matches(self, blob: Descriptor) -> bool:
        return (self.size, f"sha256:{self._hash.hexdigest()}") == (blob.size, blob.digest)

    def adopt(self, blobs: BlobStore, blob: Descriptor) -> None:
        os.fsync(self._file.fileno())
        blobs.adopt(self._path, blob.digest)

    def close(self) -> None:
        self._file.close()
