"""What the node asks: policies, sharing, working offline, repairing."""

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.images.handmade import HurriedClock, Image, directory, file, model_image, tar
from tests.images.stub_registry import Fault, StubRegistry, serving

from skerry.images.errors import AccessDenied, ImageError
from skerry.images.provider import ImageProvider, Progress, RegistrySettings
from skerry.images.reference import parse
from skerry.images.store import ImageStore

LOCAL = "localhost/bee:test"
SETTINGS = RegistrySettings(connect_seconds=2, idle_seconds=1, total_seconds=20, attempts=2)


@pytest.fixture
def stub() -> Iterator[StubRegistry]:
    with serving(StubRegistry()) as registry:
        yield registry


@pytest.fixture
def provider(store: ImageStore) -> ImageProvider:
    return ImageProvider(store, SETTINGS, HurriedClock())


def weights(tree: Path) -> bytes:
    return (tree / "models/1/model.bin").read_bytes()


def remote(stub: StubRegistry, tag: str = "v1") -> str:
    return f"{stub.address}/ai/bee:{tag}"


async def refused(provider: ImageProvider, reference: str, policy: str = "IfNotPresent") -> ImageError:
    with pytest.raises(ImageError) as caught:
        await provider.ensure(reference, policy, [])
    return caught.value


# Local images


@pytest.mark.parametrize("policy", ["Always", "IfNotPresent", "Never", ""])
@pytest.mark.parametrize("name", [LOCAL, "localhost/bee:latest"])
async def test_local_images_need_no_registry_under_any_policy(
    provider: ImageProvider, store: ImageStore, policy: str, name: str
) -> None:
    model_image(b"here").store_as(store, name)
    assert weights(await provider.ensure(name, policy, [])) == b"here"


async def test_short_names_are_found_as_podman_finds_them(provider: ImageProvider, store: ImageStore) -> None:
    model_image(b"here").store_as(store, "localhost/bee:latest")
    assert weights(await provider.ensure("bee", "Always", [])) == b"here"


async def test_a_local_image_that_is_missing_says_how_to_make_it(provider: ImageProvider) -> None:
    for policy in ("Always", "IfNotPresent"):
        error = await refused(provider, LOCAL, policy)
        assert error.reason == "ErrImagePull"
        assert error.message == (
            "image localhost/bee:test is not in this node's store; build it with \"skerry model build DIR -t "
            'localhost/bee:test" or load it with "skerry model pull oci-archive:FILE -t localhost/bee:test"'
        )


async def test_never_means_never(provider: ImageProvider, stub: StubRegistry) -> None:
    stub.add(model_image(), "ai/bee", "v1")
    for name in (LOCAL, remote(stub)):
        error = await refused(provider, name, "Never")
        assert error.reason == "ErrImageNeverPull"
        assert error.message.startswith(f'Container image "{name}" is not present with pull policy of Never; ')
    assert stub.requests == []


async def test_a_name_that_is_none(provider: ImageProvider) -> None:
    error = await refused(provider, "repo:tag@repo:tag")
    assert error.reason == "InvalidImageName"
    assert error.message.startswith('Failed to apply default image tag "repo:tag@repo:tag": couldn\'t parse image name')
    assert "only a digest may follow" in error.message


# Registries


async def test_what_is_missing_is_pulled_once(provider: ImageProvider, stub: StubRegistry) -> None:
    stub.add(model_image(b"there"), "ai/bee", "v1")
    assert weights(await provider.ensure(remote(stub), "IfNotPresent", [])) == b"there"
    stub.requests.clear()
    assert weights(await provider.ensure(remote(stub), "IfNotPresent", [])) == b"there"
    assert stub.requests == []


async def test_always_looks_and_pulls_only_what_is_new(provider: ImageProvider, stub: StubRegistry) -> None:
    stub.add(model_image(b"old"), "ai/bee", "v1")
    await provider.ensure(remote(stub), "Always", [])
    stub.requests.clear()
    await provider.ensure(remote(stub), "Always", [])
    assert [request.method for request in stub.requests] == ["HEAD"]
    stub.add(model_image(b"new"), "ai/bee", "v1")
    assert weights(await provider.ensure(remote(stub), "IfNotPresent", [])) == b"old"
    assert weights(await provider.ensure(remote(stub), "Always", [])) == b"new"


