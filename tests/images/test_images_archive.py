"""Images in files: what is written can be read, by us and by others; damage is noticed."""

import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.images.handmade import NOW, Image, directory, file, tar

from skerry.images.archive import Location, load, location
from skerry.images.errors import DamagedContent, ImageError, ImageNotFound, StoreError, UnsupportedImage
from skerry.images.export import save
from skerry.images.manifest import Platform
from skerry.images.reference import parse
from skerry.images.store import ImageStore, StoredImage

HERE = Platform("amd64", "linux")
FORMS = ["oci", "oci-archive", "docker-archive"]
WEIGHTS = b"weights" * 50_000


def made(store: ImageStore, *, compress: bool = True) -> StoredImage:
    layers = [tar(directory("models"), file("models/a", b"a")), tar(file("models/1/model.bin", WEIGHTS))]
    return Image(layers, compress=compress).store_as(store, "localhost/bee:test")


def at(form: str, path: Path, name: str = "") -> Location:
    found = location(f"{form}:{path}" + (f":{name}" if name else ""))
    assert found is not None
    return found


def load_as(store: ImageStore, source: Location, name: str = "") -> StoredImage:
    return load(store, source, parse(name) if name else None, HERE, NOW)


def test_locations_are_told_from_references() -> None:
    assert location("oci:/a/b:name:tag") == Location("oci", Path("/a/b"), "name:tag")
    assert location("docker-archive:x.tar") == Location("docker-archive", Path("x.tar"), "")
    for text in ("", "quay.io/oci:v1", "oci:", "docker://quay.io/a", "localhost/oci-archive:1"):
        assert location(text) is None


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_there_and_back(store: ImageStore, tmp_path: Path, form: str, compress: bool) -> None:
    image = made(store, compress=compress)
    save(store, image, at(form, tmp_path / "out"))
    copies = ImageStore(tmp_path / "copies")
    copy = load_as(copies, at(form, tmp_path / "out"))
    assert (copy.name, copy.id) == (image.name, image.id)
    assert (copies.rootfs(copy) / "models/1/model.bin").read_bytes() == WEIGHTS
    if form != "docker-archive":
        assert copy.descriptor.digest == image.descriptor.digest
    assert load_as(copies, at(form, tmp_path / "out"), "localhost/other:1").name == "localhost/other:1"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copies", "images", "out"]


@pytest.mark.parametrize("form", FORMS)
def test_exports_are_the_same_every_time(store: ImageStore, tmp_path: Path, form: str) -> None:
    image = made(store)
    for name in ("one", "two"):
        save(store, image, at(form, tmp_path / name))
    if form != "oci":
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_layout_holds_several_images(store: ImageStore, tmp_path: Path) -> None:
    first = made(store)
    second = Image([tar(file("models/x"))]).store_as(store, "localhost/wasp:1")
    for image in (first, second, first):
        save(store, image, at("oci", tmp_path / "layout"))
    copies = ImageStore(tmp_path / "copies")
    assert load_as(copies, at("oci", tmp_path / "layout", "localhost/wasp:1")).id == second.id
    with pytest.raises(ImageNotFound, match=r"has 2 images \(localhost/bee:test, localhost/wasp:1\); say which"):
        load_as(copies, at("oci", tmp_path / "layout"))
    with pytest.raises(ImageNotFound, match="no image in it is called 'ant'; it has localhost/bee"):
        load_as(copies, at("oci", tmp_path / "layout", "ant"))


def test_a_name_is_asked_for_where_there_is_only_a_tag(store: ImageStore, tmp_path: Path) -> None:
    save(store, made(store), at("oci", tmp_path / "layout", "latest"))
    with pytest.raises(ImageNotFound, match=r"has no full name \(latest\); give one: -t NAME:TAG"):
        load_as(store, at("oci", tmp_path / "layout"))
    assert load_as(store, at("oci", tmp_path / "layout", "latest"), "localhost/a:1").name == "localhost/a:1"


@pytest.mark.parametrize("form", FORMS)
def test_damage_is_noticed(store: ImageStore, tmp_path: Path, form: str) -> None:
    image = made(store, compress=False)
    save(store, image, at(form, tmp_path / "out"))
    damaged = tmp_path / "out"
    if form == "oci":
        damaged = damaged / "blobs/sha256" / image.manifest.layers[1].digest.removeprefix("sha256:")
    data = damaged.read_bytes()
    spot = data.index(WEIGHTS) + 70_000
    damaged.write_bytes(data[:spot] + b"?" + data[spot + 1 :])
    copies = ImageStore(tmp_path / "copies")
    with pytest.raises(DamagedContent):
        load_as(copies, at(form, tmp_path / "out"))
    assert copies.list() == []
    assert image.manifest.layers[1].digest not in copies.blobs.digests()


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
@pytest.mark.parametrize("left", [0, 100, 5000, 60_000])
def test_cut_archives(store: ImageStore, tmp_path: Path, form: str, left: int) -> None:
    save(store, made(store, compress=False), at(form, tmp_path / "out"))
    (tmp_path / "out").write_bytes((tmp_path / "out").read_bytes()[:left])
    copies = ImageStore(tmp_path / "copies")
    with pytest.raises(ImageError):
        load_as(copies, at(form, tmp_path / "out"))
    assert copies.list() == []


