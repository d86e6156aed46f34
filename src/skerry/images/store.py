"""The machine's own images: an OCI image layout plus the unpacked trees, shared by the daemon and the command line.

    ROOT/oci-layout, index.json   what `skopeo` and others read too; org.opencontainers.image.ref.name is the full name
    ROOT/blobs/sha256/            content (see `blobs`)
    ROOT/incoming/                what is being written, and cut-off downloads to be resumed
    ROOT/rootfs/                  unpacked trees (see `rootfs`)
    ROOT/pins/HOLDER              who uses which tree, so that a tree outlives its image's name
    ROOT/*.lock

Three locks. `index.lock` is held for the moments in which index or pins are read and replaced, `rootfs.lock` while a
tree is unpacked. `use.lock` is shared by everybody who adds content and taken alone by `collect`, which therefore never
sees content whose name is still to be written. Names decide what stays: `collect` deletes what no name reaches and no
pin holds.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from skerry.images.blobs import BlobStore
from skerry.images.errors import DamagedContent, ImageNotFound, StoreError
from skerry.images.layers import unpacked_size
from skerry.images.locks import held
from skerry.images.manifest import (
    OCI_INDEX,
    REF_NAME,
    Config,
    Descriptor,
    Index,
    Manifest,
    check_layers,
    parse_config,
    parse_manifest,
    parse_time,
)
from skerry.images.reference import LOCAL, Reference, parse
from skerry.images.rootfs import RootfsStore, Verification
from skerry.kit.files import replace
from skerry.kit.log import logger

log = logger(__name__)

_STORED_AT: Final = "io.skerry.stored-at"
_SOURCE_DIGEST: Final = "io.skerry.source-digest"
_INDEX_PATIENCE: Final = 10.0
_USE_PATIENCE: Final = 60.0
_UNPACK_PATIENCE: Final = 600.0
_KEEP_PARTIAL: Final = 7 * 24 * 3600.0
_READABLE: Final = 0o644


class StoredImage(Struct, frozen=True):
    """One named image of the store."""

    name: str
    """The reference in full."""
    descriptor: Descriptor
    manifest: Manifest
    config: Config
    stored_at: datetime
    source_digest: str = ""
    """What the registry called it when it was pulled: its own digest, or that of an index around it."""

    @property
    def id(self) -> str:
        """The digest of the configuration: what podman calls the image ID."""
        return self.manifest.config.digest

    @property
    def diff_ids(self) -> list[str]:
        """The digests of the plain layers."""
        return list(self.config.rootfs.diff_ids)

    @property
    def size(self) -> int:
        """Bytes of the blobs."""
        return self.manifest.config.size + sum(layer.size for layer in self.manifest.layers)

    @property
    def created(self) -> datetime:
        """When it was made; reproducible images say "1970", then when it came here."""
        made = parse_time(self.config.created)
        return made if made.timestamp() > 0 else self.stored_at


class Collected(Struct, frozen=True):
    """What a garbage collection deleted."""

    blobs: int
    trees: int


class ImageStore:
    """The images of one machine. All methods block and may be called from several threads and processes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = BlobStore(root)
        self._rootfs = RootfsStore(root / "rootfs", self.blobs)
        self._pins = root / "pins"

    # Names

    def find(self, reference: Reference | str) -> StoredImage | None:
        """Look an image up by its name, or by its digest within the same repository.

        Raises `DamagedContent` or `ImageNotFound` when the name is known but its manifest is not intact.
        """
        wanted = parse(reference) if isinstance(reference, str) else reference
        entries = self._index().manifests
        for entry in entries:
            if _name(entry) == str(wanted):
                return self._image(entry)
        for entry in entries:
            if wanted.digest == entry.digest and parse(_name(entry)).repository == wanted.repository:
                return self._image(entry)
        return None

    def find_local(self, written: Reference) -> StoredImage | None:
        """Look an image up as podman does: a short name is first one of this machine's own."""
        if written.short:
            path = written.path.removeprefix("library/")
            if image := self.find(Reference(LOCAL, path, written.tag, written.digest)):
                return image
        return self.find(written)

    def list(self) -> Sequence[StoredImage]:
        """List the images, the newest first; damaged ones are left out and logged."""
        images = []
        for entry in self._index().manifests:
            try:
                images.append(self._image(entry))
            except (DamagedContent, ImageNotFound) as error:
                log.warning("image in the store is damaged", image=_name(entry), error=error.message)
        return sorted(images, key=lambda image: (-image.created.timestamp(), image.name))

    def unpacked_size(self, image: StoredImage) -> int:
        """Count the image's bytes as podman does: without compression, as far as that is known."""
        total = image.manifest.config.size
        for layer in image.manifest.layers:
            with self.blobs.open(layer.digest) as blob:
                total += unpacked_size(blob, layer.size)
        return total

    def record(
        self, reference: Reference, manifest: Descriptor, stored_at: datetime, *, source_digest: str = ""
    ) -> StoredImage:
        """Give a manifest, whose blobs are all here, a name; an image that had it loses it.

        Call it inside `adding`.
        """
        annotations = {REF_NAME: str(reference), _STORED_AT: stored_at.astimezone(UTC).isoformat(timespec="seconds")}
        if source_digest:
            annotations[_SOURCE_DIGEST] = source_digest
        entry = Descriptor(manifest.media_type, manifest.digest, manifest.size, annotations)
        image = self._image(entry)
        with self._changing() as entries:
            entries[str(reference)] = entry
        return image

    def tag(self, image: StoredImage, reference: Reference, stored_at: datetime) -> StoredImage:
        """Give an image one more name."""
        with self.adding():
            return self.record(reference, image.descriptor, stored_at)

    def remove(self, reference: Reference) -> None:
        """Forget a name. What nothing else needs goes with the next `collect`.

        Raises `ImageNotFound`.
        """
        with self._changing() as entries:
            if entries.pop(str(reference), None) is None:
                raise ImageNotFound(f"cannot remove {reference}: no such image; list them with: skerry model list")

    @contextmanager
    def adding(self) -> Iterator[None]:
        """Protect content that has no name yet from being collected."""
        self._prepare()
        with held(self.root / "use.lock", shared=True, patience=_USE_PATIENCE):
            yield

    # Trees

    def rootfs(self, image: StoredImage, *, holder: str = "", taken: Callable[[int], None] = lambda _: None) -> Path:
        """Give the image's files as a read-only directory, unpacking them if that was not done or was undone.

        With a `holder` the tree is pinned before anybody could collect it.

        Raises `DamagedContent`, `ImageNotFound`, `UnsupportedImage` or `StoreError`.
        """
        check_layers(image.manifest, image.config)
        tree = self._rootfs.path(image.diff_ids)
        with self.adding():
            with held(self.root / "rootfs.lock", patience=_UNPACK_PATIENCE):
                if not self._rootfs.ready(image.diff_ids):
                    if tree.exists():
                        log.warning("unpacked image was changed or is incomplete; unpacking it again", image=image.name)
                    self.blobs.require_space(image.size)
                    self._rootfs.unpack(image.manifest.layers, image.diff_ids, taken)
            if holder:
                self.pin(holder, tree)
        return tree

    def verify(self, image: StoredImage) -> Verification:
        """Read every unpacked file again and compare it with what was recorded when its digest was checked."""
        with self.adding():
            return self._rootfs.verify(image.diff_ids)

    def discard_tree(self, image: StoredImage) -> None:
        """Have the image unpacked anew at its next use; who uses the old tree keeps it."""
        with self.adding(), held(self.root / "rootfs.lock", patience=_UNPACK_PATIENCE):
            self._rootfs.set_aside(self._rootfs.path(image.diff_ids))

    def discard_damaged(self, image: StoredImage) -> int:
        """Read the image's blobs and delete those that have changed on disk; count them."""
        damaged = [blob for blob in (image.manifest.config, *image.manifest.layers) if not self.blobs.sound(blob)]
        for blob in damaged:
            self.blobs.discard(blob.digest)
        return len(damaged)

    # Pins

    def pin(self, holder: str, tree: Path) -> None:
        """Keep a tree for `holder` (a pod's uid), whatever happens to its image's name."""
        self._pins.mkdir(exist_ok=True)
        with self._index_lock():
            held_trees = {*self._pinned_by(holder), tree.name}
            replace(self._pins / holder, "\n".join(sorted(held_trees)).encode())

    def unpin(self, holder: str) -> None:
        """Let go of everything that `holder` had pinned."""
        (self._pins / holder).unlink(missing_ok=True)

    def holders(self) -> set[str]:
        """Name those who have pinned something."""
        return {entry.name for entry in self._pins.iterdir()} if self._pins.is_dir() else set()

    def _pinned_by(self, holder: str) -> Sequence[str]:
        try:
            return (self._pins / holder).read_text().split()
        except FileNotFoundError:
            return []

    # Garbage

    def collect(self) -> Collected:
        """Delete what no name reaches and no pin holds.

        Raises `StoreError` when content is being added all the time; nothing is lost then, only kept.
        """
        self._prepare()
        with held(self.root / "use.lock", patience=1.0):
            reached, wanted_trees = self._reachable()
            pinned = frozenset(name for holder in self.holders() for name in self._pinned_by(holder))
            surplus = [digest for digest in self.blobs.digests() if digest not in reached]
            for digest in surplus:
                self.blobs.discard(digest)
            trees = [tree for tree in self._rootfs.trees() if tree.name not in wanted_trees | pinned]
            for tree in trees:
                self._rootfs.set_aside(tree)
            self._rootfs.sweep(pinned)
            self._drop_old_downloads()
        return Collected(len(surplus), len(trees))

    def _reachable(self) -> tuple[set[str], set[str]]:
        reached: set[str] = set()
        trees: set[str] = set()
        for entry in self._index().manifests:
            reached.add(entry.digest)
            try:
                image = self._image(entry)
            except (DamagedContent, ImageNotFound) as error:
                raise StoreError(
                    f"cannot collect garbage: {_name(entry)} is damaged, so what belongs to it is unknown "
                    f"({error.message}); fetch it again or remove it: skerry model rm {_name(entry)}"
                ) from error
            reached.update((image.id, *(layer.digest for layer in image.manifest.layers)))
            trees.add(self._rootfs.path(image.diff_ids).name)
        return reached, trees

    def _drop_old_downloads(self) -> None:
        for file in self.blobs.incoming.iterdir():
            # Only downloads are worth keeping for a while; anything else here is left from a crash.
            if file.is_dir():
                shutil.rmtree(file, ignore_errors=True)
            elif file.suffix != ".partial" or file.stat().st_mtime < time.time() - _KEEP_PARTIAL:
                file.unlink(missing_ok=True)

    # Index

    def _prepare(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.blobs.prepare()
        marker = self.root / "oci-layout"
        if not marker.exists():
            with self._index_lock():
                replace(marker, b'{"imageLayoutVersion":"1.0.0"}', mode=_READABLE)

    def _index_lock(self) -> AbstractContextManager[None]:
        return held(self.root / "index.lock", patience=_INDEX_PATIENCE)

    def _index(self) -> Index:
        path = self.root / "index.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Index)
        except FileNotFoundError:
            return Index(2, [], OCI_INDEX)
        except msgspec.MsgspecError as error:
            raise StoreError(
                f"cannot read {path}: {error}; move the file away and load the images again "
                "(their content is kept until then)"
            ) from error

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Descriptor]]:
        """Change the names, alone; written when the block ends without an error."""
        self._prepare()
        with self._index_lock():
            entries = {_name(entry): entry for entry in self._index().manifests}
            yield entries
            index = Index(2, list(entries.values()), OCI_INDEX)
            replace(self.root / "index.json", msgspec.json.encode(index), mode=_READABLE)

    def _image(self, entry: Descriptor) -> StoredImage:
        manifest = parse_manifest(self.blobs.read(entry.digest), entry.media_type)
        if not isinstance(manifest, Manifest):
            raise DamagedContent(f"cannot use {_name(entry)}: the store's entry is not one image; fetch it again")
        config = parse_config(self.blobs.read(manifest.config.digest))
        annotations = entry.annotations or {}
        stored_at = parse_time(annotations.get(_STORED_AT, ""))
        return StoredImage(_name(entry), entry, manifest, config, stored_at, annotations.get(_SOURCE_DIGEST, ""))


def _name(entry: Descriptor) -> str:
    return (entry.annotations or {}).get(REF_NAME, entry.digest)