async def test_no_policy_means_what_the_api_server_would_write(provider: ImageProvider, stub: StubRegistry) -> None:
    stub.add(model_image(b"1"), "ai/bee", "v1", "latest")
    for tag in ("v1", "latest"):
        await provider.ensure(remote(stub, tag), "", [])
    stub.requests.clear()
    for tag in ("v1", "latest"):
        await provider.ensure(remote(stub, tag), "", [])
    assert [request.path for request in stub.requests] == ["/v2/ai/bee/manifests/latest"]


async def test_a_digest_that_is_here_needs_no_look(provider: ImageProvider, stub: StubRegistry) -> None:
    image = model_image()
    stub.add(image, "ai/bee")
    name = f"{stub.address}/ai/bee@{image.digest}"
    await provider.ensure(name, "Always", [])
    stub.requests.clear()
    await provider.ensure(name, "Always", [])
    assert stub.requests == []


@pytest.mark.parametrize("fault", [Fault(status=503, times=99), Fault(status=429, times=99), None])
async def test_offline_the_copy_is_used(
    provider: ImageProvider, store: ImageStore, stub: StubRegistry, fault: Fault | None
) -> None:
    name = remote(stub) if fault else "127.0.0.1:1/ai/bee:v1"
    if fault:
        stub.faults["manifests/v1"] = fault
    model_image(b"copy").store_as(store, name)
    assert weights(await provider.ensure(name, "Always", [])) == b"copy"


async def test_offline_in_the_middle_of_an_update_the_copy_is_used(
    provider: ImageProvider, store: ImageStore, stub: StubRegistry
) -> None:
    model_image(b"copy").store_as(store, remote(stub))
    new = model_image(b"new")
    stub.add(new, "ai/bee", "v1")
    stub.faults[new.layers[0].digest] = Fault(cut=0, times=99)
    assert weights(await provider.ensure(remote(stub), "Always", [])) == b"copy"


async def test_a_refusal_is_not_offline(provider: ImageProvider, store: ImageStore, stub: StubRegistry) -> None:
    model_image(b"copy").store_as(store, remote(stub))
    error = await refused(provider, remote(stub), "Always")
    assert "has no image of that name" in error.message
    stub.auth = "basic"
    assert isinstance(await refused(provider, remote(stub), "Always"), AccessDenied)


async def test_a_registry_that_is_not_there(provider: ImageProvider) -> None:
    error = await refused(provider, "127.0.0.1:1/ai/bee:v1")
    assert error.reason == "ErrImagePull"
    assert error.message.startswith("cannot pull 127.0.0.1:1/ai/bee:v1: no connection to 127.0.0.1:1")


def login(stub: StubRegistry, password: str) -> Mapping[str, Any]:
    config = {"auths": {stub.address: {"username": "bee", "password": password}}}
    data = base64.b64encode(json.dumps(config).encode()).decode()
    return {"metadata": {"namespace": "ns", "name": password}, "data": {".dockerconfigjson": data}}


# Sharing


async def test_those_who_ask_at_once_share_one_pull(provider: ImageProvider, stub: StubRegistry) -> None:
    image = model_image(b"w" * 100_000)
    stub.add(image, "ai/bee", "v1")
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(provider.ensure(remote(stub), "Always", [])) for _ in range(5)]
    assert len({task.result() for task in asked}) == 1
    assert len(stub.seen("GET", image.layers[0].digest)) == 1
    assert len(stub.seen("GET", "manifests/v1")) == 1
    assert len(stub.seen("HEAD")) == 0


