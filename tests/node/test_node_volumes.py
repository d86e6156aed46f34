"""Volumes as directories: content, modes, updates all at once, and nothing outside."""

import asyncio
import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from lightkube.resources.core_v1 import Pod
from tests.node.cluster import Shelf
from tests.node.test_node_configuration import Known

from skerry.cluster.node import atomic_files
from skerry.cluster.node.atomic_files import File
from skerry.cluster.node.layout import Directories, PodRecord, remove_tree
from skerry.cluster.node.podfields import PodFacts
from skerry.cluster.node.volumes import ImageVolumeError, VolumeError, VolumeMaker

FACTS = PodFacts("skerry", "127.0.0.1", "127.2.0.1", {"cpu": "4", "memory": "8Gi"})


def a_pod(*volumes: dict[str, Any]) -> Any:
    container = {"name": "main", "resources": {"limits": {"memory": "64Mi"}}}
    manifest = {
        "metadata": {"name": "bee", "namespace": "ai-demo", "uid": "u-1", "labels": {"app": "bee"}},
        "spec": {"containers": [container], "volumes": list(volumes)},
    }
    return msgspec.convert(manifest, type=Pod)


class Shop:
    """A maker over directories of its own."""

    def __init__(self, root: Path, known: Known, claims: Sequence[str] = ()) -> None:
        self.directories = Directories(root / "state", root / "run", root / "log")
        self.directories.make()
        pod = self.directories.of("ai-demo", "bee", "u-1")
        pod.make(PodRecord("ai-demo", "bee", "u-1", "127.2.0.1", "boot"))
        self.shelf = Shelf()
        self.maker = VolumeMaker(
            self.directories, pod, known, self.shelf, FACTS, None, lambda _, name: name in claims, {}
        )

    async def path(self, **volume: Any) -> Path:
        sources = await self.maker.prepare(a_pod({"name": "v", **volume}), [])
        return sources["v"].path

    async def refused(self, **volume: Any) -> str:
        with pytest.raises(VolumeError) as caught:
            await self.path(**volume)
        return str(caught.value)


def seen(path: Path) -> dict[str, str]:
    """What a program that lists the directory reads."""
    result = {}
    for entry in sorted(path.iterdir()):
        if not entry.name.startswith(".."):
            names = [entry] if entry.is_file() else [file for file in entry.rglob("*") if file.is_file()]
            result.update({str(file.relative_to(path)): file.read_text() for file in names})
    return result


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path, Known(cm={"a": "1", "b": "2"}, sec={"p": "geheim"}), ["claim"])


async def test_a_config_map_becomes_files(shop: Shop) -> None:
    path = await shop.path(configMap={"name": "cm"})
    assert {"a": "1", "b": "2"} == seen(path)
    assert 0o644 == (path / "a").stat().st_mode & 0o777


async def test_items_choose_keys_paths_and_modes(shop: Shop) -> None:
    items = [{"key": "a", "path": "x/y/a.txt", "mode": 0o400}]
    path = await shop.path(configMap={"name": "cm", "items": items, "defaultMode": 0o600})
    assert {"x/y/a.txt": "1"} == seen(path)
    assert 0o400 == (path / "x/y/a.txt").stat().st_mode & 0o777


async def test_a_secret_is_in_memory_and_decoded(shop: Shop, tmp_path: Path) -> None:
    path = await shop.path(secret={"secretName": "sec", "defaultMode": 0o440})
    assert {"p": "geheim"} == seen(path)
    assert path.is_relative_to(tmp_path / "run")
    assert 0o440 == (path / "p").stat().st_mode & 0o777


async def test_what_is_missing_is_named_unless_optional(shop: Shop) -> None:
    prefix = 'MountVolume.SetUp failed for volume "v" : '
    assert prefix + 'configmap "no" not found' == await shop.refused(configMap={"name": "no"})
    assert prefix + 'secret "no" not found' == await shop.refused(secret={"secretName": "no"})
    wanted = {"name": "cm", "items": [{"key": "z", "path": "z"}]}
    assert prefix + "references non-existent config key: z" == await shop.refused(configMap=wanted)
    assert {} == seen(await shop.path(configMap={"name": "no", "optional": True}))


@pytest.mark.parametrize("path", ["../up", "/abs", "..data", "a/../../b"])
async def test_paths_stay_in_the_volume(shop: Shop, path: str) -> None:
    refused = await shop.refused(configMap={"name": "cm", "items": [{"key": "a", "path": path}]})
    assert "it must stay in the volume" in refused


