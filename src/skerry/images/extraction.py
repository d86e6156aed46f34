"""Layers applied to a directory, as a container engine would, with nothing written outside of it.

The archive is hostile until its digest is known, which is after its last byte. Therefore every member's parent is
walked component by component inside the directory, following the links of lower layers *as if the directory were the
root* (images with `bin -> usr/bin` need that), and files are created anew, never written through. Symbolic links are
stored relative and without leaving the root, so a link means the same from outside as it did in the container.

Left out, because a model is data: owners, set-user-ID and other mode bits but "executable", extended attributes,
devices, FIFOs and sockets. Whiteouts (`.wh.NAME`) and opaque directories (`.wh..wh..opq`) only hide what lower layers
brought.

Nobody else writes to the directory meanwhile: it is private until it is complete.
"""

import hashlib
import os
import shutil
import stat
import tarfile
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final, cast

from skerry.images.blobs import CHUNK
from skerry.images.display import human_size
from skerry.images.errors import DamagedContent, StoreError
from skerry.images.layers import LayerStream

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_AUFS: Final = ".wh..wh."
_MOST_LINKS: Final = 40
_TAR_BUFFER: Final = 128 * 1024
"""tarfile copies the rest of its buffer at every header: a large one is slow for many small files."""

_WRITING: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LATEST_TIME: Final = 1 << 33


_LONGEST_HEADER: Final = 8 * 1024 * 1024
_BROKEN: Final = (tarfile.TarError, ValueError, LookupError, OverflowError, EOFError, RecursionError)
"""What tarfile raises for nonsense, besides its own errors."""