async def test_those_who_ask_at_once_share_a_failure(provider: ImageProvider, stub: StubRegistry) -> None:
    answers = await asyncio.gather(
        *(provider.ensure(remote(stub), "IfNotPresent", []) for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(answer, ImageError) for answer in answers)
    assert len(stub.requests) == 1
    stub.add(model_image(), "ai/bee", "v1")
    await provider.ensure(remote(stub), "IfNotPresent", [])


async def test_a_wrong_log_in_spoils_it_for_nobody_else(provider: ImageProvider, stub: StubRegistry) -> None:
    stub.auth = "basic"
    stub.add(model_image(b"w"), "ai/bee", "v1")
    wrong, right = await asyncio.gather(
        provider.ensure(remote(stub), "IfNotPresent", [login(stub, "wrong")]),
        provider.ensure(remote(stub), "IfNotPresent", [login(stub, "s3cret")]),
        return_exceptions=True,
    )
    assert isinstance(wrong, AccessDenied)
    assert isinstance(right, Path)


async def test_when_the_first_gives_up_the_next_takes_over(provider: ImageProvider, stub: StubRegistry) -> None:
    image = model_image(b"w" * 100_000)
    stub.add(image, "ai/bee", "v1")
    stub.faults[image.layers[0].digest] = Fault(stall=10)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(provider.ensure(remote(stub), "IfNotPresent", []))
        second = group.create_task(provider.ensure(remote(stub), "IfNotPresent", []))
        async with asyncio.timeout(10):
            while not stub.seen("GET", image.layers[0].digest):
                await asyncio.sleep(0.01)
        first.cancel()
    assert first.cancelled()
    assert weights(second.result()) == b"w" * 100_000


async def test_progress_can_be_watched(provider: ImageProvider, stub: StubRegistry) -> None:
    image = Image([tar(directory("models"), file("models/x", b"w" * 3_000_000))], compress=False)
    stub.add(image, "ai/bee", "v1")
    stub.faults[image.layers[0].digest] = Fault(stall=2_000_000)
    seen: set[Progress] = set()
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(provider.ensure(remote(stub), "IfNotPresent", []))
        async with asyncio.timeout(20):
            while not asked.done():
                seen |= set(provider.progress.values())
                await asyncio.sleep(0.001)
    pulling = {progress.done for progress in seen if progress.phase == "Pulling"}
    assert any(0 < done < 3_000_000 for done in pulling)
    assert {progress.total for progress in seen if progress.phase == "Pulling"} <= {0, image.layers[0].size}
    assert provider.progress == {}


# Repair, pins, footprint


async def test_a_damaged_copy_is_pulled_again(provider: ImageProvider, store: ImageStore, stub: StubRegistry) -> None:
    image = model_image(b"good")
    stub.add(image, "ai/bee", "v1")
    await provider.ensure(remote(stub), "IfNotPresent", [])
    found = store.find(remote(stub))
    assert found
    store.discard_tree(found)
    path = store.blobs.path(image.layers[0].digest)
    path.write_bytes(b"x" * path.stat().st_size)
    assert weights(await provider.ensure(remote(stub), "IfNotPresent", [])) == b"good"
    store.blobs.discard(image.digest)
    assert weights(await provider.ensure(remote(stub), "IfNotPresent", [])) == b"good"


async def test_a_damaged_local_image_says_so(provider: ImageProvider, store: ImageStore) -> None:
    image = model_image().store_as(store, LOCAL)
    path = store.blobs.path(image.manifest.layers[0].digest)
    path.write_bytes(b"x" * path.stat().st_size)
    error = await refused(provider, LOCAL)
    assert error.message.startswith("cannot use localhost/bee:test: cannot unpack layer sha256:")
    assert 'build it with "skerry model build DIR -t localhost/bee:test"' in error.message


async def test_a_running_pod_keeps_its_files(provider: ImageProvider, store: ImageStore) -> None:
    model_image(b"running").store_as(store, LOCAL)
    tree = await provider.ensure(LOCAL, "IfNotPresent", [], holder="uid-1")
    await provider.ensure(LOCAL, "IfNotPresent", [], holder="uid-2")
    store.remove(parse(LOCAL))
    store.collect()
    assert weights(tree) == b"running"
    await provider.release_all_but(frozenset({"uid-2"}))
    assert store.holders() == {"uid-2"}
    await provider.release("uid-2")
    store.collect()
    assert not tree.exists()


def test_the_daemon_loads_no_client_and_no_tar_until_they_are_needed() -> None:
    script = "import sys, skerry.images.provider, skerry.images.store; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not {"httpx2", "tarfile", "zlib_ng", "zstandard", "lightkube"} & set(done.stdout.split())
