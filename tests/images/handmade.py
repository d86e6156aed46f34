"""Layers, images and clocks made by hand for the tests of the images room."""

import asyncio
import gzip
import io
import tarfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from skerry.images.manifest import (
    OCI_CONFIG,
    OCI_LAYER,
    OCI_MANIFEST,
    Config,
    Descriptor,
    Manifest,
    RootFs,
    digest_of,
)
from skerry.images.reference import parse
from skerry.images.store import ImageStore, StoredImage

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

Member = tuple[tarfile.TarInfo, bytes]


def file(name: str, data: bytes = b"data", mode: int = 0o644) -> Member:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(data), mode, 1_000_000
    return info, data


def directory(name: str) -> Member:
    return _special(name, tarfile.DIRTYPE, mode=0o755)


def symlink(name: str, target: str) -> Member:
    return _special(name, tarfile.SYMTYPE, target)


def hardlink(name: str, target: str) -> Member:
    return _special(name, tarfile.LNKTYPE, target)


def device(name: str) -> Member:
    return _special(name, tarfile.CHRTYPE)


def fifo(name: str) -> Member:
    return _special(name, tarfile.FIFOTYPE)


def _special(name: str, kind: bytes, target: str = "", mode: int = 0o777) -> Member:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, target, mode
    return info, b""


def tar(*members: Member) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


class Image:
    """An image outside of any store: its manifest and blobs."""

    def __init__(self, layers: Sequence[bytes], *, compress: bool = True) -> None:
        packed = [gzipped(layer) if compress else layer for layer in layers]
        media_type = f"{OCI_LAYER}+gzip" if compress else OCI_LAYER
        config = msgspec.json.encode(Config("amd64", "linux", RootFs([digest_of(layer) for layer in layers])))
        self.blobs = {digest_of(data): data for data in (*packed, config)}
        self.layers = [Descriptor(media_type, digest_of(data), len(data)) for data in packed]
        self.config = Descriptor(OCI_CONFIG, digest_of(config), len(config))
        self.manifest = msgspec.json.encode(Manifest(2, self.config, self.layers, OCI_MANIFEST))
        self.digest = digest_of(self.manifest)

    def store_as(self, store: ImageStore, name: str) -> StoredImage:
        with store.adding():
            for data in (*self.blobs.values(), self.manifest):
                store.blobs.put(data)
            return store.record(parse(name), Descriptor(OCI_MANIFEST, self.digest, len(self.manifest)), NOW)


def model_image(weights: bytes = b"weights" * 1000) -> Image:
    return Image([tar(directory("models"), directory("models/1"), file("models/1/model.bin", weights))])


class HurriedClock:
    """Real time, but nobody has to sit through a pause; pauses are remembered."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0.001)
