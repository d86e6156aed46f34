"""One pass over a layer: hash the blob, decompress, hash the plain tar, hand it on.

    file → sha256, size → gunzip or unzstd → sha256 (diff_id) → whoever reads

The reader must call `finish`: a tar reader stops at the end-of-archive mark, before the padding and before the checksum
in gzip's trailer, which is how other tools accept damaged layers. `finish` reads to the end and compares both digests.
Decompression is bounded: however much a few bytes expand to, only a piece of it is in memory.
"""

import hashlib
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, Protocol

from skerry.images.blobs import CHUNK
from skerry.images.errors import DamagedContent, UnsupportedImage
from skerry.images.manifest import Descriptor

_GZIP_MAGIC: Final = b"\x1f\x8b"
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE: Final = b"\x2a\x4d\x18"
"""Bytes 1 to 3 of a skippable frame, which zstd:chunked layers may begin with."""

_SMALLEST_GZIP: Final = 18
_MOST_EXPANSION: Final = 1032
_WITH_GZIP_HEADER: Final = 31
_ZSTD_WINDOW: Final = 128 * 1024 * 1024


def unpacked_size(blob: BinaryIO, size: int) -> int:
    """Tell how long a layer's tar is, as far as that can be had without reading it all; else the blob's own size.

    Gzip's last four bytes are the length modulo 4 GiB of its last member.
    """
    if size < _SMALLEST_GZIP or compression(blob.read(4)) != "gzip":
        return size
    blob.seek(size - 4)
    said = int.from_bytes(blob.read(4), "little")
    return said if size < said < size * _MOST_EXPANSION else size


class LayerStream:
    """A layer's plain tar, readable once, from its first byte to its last."""

    def __init__(self, blob: BinaryIO, expected: Descriptor, diff_id: str) -> None:
        self._expected = expected
        self._diff_id = diff_id
        self._blob = _HashedBlob(blob, expected)
        first = self._blob.peek()
        self._plain = compression(first) == "none"
        self._content = _decompressed(self._blob, first)
        self._diff = hashlib.sha256()
        self._rest = b""

    def read(self, size: int = CHUNK) -> bytes:
        """Read up to `size` bytes; nothing at the end.

        Raises `DamagedContent` when the compression is broken.
        """
        if not self._rest:
            self._rest = next(self._content, b"")
            if not self._plain:  # else the blob's own digest is the diff_id
                self._diff.update(self._rest)
        if len(self._rest) <= size:
            piece, self._rest = self._rest, b""
        else:
            piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def finish(self) -> None:
        """Read what is left and compare both digests.

        Raises `DamagedContent`.
        """
        while self.read():
            pass
        self._blob.check()
        found = self._blob.digest if self._plain else f"sha256:{self._diff.hexdigest()}"
        if found != self._diff_id:
            raise DamagedContent(
                f"cannot unpack layer {self._expected.digest}: its plain content is {found}, "
                f"the image says {self._diff_id}; fetch the image again"
            )

    @property
    def taken(self) -> int:
        """How much of the blob was read so far."""
        return self._blob.size


class _HashedBlob:
    def __init__(self, file: BinaryIO, expected: Descriptor) -> None:
        self._file = file
        self._expected = expected
        self._hash = hashlib.sha256()
        self._ahead = b""
        self.size = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    @property
    def name(self) -> str:
        return self._expected.digest

    def peek(self) -> bytes:
        self._ahead = self._take(CHUNK)
        return self._ahead

    def read(self, size: int = CHUNK) -> bytes:
        if self._ahead:
            piece, self._ahead = self._ahead[:size], self._ahead[size:]
            return piece
        return self._take(size)

    def _take(self, size: int) -> bytes:
        piece = self._file.read(size if size > 0 else CHUNK)
        self._hash.update(piece)
        self.size += len(piece)
        return piece

    def check(self) -> None:
        # What follows the compressed stream still belongs to the blob.
        while self.read():
            pass
        if (self.digest, self.size) != (self._expected.digest, self._expected.size):
            raise DamagedContent(
                f"cannot unpack layer {self._expected.digest}: what is stored is {self.digest}, "
                f"{self.size} bytes instead of {self._expected.size}; fetch the image again"
            )


def compression(first: bytes) -> str:
    """Tell from its first bytes how content is compressed: gzip, zstd or none.

    Media types are not asked: real manifests get them wrong, and the digests decide in the end.
    """
    if first.startswith(_GZIP_MAGIC):
        return "gzip"
    return "zstd" if first.startswith(_ZSTD_MAGIC) or first[1:4] == _ZSTD_SKIPPABLE else "none"


def _decompressed(blob: _HashedBlob, first: bytes) -> Iterator[bytes]:
    kind = compression(first)
    if kind == "gzip":
        return _gunzip(blob)
    if kind == "zstd":
        return _unzstd(blob)
    return iter(blob.read, b"")


def _gunzip(blob: _HashedBlob) -> Iterator[bytes]:
    """Decompress one gzip member after another, checking each trailer."""
    data = blob.read()
    while data:
        member = zlib.decompressobj(_WITH_GZIP_HEADER)
        while True:
            try:
                piece = member.decompress(data, CHUNK)
            except zlib.error as error:
                raise _broken(blob, str(error)) from error
            if piece:
                yield piece
            if member.eof:
                data = member.unused_data
                break
            if not (data or piece):
                raise _broken(blob, "the gzip stream is cut off")
            data = member.unconsumed_tail or blob.read()
        # Zero padding after a member is legal; anything else must be the next member.
        data = data.lstrip(b"\0") or blob.read().lstrip(b"\0")


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


def _unzstd(blob: _HashedBlob) -> Iterator[bytes]:
    zstandard = _zstandard()
    reader: _Readable = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(
        blob, read_size=CHUNK, read_across_frames=True
    )
    try:
        while piece := reader.read(CHUNK):
            yield piece
    except zstandard.ZstdError as error:
        raise _broken(blob, str(error)) from error


def _zstandard() -> Any:
    try:
        import zstandard
    except ImportError:
        raise UnsupportedImage(
            "cannot unpack the image: a layer is compressed with zstd and the package for it is not installed; "
            "run: pip install 'skerry[zstd]'"
        ) from None
    return zstandard


def _broken(blob: _HashedBlob, why: str) -> DamagedContent:
    return DamagedContent(f"cannot unpack layer {blob.name}: {why}; fetch the image again")