class Extraction:
    """A directory that layers are applied to, lowest first."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.digests: dict[int, str] = {}
        """The sha256 of each file written, by inode."""
        self.skipped = 0
        """Devices and the like that were left out."""
        self._fresh: set[tuple[str, ...]] = set()

    def apply(self, layer: LayerStream) -> None:
        """Unpack one layer and check it to its end.

        Raises `DamagedContent` for an unsafe or broken archive or wrong digests; the directory is then worthless.
        """
        self._fresh = set()
        try:
            self._read(_Source(layer))
        except (DamagedContent, *_BROKEN) as error:
            layer.finish()  # if it is not what was published, that is the thing to say
            if isinstance(error, DamagedContent):
                raise
            raise DamagedContent(f"cannot unpack the layer: its tar archive is broken: {error}") from error
        layer.finish()

    def _read(self, source: "_Source") -> None:
        # Not "r|*": what is compressed was decompressed already, a tar inside a tar stays one.
        with tarfile.open(mode="r|", fileobj=cast("IO[bytes]", source), bufsize=_TAR_BUFFER) as archive:
            while (member := archive.next()) is not None:
                source.in_header = False
                self._add(archive, member)
                source.begin_header()
                cast("Any", archive).members = []  # else every header stays in memory
            source.in_header = False
            _expect_only_padding(cast("IO[bytes]", archive.fileobj))
            source.expect_whole_blocks()

    def _add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = _parts(member.name)
        if not parts:
            return  # the root itself
        try:
            if parts[-1].startswith(_WHITEOUT):
                self._hide(parts)
            elif member.isdir():
                self._make_directory(parts)
            elif member.isreg():
                self._write_file(parts, member, archive.extractfile(member))
            elif member.islnk():
                self._make_hard_link(parts, member)
            elif member.issym():
                self._make_symbolic_link(parts, member)
            else:
                self.skipped += 1
        except OSError as error:
            raise _cannot_write(member.name, error) from error

    # Members

    def _make_directory(self, parts: Sequence[str]) -> None:
        place = self._place(parts)
        path = self._path(place)
        if not _is_directory(path):
            _remove(path)
            path.mkdir(mode=0o755)
        self._brought(place)

    def _write_file(self, parts: Sequence[str], member: tarfile.TarInfo, content: IO[bytes] | None) -> None:
        if content is None:
            raise DamagedContent(f"cannot unpack {member.name!r}: the archive has no content for it")
        self._require_space(member)
        place = self._place(parts)
        path = self._path(place)
        _remove(path)
        hashed = hashlib.sha256()
        descriptor = os.open(path, _WRITING, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            left = member.size
            while left and (piece := content.read(min(left, CHUNK))):
                hashed.update(piece)
                left -= len(piece)
                _write(file, piece)
            if left:
                raise DamagedContent(f"cannot unpack {member.name!r}: the archive ends {left} bytes too early")
            os.fchmod(descriptor, 0o555 if member.mode & 0o111 else 0o444)
            seconds = min(max(int(member.mtime), 0), _LATEST_TIME)
            os.utime(descriptor, (seconds, seconds))
            self.digests[os.fstat(descriptor).st_ino] = f"sha256:{hashed.hexdigest()}"
        self._brought(place)

    def _make_hard_link(self, parts: Sequence[str], member: tarfile.TarInfo) -> None:
        target_parts = _parts(member.linkname)
        above = self._directory(target_parts[:-1], create=False) if target_parts else None
        target = self._path((*above, target_parts[-1])) if above is not None else None
        # Only files: a hard link to a symbolic link would move it, and what it means, to another depth.
        if target is None or not _is_file(target):
            raise DamagedContent(
                f"cannot unpack {member.name!r}: it is a link to {member.linkname!r}, which is no file here"
            )
        place = self._place(parts)
        path = self._path(place)
        if path != target:
            _remove(path)
            os.link(target, path, follow_symlinks=False)
        self._brought(place)

    def _make_symbolic_link(self, parts: Sequence[str], member: tarfile.TarInfo) -> None:
        place = self._place(parts)
        path = self._path(place)
        _remove(path)
        target = relative_link(place[:-1], member.linkname)
        target.encode()  # raises for what is not UTF-8
        path.symlink_to(target)
        self._brought(place)

    def _hide(self, parts: Sequence[str]) -> None:
        above = self._directory(parts[:-1], create=False)
        if above is None:
            return
        if parts[-1] == _OPAQUE:
            self._hide_lower_in(above)
        elif not parts[-1].startswith(_AUFS):
            name = parts[-1].removeprefix(_WHITEOUT)
            if name in {"", ".", ".."}:
                raise DamagedContent(
                    f"cannot unpack the layer: {'/'.join(parts)!r} would remove a directory it may not"
                )
            self._hide_lower((*above, name))

    def _hide_lower(self, place: tuple[str, ...]) -> None:
        path = self._path(place)
        if place not in self._fresh:
            _remove(path)
        elif _is_directory(path):
            # Remade by this layer, perhaps over a directory of a lower one: hide that one's entries.
            self._hide_lower_in(place)

    def _hide_lower_in(self, place: tuple[str, ...]) -> None:
        for entry in list(self._path(place).iterdir()):
            self._hide_lower((*place, entry.name))

    # Places

    def _brought(self, place: tuple[str, ...]) -> None:
        """Remember what this layer brought, for whiteouts spare it."""
        self._fresh.update(place[:depth] for depth in range(1, len(place) + 1))

    def _place(self, parts: Sequence[str]) -> tuple[str, ...]:
        """Where a member goes, its parents made and their links followed."""
        above = self._directory(parts[:-1], create=True)
        assert above is not None
        return (*above, parts[-1])

    def _directory(self, parts: Sequence[str], *, create: bool) -> tuple[str, ...] | None:
        at: list[str] = []
        pending = deque(parts)
        links = 0
        while pending:
            part = pending.popleft()
            if part == "..":
                del at[-1:]
                continue
            path = self._path((*at, part))
            try:
                mode = path.lstat().st_mode
            except FileNotFoundError:
                if not create:
                    return None
                path.mkdir(mode=0o755)
                mode = stat.S_IFDIR
            if stat.S_ISLNK(mode):
                links += 1
                if links > _MOST_LINKS:
                    raise DamagedContent(f"cannot unpack {'/'.join(parts)!r}: its directory is a circle of links")
                pending.extendleft(reversed(str(path.readlink()).split("/")))
            elif stat.S_ISDIR(mode):
                at.append(part)
            else:
                raise DamagedContent(f"cannot unpack {'/'.join(parts)!r}: {part!r} in it is a file, not a directory")
        return tuple(at)

    def _path(self, place: Sequence[str]) -> Path:
        return self._root.joinpath(*place)

    def _require_space(self, member: tarfile.TarInfo) -> None:
        # A few bytes can announce any size (sparse files, long runs of zeros): ask before writing them.
        disk = os.statvfs(self._root)
        free = disk.f_bavail * disk.f_frsize
        if member.size > free:
            raise StoreError(
                f"cannot unpack {member.name!r}: it has {human_size(member.size)}, {human_size(free)} is free; "
                "remove images (skerry model rm) or free the disk"
            )


class _Source:
    """The layer as tarfile reads it, with a limit on headers: those it keeps in memory, whatever size they claim."""

    def __init__(self, layer: LayerStream) -> None:
        self._layer = layer
        self.in_header = True
        self._left = _LONGEST_HEADER
        self._size = 0

    def begin_header(self) -> None:
        self.in_header = True
        self._left = _LONGEST_HEADER

    def read(self, size: int = CHUNK) -> bytes:
        piece = self._layer.read(size)
        self._size += len(piece)
        if self.in_header:
            self._left -= len(piece)
            if self._left < 0:
                raise DamagedContent(
                    f"cannot unpack the layer: a header in its tar archive is longer than {_LONGEST_HEADER >> 20} MiB"
                )
        return piece

    def expect_whole_blocks(self) -> None:
        """Refuse an archive that was cut inside a header, which tarfile takes for the end."""
        if self._size % tarfile.BLOCKSIZE:
            raise DamagedContent("cannot unpack the layer: its tar archive is cut off")


def relative_link(above: Sequence[str], target: str) -> str:
    """Rewrite a link's target, relative to the directory `above`, without leaving the root.

    First all `..`, as many as needed and no more than there are directories, then names. Names may be links themselves,
    but of the same form, so no chain of them can climb out.
    """
    reached: list[str] = [] if target.startswith("/") else list(above)
    for part in target.split("/"):
        if part == "..":
            del reached[-1:]
        elif part not in {"", "."}:
            reached.append(part)
    shared = 0
    while shared < min(len(above), len(reached)) and above[shared] == reached[shared]:
        shared += 1
    return "/".join([".."] * (len(above) - shared) + reached[shared:]) or "."


def _parts(name: str) -> tuple[str, ...]:
    """Split a member's name; a leading slash means the image's root, as for every container engine."""
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if ".." in parts:
        raise DamagedContent(
            f'cannot unpack {name!r}: the archive tries to leave its directory with ".."; do not trust its source'
        )
    name.encode()  # raises for what is not UTF-8
    return parts


def _expect_only_padding(rest: IO[bytes]) -> None:
    """Refuse an archive in which reading stopped at something that is not its end.

    tarfile treats a broken header like the end-of-archive mark, and files after it would be missing in silence.
    """
    while piece := rest.read(_TAR_BUFFER):
        if piece.strip(b"\0"):
            raise DamagedContent("cannot unpack the layer: its tar archive has a broken header, or data after its end")


def _write(file: IO[bytes], piece: bytes) -> None:
    view = memoryview(piece)
    while view:
        view = view[file.write(view) :]


def _is_directory(path: Path) -> bool:
    return _mode_is(path, stat.S_ISDIR)


def _is_file(path: Path) -> bool:
    return _mode_is(path, stat.S_ISREG)


def _mode_is(path: Path, test: Callable[[int], bool]) -> bool:
    try:
        return test(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _remove(path: Path) -> None:
    """Remove whatever is there, if anything."""
    if _is_directory(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _cannot_write(name: str, error: OSError) -> StoreError:
    return StoreError(f"cannot unpack {name!r}: {error.strerror or error}; check the disk that holds the image store")
