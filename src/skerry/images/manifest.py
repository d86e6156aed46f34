"""The JSON of images: descriptors, manifests, indexes and configurations, OCI's and Docker's v2 schema 2.

Both families have the same fields and differ in media types. Digests are checked by pattern while decoding, because
they become file names.
"""

import hashlib
import os
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from skerry.images.errors import UnsupportedImage

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_SCHEMA_1: Final = "application/vnd.docker.distribution.manifest.v1"

REF_NAME: Final = "org.opencontainers.image.ref.name"
ACCEPT: Final = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_LIST}, {DOCKER_MANIFEST}"
"""The manifests that are understood, as a registry wants them listed."""

LARGEST_MANIFEST: Final = 4 * 1024 * 1024
"""Registries cap manifests at this size; a longer answer is not one."""

_LAYER: Final = re.compile(
    r"application/vnd\.(?:oci\.image\.layer(?:\.nondistributable)?\.v1|docker\.image\.rootfs(?:\.foreign)?\.diff)"
    r"\.tar(?:[.+](?:gzip|zstd))?"
)

Digest = Annotated[str, Meta(pattern="^sha256:[0-9a-f]{64}$")]
Size = Annotated[int, Meta(ge=0)]


class Platform(Struct, frozen=True, omit_defaults=True):
    """What an image runs on."""

    architecture: str
    os: str
    variant: str = ""


class Descriptor(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One blob: what it is, its digest, its size."""

    media_type: str
    digest: Digest
    size: Size
    annotations: dict[str, str] | None = None
    platform: Platform | None = None


class Manifest(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One image: a configuration and its layers, lowest first."""

    schema_version: int
    config: Descriptor
    layers: list[Descriptor]
    media_type: str = ""
    annotations: dict[str, str] | None = None


class Index(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Several images under one name, one per platform; also the table of contents of a layout on disk."""

    schema_version: int
    manifests: list[Descriptor]
    media_type: str = ""
    annotations: dict[str, str] | None = None


class RootFs(Struct, frozen=True):
    """The digests of the plain (not compressed) layers, lowest first."""

    diff_ids: list[Digest]
    type: str = "layers"


class Config(Struct, frozen=True, omit_defaults=True):
    """What an image's configuration says, as far as it is used here."""

    architecture: str
    os: str
    rootfs: RootFs
    created: str = ""
    config: dict[str, Any] | None = None
    history: list[dict[str, Any]] | None = None

    @property
    def labels(self) -> dict[str, str]:
        """The image's labels."""
        return dict((self.config or {}).get("Labels") or {})


class _Kind(Struct, rename="camel"):
    media_type: str = ""
    schema_version: int = 0
    manifests: msgspec.Raw = msgspec.Raw(b"null")
    layers: msgspec.Raw = msgspec.Raw(b"null")


def digest_of(data: bytes) -> str:
    """Name a blob by its content."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def parse_manifest(data: bytes, media_type: str = "") -> Manifest | Index:
    """Read a manifest or an index.

    Raises `UnsupportedImage` for anything else; `media_type` is what the sender called it.
    """
    try:
        kind = msgspec.json.decode(data, type=_Kind)
        named = kind.media_type or media_type
        if kind.schema_version == 1 or named.startswith(_DOCKER_SCHEMA_1):
            raise UnsupportedImage(
                "cannot read the image: its manifest is Docker's schema 1; push it again with a current tool"
            )
        # Bytes that can be read as both would mean different images to different tools.
        is_index, is_manifest = (bytes(field) != b"null" for field in (kind.manifests, kind.layers))
        if is_index == is_manifest:
            raise UnsupportedImage(
                f"cannot read the image: {named or 'its manifest'} is neither a manifest nor an index"
            )
        if is_index:
            return msgspec.json.decode(data, type=Index)
        return msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise UnsupportedImage(f"cannot read the image: its manifest is not valid: {error}") from error


def parse_config(data: bytes) -> Config:
    """Read an image's configuration.

    Raises `UnsupportedImage` when it is not one, as with artifacts that only look like images.
    """
    try:
        return msgspec.json.decode(data, type=Config)
    except msgspec.MsgspecError as error:
        raise UnsupportedImage(
            f"cannot read the image: its configuration is not that of a container image: {error}; "
            "models must be packaged as images (ModelCar)"
        ) from error


def check_layers(manifest: Manifest, config: Config) -> None:
    """Refuse layers that cannot be unpacked, before any of them is fetched.

    Raises `UnsupportedImage`.
    """
    for layer in manifest.layers:
        if layer.media_type.endswith("+encrypted"):
            raise UnsupportedImage("cannot unpack the image: a layer is encrypted; decrypt it before it is pushed")
        if not _LAYER.fullmatch(layer.media_type):
            raise UnsupportedImage(
                f"cannot unpack the image: a layer is of type {layer.media_type!r}, not a tar archive"
            )
    if len(manifest.layers) != len(config.rootfs.diff_ids):
        raise UnsupportedImage(
            f"cannot unpack the image: {len(manifest.layers)} layers, but {len(config.rootfs.diff_ids)} diff_ids"
        )


def host_platform() -> Platform:
    """Return this machine's platform in the words of Go, which images use."""
    names = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
    machine = os.uname().machine
    return Platform(names.get(machine, machine), "linux")


def choose_platform(index: Index, want: Platform) -> Descriptor:
    """Choose one image from an index: the wanted platform, else any other Linux one.

    The second is for ModelCars: a model is data and the same on every processor, and no program from the image is run.

    Raises `UnsupportedImage` when there is none at all.
    """
    # Attestations hide in an index as manifests of platform unknown/unknown.
    images = [entry for entry in index.manifests if entry.platform is None or entry.platform.os != "unknown"]
    for entry in images:
        here = entry.platform
        if here and (here.os, here.architecture) == (want.os, want.architecture):
            return entry
    for entry in images:
        if entry.platform is None or entry.platform.os == want.os:
            return entry
    found = ", ".join(f"{entry.platform.os}/{entry.platform.architecture}" for entry in images if entry.platform)
    raise UnsupportedImage(
        f"cannot use the image: nothing for {want.os}/{want.architecture}; it has {found or 'no image'}"
    )


def chain_id(diff_ids: list[str]) -> str:
    """Name a stack of layers, as the OCI image specification does."""
    chain = diff_ids[0] if diff_ids else digest_of(b"")
    for diff_id in diff_ids[1:]:
        chain = digest_of(f"{chain} {diff_id}".encode())
    return chain


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time with any number of decimals; the epoch when there is none."""
    try:
        whole, _, rest = text.partition(".")
        zone = rest.lstrip("0123456789") if rest else ""
        moment = datetime.fromisoformat(f"{whole}{zone}")
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
