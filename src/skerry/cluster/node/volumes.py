"""Volumes: what a pod's `volumes` say becomes directories of this machine.

    VolumeError          the volume cannot be made (yet); shown as the event FailedMount
    ImageVolumeError     an image volume cannot be had; shown as ErrImagePull and its kin

ConfigMap, Secret, downwardAPI and projected volumes are written in memory and again whenever their sources change.
An emptyDir is on the disk unless its medium is Memory. An image volume is a directory of the image store, read-only.
A PersistentVolumeClaim is a directory below the state directory. hostPath is refused: a manifest from elsewhere must
not reach into this machine.
"""

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from skerry.cluster.node import atomic_files
from skerry.cluster.node.atomic_files import File
from skerry.cluster.node.environment import Objects, config_map_data, secret_data
from skerry.cluster.node.layout import Directories, PodDirectories
from skerry.cluster.node.podfields import FieldError, PodFacts, container_named, field_value, resource_value
from skerry.images.errors import ImageError

_FILE_MODE: Final = 0o644
_EVERYBODY: Final = 0o777
_TOKEN_MODE: Final = 0o600
_TOKEN_SECONDS: Final = 3600
_WRITTEN: Final = ("configMap", "secret", "downwardAPI", "projected")


TokenKey = tuple[str, int]  # audience ("" for the API's own) and seconds


class VolumeError(Exception):
    """A volume cannot be set up; the text is the kubelet's."""

    def __init__(self, volume: str, why: str) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{volume}" : {why}')


class ImageVolumeError(Exception):
    """The image of a volume is not to be had; reason and message come from the images room."""

    def __init__(self, reference: str, reason: str, message: str) -> None:
        super().__init__(message)
        self.reference = reference
        self.reason = reason
        self.message = message


class ImageProvider(Protocol):
    """Where image volumes come from. `holder` is a pod's uid: what it holds stays on the disk until it is released."""

    async def ensure(
        self, reference: str, pull_policy: str, secrets: Sequence[Mapping[str, Any]], *, holder: str = ""
    ) -> Path:
        """Return the verified, read-only root directory of an image; raises `ImageError`."""

    async def release(self, holder: str) -> None: ...

    async def release_all_but(self, holders: frozenset[str]) -> None: ...


@dataclass(frozen=True)
class Source:
    """One prepared volume."""

    path: Path
    read_only: bool = False


