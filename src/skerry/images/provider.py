"""What the node asks: this image's files as a directory, now.

    reference, pull policy, secrets → find or pull → unpack once → a verified read-only directory

The policies are the kubelet's, with two differences that an edge machine needs. `localhost/NAME` can only be in the
local store, so it is looked up there under every policy (the cloud's `Always` for `:latest` makes such images
unusable). And `Always` asks the registry, but when that cannot be reached a copy that is here is used, with a warning:
a machine that is offline for weeks restarts its models.

Who asks for an image that somebody else is fetching waits and shares the outcome. Nothing here imports an HTTP client
or tarfile before one is needed.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from skerry.images.errors import (
    ERR_IMAGE_NEVER_PULL,
    DamagedContent,
    ImageError,
    ImageNotFound,
    InvalidReference,
    RegistryUnreachable,
)
from skerry.images.manifest import host_platform
from skerry.images.reference import Reference, parse
from skerry.images.store import ImageStore, StoredImage
from skerry.kit.clock import Clock
from skerry.kit.log import logger

if TYPE_CHECKING:
    from skerry.images.registry import Registry

__all__ = ["ImageError", "ImageProvider", "Progress", "RegistrySettings"]

log = logger(__name__)

ALWAYS: Final = "Always"
IF_NOT_PRESENT: Final = "IfNotPresent"
NEVER: Final = "Never"

_QUICK_CONNECT_SECONDS: Final = 3.0
_QUICK_IDLE_SECONDS: Final = 10.0


class RegistrySettings(Struct, frozen=True):
    """How registries are reached; see `registry.Access`."""

    auth_files: Sequence[Path] = ()
    insecure_hosts: frozenset[str] = frozenset()
    connect_seconds: float = 10.0
    idle_seconds: float = 30.0
    total_seconds: float = 4 * 3600.0
    attempts: int = 5
    first_pause: float = 0.5


class Progress(Struct, frozen=True):
    """How far the preparation of an image is."""

    phase: str
    """`Pulling` or `Unpacking`."""
    done: int
    total: int


class _Outcome(Struct, frozen=True):
    ended: float
    error: ImageError | None


class _Line:
    """Those who wait for one image: a lock, how many they are, and how it went for the last one."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0
        self.last: _Outcome | None = None


_Key = tuple[str, str, tuple[tuple[str, str, str], ...]]


