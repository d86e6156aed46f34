"""Images in files: an OCI layout directory, the same in a tar (oci-archive), and Docker's form (docker-archive).

    oci:DIR[:NAME]   oci-archive:FILE[:NAME]   docker-archive:FILE[:NAME]

Archives are read by name and never unpacked, so nothing in them can write anywhere. Blobs enter the store as from a
registry: only with the digest that led to them. Docker's form names layers by nothing reliable; there the
configuration's diff_ids decide.
"""

import os
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final, Literal, Protocol, cast

import msgspec
from msgspec import Struct

from skerry.images.blobs import CHUNK, BlobStore
from skerry.images.errors import DamagedContent, ImageNotFound, InvalidReference, StoreError, UnsupportedImage
from skerry.images.layers import LayerStream, compression
from skerry.images.manifest import (
    LARGEST_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    REF_NAME,
    Descriptor,
    Index,
    Manifest,
    Platform,
    check_layers,
    choose_platform,
    digest_of,
    parse_config,
    parse_manifest,
)
from skerry.images.reference import Reference, parse
from skerry.images.store import ImageStore, StoredImage

Form = Literal["oci", "oci-archive", "docker-archive"]

_LOCATION: Final = re.compile(r"(oci|oci-archive|docker-archive):(.+)", re.DOTALL)
_HEX_CONFIG: Final = re.compile(r"(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?")
_MOST_LINKS: Final = 8


class Location(Struct, frozen=True):
    """A file or directory that holds images, and which of them is meant."""

    form: Form
    path: Path
    name: str


class _DockerEntry(Struct, frozen=True, rename="pascal"):
    config: str
    layers: list[str]
    repo_tags: list[str] | None = None


def location(text: str) -> Location | None:
    """Read `FORM:PATH[:NAME]`; nothing when it is another kind of source, such as a registry's."""
    match = _LOCATION.fullmatch(text)
    if match is None:
        return None
    form, rest = match.groups()
    path, _, name = rest.partition(":")
    return Location(cast("Form", form), Path(path), name)


