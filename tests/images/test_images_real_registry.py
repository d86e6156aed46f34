"""The same pulls and pushes with a registry that others wrote; skipped where it is not installed."""

import base64
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.images.handmade import HurriedClock, Image, directory, file, tar

from skerry.images.errors import AccessDenied
from skerry.images.manifest import Platform
from skerry.images.reference import parse
from skerry.images.registry import Access, Registry
from skerry.images.session import Limits
from skerry.images.store import ImageStore

REGISTRY = shutil.which("docker-registry")
HTPASSWD = shutil.which("htpasswd")
SKOPEO = shutil.which("skopeo")
WEIGHTS = bytes(range(256)) * 20_000

pytestmark = pytest.mark.skipif(not (REGISTRY and HTPASSWD), reason="docker-registry and htpasswd are not installed")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("registry")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    users = subprocess.run([str(HTPASSWD), "-Bbn", "bee", "s3cret"], capture_output=True, check=True, timeout=20)
    (root / "htpasswd").write_bytes(users.stdout)
    settings = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(root / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "auth": {"htpasswd": {"realm": "stub", "path": str(root / "htpasswd")}},
    }
    (root / "config.yml").write_text(json.dumps(settings))
    process = subprocess.Popen([str(REGISTRY), "serve", str(root / "config.yml")], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the registry does not start"
                time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=20)


def auth_file(path: Path, address: str) -> Path:
    pair = base64.b64encode(b"bee:s3cret").decode()
    path.write_text(json.dumps({"auths": {address: {"auth": pair}}}))
    return path


async def test_push_pull_and_resume(address: str, tmp_path: Path) -> None:
    clock = HurriedClock()
    store, copies = ImageStore(tmp_path / "a"), ImageStore(tmp_path / "b")
    image = Image([tar(directory("models"), file("models/1/model.bin", WEIGHTS))], compress=False).store_as(
        store, "localhost/bee:test"
    )
    name = parse(f"{address}/ai/bee:v1")
    with pytest.raises(AccessDenied, match="it wants a log-in"):
        await Registry(Access(Limits(), ()), clock).push(image, name, store, lambda *_: None)
    registry = Registry(Access(Limits(), [auth_file(tmp_path / "auth.json", address)]), clock)
    assert await registry.push(image, name, store, lambda *_: None) == image.descriptor.digest
    assert await registry.digest(name) == image.descriptor.digest

    copies.blobs.prepare()
    layer = image.manifest.layers[0]
    copies.blobs.partial(layer.digest).write_bytes(store.blobs.path(layer.digest).read_bytes()[:3_000_000])
    told: list[int] = []
    pulled = await registry.pull(name, copies, Platform("amd64", "linux"), lambda _, here, size: told.append(here))
    assert told[0] > 3_000_000  # it went on, instead of beginning anew
    assert (copies.rootfs(pulled) / "models/1/model.bin").read_bytes() == WEIGHTS


@pytest.mark.skipif(not SKOPEO, reason="skopeo is not installed")
async def test_skopeo_and_we_understand_each_other(address: str, tmp_path: Path) -> None:
    login = auth_file(tmp_path / "auth.json", address)
    store = ImageStore(tmp_path / "a")
    image = Image([tar(file("models/1/model.bin", WEIGHTS))]).store_as(store, "localhost/bee:test")
    skopeo = [str(SKOPEO), "--insecure-policy", "copy", "--quiet", "--authfile", str(login)]
    plain = ["--src-tls-verify=false", "--dest-tls-verify=false"]
    there = f"docker://{address}/ai/theirs:v1"
    source = f"oci:{store.root}:localhost/bee:test"
    subprocess.run([*skopeo, *plain, "--format", "v2s2", source, there], check=True, timeout=50)
    registry = Registry(Access(Limits(), [login]), HurriedClock())
    pulled = await registry.pull(parse(f"{address}/ai/theirs:v1"), store, Platform("amd64", "linux"), lambda *_: None)
    assert pulled.descriptor.media_type.startswith("application/vnd.docker")
    assert (store.rootfs(pulled) / "models/1/model.bin").read_bytes() == WEIGHTS
    await registry.push(image, parse(f"{address}/ai/ours:v1"), store, lambda *_: None)
    subprocess.run(
        [*skopeo, *plain, f"docker://{address}/ai/ours:v1", f"dir:{tmp_path / 'out'}"], check=True, timeout=50
    )
    assert (tmp_path / "out/manifest.json").read_bytes() == store.blobs.read(image.descriptor.digest)
