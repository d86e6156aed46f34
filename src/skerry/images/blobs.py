"""Content by digest, as in an OCI image layout: `blobs/sha256/HEX`.

A blob is written beside its place under another name while it is hashed, flushed, and renamed only when digest and size
are those expected. So a file below `blobs/` was once correct in full; what the disk did to it afterwards is found when
it is read again (small ones are hashed on every read, layers while they are unpacked).
"""

import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from skerry.images.display import human_size
from skerry.images.errors import DamagedContent, ImageNotFound, StoreError
from skerry.images.manifest import Descriptor, digest_of
from skerry.kit.files import sync_directory

CHUNK: Final = 1024 * 1024
"""What is read, hashed and written at once."""

_READABLE: Final = 0o644


def file_digest(path: Path) -> str:
    """Hash a whole file."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


class BlobStore:
    """The blobs of one store."""

    def __init__(self, root: Path) -> None:
        self._blobs = root / "blobs" / "sha256"
        self.incoming = root / "incoming"
        """Where blobs grow until they are whole; on the same file system."""

    def prepare(self) -> None:
        """Make the directories."""
        self._blobs.mkdir(parents=True, exist_ok=True)
        self.incoming.mkdir(parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where the blob is, if it is here."""
        return self._blobs / digest.removeprefix("sha256:")

    def partial(self, digest: str) -> Path:
        """Where a download of the blob grows and waits to be resumed."""
        return self.incoming / f"{digest.removeprefix('sha256:')}.partial"

    def has(self, descriptor: Descriptor) -> bool:
        """Tell whether the blob is here with the right size; the content is not read."""
        try:
            return self.path(descriptor.digest).stat().st_size == descriptor.size
        except FileNotFoundError:
            return False

    def read(self, digest: str) -> bytes:
        """Read a small blob whole and check it.

        Raises `ImageNotFound` or `DamagedContent`.
        """
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            raise ImageNotFound(
                f"cannot read blob {digest}: it is missing from the store; fetch the image again"
            ) from None
        if digest_of(data) != digest:
            raise DamagedContent(f"cannot read blob {digest}: its content has changed on disk; fetch the image again")
        return data

    def open(self, digest: str) -> BinaryIO:
        """Open a blob for reading; whoever reads it checks it."""
        try:
            return self.path(digest).open("rb")
        except FileNotFoundError:
            raise ImageNotFound(
                f"cannot read blob {digest}: it is missing from the store; fetch the image again"
            ) from None

    def chunks(self, digest: str) -> Iterator[bytes]:
        """Read a blob piece by piece, unchecked."""
        with self.open(digest) as file:
            while chunk := file.read(CHUNK):
                yield chunk

    def put(self, data: bytes) -> str:
        """Store a small blob and give back its digest."""
        with self.writer() as writer:
            writer.write(data)
            return writer.commit().digest

    def writer(self) -> "BlobWriter":
        """Begin a blob whose digest is not known yet."""
        self.prepare()
        return BlobWriter(self, self.incoming / f"{secrets.token_hex(8)}.new")

    def adopt(self, file: Path, digest: str) -> None:
        """Move a file that is whole, checked and flushed to its place."""
        file.chmod(_READABLE)
        file.replace(self.path(digest))
        sync_directory(self._blobs)

    def sound(self, descriptor: Descriptor) -> bool:
        """Read a whole blob and tell whether it is what it should be."""
        if not self.has(descriptor):
            return False
        return file_digest(self.path(descriptor.digest)) == descriptor.digest

    def discard(self, digest: str) -> None:
        """Remove a blob, if it is here."""
        self.path(digest).unlink(missing_ok=True)

    def digests(self) -> list[str]:
        """List the blobs."""
        if not self._blobs.is_dir():
            return []
        return sorted(f"sha256:{entry.name}" for entry in os.scandir(self._blobs))

    def require_space(self, needed: int) -> None:
        """Refuse early what would fill the disk.

        Raises `StoreError`.
        """
        self.prepare()
        disk = os.statvfs(self.incoming)
        free = disk.f_bavail * disk.f_frsize
        if needed > free:
            raise StoreError(
                f"cannot store the image: it needs {human_size(needed)} below {self.incoming.parent}, "
                f"{human_size(free)} is free; remove images (skerry model rm) or free the disk"
            )


class BlobWriter:
    """A blob that grows; nothing of it remains unless it is committed."""

    def __init__(self, blobs: BlobStore, path: Path) -> None:
        self._blobs = blobs
        self._path = path
        self._hash = hashlib.sha256()
        self.size = 0
        self._file: BinaryIO = path.open("xb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def write(self, data: bytes) -> int:
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self.size += len(data)
        return len(data)

    @property
    def digest(self) -> str:
        """The digest of what was written so far."""
        return f"sha256:{self._hash.hexdigest()}"

    def commit(self, expected: Descriptor | None = None) -> Descriptor:
        """Check the blob, flush it and give it its name.

        Raises `DamagedContent` when it is not the expected one.
        """
        digest = self.digest
        if expected and (digest, self.size) != (expected.digest, expected.size):
            raise DamagedContent(
                f"cannot store blob {expected.digest}: {expected.size} bytes were announced, "
                f"what came is {digest} with {self.size}; get a good copy and try again"
            )
        os.fsync(self._file.fileno())
        self._blobs.adopt(self._path, digest)
        return Descriptor("application/octet-stream", digest, self.size)