def test_what_cannot_be_read_says_why(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(ImageNotFound, match="no such file"):
        load_as(store, at("oci-archive", tmp_path / "nowhere"))
    (tmp_path / "gz").write_bytes(b"\x1f\x8b rest")
    with pytest.raises(UnsupportedImage, match="decompress it first"):
        load_as(store, at("oci-archive", tmp_path / "gz"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageNotFound, match="it has no index.json"):
        load_as(store, at("oci", tmp_path / "empty"))
    (tmp_path / "text").write_text("hello " * 1000)
    with pytest.raises(DamagedContent, match="get a good copy"):
        load_as(store, at("docker-archive", tmp_path / "text"))


def test_an_archive_cannot_reach_outside(store: ImageStore, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("{}")
    manifest = json.dumps([{"Config": "../secret", "RepoTags": ["a:1"], "Layers": []}]).encode()
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        info = tarfile.TarInfo("manifest.json")
        info.size = len(manifest)
        archive.addfile(info, io.BytesIO(manifest))
        link = tarfile.TarInfo("config.json")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
        archive.addfile(link)
    with pytest.raises(ImageNotFound, match="it has no ../secret"):
        load_as(store, at("docker-archive", tmp_path / "evil.tar"))


def test_docker_archives_with_linked_layers(store: ImageStore, tmp_path: Path) -> None:
    """`docker save` and podman once wrote a layer that occurs twice as a link."""
    image = made(store, compress=False)
    save(store, image, at("docker-archive", tmp_path / "plain"))
    with tarfile.open(tmp_path / "plain") as plain, tarfile.open(tmp_path / "linked", "w") as linked:
        for member in plain.getmembers():
            data = plain.extractfile(member)
            assert data
            content = data.read()
            if member.name == "manifest.json":
                entry = json.loads(content)
                entry[0]["Layers"] = [f"legacy/{name}" for name in entry[0]["Layers"]]
                content = json.dumps(entry).encode()
                member.size = len(content)
            elif member.name.endswith(".tar"):
                link = tarfile.TarInfo(f"legacy/{member.name}")
                link.type, link.linkname = tarfile.SYMTYPE, f"../{member.name}"
                linked.addfile(link)
            linked.addfile(member, io.BytesIO(content))
    copies = ImageStore(tmp_path / "copies")
    assert load_as(copies, at("docker-archive", tmp_path / "linked")).id == image.id


def test_exports_of_damage_are_not_left_behind(store: ImageStore, tmp_path: Path) -> None:
    image = made(store)
    path = store.blobs.path(image.manifest.layers[0].digest)
    path.write_bytes(b"x" * path.stat().st_size)
    for form in FORMS:
        with pytest.raises(ImageError):
            save(store, image, at(form, tmp_path / f"out-{form}"))
    assert not (tmp_path / "out-oci/index.json").exists()
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith((".out", "out-o", "out-d"))] == [
        "out-oci"
    ]
    with pytest.raises(StoreError, match="cannot write"):
        save(store, image, at("oci-archive", tmp_path / "no/such/directory"))


# Others as judges


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
@pytest.mark.skipif(os.geteuid() != 0, reason="skopeo unpacks an archive with its owners, which needs root")
@pytest.mark.parametrize("form", FORMS)
def test_skopeo_reads_ours_and_we_read_skopeos(store: ImageStore, tmp_path: Path, form: str) -> None:
    image = made(store)
    save(store, image, at(form, tmp_path / "ours"))
    suffix = ":localhost/bee:test" if form == "oci" else ""
    for source in (f"{form}:{tmp_path / 'ours'}{suffix}", f"oci:{store.root}:localhost/bee:test"):
        target = f"{form}:{tmp_path / 'theirs'}:localhost/wasp:1"
        command = ["skopeo", "--insecure-policy", "copy", "--quiet", source, target]
        subprocess.run(command, check=True, timeout=50, capture_output=True)
        copies = ImageStore(tmp_path / "copies")
        copy = load_as(copies, at(form, tmp_path / "theirs"))
        assert copy.name == "localhost/wasp:1"
        assert (copies.rootfs(copy) / "models/1/model.bin").read_bytes() == WEIGHTS
        if (tmp_path / "theirs").is_file():
            (tmp_path / "theirs").unlink()
