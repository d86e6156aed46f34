"""`skerry model`: what people see and scripts read."""

import json
import os
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result
from tests.images.handmade import model_image
from tests.images.stub_registry import Fault, StubRegistry, serving

from skerry.cli.model import model
from skerry.images.display import human_duration, human_size
from skerry.images.store import ImageStore


class Shell:
    """The command line with a home of its own."""

    def __init__(self, home: Path) -> None:
        self.store = ImageStore(home / "state/images")
        self._environment = {"SKERRY_HOME": str(home), "REGISTRY_AUTH_FILE": str(home / "auth.json")}

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(model, list(arguments), env=self._environment)

    def ok(self, *arguments: str) -> Result:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result

    def error(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 1, result.output
        assert result.stdout == "" or not result.stdout.startswith("Error")
        return result.stderr


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "model.onnx").write_bytes(b"weights" * 5000)
    return directory


def test_build_list_inspect_remove(shell: Shell, place: Path) -> None:
    built = shell.ok("build", str(place), "-t", "ovms-resnet50:test", "-t", "quay.io/a/b:v1", "--label", "a=b")
    lines = built.stdout.splitlines()
    image = lines[-1]
    assert len(image) == 64
    assert lines[:2] == ["STEP 1/2: FROM scratch", f"STEP 2/2: COPY {place} /models/1"]
    assert "COMMIT localhost/ovms-resnet50:test" in lines
    assert f"--> {image[:12]}" in lines
    assert "Successfully tagged localhost/ovms-resnet50:test" in lines
    assert "Successfully tagged quay.io/a/b:v1" in lines

    header, *rows = shell.ok("list").stdout.splitlines()
    assert header.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE"]
    assert rows[0].split()[:3] == ["localhost/ovms-resnet50", "test", image[:12]]
    assert rows[0].endswith("38.2 kB")  # unpacked, as podman counts; the layer is compressed
    assert " ago " in rows[0]
    assert shell.ok("list", "-o", "name").stdout.split() == ["localhost/ovms-resnet50:test", "quay.io/a/b:v1"]
    as_json = json.loads(shell.ok("list", "-o", "json").stdout)
    assert yaml.safe_load(shell.ok("list", "-o", "yaml").stdout) == as_json
    assert as_json[0]["Id"] == image
    assert as_json[0]["Labels"] == {"a": "b"}

    (details,) = json.loads(shell.ok("inspect", "ovms-resnet50:test", "--verify").stdout)
    assert details["Architecture"] == "amd64"
    assert details["Verified"]["Problems"] == []
    assert details["Layers"][0]["Title"] == "models/1/model.onnx"

    assert shell.ok("rm", "ovms-resnet50:test").stdout == "Untagged: localhost/ovms-resnet50:test\n"
    shell.ok("rm", "quay.io/a/b:v1")
    assert shell.store.blobs.digests() == []
    assert shell.ok("list").stdout.splitlines() == ["REPOSITORY  TAG         IMAGE ID    CREATED     SIZE"]


def test_quiet_prints_the_id_only(shell: Shell, place: Path) -> None:
    result = shell.ok("build", str(place), "-t", "bee", "-q")
    assert len(result.stdout.strip()) == 64
    assert result.stderr == ""


def test_a_containerfile_in_the_directory_is_used(shell: Shell, place: Path) -> None:
    (place / "Containerfile").write_text("FROM busybox\nCOPY model.onnx /models/3/\n")
    result = shell.ok("build", str(place), "-t", "bee")
    assert "STEP 2/2: COPY model.onnx /models/3/" in result.stdout
    assert "Note: busybox is not in the store" in result.stderr
    image = shell.store.find("localhost/bee:latest")
    assert image
    assert (shell.store.rootfs(image) / "models/3/model.onnx").exists()
    other = place.parent / "recipe"
    other.write_text("FROM scratch\nCOPY . /models/\n")
    shell.ok("build", str(place), "-t", "bee", "-f", str(other))


def test_a_rebuild_leaves_no_garbage(shell: Shell, place: Path) -> None:
    shell.ok("build", str(place), "-t", "bee")
    before = len(shell.store.blobs.digests())
    (place / "model.onnx").write_bytes(b"newer")
    shell.ok("build", str(place), "-t", "bee")
    assert len(shell.store.blobs.digests()) == before