class ImageProvider:
    """Images for pods. One for the process; belongs to its event loop."""

    def __init__(self, store: ImageStore, settings: RegistrySettings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._lines: dict[_Key, _Line] = {}
        self._progress: dict[str, Progress] = {}

    @property
    def progress(self) -> Mapping[str, Progress]:
        """What is being pulled and unpacked just now, by reference as it was asked for."""
        return self._progress

    async def ensure(
        self, reference: str, pull_policy: str, secrets: Sequence[Mapping[str, Any]], *, holder: str = ""
    ) -> Path:
        """Give the image's files as a read-only directory.

        `holder` (a pod's uid) pins the directory until `release`, so that removing the image's name does not take it
        from a running pod.

        Raises `ImageError` with the kubelet's reason and a message that says what to do.
        """
        wanted = _parse(reference)
        # Nobody may be refused, or let in, because of somebody else's log-in.
        key = (reference, pull_policy, tuple(sorted(_identity(secret) for secret in secrets)))
        line = self._lines.setdefault(key, _Line())
        line.waiting += 1
        began = self._clock.monotonic()
        try:
            async with line.lock:
                if line.last and line.last.ended >= began:
                    if line.last.error:
                        raise line.last.error
                    pull_policy = IF_NOT_PRESENT  # what is here is as fresh as was asked for
                path = await self._recorded(line, self._prepare(reference, wanted, pull_policy, secrets, holder))
        finally:
            line.waiting -= 1
            if not line.waiting:
                self._lines.pop(key, None)
            self._progress.pop(reference, None)
        return path

    async def release(self, holder: str) -> None:
        """Let go of the images of a pod that is gone."""
        await asyncio.to_thread(self._store.unpin, holder)

    async def release_all_but(self, holders: frozenset[str]) -> None:
        """Let go of the images of all pods but these: for the node's start."""
        for gone in await asyncio.to_thread(self._store.holders) - holders:
            await self.release(gone)

    async def _recorded(self, line: _Line, preparing: Coroutine[Any, Any, Path]) -> Path:
        """Leave the outcome for those who wait; after a cancellation there is none, and the next one begins anew."""
        try:
            path = await preparing
        except ImageError as error:
            line.last = _Outcome(self._clock.monotonic(), error)
            raise
        line.last = _Outcome(self._clock.monotonic(), None)
        return path

    async def _prepare(
        self, written: str, wanted: Reference, policy: str, secrets: Sequence[Mapping[str, Any]], holder: str
    ) -> Path:
        image = await self._get(written, wanted, policy, secrets)
        try:
            return await self._unpack(written, image, holder)
        except (DamagedContent, ImageNotFound) as error:
            damaged = await asyncio.to_thread(self._store.discard_damaged, image)
            log.warning("image in the store is damaged", image=image.name, blobs=damaged, error=error.message)
            if parse(image.name).local:
                raise DamagedContent(f"cannot use {written}: {error.message}; {_build_advice(written)}") from error
            if policy == NEVER:
                raise
        return await self._unpack(written, await self._pull(written, wanted, secrets), holder)

    async def _get(
        self, written: str, wanted: Reference, policy: str, secrets: Sequence[Mapping[str, Any]]
    ) -> StoredImage:
        image = await self._find(wanted)
        local = wanted.local or (image is not None and parse(image.name).local)
        if image is None and policy == NEVER:
            raise ImageError(
                ERR_IMAGE_NEVER_PULL,
                f'Container image "{written}" is not present with pull policy of Never; {_advice(written, wanted)}',
            )
        if image is None and local:
            raise ImageNotFound(f"image {written} is not in this node's store; {_build_advice(written)}")
        if image is None:
            return await self._pull(written, wanted, secrets)
        if local or policy == NEVER or (policy or _default_policy(wanted)) != ALWAYS or wanted.digest:
            return image
        return await self._refresh(written, wanted, image, secrets)

    async def _find(self, wanted: Reference) -> StoredImage | None:
        try:
            return await asyncio.to_thread(self._store.find_local, wanted)
        except (DamagedContent, ImageNotFound) as error:
            log.warning("image in the store is damaged", image=str(wanted), error=error.message)
            return None

    async def _refresh(
        self, written: str, wanted: Reference, image: StoredImage, secrets: Sequence[Mapping[str, Any]]
    ) -> StoredImage:
        """Bring a copy up to date if the registry can be reached."""
        try:
            newest = await self._registry(secrets, quick=True).digest(wanted)
            if newest in {image.descriptor.digest, image.source_digest}:
                return image
            return await self._pull(written, wanted, secrets)
        except RegistryUnreachable as error:
            log.warning("registry is unreachable; using the copy in the store", image=written, error=error.message)
            return image

    async def _pull(self, written: str, wanted: Reference, secrets: Sequence[Mapping[str, Any]]) -> StoredImage:
        done: dict[str, tuple[int, int]] = {}

        def moved(digest: str, here: int, size: int) -> None:
            done[digest] = (here, size)
            here, size = (sum(numbers) for numbers in zip(*done.values(), strict=True))
            self._progress[written] = Progress("Pulling", here, size)

        began = self._clock.monotonic()
        self._progress[written] = Progress("Pulling", 0, 0)
        image = await self._registry(secrets, quick=False).pull(wanted, self._store, host_platform(), moved)
        log.info("image pulled", image=written, size=image.size, took=round(self._clock.monotonic() - began, 3))
        return image

    async def _unpack(self, written: str, image: StoredImage, holder: str) -> Path:
        total = sum(layer.size for layer in image.manifest.layers)

        def taken(done: int) -> None:  # from the worker thread: one assignment, nothing to lock
            self._progress[written] = Progress("Unpacking", done, total)

        return await asyncio.to_thread(self._store.rootfs, image, holder=holder, taken=taken)

    def _registry(self, secrets: Sequence[Mapping[str, Any]], *, quick: bool) -> "Registry":
        from skerry.images.registry import Access, Registry  # the HTTP client, only for a pull
        from skerry.images.session import Limits

        settings = self._settings
        limits = Limits(
            min(settings.connect_seconds, _QUICK_CONNECT_SECONDS) if quick else settings.connect_seconds,
            min(settings.idle_seconds, _QUICK_IDLE_SECONDS) if quick else settings.idle_seconds,
            settings.total_seconds,
            1 if quick else settings.attempts,
            settings.first_pause,
        )
        access = Access(limits, settings.auth_files, settings.insecure_hosts, secrets=secrets)
        return Registry(access, self._clock)


def _parse(reference: str) -> Reference:
    try:
        return parse(reference)
    except InvalidReference as error:
        # The kubelet's words come first: they are what people search for.
        raise InvalidReference(
            f'Failed to apply default image tag "{reference}": couldn\'t parse image name "{reference}": '
            f"invalid reference format; {error.message}"
        ) from error


def _identity(secret: Mapping[str, Any]) -> tuple[str, str, str]:
    metadata = secret.get("metadata") or {}
    return str(metadata.get("namespace")), str(metadata.get("name")), str(metadata.get("resourceVersion"))


def _default_policy(wanted: Reference) -> str:
    return ALWAYS if wanted.tag == "latest" else IF_NOT_PRESENT


def _advice(written: str, wanted: Reference) -> str:
    return _build_advice(written) if wanted.local else f'load it with "skerry model pull {written}"'


def _build_advice(written: str) -> str:
    return (
        f'build it with "skerry model build DIR -t {written}" '
        f'or load it with "skerry model pull oci-archive:FILE -t {written}"'
    )