class _Files(Protocol):
    """Files by name, out of a directory or a tar."""

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading.

        Raises `ImageNotFound`.
        """


def load(
    store: ImageStore, source: Location, name: Reference | None, platform: Platform, stored_at: datetime
) -> StoredImage:
    """Bring an image from a file into the store, under `name` or the one that it has there.

    Raises an `ImageError`.
    """
    with store.adding(), _opened(source) as files:
        if source.form == "docker-archive":
            found, descriptor = _load_docker(store.blobs, files, source)
        else:
            found, descriptor = _load_layout(store.blobs, files, source, platform)
        return store.record(name or _own_name(found, source), descriptor, stored_at)


@contextmanager
def _opened(source: Location) -> Iterator[_Files]:
    if not source.path.exists():
        raise ImageNotFound(f"cannot load {source.path}: no such file; check the path")
    if source.form == "oci":
        yield _Directory(source.path)
        return
    try:
        with source.path.open("rb") as file:
            if compression(file.read(CHUNK)) != "none":
                raise UnsupportedImage(
                    f"cannot load {source.path}: the archive as a whole is compressed; decompress it first, "
                    "for example with gunzip or zstd -d"
                )
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                yield _Tar(archive, source.path)
    except tarfile.TarError as error:
        raise DamagedContent(f"cannot load {source.path}: {error}; get a good copy") from error
    except OSError as error:
        raise StoreError(f"cannot load {source.path}: {error}; check the file and the disk") from error


class _Directory:
    def __init__(self, root: Path) -> None:
        self._root = root

    def open(self, name: str) -> BinaryIO:
        try:
            return (self._root / name).open("rb")
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise ImageNotFound(
                f"cannot load {self._root}: it has no {name}; it is not a complete OCI layout"
            ) from None


class _Tar:
    def __init__(self, archive: tarfile.TarFile, path: Path) -> None:
        self._archive = archive
        self._path = path
        self._members = {_plain(member.name): member for member in archive.getmembers()}

    def open(self, name: str) -> BinaryIO:
        member = self._members.get(_plain(name))
        for _ in range(_MOST_LINKS):  # `docker save` once linked layers that occur twice
            if member is None or not (member.issym() or member.islnk()):
                break
            above = PurePosixPath(member.name).parent if member.issym() else PurePosixPath()
            member = self._members.get(_plain(str(above / member.linkname)))
        content = self._archive.extractfile(member) if member and member.isreg() else None
        if content is None:
            raise ImageNotFound(f"cannot load {self._path}: it has no {name}; it is not a complete image archive")
        return cast("BinaryIO", content)


def _plain(name: str) -> str:
    return os.path.normpath(name).lstrip("/")


def _load_layout(blobs: BlobStore, files: _Files, source: Location, platform: Platform) -> tuple[str, Descriptor]:
    index = parse_manifest(_read(files, "index.json", source), OCI_INDEX)
    if not isinstance(index, Index):
        raise UnsupportedImage(f"cannot load {source.path}: index.json is not an index")
    entry = _chosen(index, source)
    found = entry_name(entry)
    parsed: Manifest | Index = index
    while isinstance(parsed, Index):
        data = _read(files, blob_name(entry), source)
        if digest_of(data) != entry.digest:
            raise DamagedContent(f"cannot load {source.path}: {blob_name(entry)} is damaged; get a good copy")
        parsed = parse_manifest(data, entry.media_type)
        if isinstance(parsed, Index):
            entry = choose_platform(parsed, platform)
    for blob in (parsed.config, *parsed.layers):
        _take(blobs, files, blob_name(blob), blob)
    check_layers(parsed, parse_config(blobs.read(parsed.config.digest)))
    return found, Descriptor(parsed.media_type or entry.media_type, blobs.put(data), len(data))


def _chosen(index: Index, source: Location) -> Descriptor:
    entries = [entry for entry in index.manifests if source.name in {"", entry_name(entry)}]
    names = ", ".join(sorted(entry_name(entry) or entry.digest for entry in index.manifests)) or "nothing"
    if not entries:
        raise ImageNotFound(f"cannot load {source.path}: no image in it is called {source.name!r}; it has {names}")
    if len(entries) > 1:
        raise ImageNotFound(
            f"cannot load {source.path}: it has {len(entries)} images ({names}); "
            f"say which: {source.form}:{source.path}:NAME"
        )
    return entries[0]


def entry_name(entry: Descriptor) -> str:
    """Return the name that an entry of an index has, if any."""
    annotations = entry.annotations or {}
    # containerd puts the full name elsewhere and only the tag here.
    return annotations.get("io.containerd.image.name") or annotations.get(REF_NAME, "")


def blob_name(descriptor: Descriptor) -> str:
    """Return where a layout keeps a blob."""
    return f"blobs/{descriptor.digest.replace(':', '/')}"


def _take(blobs: BlobStore, files: _Files, name: str, expected: Descriptor | None) -> Descriptor:
    """Copy one file into the store."""
    if expected and blobs.has(expected):
        return expected
    with files.open(name) as content, blobs.writer() as writer:
        while piece := content.read(CHUNK):
            writer.write(piece)
        return writer.commit(expected)


def _read(files: _Files, name: str, source: Location) -> bytes:
    with files.open(name) as content:
        data = content.read(LARGEST_MANIFEST + 1)
    if len(data) > LARGEST_MANIFEST:
        raise UnsupportedImage(f"cannot load {source.path}: {name} is too long; it is not an image")
    return data


def _load_docker(blobs: BlobStore, files: _Files, source: Location) -> tuple[str, Descriptor]:
    try:
        entries = msgspec.json.decode(_read(files, "manifest.json", source), type=list[_DockerEntry])
    except msgspec.MsgspecError as error:
        raise UnsupportedImage(f"cannot load {source.path}: manifest.json is not Docker's: {error}") from error
    fitting = [entry for entry in entries if not source.name or source.name in (entry.repo_tags or [])]
    if len(fitting) != 1:
        names = ", ".join(tag for entry in entries for tag in entry.repo_tags or ["unnamed"])
        raise ImageNotFound(
            f"cannot load {source.path}: it has {names}; say which: docker-archive:{source.path}:NAME:TAG"
        )
    entry = fitting[0]
    data = _read(files, entry.config, source)
    named = _HEX_CONFIG.fullmatch(entry.config)
    if named and digest_of(data) != f"sha256:{named[1]}":
        raise DamagedContent(f"cannot load {source.path}: {entry.config} is damaged; get a good copy")
    config = parse_config(data)
    if len(config.rootfs.diff_ids) != len(entry.layers):
        raise UnsupportedImage(f"cannot load {source.path}: layers and configuration do not fit together")
    layers = [
        _take_docker_layer(blobs, files, name, diff_id)
        for name, diff_id in zip(entry.layers, config.rootfs.diff_ids, strict=True)
    ]
    manifest = Manifest(2, Descriptor(OCI_CONFIG, blobs.put(data), len(data)), layers, OCI_MANIFEST)
    encoded = msgspec.json.encode(manifest)
    return source.name or next(iter(entry.repo_tags or []), ""), Descriptor(
        OCI_MANIFEST, blobs.put(encoded), len(encoded)
    )


def _take_docker_layer(blobs: BlobStore, files: _Files, name: str, diff_id: str) -> Descriptor:
    taken = _take(blobs, files, name, None)
    with blobs.open(taken.digest) as blob:
        kind = compression(blob.read(CHUNK))
        blob.seek(0)
        try:
            LayerStream(blob, taken, diff_id).finish()
        except DamagedContent:
            blobs.discard(taken.digest)
            raise
    return Descriptor(OCI_LAYER if kind == "none" else f"{OCI_LAYER}+{kind}", taken.digest, taken.size)


def _own_name(found: str, source: Location) -> Reference:
    try:
        if "/" in found or ":" in found:
            return parse(found)
    except InvalidReference:
        found = ""
    raise ImageNotFound(
        f"cannot load {source.path}: the image in it has no full name{f' ({found})' if found else ''}; "
        "give one: -t NAME:TAG"
    )
