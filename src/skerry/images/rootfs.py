"""Images unpacked once, read-only, and remembered file by file.

    rootfs/HEX/        the tree; HEX is the chain id of the layers, so images with the same layers share it
    rootfs/HEX.json    the marker: size, modification time and sha256 of every file, from when all digests matched
    rootfs/.*          trees in the making and trees to be deleted

The marker is written last, after everything it speaks of was flushed: a tree without one never was complete. Before
each use sizes and times are compared with the marker (microseconds a file); `verify` reads every byte. A tree that
differs is set aside and built again from the blobs.
"""

import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from skerry.images.blobs import BlobStore, file_digest
from skerry.images.layers import LayerStream
from skerry.images.manifest import Descriptor, chain_id
from skerry.kit.files import replace, sync_directory
from skerry.kit.log import logger

log = logger(__name__)

_FORMAT: Final = 1
_TOO_MANY_TO_SYNC_SINGLY: Final = 2000

Taken = Callable[[int], None]
"""Told how many bytes of the layers were read so far."""


class FileRecord(Struct, frozen=True, array_like=True):
    """One file as it was when it was written."""

    size: int
    mtime_ns: int
    digest: str


class Marker(Struct, frozen=True):
    """What was verified, and how to see that it is unchanged."""

    diff_ids: list[str]
    directories: int
    files: dict[str, FileRecord]
    links: dict[str, str]
    skipped: int = 0
    format: int = _FORMAT


class Verification(Struct, frozen=True):
    """The result of reading everything again."""

    files: int
    size: int
    problems: list[str]


class _Scan(Struct):
    directories: int
    files: dict[str, os.stat_result]
    links: dict[str, str]


class RootfsStore:
    """The unpacked trees of one store. The caller makes sure that nobody else writes to the same tree."""

    def __init__(self, root: Path, blobs: BlobStore) -> None:
        self._root = root
        self._blobs = blobs

    def path(self, diff_ids: Sequence[str]) -> Path:
        """Where the tree of these layers is, or would be."""
        return self._root / chain_id(list(diff_ids)).removeprefix("sha256:")

    def ready(self, diff_ids: Sequence[str]) -> bool:
        """Tell whether the tree is complete and looks untouched; contents are not read."""
        tree = self.path(diff_ids)
        marker = _read_marker(tree)
        return marker is not None and not _differences(marker, tree)

    def unpack(self, layers: Sequence[Descriptor], diff_ids: Sequence[str], taken: Taken) -> Path:
        """Build the tree from the blobs, replacing one that is there.

        Raises `DamagedContent`, `ImageNotFound` (a blob is missing) or `StoreError`; nothing is left behind then.
        """
        from skerry.images.extraction import Extraction  # tarfile: only where something is unpacked

        self._root.mkdir(parents=True, exist_ok=True)
        tree = self.path(diff_ids)
        growing = self._root / f".new-{secrets.token_hex(8)}"
        growing.mkdir(mode=0o755)
        try:
            extraction = Extraction(growing)
            before = 0
            for layer, diff_id in zip(layers, diff_ids, strict=True):
                with self._blobs.open(layer.digest) as blob:
                    stream = LayerStream(blob, layer, diff_id)
                    extraction.apply(stream)
                before += layer.size
                taken(before)
            marker = _seal(growing, list(diff_ids), extraction.digests, extraction.skipped)
            self.set_aside(tree)
            growing.rename(tree)
            sync_directory(self._root)
            replace(_marker_path(tree), msgspec.json.encode(marker))
        finally:
            _delete(growing)
        return tree

    def verify(self, diff_ids: Sequence[str]) -> Verification:
        """Read every file and compare it with what was recorded when it was unpacked."""
        tree = self.path(diff_ids)
        marker = _read_marker(tree)
        if marker is None:
            return Verification(0, 0, ["it is not unpacked"])
        problems = _differences(marker, tree)
        for name, record in marker.files.items():
            if not problems and file_digest(tree / name) != record.digest:
                problems.append(f"{name} has changed")
        return Verification(len(marker.files), sum(record.size for record in marker.files.values()), problems)

    def trees(self) -> list[Path]:
        """List the complete and incomplete trees, but for those being made."""
        if not self._root.is_dir():
            return []
        return sorted(entry for entry in self._root.iterdir() if entry.is_dir() and not entry.name.startswith("."))

    def set_aside(self, tree: Path) -> None:
        """Take a tree out of use at once; what still has it mounted keeps it until `sweep`."""
        _marker_path(tree).unlink(missing_ok=True)
        if tree.exists():
            tree.rename(self._root / f".old-{tree.name}-{secrets.token_hex(4)}")

    def sweep(self, keep: frozenset[str]) -> int:
        """Delete trees that are in the way, except those set aside from a tree named in `keep`; count them."""
        if not self._root.is_dir():
            return 0
        leftovers = [
            entry
            for entry in self._root.iterdir()
            if entry.name.startswith(".") and not (entry.name.startswith(".old-") and entry.name.split("-")[1] in keep)
        ]
        for entry in leftovers:
            _delete(entry)
        return len(leftovers)