def test_mistakes_end_with_1_and_advice(shell: Shell, place: Path) -> None:
    empty = place.parent / "empty"
    empty.mkdir()
    (place / "Containerfile").write_text("FROM scratch\nCMD x\n")
    for arguments, words in [
        (("build", str(place / "nowhere"), "-t", "a"), "no such directory"),
        (("build", str(empty), "-t", "a"), "it is empty; put the model's files into it"),
        (("build", str(place), "-t", "repo:tag@repo:tag"), "only a digest may follow"),
        (("build", str(place), "-t", "a"), "line 2: CMD is not understood"),
        (("build", str(place), "-t", "a", "--into", "/x"), "--into is for a model directory"),
        (("build", str(place), "-t", "a", "-f", str(place / "nofile")), "cannot read"),
        (("build", str(place), "-t", "a", "--platform", "linux"), "is not a platform"),
        (("inspect", "nothing"), "cannot find nothing: no such image in the store; list them with: skerry model list"),
        (("push", "nothing"), "no such image"),
        (("rm", "nothing"), "no such image"),
        (("pull", "localhost/bee:1"), "not a registry"),
        (("pull", "oci-archive:/nowhere"), "no such file"),
        (("pull", "quay.io/UPPER"), "cannot read image reference"),
    ]:
        assert words in shell.error(*arguments)
    assert shell.run("build", str(place)).exit_code == 2


def test_push_to_a_file_and_pull_from_it(shell: Shell, place: Path, tmp_path: Path) -> None:
    image = shell.ok("build", str(place), "-t", "bee:1", "-q").stdout
    shell.ok("push", "bee:1", f"oci-archive:{tmp_path / 'bee.tar'}")
    shell.ok("rm", "bee:1")
    assert shell.ok("pull", f"oci-archive:{tmp_path / 'bee.tar'}").stdout == image
    assert shell.ok("list", "-o", "name").stdout == "localhost/bee:1\n"
    assert "localhost/ is no registry" in shell.error("push", "bee:1")


def test_push_to_a_registry_and_pull_from_it(shell: Shell, place: Path) -> None:
    with serving(StubRegistry()) as stub:
        image = shell.ok("build", str(place), "-t", "bee:1", "-q").stdout
        pushed = shell.ok("push", "bee:1", f"{stub.address}/ai/bee:1")
        assert pushed.stdout.startswith(f"{stub.address}/ai/bee@sha256:")
        assert pushed.stderr.count("Copying blob") == 2
        shell.ok("rm", "bee:1")
        pulled = shell.ok("pull", f"docker://{stub.address}/ai/bee:1", "-t", "wasp")
        assert pulled.stdout == image
        assert f"Trying to pull {stub.address}/ai/bee:1..." in pulled.stderr
        names = shell.ok("list", "-o", "name").stdout.split()
        assert sorted(names) == sorted([f"{stub.address}/ai/bee:1", "localhost/wasp:latest"])
        stub.faults["manifests/1"] = Fault(status=403)
        assert "gives no access" in shell.error("pull", f"{stub.address}/ai/bee:1")


def test_inspect_finds_damage(shell: Shell) -> None:
    image = model_image(b"weights").store_as(shell.store, "localhost/bee:1")
    tree = shell.store.rootfs(image)
    path = tree / "models/1/model.bin"
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(b"WEIGHTS")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    result = shell.run("inspect", "bee:1", "--verify", "-o", "yaml")
    assert result.exit_code == 1
    assert yaml.safe_load(result.stdout)[0]["Verified"]["Problems"] == ["models/1/model.bin has changed"]
    shell.ok("inspect", "bee:1", "--verify")


def test_images_by_digest_have_no_tag(shell: Shell) -> None:
    made = model_image()
    made.store_as(shell.store, f"quay.io/a/b@{made.digest}")
    assert shell.ok("list").stdout.splitlines()[1].split()[:2] == ["quay.io/a/b", "<none>"]


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (27_500_000, "27.5 MB"), (3_500_000_000, "3.5 GB"), (5e12, "5 TB")],
)
def test_sizes_are_podmans(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"),
        (1.2, "1 second"),
        (59, "59 seconds"),
        (61, "About a minute"),
        (180, "3 minutes"),
        (3600, "About an hour"),
        (7200, "2 hours"),
        (47.4 * 3600, "47 hours"),
        (72 * 3600, "3 days"),
        (14 * 86400, "2 weeks"),
        (61 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (800 * 86400, "2 years"),
    ],
)
def test_ages_are_podmans(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text
