"""Backups: one file with what brings a box back.

A gzipped tar archive, readable by its owner alone because Secrets, the CA's key and the administrator's token are in
it:

    manifest.json   what made it and when, how many objects of which kind, the SHA-256 of every other member
    store.db        a copy of the database, verified after it was written
    pki/…           the certificate authority and the token, so that kubeconfigs go on working

Not in it: models and images (they are content-addressed and can be fetched again), logs, and the configuration, which
belongs to whoever wrote it. A backup is taken from the files, so it needs no daemon and does not disturb one.

    BackupError     cannot be made, read or restored; the message says why and what to do
"""

import contextlib
import gzip
import hashlib
import io
import os
import sqlite3
import tarfile
import tempfile
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

import skerry
from skerry.cluster.store import Key, copies
from skerry.cluster.store.ceiling import UNKNOWN_STEP, Ceiling
from skerry.cluster.store.copies import Copies, Row
from skerry.cluster.store.place import Place, flush, install
from skerry.cluster.store.recovery import build
from skerry.cluster.store.schema import mark
from skerry.daemon.lock import AlreadyRunning, take_lock
from skerry.daemon.paths import Paths
from skerry.kit import files
from skerry.kit.clock import timestamp

_FORMAT: Final = 1
_MEMBER_LIMIT: Final = 8 << 30  # no member may claim more
_PKI: Final = (
    "ca.crt",
    "ca.key",
    "apiserver.crt",
    "apiserver.key",
    "apiserver.json",
    "admin.token",
    "service-account.keys",
)

_NOT_WHOLE: Final = (
    tarfile.TarError, zlib.error, gzip.BadGzipFile, EOFError, ValueError, KeyError, sqlite3.Error, msgspec.MsgspecError
)  # fmt: skip


class BackupError(Exception):
    """A backup cannot be made, read or restored."""


class Manifest(msgspec.Struct, frozen=True):
    """`manifest.json`."""

    format: int
    skerry: str
    created: str
    version: int
    objects: dict[str, int]
    files: dict[str, str]


class Difference(msgspec.Struct, frozen=True):
    """What a restore changes: objects by `resource namespace/name`."""

    added: list[str]
    changed: list[str]
    removed: list[str]


class Opened(NamedTuple):
    """A backup, unpacked and verified."""

    manifest: Manifest
    objects: dict[Key, Row]
    pki: dict[str, bytes]


def create(paths: Paths, target: Path, now: datetime) -> Manifest:
    """Write a backup to `target`, read it back, and give its manifest.

    Raises `BackupError`.
    """
    if target.is_dir():
        raise BackupError(f"cannot write {target}: it is a directory; name a file in it")
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".backup-") as made:
            database = Path(made) / "store.db"
            copies.write_copy(paths.store, database)
            copies.verify(database)
            archive = Path(made) / "archive"
            manifest = _write_archive(archive, database, paths.pki, now)
            open_backup(archive)
            archive.replace(target)
        files.sync_directory(target.parent)
    except sqlite3.Error as error:
        raise BackupError(
            f"cannot copy the database {paths.store}: {error}; `skerry backup list` shows copies of before"
        ) from error
    except OSError as error:
        raise BackupError(f"cannot write {target}: {error.strerror or error}") from error
    return manifest


def _write_archive(archive: Path, database: Path, pki: Path, now: datetime) -> Manifest:
    members = {"store.db": database, **{f"pki/{name}": pki / name for name in _PKI if (pki / name).exists()}}
    with contextlib.closing(copies.open_copy(database)) as connection:
        kinds = Counter(key.resource.removeprefix("/") for key, _ in copies.rows(connection))
        version = mark(connection, "version")
    digests = {name: _digest(path) for name, path in members.items()}
    manifest = Manifest(_FORMAT, skerry.__version__, timestamp(now), version, dict(sorted(kinds.items())), digests)
    archive.touch(mode=0o600)
    with tarfile.open(archive, "w:gz", compresslevel=6) as tar:
        content = msgspec.json.format(msgspec.json.encode(manifest))
        entry = tarfile.TarInfo("manifest.json")
        entry.size, entry.mode, entry.mtime = len(content), 0o600, int(now.timestamp())
        tar.addfile(entry, io.BytesIO(content))
        for name, path in members.items():
            tar.add(path, name, filter=_plain)
    flush(archive)
    return manifest


def _plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o600
    return entry


