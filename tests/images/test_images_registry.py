"""Pulls and pushes over real sockets: right, interrupted, damaged, refused."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.images.handmade import HurriedClock, Image, directory, file, model_image, tar
from tests.images.stub_registry import Fault, StubRegistry, serving

from skerry.images.errors import (
    AccessDenied,
    DamagedContent,
    ImageError,
    ImageNotFound,
    RegistryRefused,
    RegistryUnreachable,
    UnsupportedImage,
)
from skerry.images.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Platform, digest_of
from skerry.images.reference import Reference, parse
from skerry.images.registry import Access, Registry
from skerry.images.session import Challenge, Limits, challenges
from skerry.images.store import ImageStore, StoredImage

HERE = Platform("amd64", "linux")
WEIGHTS = bytes(range(256)) * 12000  # 3 MB
LOGIN = {"metadata": {"name": "login"}, "data": {}}


@pytest.fixture
def stub() -> Iterator[StubRegistry]:
    with serving(StubRegistry()) as registry:
        yield registry


@pytest.fixture
def other() -> Iterator[StubRegistry]:
    """Another host: another port is another origin."""
    with serving(StubRegistry()) as registry:
        yield registry


@pytest.fixture
def clock() -> HurriedClock:
    return HurriedClock()


def big_image() -> Image:
    return Image([tar(directory("models"), file("models/1/model.bin", WEIGHTS))], compress=False)


def login(stub: StubRegistry, user: str = "bee", password: str = "s3cret") -> Mapping[str, Any]:
    import base64

    config = {"auths": {stub.address: {"username": user, "password": password}}}
    encoded = base64.b64encode(json.dumps(config).encode()).decode()
    return {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": encoded}}


class Puller:
    def __init__(self, store: ImageStore, stub: StubRegistry, clock: HurriedClock) -> None:
        self.store, self.stub, self.clock = store, stub, clock
        self.secrets: list[Mapping[str, Any]] = []
        self.limits = Limits(connect_seconds=2, idle_seconds=0.5, total_seconds=20)
        self.moved: list[tuple[str, int, int]] = []

    @property
    def registry(self) -> Registry:
        return Registry(Access(self.limits, (), secrets=self.secrets, certificates=()), self.clock)

    def name(self, path: str = "ai/bee", target: str = ":v1") -> Reference:
        return parse(f"{self.stub.address}/{path}{target}")

    async def pull(self, path: str = "ai/bee", target: str = ":v1", platform: Platform = HERE) -> StoredImage:
        return await self.registry.pull(
            self.name(path, target), self.store, platform, lambda *told: self.moved.append(told)
        )

    def weights(self, image: StoredImage) -> bytes:
        return (self.store.rootfs(image) / "models/1/model.bin").read_bytes()

    @property
    def layer_requests(self) -> list[str]:
        return [request.headers.get("range", "") for request in self.stub.seen("GET") if "/blobs/" in request.path][1:]


@pytest.fixture
def puller(store: ImageStore, stub: StubRegistry, clock: HurriedClock) -> Puller:
    return Puller(store, stub, clock)


# Pulls that work


async def test_an_image_is_pulled_and_usable(puller: Puller) -> None:
    image = big_image()
    puller.stub.add(image, "ai/bee", "v1")
    pulled = await puller.pull()
    assert pulled.name == f"{puller.stub.address}/ai/bee:v1"
    assert pulled.source_digest == pulled.descriptor.digest == image.digest
    assert puller.weights(pulled) == WEIGHTS
    digest, size = image.layers[0].digest, image.layers[0].size
    told = [here for name, here, _ in puller.moved if name == digest]
    assert told == sorted(told)
    assert puller.moved[-1] == (digest, size, size)


async def test_what_is_here_is_not_fetched_again(puller: Puller) -> None:
    puller.stub.add(big_image(), "ai/bee", "v1", "v2")
    await puller.pull()
    puller.stub.requests.clear()
    await puller.pull(target=":v2")
    assert [request.path for request in puller.stub.requests] == ["/v2/ai/bee/manifests/v2"]


async def test_a_pull_by_digest(puller: Puller) -> None:
    image = model_image()
    puller.stub.add(image, "ai/bee")
    pulled = await puller.pull(target=f"@{image.digest}")
    assert puller.store.find(pulled.name) == pulled


@pytest.mark.parametrize("list_type", [OCI_INDEX, DOCKER_LIST])
async def test_an_index_leads_to_this_platform(puller: Puller, list_type: str) -> None:
    images = {"amd64": model_image(b"amd64"), "arm64": model_image(b"arm64")}
    manifests = []
    for architecture, image in images.items():
        puller.stub.add(image, "ai/bee")
        platform = {"os": "linux", "architecture": architecture}
        manifests.append(
            {"mediaType": OCI_MANIFEST, "digest": image.digest, "size": len(image.manifest), "platform": platform}
        )
    manifests.insert(0, {**manifests[0], "platform": {"os": "unknown", "architecture": "unknown"}})
    index = json.dumps({"schemaVersion": 2, "mediaType": list_type, "manifests": manifests}).encode()
    puller.stub.manifests["ai/bee", "v1"] = (list_type, index)
    pulled = await puller.pull(platform=Platform("arm64", "linux"))
    assert puller.weights(pulled) == b"arm64"
    assert pulled.source_digest == digest_of(index)
    assert await puller.registry.digest(puller.name()) == digest_of(index)
    # A model is data: without an image for this machine another one does.
    assert puller.weights(await puller.pull(platform=Platform("riscv64", "linux"))) == b"amd64"


async def test_dockers_manifests_are_read(puller: Puller) -> None:
    image = model_image(b"docker")
    image.manifest = (
        image.manifest.replace(OCI_MANIFEST.encode(), DOCKER_MANIFEST.encode())
        .replace(b"vnd.oci.image.layer.v1.tar+gzip", b"vnd.docker.image.rootfs.diff.tar.gzip")
        .replace(b"vnd.oci.image.config.v1+json", b"vnd.docker.container.image.v1+json")
    )
    image.digest = digest_of(image.manifest)
    puller.stub.add(image, "ai/bee")
    puller.stub.manifests["ai/bee", "v1"] = (DOCKER_MANIFEST, image.manifest)
    assert puller.weights(await puller.pull()) == b"docker"


async def test_registries_without_the_digest_header(puller: Puller) -> None:
    puller.stub.add(model_image(), "ai/bee", "v1")
    puller.stub.digest_header = False
    pulled = await puller.pull()
    assert await puller.registry.digest(puller.name()) == pulled.descriptor.digest


# Interruptions


async def test_a_cut_transfer_continues_where_it_ended(puller: Puller) -> None:
    image = big_image()
    puller.stub.add(image, "ai/bee", "v1")
    puller.stub.faults[image.layers[0].digest] = Fault(cut=1_000_000)
    assert puller.weights(await puller.pull()) == WEIGHTS
    assert puller.layer_requests == ["", "bytes=1000000-"]
    assert puller.clock.slept == [0.5]


async def test_many_cuts_with_progress_are_survived(puller: Puller) -> None:
    image = big_image()
    puller.stub.add(image, "ai/bee", "v1")
    puller.stub.faults[image.layers[0].digest] = Fault(cut=250_000, times=12)
    assert puller.weights(await puller.pull()) == WEIGHTS
    assert set(puller.clock.slept) == {0.5}


async def test_a_later_pull_continues_an_earlier_one(puller: Puller) -> None:
    image = big_image()
    puller.stub.add(image, "ai/bee", "v1")
    puller.stub.faults[image.layers[0].digest] = Fault(cut=1_500_000)
    puller.stub.faults["v1"] = Fault(times=0)
    puller.limits = Limits(attempts=1)
    with pytest.raises(RegistryUnreachable):
        await puller.pull()
    assert puller.store.list() == []
    assert puller.weights(await puller.pull()) == WEIGHTS
    assert puller.layer_requests[-1] == "bytes=1500000-"


async def test_a_server_that_ignores_ranges_is_read_from_the_start(puller: Puller) -> None:
    image = big_image()
    puller.stub.add(image, "ai/bee", "v1")
    partial = puller.store.blobs.partial(image.layers[0].digest)
    puller.store.blobs.prepare()
    partial.write_bytes(WEIGHTS[:700_000])
    puller.stub.faults[image.layers[0].digest] = Fault(ignore_range=True)
    assert puller.weights(await puller.pull()) == WEIGHTS
    assert not partial.exists()
    assert puller.layer_requests == ["bytes=700000-"]


async def test_wrong_remains_of_an_earlier_pull_are_thrown_away(puller: Puller) -> None:
    image = big_image()
    puller.stub.add(image, "ai/bee", "v1")
    puller.store.blobs.prepare()
    puller.store.blobs.partial(image.layers[0].digest).write_bytes(b"rubbish" * 1000)
    assert puller.weights(await puller.pull()) == WEIGHTS
    assert puller.layer_requests == ["bytes=7000-", ""]


@pytest.mark.parametrize("extra", [0, 1, 5000])
async def test_remains_of_the_full_size_or_more(puller: Puller, extra: int) -> None:
    image = big_image()
    puller.stub.add(image, "ai/bee", "v1")
    puller.store.blobs.prepare()
    whole = image.blobs[image.layers[0].digest]
    puller.store.blobs.partial(image.layers[0].digest).write_bytes(whole + bytes(extra))
    assert puller.weights(await puller.pull()) == WEIGHTS
    assert puller.layer_requests == ([] if not extra else [""])


async def test_silence_ends(puller: Puller) -> None:
    image = big_image()
    puller.stub.add(image, "ai/bee", "v1")
    puller.stub.faults[image.layers[0].digest] = Fault(stall=200_000)
    assert puller.weights(await puller.pull()) == WEIGHTS
    assert puller.layer_requests == ["", "bytes=200000-"]


async def test_a_pull_that_takes_too_long_ends(puller: Puller) -> None:
    image = big_image()
    puller.stub.add(image, "ai/bee", "v1")
    puller.stub.faults[image.layers[0].digest] = Fault(stall=0, times=99)
    puller.limits = Limits(idle_seconds=30, total_seconds=0.3)
    with pytest.raises(RegistryUnreachable, match="took longer"):
        await puller.pull()


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_registry_is_asked_again(puller: Puller, status: int) -> None:
    image = model_image()
    puller.stub.add(image, "ai/bee", "v1")
    puller.stub.faults["manifests/v1"] = Fault(status=status, headers={"Retry-After": "7"}, times=2)
    puller.stub.faults[image.layers[0].digest] = Fault(status=status, times=2)
    await puller.pull()
    assert puller.clock.slept == [7.0, 7.0, 0.5, 1.0]


async def test_attempts_have_an_end(puller: Puller) -> None:
    puller.stub.add(model_image(), "ai/bee", "v1")
    puller.stub.faults["manifests/v1"] = Fault(status=429, headers={"Retry-After": "86400"}, times=99)
    with pytest.raises(RegistryUnreachable, match="answers 429"):
        await puller.pull()
    assert puller.clock.slept == [30.0] * 4
    assert len(puller.stub.seen("GET")) == 5


async def test_nobody_listens(puller: Puller) -> None:
    puller.stub.address = "127.0.0.1:1"
    with pytest.raises(RegistryUnreachable, match="no connection to 127.0.0.1:1.*check the name and the network"):
        await puller.pull()


# Damage


@pytest.mark.parametrize("at", [0, 600_000, 2_999_999])
async def test_one_damaged_byte_is_noticed_and_fetched_again(puller: Puller, at: int) -> None:
    image = big_image()
    puller.stub.add(image, "ai/bee", "v1")
    puller.stub.faults[image.layers[0].digest] = Fault(damage=at)
    assert puller.weights(await puller.pull()) == WEIGHTS


async def test_damage_that_stays_is_refused_and_not_stored(puller: Puller) -> None:
    image = big_image()
    puller.stub.add(image, "ai/bee", "v1")
    puller.stub.faults[image.layers[0].digest] = Fault(damage=5, times=99)
    with pytest.raises(DamagedContent, match="is not what was announced"):
        await puller.pull()
    assert puller.store.list() == []
    assert puller.store.blobs.digests() == []
    assert len(puller.layer_requests) == 2


async def test_a_body_that_is_too_long_is_refused(puller: Puller) -> None:
    image = big_image()
    puller.stub.add(image, "ai/bee", "v1")
    puller.stub.blobs[image.layers[0].digest] += b"more" * 1000
    with pytest.raises(DamagedContent):
        await puller.pull()


async def test_a_damaged_manifest_or_configuration_is_refused(puller: Puller) -> None:
    image = model_image()
    puller.stub.add(image, "ai/bee", "v1")
    puller.stub.faults[image.digest] = Fault(damage=30, times=9)
    with pytest.raises(DamagedContent, match="the manifest that"):
        await puller.pull(target=f"@{image.digest}")
    puller.stub.faults = {image.config.digest: Fault(damage=3, times=9)}
    with pytest.raises(DamagedContent, match="the configuration that"):
        await puller.pull()


async def test_another_manifest_under_the_promised_digest_is_refused(puller: Puller) -> None:
    image, evil = model_image(b"good"), model_image(b"evil")
    puller.stub.add(image, "ai/bee", "v1")
    puller.stub.manifests["ai/bee", image.digest] = (OCI_MANIFEST, evil.manifest)
    puller.stub.digest_header = False
    with pytest.raises(DamagedContent):
        await puller.pull(target=f"@{image.digest}")


# Refusals


async def test_what_is_not_there(puller: Puller) -> None:
    with pytest.raises(ImageNotFound, match=r"cannot pull 127.*/ai/bee:v1: .* has no image of that name"):
        await puller.pull()
    with pytest.raises(ImageNotFound):
        await puller.registry.digest(puller.name())


async def test_a_registry_that_lost_a_blob(puller: Puller) -> None:
    image = model_image()
    puller.stub.add(image, "ai/bee", "v1")
    del puller.stub.blobs[image.layers[0].digest]
    with pytest.raises(RegistryRefused, match="push the image again"):
        await puller.pull()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"schemaVersion":1,"name":"x"}', "schema 1"),
        (b'{"schemaVersion":2,"layers":[],"manifests":[]}', "neither"),
        (b"<html>", "not valid"),
        (b'{"schemaVersion":2,"config":{},"layers":[]}', "not valid"),
        (
            b'{"schemaVersion":2,"layers":[],"config":{"mediaType":"x","size":1,"digest":"sha256:../../../etc/passwd"}}',
            "not valid",
        ),
    ],
)
async def test_what_is_no_image(puller: Puller, body: bytes, words: str) -> None:
    puller.stub.manifests["ai/bee", "v1"] = ("application/json", body)
    with pytest.raises(UnsupportedImage, match=words):
        await puller.pull()


async def test_an_endless_manifest(puller: Puller) -> None:
    puller.stub.manifests["ai/bee", "v1"] = (OCI_MANIFEST, b" " * (5 << 20))
    with pytest.raises(RegistryRefused, match="it is not a registry"):
        await puller.pull()


async def test_an_image_that_does_not_fit_on_the_disk(puller: Puller) -> None:
    image = model_image()
    image.manifest = image.manifest.replace(f'"size":{image.layers[0].size}'.encode(), b'"size":' + b"9" * 17)
    puller.stub.manifests["ai/bee", "v1"] = (OCI_MANIFEST, image.manifest)
    puller.stub.blobs |= image.blobs
    with pytest.raises(ImageError, match="free the disk"):
        await puller.pull()
    assert puller.layer_requests == []


# Log-ins


@pytest.mark.parametrize("kind", ["basic", "bearer"])
async def test_a_log_in_from_a_secret(puller: Puller, kind: str) -> None:
    puller.stub.auth = kind
    puller.stub.add(big_image(), "ai/bee", "v1")
    puller.secrets = [login(puller.stub, password="old"), login(puller.stub)]
    assert puller.weights(await puller.pull()) == WEIGHTS


async def test_a_public_image_behind_tokens_needs_no_log_in(puller: Puller) -> None:
    puller.stub.auth, puller.stub.anonymous = "bearer", True
    puller.stub.add(model_image(), "ai/bee", "v1")
    await puller.pull()
    assert puller.stub.tokens == 1
    puller.secrets = [login(puller.stub, password="wrong")]
    await puller.pull()


async def test_a_token_that_ends_is_asked_for_again(puller: Puller) -> None:
    puller.stub.auth = "bearer"
    image = big_image()
    puller.stub.add(image, "ai/bee", "v1")
    puller.secrets = [login(puller.stub)]

    def expire(name: str, here: int, size: int) -> None:
        if name == image.layers[0].digest and here < 2_000_000:
            puller.stub.valid_tokens.clear()

    puller.stub.faults[image.layers[0].digest] = Fault(cut=1_000_000)
    await puller.registry.pull(puller.name(), puller.store, HERE, expire)
    assert puller.stub.tokens == 2


@pytest.mark.parametrize("kind", ["basic", "bearer"])
async def test_no_log_in_says_what_to_do(puller: Puller, kind: str) -> None:
    puller.stub.auth = kind
    puller.stub.add(model_image(), "ai/bee", "v1")
    with pytest.raises(AccessDenied, match="it wants a log-in; run podman login 127.*imagePullSecrets"):
        await puller.pull()
    puller.secrets = [login(puller.stub, password="wrong")]
    with pytest.raises(AccessDenied, match="it refuses the 1 known log-in"):
        await puller.pull()


async def test_forbidden_is_not_tried_again(puller: Puller) -> None:
    puller.stub.add(model_image(), "ai/bee", "v1")
    puller.stub.faults["manifests/v1"] = Fault(status=403, times=9)
    with pytest.raises(AccessDenied, match=r"\(403\)"):
        await puller.pull()
    assert len(puller.stub.requests) == 1


# Redirects


@pytest.mark.parametrize("kind", ["basic", "bearer"])
async def test_credentials_stay_with_their_host(puller: Puller, other: StubRegistry, kind: str) -> None:
    puller.stub.auth = kind
    image = big_image()
    puller.stub.add(image, "ai/bee", "v1")
    other.blobs |= image.blobs
    target = f"/v2/ai/bee/blobs/{image.layers[0].digest}"
    puller.stub.faults[target] = Fault(status=307, headers={"Location": f"http://{other.address}{target}"})
    puller.secrets = [login(puller.stub)]
    assert puller.weights(await puller.pull()) == WEIGHTS
    assert [request.headers.get("authorization") for request in other.requests] == [None]
    assert puller.stub.seen("GET", target)[-1].headers["authorization"]


@pytest.mark.parametrize("kind", ["basic", "bearer"])
async def test_another_host_cannot_ask_for_the_log_in(puller: Puller, other: StubRegistry, kind: str) -> None:
    puller.stub.auth, other.auth = "basic", kind
    image = model_image()
    puller.stub.add(image, "ai/bee", "v1")
    target = f"/v2/ai/bee/blobs/{image.layers[0].digest}"
    puller.stub.faults[target] = Fault(status=307, headers={"Location": f"http://{other.address}{target}"}, times=99)
    puller.secrets = [login(puller.stub)]
    with pytest.raises(AccessDenied):
        await puller.pull()
    assert {request.headers.get("authorization") for request in other.requests} == {None}


async def test_redirects_have_an_end(puller: Puller) -> None:
    puller.stub.faults["manifests/v1"] = Fault(
        status=302, headers={"Location": f"http://{puller.stub.address}/v2/ai/bee/manifests/v1"}, times=99
    )
    with pytest.raises(RegistryRefused, match="redirects more than 5 times"):
        await puller.pull()


def test_challenges_are_read() -> None:
    header = 'Basic realm="a, b", Bearer realm="https://r/token",service="s",scope="repository:x:pull,push"'
    assert challenges(header) == [
        Challenge("bearer", {"realm": "https://r/token", "service": "s", "scope": "repository:x:pull,push"}),
        Challenge("basic", {"realm": "a, b"}),
    ]
    assert challenges("") == challenges("Negotiate abc") == []


# Pushes


async def push(puller: Puller, image: StoredImage, path: str = "ai/bee") -> str:
    return await puller.registry.push(image, puller.name(path), puller.store, lambda *told: puller.moved.append(told))


@pytest.mark.parametrize("kind", ["", "basic", "bearer"])
async def test_what_was_pushed_can_be_pulled(puller: Puller, kind: str, tmp_path: Path) -> None:
    puller.stub.auth = kind
    puller.secrets = [login(puller.stub)]
    made = big_image().store_as(puller.store, "localhost/bee:test")
    assert await push(puller, made) == made.descriptor.digest
    puller.store = ImageStore(tmp_path / "elsewhere")
    pulled = await puller.pull()
    assert pulled.id == made.id
    assert puller.weights(pulled) == WEIGHTS


async def test_only_what_is_missing_is_sent(puller: Puller) -> None:
    made = big_image().store_as(puller.store, "localhost/bee:test")
    await push(puller, made)
    puller.stub.requests.clear()
    await push(puller, made)
    assert [request.path for request in puller.stub.seen("PUT")] == ["/v2/ai/bee/manifests/v1"]
    assert puller.stub.seen("POST") == []


async def test_layers_are_mounted_from_another_repository(puller: Puller) -> None:
    image = big_image()
    puller.stub.add(image, "ai/base", "v1")
    pulled = await puller.pull("ai/base")
    puller.stub.faults = {digest: Fault(status=404) for digest in image.blobs}  # the new repository has none of them
    await push(puller, pulled, "ai/copy")
    assert any("mount=" in request.path and "from=ai%2Fbase" in request.path for request in puller.stub.seen("POST"))
    assert [request.path for request in puller.stub.seen("PUT")] == ["/v2/ai/copy/manifests/v1"]


async def test_an_interrupted_push_is_tried_again(puller: Puller) -> None:
    made = big_image().store_as(puller.store, "localhost/bee:test")
    puller.stub.faults["uploads/one"] = Fault(status=500, times=2)
    puller.stub.faults["manifests/v1"] = Fault(status=503)
    await push(puller, made)
    assert puller.clock.slept == [0.5, 1.0, 0.5]


async def test_damage_on_the_disk_is_not_pushed(puller: Puller) -> None:
    made = big_image().store_as(puller.store, "localhost/bee:test")
    path = puller.store.blobs.path(made.manifest.layers[0].digest)
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(DamagedContent, match="cannot push"):
        await push(puller, made)
    assert puller.stub.seen("PUT") == []
