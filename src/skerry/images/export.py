"""Images written to files: the forms that `archive` reads.

The same image gives the same bytes. Blobs are hashed while they are copied, and a file gets its name last, so damage in
the store or a full disk leaves no archive that looks complete.
"""

import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, Protocol

import msgspec

from skerry.images.archive import Location, blob_name, entry_name
from skerry.images.blobs import BlobStore
from skerry.images.errors import DamagedContent, StoreError
from skerry.images.layers import LayerStream
from skerry.images.manifest import OCI_INDEX, REF_NAME, Descriptor, Index, parse_manifest
from skerry.images.store import ImageStore, StoredImage
from skerry.kit.files import replace, sync_directory

_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
_READABLE: Final = 0o644


class _Sink(Protocol):
    def write(self, data: bytes) -> object: ...


def save(store: ImageStore, image: StoredImage, target: Location) -> None:
    """Write an image to a file or directory, replacing a file that is there.

    Raises `StoreError` or `DamagedContent`.
    """
    try:
        with store.adding():
            if target.form == "oci":
                _save_layout(store.blobs, image, target)
            else:
                write = _write_oci_archive if target.form == "oci-archive" else _write_docker_archive
                with _replacing(target.path) as file:
                    write(store.blobs, image, target.name or image.name, file)
                    file.write(b"\0" * 2 * tarfile.BLOCKSIZE)
    except OSError as error:
        raise StoreError(f"cannot write {target.path}: {error.strerror or error}") from error


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _named_index(image: StoredImage, name: str, others: Sequence[Descriptor] = ()) -> bytes:
    entry = Descriptor(image.descriptor.media_type, image.descriptor.digest, image.descriptor.size, {REF_NAME: name})
    kept = [other for other in others if entry_name(other) != name]
    return msgspec.json.encode(Index(2, [*kept, entry], OCI_INDEX))


def _all_blobs(image: StoredImage) -> list[Descriptor]:
    blobs = (image.descriptor, image.manifest.config, *image.manifest.layers)
    return sorted({blob.digest: blob for blob in blobs}.values(), key=lambda blob: blob.digest)


def _save_layout(blobs: BlobStore, image: StoredImage, target: Location) -> None:
    others: Sequence[Descriptor] = ()
    if (target.path / "index.json").exists():
        index = parse_manifest((target.path / "index.json").read_bytes(), OCI_INDEX)
        others = index.manifests if isinstance(index, Index) else ()
    copies = BlobStore(target.path)
    copies.prepare()
    for blob in _all_blobs(image):
        if not copies.has(blob):
            with copies.writer() as writer:
                for piece in blobs.chunks(blob.digest):
                    writer.write(piece)
                writer.commit(blob)
    shutil.rmtree(copies.incoming)
    replace(target.path / "oci-layout", _LAYOUT, mode=_READABLE)
    replace(target.path / "index.json", _named_index(image, target.name or image.name, others), mode=_READABLE)


def _write_oci_archive(blobs: BlobStore, image: StoredImage, name: str, file: _Sink) -> None:
    _write_member(file, "oci-layout", _LAYOUT)
    _write_member(file, "index.json", _named_index(image, name))
    for blob in _all_blobs(image):
        # As it is hashed while it is read, damage stops the export before the file gets its name.
        _write_stream(file, blob_name(blob), blob.size, _checked(blobs, blob))


def _checked(blobs: BlobStore, blob: Descriptor) -> Iterator[bytes]:
    found = hashlib.sha256()
    for piece in blobs.chunks(blob.digest):
        found.update(piece)
        yield piece
    if f"sha256:{found.hexdigest()}" != blob.digest:
        raise DamagedContent(
            f"cannot export blob {blob.digest}: it has changed on disk; fetch or build the image again"
        )


def _write_docker_archive(blobs: BlobStore, image: StoredImage, name: str, file: _Sink) -> None:
    """Write layers plain: `docker load` of every age reads that."""
    config = blobs.read(image.id)
    config_name = f"{image.id.removeprefix('sha256:')}.json"
    names = [f"{diff_id.removeprefix('sha256:')}.tar" for diff_id in image.diff_ids]
    written: set[str] = set()
    for layer, diff_id, member in zip(image.manifest.layers, image.diff_ids, names, strict=True):
        if member not in written:
            size = sum(len(piece) for piece in _plain_layer(blobs, layer, diff_id))
            _write_stream(file, member, size, _plain_layer(blobs, layer, diff_id))
            written.add(member)
    _write_member(file, config_name, config)
    entry = {"Config": config_name, "RepoTags": [name] if "@" not in name else None, "Layers": names}
    _write_member(file, "manifest.json", json.dumps([entry]).encode())


def _plain_layer(blobs: BlobStore, layer: Descriptor, diff_id: str) -> Iterator[bytes]:
    with blobs.open(layer.digest) as blob:
        stream = LayerStream(blob, layer, diff_id)
        while piece := stream.read():
            yield piece
        stream.finish()


def _write_member(file: _Sink, name: str, data: bytes) -> None:
    _write_stream(file, name, len(data), [data])


def _write_stream(file: _Sink, name: str, size: int, pieces: Iterator[bytes] | Sequence[bytes]) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    info.mode = _READABLE
    file.write(info.tobuf(tarfile.PAX_FORMAT))
    for piece in pieces:
        file.write(piece)
    file.write(b"\0" * (-size % tarfile.BLOCKSIZE))