def _marker_path(tree: Path) -> Path:
    return tree.with_name(f"{tree.name}.json")


def _read_marker(tree: Path) -> Marker | None:
    try:
        marker = msgspec.json.decode(_marker_path(tree).read_bytes(), type=Marker)
    except FileNotFoundError:
        return None
    except msgspec.MsgspecError as error:
        log.warning("image marker is unreadable", tree=str(tree), error=str(error))
        return None
    return marker if marker.format == _FORMAT else None


def _seal(tree: Path, diff_ids: list[str], digests: dict[int, str], skipped: int) -> Marker:
    """Make the tree read-only, flush it, and write down what it holds."""
    scan = _scan(tree)
    files = {
        name: FileRecord(found.st_size, found.st_mtime_ns, digests[found.st_ino]) for name, found in scan.files.items()
    }
    directories = [Path(above) for above, _, _ in os.walk(tree)]
    for directory in directories:
        directory.chmod(0o555)
    if len(files) + len(directories) > _TOO_MANY_TO_SYNC_SINGLY:
        os.sync()
    else:
        for path in _one_name_each(tree, scan):
            _sync(path)
        for directory in directories:
            sync_directory(directory)
    return Marker(diff_ids, scan.directories, files, scan.links, skipped)


def _one_name_each(tree: Path, scan: _Scan) -> Iterator[Path]:
    by_inode = {found.st_ino: name for name, found in scan.files.items()}
    return (tree / name for name in by_inode.values())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _scan(tree: Path) -> _Scan:
    found = _Scan(0, {}, {})
    pending = [""]
    while pending:
        above = pending.pop()
        with os.scandir(tree / above) as entries:
            for entry in entries:
                name = f"{above}{entry.name}"
                if entry.is_symlink():
                    found.links[name] = str(Path(entry.path).readlink())
                elif entry.is_dir(follow_symlinks=False):
                    found.directories += 1
                    pending.append(f"{name}/")
                else:
                    found.files[name] = entry.stat(follow_symlinks=False)
    return found


def _differences(marker: Marker, tree: Path) -> list[str]:
    """Name what does not look as recorded."""
    if not tree.is_dir():
        return ["it is missing"]
    try:
        scan = _scan(tree)
    except OSError as error:
        return [f"it cannot be read: {error.strerror}"]
    problems = [f"{name} is missing" for name in marker.files.keys() - scan.files.keys()]
    problems += [f"{name} was not there" for name in scan.files.keys() - marker.files.keys()]
    for name, record in marker.files.items():
        found = scan.files.get(name)
        if found and (
            (found.st_size, found.st_mtime_ns) != (record.size, record.mtime_ns) or not stat.S_ISREG(found.st_mode)
        ):
            problems.append(f"{name} has another size or time")
    if scan.links != marker.links:
        problems.append("symbolic links differ")
    if scan.directories != marker.directories:
        problems.append("directories differ")
    return problems


def _delete(tree: Path) -> None:
    """Delete a tree whose directories may be read-only, if it is there."""
    if not tree.exists():
        return
    for above, _, _ in os.walk(tree):
        Path(above).chmod(0o700)
    shutil.rmtree(tree, ignore_errors=True)
