"""Files written as layers, the same bytes every time.

The digest of an image follows from the model alone: entries are sorted, owner 0, one time for all, modes 0755 and 0644,
no trace of the machine that built it. (Compressed bytes may differ between zlib versions; the image ID is made of the
plain layers' digests and does not.)

How files are spread over layers: each file of 8 MiB and more has a layer of its own, the rest shares one. A new version
of a model then moves only what changed, over the network and on the disk, and a damaged or cut-off transfer costs one
file. There are at most 64 layers, because overlay file systems of other container engines refuse many.

Compression by trial: a sample of the layer is compressed, and the layer only if that saves a quarter. Weights save
3 to 20 % and would cost 30 s/GB to write and 4 s/GB to read; XML, JSON and vocabularies save 80 to 90 %.
"""

import hashlib
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from msgspec import Struct

from skerry.images.blobs import CHUNK, BlobStore, BlobWriter
from skerry.images.errors import BuildError
from skerry.images.manifest import OCI_LAYER, Descriptor

LARGE_FILE: Final = 8 * 1024 * 1024
MOST_LAYERS: Final = 64

_SAMPLE: Final = 64 * 1024
_WORTH: Final = 0.75
_LEVEL: Final = 6
_GZIP: Final = 31

Written = Callable[[int], None]
"""Told how many bytes of content were written so far."""


class Entry(Struct, frozen=True):
    """One file or directory of the image to be."""

    mode: int
    source: Path | None = None
    """Where the content is; nothing for a directory."""
    size: int = 0

    @property
    def is_directory(self) -> bool:
        return self.source is None


Tree = Mapping[str, Entry]
"""Entries by their path in the image, without a leading slash."""


class WrittenLayer(Struct, frozen=True):
    """A layer that is in the store."""

    descriptor: Descriptor
    diff_id: str


def spread(tree: Tree, *, room: int = MOST_LAYERS) -> list[list[str]]:
    """Decide which paths go into which layer: the shared layer first, then the large files.

    `room` is how many layers there may be.
    """
    large = sorted(
        (path for path, entry in tree.items() if entry.size >= LARGE_FILE), key=lambda path: -tree[path].size
    )
    alone = set(large[: max(room - 1, 0)])
    shared = sorted(path for path in tree if path not in alone)
    # A layer must also make sense without those below it.
    layers = [[*_above(path, tree), path] for path in sorted(alone)]
    needed = [path for path in shared if not tree[path].is_directory or not _covered(path, alone)]
    return (
        [sorted({parent for path in needed for parent in (*_above(path, tree), path)}), *layers] if needed else layers
    )


def _above(path: str, tree: Tree) -> list[str]:
    parents = [str(parent) for parent in PurePosixPath(path).parents if str(parent) != "."]
    return [parent for parent in reversed(parents) if parent in tree]


def _covered(directory: str, files: set[str]) -> bool:
    return any(path.startswith(f"{directory}/") for path in files)


def worth_compressing(tree: Tree, paths: Sequence[str]) -> bool:
    """Compress a sample of each file's beginning, middle and end, and see what it would save, weighted by size."""
    plain = compressed = 0.0
    for path in paths:
        entry = tree[path]
        if entry.source is None or not entry.size:
            continue
        sample = _sample(entry.source, entry.size)
        ratio = len(zlib.compress(sample, 1)) / max(len(sample), 1)
        plain += entry.size
        compressed += entry.size * ratio
    return plain > 0 and compressed / plain <= _WORTH


def _sample(source: Path, size: int) -> bytes:
    with source.open("rb") as file:
        pieces = []
        for start in sorted({0, max(size // 2 - _SAMPLE // 2, 0), max(size - _SAMPLE, 0)}):
            file.seek(start)
            pieces.append(file.read(_SAMPLE))
    return b"".join(pieces)


def write_layer(
    blobs: BlobStore, tree: Tree, paths: Sequence[str], time: int, *, gzip: bool, written: Written
) -> WrittenLayer:
    """Write one layer into the store.

    Raises `BuildError` when a file cannot be read or changes meanwhile.
    """
    with blobs.writer() as blob:
        sink = _Sink(blob, gzip=gzip)
        for path in paths:
            _add(sink, path, tree[path], time)
            written(tree[path].size)
        sink.write(b"\0" * 2 * tarfile.BLOCKSIZE)
        diff_id = sink.finish()
        found = blob.commit()
    files = [path for path in paths if not tree[path].is_directory]
    annotations = {"org.opencontainers.image.title": files[0]} if len(files) == 1 else None
    media_type = f"{OCI_LAYER}+gzip" if gzip else OCI_LAYER
    return WrittenLayer(Descriptor(media_type, found.digest, found.size, annotations), diff_id)


def _add(sink: "_Sink", path: str, entry: Entry, time: int) -> None:
    info = tarfile.TarInfo(path)
    info.mode = entry.mode
    info.mtime = time
    info.size = entry.size
    if entry.source is None:
        info.type = tarfile.DIRTYPE
        sink.write(info.tobuf(tarfile.PAX_FORMAT))
        return
    sink.write(info.tobuf(tarfile.PAX_FORMAT))
    try:
        _copy(sink, entry.source, entry.size)
    except OSError as error:
        raise BuildError(f"cannot package {entry.source}: {error.strerror or error}") from error
    sink.write(b"\0" * (-entry.size % tarfile.BLOCKSIZE))


def _copy(sink: "_Sink", source: Path, size: int) -> None:
    left = size
    with source.open("rb", buffering=0) as file:
        while piece := file.read(min(CHUNK, left + 1)):
            left -= len(piece)
            if left < 0:
                break
            sink.write(piece)
    if left:
        raise BuildError(f"cannot package {source}: it changes while it is read; wait until it is complete")


class _Sink:
    """What the tar is written to: hashed plain, perhaps compressed, then into the blob."""

    def __init__(self, blob: BlobWriter, *, gzip: bool) -> None:
        self._blob = blob
        self._plain = hashlib.sha256()
        # The header that zlib writes holds no time and no name.
        self._gzip: Any = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP) if gzip else None

    def write(self, data: bytes) -> None:
        if self._gzip is None:
            self._blob.write(data)  # which hashes it
            return
        self._plain.update(data)
        if piece := self._gzip.compress(data):
            self._blob.write(piece)

    def finish(self) -> str:
        """End the stream and give the digest of the plain tar."""
        if self._gzip is None:
            return self._blob.digest
        self._blob.write(self._gzip.flush())
        return f"sha256:{self._plain.hexdigest()}"