def open_backup(path: Path) -> Opened:
    """Read a backup, or one of the daemon's own copies (`copy-….db`), and check all of it.

    Raises `BackupError`.
    """
    try:
        if path.suffix == ".db":
            return _opened_copy(path)
        with tempfile.TemporaryDirectory(prefix="skerry-backup-") as made, tarfile.open(path, "r:gz") as tar:
            return _unpacked(tar, Path(made))
    except FileNotFoundError as error:
        raise BackupError(f"there is no {path}; `skerry backup list` shows what there is") from error
    except _NOT_WHOLE as error:
        raise BackupError(f"{path} is no whole backup: {error}") from error
    except OSError as error:
        raise BackupError(f"cannot read {path}: {error.strerror or error}") from error


def _opened_copy(path: Path) -> Opened:
    copy = copies.verify(path)
    created = timestamp(datetime.fromtimestamp(path.stat().st_mtime, UTC))
    objects = _rows(path)
    kinds = Counter(key.resource.removeprefix("/") for key in objects)
    return Opened(Manifest(_FORMAT, "", created, copy.version, dict(sorted(kinds.items())), {}), objects, {})


def _unpacked(tar: tarfile.TarFile, directory: Path) -> Opened:
    manifest = msgspec.json.decode(_member(tar, "manifest.json", 1 << 20), type=Manifest)
    if manifest.format != _FORMAT:
        raise ValueError(f"it has format {manifest.format}, this Skerry knows {_FORMAT}")
    pki = {}
    for name, digest in manifest.files.items():
        if name != "store.db" and (not name.startswith("pki/") or name.removeprefix("pki/") not in _PKI):
            raise ValueError(f"it holds {name}, which does not belong into a backup")
        content = _member(tar, name, _MEMBER_LIMIT)
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(f"{name} is not what was written")
        if name == "store.db":
            files.replace(directory / name, content)
        else:
            pki[name.removeprefix("pki/")] = content
    copy = copies.verify(directory / "store.db")
    if copy.version != manifest.version or copy.objects != sum(manifest.objects.values()):
        raise ValueError("store.db and manifest.json do not belong together")
    return Opened(manifest, _rows(directory / "store.db"), pki)


def _member(tar: tarfile.TarFile, name: str, limit: int) -> bytes:
    entry = tar.getmember(name)
    file = tar.extractfile(entry)
    if file is None or entry.size > limit:
        raise ValueError(f"{name} is no file of a possible size")
    return file.read()


def difference(paths: Paths, opened: Opened) -> Difference | None:
    """Compare a backup with the database of this box; None when that cannot be read."""
    present: dict[Key, Row] = {}
    if paths.store.exists():
        try:
            with tempfile.TemporaryDirectory(dir=paths.store.parent, prefix=".compare-") as made:
                copies.write_copy(paths.store, Path(made) / "store.db")
                present = _rows(Path(made) / "store.db")
        except (sqlite3.Error, OSError):
            return None
    changed = [key for key in opened.objects.keys() & present.keys() if opened.objects[key].data != present[key].data]
    return Difference(
        _named(opened.objects.keys() - present.keys()), _named(changed), _named(present.keys() - opened.objects.keys())
    )


def _named(keys: "set[Key] | list[Key]") -> list[str]:
    return [f"{key.resource.removeprefix('/')} {key.namespace}/{key.name}" for key in sorted(keys)]


@contextlib.contextmanager
def no_daemon(paths: Paths) -> Iterator[None]:
    """Keep a daemon from starting; raises `BackupError` when one runs."""
    try:
        descriptor = take_lock(paths.daemon_lock)
    except AlreadyRunning as error:
        raise BackupError("cannot restore while the platform runs; stop it first: skerry down") from error
    try:
        yield
    finally:
        os.close(descriptor)


def restore(paths: Paths, opened: Opened, *, with_pki: bool) -> Path | None:
    """Put a backup in the place of the database; returns where the old one is kept. Call it inside `no_daemon`.

    Raises `OSError`, `sqlite3.Error`; until the last moment the old database stands.
    """
    files.private_directory(paths.store.parent)
    place, ceiling = Place(paths.store), Ceiling(paths.store).value
    # Above everything that was given out on this box or on the one that the backup is from.
    first = max(ceiling, opened.manifest.version) + (0 if ceiling > opened.manifest.version else UNKNOWN_STEP)
    build(place, opened.objects, first)
    if with_pki:
        files.private_directory(paths.pki)
        for name, content in opened.pki.items():
            files.replace(paths.pki / name, content, mode=0o644 if name.endswith(".crt") else 0o600)
    return install(place)


def saved(paths: Paths) -> list[Path]:
    """The daemon's own copies and the backups of the usual place, oldest first."""
    found = [*Copies(Place(paths.store).copies).paths(), *sorted(paths.backups.glob("*.tar.gz"))]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def _rows(path: Path) -> dict[Key, Row]:
    with contextlib.closing(copies.open_copy(path)) as connection:
        return dict(copies.rows(connection))


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
