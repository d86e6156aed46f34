"""Images from and to registries: the OCI distribution API, and Docker's v2, which is the same.

A pull is: manifest (through an index to this machine's platform), configuration, layers (three at once), and last the
name. Every manifest and blob is compared with the digest that led to it, so the tag is the only thing that is taken on
trust. A push is the same in the other direction, and moves only what the registry does not have.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urljoin, urlsplit

import httpx2
from msgspec import Struct

from skerry import __name__ as program
from skerry.images.blobs import BlobStore
from skerry.images.credentials import LogIns, log_ins
from skerry.images.download import Moved, download
from skerry.images.errors import (
    DamagedContent,
    ImageError,
    ImageNotFound,
    RegistryRefused,
    RegistryUnreachable,
    UnsupportedImage,
)
from skerry.images.manifest import (
    ACCEPT,
    LARGEST_MANIFEST,
    OCI_MANIFEST,
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
from skerry.images.reference import DOCKER_HUB, Reference, loopback
from skerry.images.session import Attempts, Limits, Session
from skerry.images.store import ImageStore, StoredImage
from skerry.kit.clock import Clock

_AT_ONCE: Final = 3
_DEEPEST_INDEX: Final = 2
_HUB_HOST: Final = "registry-1.docker.io"
_CERTIFICATES: Final = (Path("/etc/containers/certs.d"), Path("/etc/docker/certs.d"))


class Access(Struct, frozen=True):
    """How registries are reached and with which log-ins."""

    limits: Limits
    auth_files: Sequence[Path]
    insecure_hosts: frozenset[str] = frozenset()
    """Hosts (with port) that are spoken to over plain HTTP, besides this machine."""
    certificates: Sequence[Path] = _CERTIFICATES
    """Directories with HOST/*.crt: certificate authorities of single registries."""
    secrets: Sequence[Mapping[str, Any]] = ()


class Registry:
    """A client for pulls and pushes."""

    def __init__(self, access: Access, clock: Clock) -> None:
        self._access = access
        self._clock = clock

    async def pull(self, reference: Reference, store: ImageStore, platform: Platform, moved: Moved) -> StoredImage:
        """Bring an image into the store and name it there.

        Raises an `ImageError` that says which image and what to do.
        """
        with _about(f"cannot pull {reference}"):
            async with self._session(reference) as session, _adding(store):
                source, data, media_type = await self._manifest(session, reference.target)
                data, media_type, manifest = await self._single(session, data, media_type, platform)
                config = await self._config(session, manifest, store.blobs)
                check_layers(manifest, parse_config(config))
                missing = [layer for layer in _distinct(manifest.layers) if not store.blobs.has(layer)]
                await asyncio.to_thread(store.blobs.require_space, sum(layer.size for layer in missing))
                await self._layers(session, _distinct(manifest.layers), store.blobs, moved)
                await asyncio.to_thread(store.blobs.put, config)
                descriptor = Descriptor(media_type, await asyncio.to_thread(store.blobs.put, data), len(data))
                return await asyncio.to_thread(
                    store.record, reference, descriptor, self._clock.now(), source_digest=source
                )

    async def digest(self, reference: Reference) -> str:
        """Ask which manifest or index a name means now, without fetching it.

        Raises an `ImageError`.
        """
        with _about(f"cannot look up {reference}"):
            async with self._session(reference) as session:
                answer, _ = await session.read(
                    "HEAD", session.url(f"manifests/{reference.target}"), {"accept": ACCEPT}, most=0, accept=(200, 404)
                )
                if answer.status_code == 404:
                    raise _no_such_image(session, reference.target)
                # Old registries leave the header out.
                return (
                    answer.headers.get("docker-content-digest") or (await self._manifest(session, reference.target))[0]
                )

    async def push(self, image: StoredImage, reference: Reference, store: ImageStore, moved: Moved) -> str:
        """Send an image to a registry under a name; give back the manifest's digest there.

        Raises an `ImageError`.
        """
        with _about(f"cannot push {image.name} to {reference}"):
            async with self._session(reference) as session, _adding(store):
                blobs = _distinct([*image.manifest.layers, image.manifest.config])
                siblings = _repositories_with(store, reference, blobs)
                for blob in blobs:
                    await self._upload(session, store.blobs, blob, siblings.get(blob.digest, ""), moved)
                data = await asyncio.to_thread(store.blobs.read, image.descriptor.digest)
                await self._put_manifest(session, reference.target, image.descriptor, data)
        return image.descriptor.digest

    # Pull

    async def _manifest(self, session: Session, target: str) -> tuple[str, bytes, str]:
        """Fetch a manifest or index: its digest, its bytes, its media type."""
        answer, data = await session.read(
            "GET", session.url(f"manifests/{target}"), {"accept": ACCEPT}, most=LARGEST_MANIFEST, accept=(200, 404)
        )
        if answer.status_code == 404:
            raise _no_such_image(session, target)
        digest = digest_of(data)
        wanted = target if target.startswith("sha256:") else answer.headers.get("docker-content-digest", digest)
        if wanted.startswith("sha256:") and digest != wanted:
            raise DamagedContent(f"the manifest that {session.host} sends is {digest}, not {wanted}; try again later")
        return digest, data, answer.headers.get("content-type", "").partition(";")[0]

    async def _single(
        self, session: Session, data: bytes, media_type: str, platform: Platform
    ) -> tuple[bytes, str, Manifest]:
        """Go from an index to the one image for this machine."""
        for _ in range(_DEEPEST_INDEX + 1):
            parsed = parse_manifest(data, media_type)
            if isinstance(parsed, Manifest):
                return data, parsed.media_type or media_type or OCI_MANIFEST, parsed
            assert isinstance(parsed, Index)
            _, data, media_type = await self._manifest(session, choose_platform(parsed, platform).digest)
        raise UnsupportedImage("its index leads to indexes only; push it again with a current tool")

    async def _config(self, session: Session, manifest: Manifest, blobs: BlobStore) -> bytes:
        wanted = manifest.config
        if blobs.has(wanted):
            return await asyncio.to_thread(blobs.read, wanted.digest)
        if wanted.size > LARGEST_MANIFEST:
            raise UnsupportedImage(f"its configuration has {wanted.size} bytes; it is not a container image")
        answer, data = await session.read(
            "GET", session.url(f"blobs/{wanted.digest}"), most=wanted.size, accept=(200, 404)
        )
        if answer.status_code == 404:
            raise RegistryRefused(f"{session.host} lacks its configuration {wanted.digest}; push the image again")
        if digest_of(data) != wanted.digest:
            raise DamagedContent(f"the configuration that {session.host} sends is not {wanted.digest}; push it again")
        return data

    async def _layers(self, session: Session, layers: Iterable[Descriptor], blobs: BlobStore, moved: Moved) -> None:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(layer: Descriptor) -> None:
            async with slots:
                await download(session, layer, blobs, self._clock, moved)

        failures: Sequence[BaseException] = ()
        try:
            async with asyncio.TaskGroup() as group:
                for layer in layers:
                    group.create_task(one(layer))
        except* ImageError as errors:
            failures = errors.exceptions
        if failures:  # raised in the block above it would be a group again
            raise failures[0]

    # Push

    async def _upload(self, session: Session, blobs: BlobStore, blob: Descriptor, sibling: str, moved: Moved) -> None:
        answer, _ = await session.read("HEAD", session.url(f"blobs/{blob.digest}"), most=0, accept=(200, 404))
        if answer.status_code == 404:
            if not await asyncio.to_thread(blobs.sound, blob):
                raise DamagedContent(f"blob {blob.digest} has changed on disk; build or fetch the image again")
            attempts = session.attempts()
            while True:
                try:
                    await self._send_blob(session, blobs, blob, sibling, moved)
                    break
                except RegistryUnreachable as error:
                    await attempts.failed(error, getattr(error, "wish", 0.0))
        moved(blob.digest, blob.size, blob.size)

    async def _send_blob(
        self, session: Session, blobs: BlobStore, blob: Descriptor, sibling: str, moved: Moved
    ) -> None:
        mount = f"?mount={quote(blob.digest)}&from={quote(sibling, safe='')}" if sibling else ""
        async with session.open("POST", session.url(f"blobs/uploads/{mount}"), accept=(201, 202)) as answer:
            if answer.status_code == 201:
                return  # the registry took it from the other repository
            location = urljoin(str(answer.request.url), answer.headers.get("location", ""))
        address = f"{location}{'&' if urlsplit(location).query else '?'}digest={quote(blob.digest)}"
        headers = {"content-length": str(blob.size), "content-type": "application/octet-stream"}

        async def content() -> AsyncIterator[bytes]:
            sent = 0
            chunks = blobs.chunks(blob.digest)
            while chunk := await asyncio.to_thread(next, chunks, b""):
                yield chunk
                sent += len(chunk)
                moved(blob.digest, sent, blob.size)

        async with session.open("PUT", address, headers, content, accept=(201, 204)):
            return

    async def _put_manifest(self, session: Session, target: str, descriptor: Descriptor, data: bytes) -> None:
        async def content() -> AsyncIterator[bytes]:
            yield data

        headers = {"content-type": descriptor.media_type, "content-length": str(len(data))}
        attempts = session.attempts()
        while True:
            try:
                async with session.open(
                    "PUT", session.url(f"manifests/{target}"), headers, content, accept=(200, 201)
                ) as answer:
                    found = answer.headers.get("docker-content-digest", descriptor.digest)
                break
            except RegistryUnreachable as error:
                await attempts.failed(error, getattr(error, "wish", 0.0))
        if found != descriptor.digest:
            raise DamagedContent(f"{session.host} stored {found} instead of {descriptor.digest}; push again")

    # Connection

    @asynccontextmanager
    async def _session(self, reference: Reference) -> AsyncIterator[Session]:
        """Connect to the reference's registry, for at most the total time."""
        limits = self._access.limits
        host = _HUB_HOST if reference.domain == DOCKER_HUB else reference.domain
        plain = host in self._access.insecure_hosts or loopback(urlsplit(f"//{host}").hostname or "")
        logins = await asyncio.to_thread(self._logins, reference)
        # Reading the certificate authorities takes longer than a small pull.
        trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else await asyncio.to_thread(self._trust, host)
        try:
            async with (
                asyncio.timeout(limits.total_seconds),
                httpx2.AsyncClient(
                    verify=trust,
                    mounts={"https://": _LateTls(lambda: self._trust(host))} if plain else None,
                    timeout=httpx2.Timeout(limits.idle_seconds, connect=limits.connect_seconds),
                    headers={"user-agent": program, "accept-encoding": "identity"},
                ) as client,
            ):
                base = f"{'http' if plain else 'https'}://{host}"
                yield Session(client, base, reference.path, logins, lambda: Attempts(limits, self._clock))
        except TimeoutError as error:
            raise RegistryUnreachable(f"{host} took longer than {limits.total_seconds:.0f} s; try again") from error

    def _logins(self, reference: Reference) -> LogIns:
        return log_ins(reference, self._access.secrets, self._access.auth_files)

    def _trust(self, host: str) -> ssl.SSLContext:
        context = httpx2.create_ssl_context()
        for directory in self._access.certificates:
            for certificate in sorted((directory / host).glob("*.crt")):
                context.load_verify_locations(certificate)
        return context


class _LateTls(httpx2.AsyncBaseTransport):
    """HTTPS for a registry on plain HTTP, should it redirect there."""

    def __init__(self, trust: Callable[[], ssl.SSLContext]) -> None:
        self._trust = trust
        self._transport: httpx2.AsyncHTTPTransport | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if self._transport is None:
            self._transport = httpx2.AsyncHTTPTransport(verify=await asyncio.to_thread(self._trust))
        return await self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        if self._transport:
            await self._transport.aclose()


@contextmanager
def _about(what: str) -> Iterator[None]:
    """Say in an error what was being done; it keeps its class."""
    try:
        yield
    except ImageError as error:
        error.message = f"{what}: {error.message}"
        error.args = (error.message,)
        raise


@asynccontextmanager
async def _adding(store: ImageStore) -> AsyncIterator[None]:
    guard = store.adding()
    await asyncio.to_thread(guard.__enter__)  # may wait for a collection to end
    try:
        yield
    finally:
        guard.__exit__(None, None, None)


def _no_such_image(session: Session, target: str) -> ImageNotFound:
    return ImageNotFound(f"{session.host} has no image of that name with {target}; check name and tag")


def _distinct(blobs: Sequence[Descriptor]) -> list[Descriptor]:
    return list({blob.digest: blob for blob in blobs}.values())


def _digests(image: StoredImage) -> set[str]:
    return {image.id, *(layer.digest for layer in image.manifest.layers)}


def _repositories_with(store: ImageStore, reference: Reference, blobs: Sequence[Descriptor]) -> dict[str, str]:
    """Find, for blobs, other repositories of the same registry that had them when they were pulled."""
    from skerry.images.reference import parse

    wanted = {blob.digest for blob in blobs}
    found: dict[str, str] = {}
    for image in store.list():
        other = parse(image.name)
        if other.domain == reference.domain and other.path != reference.path:
            found |= dict.fromkeys(wanted & _digests(image), other.path)
    return found