async def test_a_projected_volume_gathers(shop: Shop) -> None:
    sources = [
        {"configMap": {"name": "cm", "items": [{"key": "a", "path": "config/a"}]}},
        {"secret": {"name": "sec"}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    assert {"config/a": "1", "p": "geheim", "labels": 'app="bee"'} == seen(
        await shop.path(projected={"sources": sources})
    )


async def test_the_downward_api(shop: Shop) -> None:
    limit = {"containerName": "main", "resource": "limits.memory", "divisor": "1Mi"}
    items = [
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "memory", "resourceFieldRef": limit},
    ]
    assert {"name": "bee", "memory": "64"} == seen(await shop.path(downwardAPI={"items": items}))


async def test_empty_directories(shop: Shop, tmp_path: Path) -> None:
    disk = await shop.path(emptyDir={})
    (disk / "kept").touch()
    assert disk.is_relative_to(tmp_path / "state")
    assert 0o777 == disk.stat().st_mode & 0o777
    assert (await shop.path(emptyDir={}) / "kept").exists(), "a restart of the daemon keeps it"
    memory = await shop.path(emptyDir={"medium": "Memory"})
    assert memory.is_relative_to(tmp_path / "run")


async def test_claims_are_directories_that_outlive_the_pod(shop: Shop, tmp_path: Path) -> None:
    path = await shop.path(persistentVolumeClaim={"claimName": "claim"})
    assert tmp_path / "state/claims/ai-demo/claim" == path
    refused = await shop.refused(persistentVolumeClaim={"claimName": "other"})
    assert refused.endswith('persistentvolumeclaim "other" not found')


async def test_images_are_read_only(shop: Shop, tmp_path: Path) -> None:
    shop.shelf.images["localhost/m:1"] = tmp_path
    sources = await shop.maker.prepare(a_pod({"name": "v", "image": {"reference": "localhost/m:1"}}), [])
    assert (tmp_path, True) == (sources["v"].path, sources["v"].read_only)
    with pytest.raises(ImageVolumeError) as caught:
        await shop.path(image={"reference": "localhost/no:1"})
    assert ("localhost/no:1", "ErrImagePull") == (caught.value.reference, caught.value.reason)


async def test_other_volumes_are_refused_clearly(shop: Shop) -> None:
    assert "hostPath '/etc' is not allowed on this node" in await shop.refused(hostPath={"path": "/etc"})
    assert "no volumes of the kind 'nfs'" in await shop.refused(nfs={"server": "s", "path": "/"})
    bundle = {"sources": [{"clusterTrustBundle": {"path": "x"}}]}
    assert "cannot project 'clusterTrustBundle'" in await shop.refused(projected=bundle)


# Files that change all at once


def files(**texts: str) -> dict[str, File]:
    return {name.replace("__", "/"): File(text.encode(), 0o644) for name, text in texts.items()}


def test_an_unchanged_set_is_not_written(tmp_path: Path) -> None:
    assert atomic_files.write(tmp_path / "v", files(a="1"), None)
    target = (tmp_path / "v/..data").readlink()
    assert not atomic_files.write(tmp_path / "v", files(a="1"), None)
    assert target == (tmp_path / "v/..data").readlink()


def test_a_change_replaces_everything(tmp_path: Path) -> None:
    volume = tmp_path / "v"
    atomic_files.write(volume, files(a="1", dir__b="2", old="x"), None)
    held = (volume / "a").open()
    atomic_files.write(volume, files(a="3", dir__c="4"), None)
    assert {"a": "3", "dir/c": "4"} == seen(volume)
    assert "1" == held.read(), "who has a file open keeps it"
    held.close()
    assert 2 == len([entry for entry in volume.iterdir() if entry.name.startswith("..")]), "one set, one link"


def test_a_mode_is_a_change(tmp_path: Path) -> None:
    atomic_files.write(tmp_path / "v", {"a": File(b"1", 0o644)}, None)
    assert atomic_files.write(tmp_path / "v", {"a": File(b"1", 0o600)}, None)


@contextlib.contextmanager
def opened(path: Path | str, flags: int = 0, *, dir_fd: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | flags, dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


async def test_a_reader_never_sees_a_mixture(tmp_path: Path) -> None:
    volume = tmp_path / "v"
    atomic_files.write(volume, files(a="0", b="0"), None)
    stop = asyncio.Event()

    def read() -> int:
        count = 0
        while not stop.is_set():
            # The old set may be removed while a path through the link is followed; a program opens the new one then.
            with contextlib.suppress(FileNotFoundError), opened(volume / "..data", os.O_DIRECTORY) as directory:
                texts = []
                for name in ("a", "b"):
                    with opened(name, dir_fd=directory) as descriptor:
                        texts.append(os.read(descriptor, 10))
                assert texts[0] == texts[1]
                count += 1
        return count

    reading = asyncio.create_task(asyncio.to_thread(read))
    for number in range(100):
        await asyncio.to_thread(atomic_files.write, volume, files(a=str(number), b=str(number)), None)
    stop.set()
    assert await reading > 0


# Directories


def test_records_survive_and_halves_are_removed(tmp_path: Path) -> None:
    directories = Directories(tmp_path / "s", tmp_path / "r", tmp_path / "l")
    directories.make()
    record = PodRecord("ai-demo", "bee", "u-1", "127.2.0.1", "boot")
    directories.of("ai-demo", "bee", "u-1").make(record)
    (tmp_path / "s/pods/half").mkdir()
    assert [record] == directories.records()
    assert not (tmp_path / "s/pods/half").exists()
    directories.of("ai-demo", "bee", "u-1").remove()
    assert [] == directories.records()


def test_only_the_last_attempts_are_kept(tmp_path: Path) -> None:
    pod = Directories(tmp_path / "s", tmp_path / "r", tmp_path / "l").of("ns", "bee", "u-1")
    for number in range(12):
        pod.attempt("main", number).mkdir(parents=True)
        pod.log_file("main", number).parent.mkdir(parents=True, exist_ok=True)
        pod.log_file("main", number).touch()
        (pod.log_file("main", number).parent / f"{number}.log.20260101-000000.000001").touch()
    pod.forget_old_attempts("main")
    assert [10, 11] == pod.attempts("main")
    kept = sorted(file.name for file in (pod.log / "main").iterdir())
    assert {"10.log", "11.log"} == {name.split(".2026")[0] for name in kept}


def test_trees_without_permissions_are_removed_too(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "closed/inner").mkdir(parents=True)
    (tree / "closed/inner/file").touch()
    outside = tmp_path / "outside"
    outside.mkdir()
    (tree / "link").symlink_to(outside)
    (tree / "closed/inner").chmod(0o500)
    (tree / "closed").chmod(0)
    remove_tree(tree)
    assert not tree.exists()
    assert outside.exists()