@dataclass(frozen=True)
class VolumeMaker:
    """Prepares the volumes of one pod."""

    directories: Directories
    pod_directories: PodDirectories
    objects: Objects
    images: ImageProvider
    facts: PodFacts
    owner: int | None  # the pod's own user, when it has one
    claim_exists: Callable[[str, str], bool]
    tokens: Mapping[TokenKey, bytes]  # those that the pod's projected volumes want

    async def prepare(self, pod: Any, pull_secrets: Sequence[Mapping[str, Any]]) -> dict[str, Source]:
        """Make all volumes of the pod; raises `VolumeError` or `ImageVolumeError`."""
        found = {}
        for volume in pod.spec.volumes or []:
            if volume.image is not None:
                found[volume.name] = await self._image(pod, volume.image, pull_secrets)
            else:
                found[volume.name] = await asyncio.to_thread(self._prepare_one, pod, volume)
        return found

    async def _image(self, pod: Any, image: Any, pull_secrets: Sequence[Mapping[str, Any]]) -> Source:
        reference, policy = image.reference or "", image.pullPolicy or "IfNotPresent"
        try:
            path = await self.images.ensure(reference, policy, pull_secrets, holder=pod.metadata.uid)
        except ImageError as error:
            raise ImageVolumeError(reference, error.reason, error.message) from error
        return Source(path, read_only=True)

    def refresh(self, pod: Any) -> None:
        """Write the volumes again whose sources may have changed; raises `VolumeError`."""
        for volume in pod.spec.volumes or []:
            if any(getattr(volume, kind) is not None for kind in _WRITTEN):
                self._prepare_one(pod, volume)

    def _prepare_one(self, pod: Any, volume: Any) -> Source:
        name = volume.name
        if any(getattr(volume, kind) is not None for kind in _WRITTEN):
            directory = self.pod_directories.run / "volumes" / name
            try:
                files = self._files(pod, volume)
            except (FieldError, KeyError) as error:
                raise VolumeError(name, str(error)) from error
            atomic_files.write(directory, files, self.owner)
            return Source(directory, read_only=True)
        if volume.emptyDir is not None:
            base = self.pod_directories.run if volume.emptyDir.medium == "Memory" else self.pod_directories.state
            return Source(self._empty(base / "volumes" / name))
        if volume.persistentVolumeClaim is not None:
            return self._claim(pod, name, volume.persistentVolumeClaim)
        if volume.hostPath is not None:
            raise VolumeError(
                name,
                f"hostPath {volume.hostPath.path!r} is not allowed on this node; "
                "use an image volume, a ConfigMap or a PersistentVolumeClaim",
            )
        raise VolumeError(name, f"this node has no volumes of the kind {_kind(volume)!r}")

    def _empty(self, directory: Path) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        if self.owner is not None:
            os.chown(directory, self.owner, self.owner)
        directory.chmod(_EVERYBODY)
        return directory

    def _claim(self, pod: Any, name: str, claim: Any) -> Source:
        namespace = pod.metadata.namespace
        if not self.claim_exists(namespace, claim.claimName):
            raise VolumeError(name, f'persistentvolumeclaim "{claim.claimName}" not found')
        directory = self.directories.claim(namespace, claim.claimName)
        directory.parent.parent.mkdir(mode=0o711, exist_ok=True)
        directory.parent.mkdir(mode=0o700, exist_ok=True)
        return Source(self._empty(directory), read_only=bool(claim.readOnly))

    # Files

    def _files(self, pod: Any, volume: Any) -> dict[str, File]:
        if volume.projected is not None:
            mode = _mode(volume.projected.defaultMode)
            files: dict[str, File] = {}
            for source in volume.projected.sources or []:
                files.update(self._projection(pod, volume.name, source, mode))
            return files
        for kind in ("configMap", "secret", "downwardAPI"):
            source = getattr(volume, kind)
            if source is not None:
                name = source.secretName if kind == "secret" else getattr(source, "name", "")
                return self._one(pod, volume.name, kind, source, name, _mode(source.defaultMode))
        raise AssertionError(volume)

    def _projection(self, pod: Any, volume: str, source: Any, mode: int) -> dict[str, File]:
        for kind in ("configMap", "secret", "downwardAPI"):
            part = getattr(source, kind)
            if part is not None:
                return self._one(pod, volume, kind, part, getattr(part, "name", ""), mode)
        if (token := source.serviceAccountToken) is not None:
            data = self.tokens[account_token_key(token)]
            return {_checked(volume, token.path): File(data, _TOKEN_MODE)}
        raise VolumeError(volume, f"this node cannot project {_kind(source)!r}")

    def _one(self, pod: Any, volume: str, kind: str, source: Any, name: str, mode: int) -> dict[str, File]:
        if kind == "downwardAPI":
            return self._downward(pod, volume, source.items or [], mode)
        namespace = pod.metadata.namespace
        if kind == "configMap":
            config_map = self.objects.config_map(namespace, name)
            data = None if config_map is None else config_map_data(config_map)
        else:
            secret = self.objects.secret(namespace, name)
            data = None if secret is None else secret_data(secret)
        if data is None:
            if source.optional:
                return {}
            raise VolumeError(volume, f'{kind.lower()} "{name}" not found')
        return _selected(volume, data, source.items, mode, optional=bool(source.optional))

    def _downward(self, pod: Any, volume: str, items: Sequence[Any], mode: int) -> dict[str, File]:
        files = {}
        for item in items:
            if item.fieldRef is not None:
                text = field_value(pod, item.fieldRef.fieldPath, self.facts)
            else:
                container = container_named(pod, item.resourceFieldRef.containerName or "")
                text = resource_value(container, item.resourceFieldRef, self.facts)
            files[_checked(volume, item.path)] = File(text.encode(), mode if item.mode is None else item.mode)
        return files


def account_token_key(projection: Any) -> TokenKey:
    """Return what tells the tokens of a pod apart."""
    return projection.audience or "", projection.expirationSeconds or _TOKEN_SECONDS


def _selected(
    volume: str, data: Mapping[str, bytes], items: Sequence[Any] | None, mode: int, *, optional: bool
) -> dict[str, File]:
    """Choose keys and paths as the source's `items` say; all keys when there are none."""
    if not items:
        return {key: File(value, mode) for key, value in data.items()}
    files = {}
    for item in items:
        if item.key in data:
            files[_checked(volume, item.path)] = File(data[item.key], mode if item.mode is None else item.mode)
        elif not optional:
            raise VolumeError(volume, f"references non-existent config key: {item.key}")
    return files


def _checked(volume: str, path: str) -> str:
    if not atomic_files.safe(path):
        raise VolumeError(volume, f"invalid path {path!r}: it must stay in the volume")
    return path


def _mode(value: int | None) -> int:
    return _FILE_MODE if value is None else value


def _kind(volume: Any) -> str:
    names = [name for name in volume.__struct_fields__ if name != "name" and getattr(volume, name) is not None]
    return names[0] if names else "nothing"
