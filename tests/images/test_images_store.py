"""The local store: names, trees, pins, garbage; several processes; damage of every kind."""

import json
import multiprocessing
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from tests.images.handmade import NOW, Image, directory, file, hardlink, model_image, symlink, tar

from skerry.images import rootfs as rootfs_module
from skerry.images.errors import DamagedContent, ImageNotFound, StoreError, UnsupportedImage
from skerry.images.locks import held
from skerry.images.manifest import OCI_MANIFEST, Descriptor
from skerry.images.reference import parse
from skerry.images.store import ImageStore

NAME = "localhost/bee:test"


def spoil(path: Path, data: bytes = b"spoiled") -> None:
    """Change a file that nobody may write, as a failing disk does."""
    path.chmod(0o644)
    before = path.stat()
    with path.open("r+b") as opened:
        opened.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def leftovers(store: ImageStore) -> list[str]:
    return sorted(path.name for path in (store.root / "incoming").iterdir()) + sorted(
        path.name for path in (store.root / "rootfs").glob(".*")
    )


# Names


def test_an_image_is_found_by_every_way_to_write_its_name(store: ImageStore) -> None:
    image = model_image().store_as(store, "docker.io/library/bee:latest")
    for text in ("bee", "bee:latest", "docker.io/bee", "index.docker.io/library/bee"):
        assert store.find(text) == image
    assert store.find(f"bee@{image.descriptor.digest}") == image
    assert store.find(f"quay.io/bee@{image.descriptor.digest}") is None
    assert store.find("bee:v2") is None


def test_short_names_are_first_those_made_here(store: ImageStore) -> None:
    there = model_image(b"there").store_as(store, "bee")
    assert store.find_local(parse("bee")) == there
    here = model_image(b"here").store_as(store, "localhost/bee:latest")
    assert store.find_local(parse("bee")) == here
    assert store.find_local(parse("docker.io/library/bee")) == there


def test_a_name_moves_to_the_newer_image(store: ImageStore) -> None:
    model_image(b"old").store_as(store, NAME)
    new = model_image(b"new").store_as(store, NAME)
    assert [image.id for image in store.list()] == [new.id]


def test_tags_and_removal(store: ImageStore) -> None:
    image = model_image().store_as(store, NAME)
    again = store.tag(image, parse("quay.io/team/bee:v1"), NOW)
    assert again.descriptor.digest == image.descriptor.digest
    assert {found.name for found in store.list()} == {NAME, "quay.io/team/bee:v1"}
    store.remove(parse(NAME))
    assert store.find(NAME) is None
    with pytest.raises(ImageNotFound, match="skerry model list"):
        store.remove(parse(NAME))


def test_an_image_whose_blobs_are_not_here_gets_no_name(store: ImageStore) -> None:
    with pytest.raises(ImageNotFound), store.adding():
        store.record(parse(NAME), Descriptor(OCI_MANIFEST, "sha256:" + "0" * 64, 5), NOW)
    assert store.list() == []


def test_looking_does_not_make_directories(tmp_path: Path) -> None:
    store = ImageStore(tmp_path / "never")
    assert store.list() == []
    assert store.find(NAME) is None
    assert not (tmp_path / "never").exists()


def test_the_store_is_an_oci_layout(store: ImageStore) -> None:
    model_image().store_as(store, NAME)
    assert json.loads((store.root / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    index = json.loads((store.root / "index.json").read_text())
    assert index["schemaVersion"] == 2
    assert index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] == NAME


def test_a_spoiled_index_says_what_to_do(store: ImageStore) -> None:
    model_image().store_as(store, NAME)
    (store.root / "index.json").write_text("{")
    with pytest.raises(StoreError, match="move the file away"):
        store.list()


def test_a_damaged_manifest_is_not_used(store: ImageStore) -> None:
    image = model_image().store_as(store, NAME)
    good = model_image(b"other").store_as(store, "localhost/other:1")
    spoil(store.blobs.path(image.descriptor.digest))
    with pytest.raises(DamagedContent):
        store.find(NAME)
    assert store.list() == [good]


def _add_many(root: Path, prefix: str) -> None:
    store = ImageStore(root)
    for number in range(10):
        model_image(f"{prefix}{number}".encode()).store_as(store, f"localhost/{prefix}:{number}")


def test_two_processes_do_not_lose_each_others_names(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_add_many, args=(tmp_path / "images", prefix)) for prefix in "ab"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(ImageStore(tmp_path / "images").list()) == 20


# Trees


def test_an_image_is_unpacked_once_and_read_only(store: ImageStore) -> None:
    image = model_image(b"w").store_as(store, NAME)
    tree = store.rootfs(image)
    before = (tree / "models/1/model.bin").stat()
    assert store.rootfs(image) == tree
    after = (tree / "models/1/model.bin").stat()
    assert (before.st_ino, before.st_ctime_ns) == (after.st_ino, after.st_ctime_ns)
    assert {stat.S_IMODE(path.stat().st_mode) for path in (tree, tree / "models", tree / "models/1")} == {0o555}
    assert stat.S_IMODE(after.st_mode) == 0o444
    assert leftovers(store) == []


def test_images_with_the_same_layers_share_a_tree(store: ImageStore) -> None:
    layer = tar(directory("models"), file("models/x"))
    plain = Image([layer], compress=False).store_as(store, "localhost/plain:1")
    packed = Image([layer]).store_as(store, "localhost/packed:1")
    assert plain.descriptor.digest != packed.descriptor.digest
    assert store.rootfs(plain) == store.rootfs(packed)


def test_progress_is_told(store: ImageStore) -> None:
    image = Image([tar(file("a")), tar(file("b"))]).store_as(store, NAME)
    told: list[int] = []
    store.rootfs(image, taken=told.append)
    assert told[-1] == sum(layer.size for layer in image.manifest.layers)


@pytest.mark.parametrize("damage", ["changed", "removed", "added", "link", "marker", "tree"])
def test_a_damaged_tree_is_built_again(store: ImageStore, damage: str) -> None:
    layer = tar(
        directory("models"), file("models/a", b"good"), symlink("models/l", "a"), hardlink("models/h", "models/a")
    )
    image = Image([layer]).store_as(store, NAME)
    tree = store.rootfs(image)
    (tree / "models").chmod(0o755)
    match damage:
        case "changed":
            (tree / "models/a").chmod(0o644)
            (tree / "models/a").write_text("bad")
        case "removed":
            (tree / "models/a").unlink()
        case "added":
            (tree / "models/b").touch()
        case "link":
            (tree / "models/l").unlink()
            (tree / "models/l").symlink_to("h")
        case "marker":
            tree.with_name(f"{tree.name}.json").write_text("{}")
        case "tree":
            tree.rename(tree.with_name("elsewhere"))
    assert (store.rootfs(image) / "models/a").read_bytes() == b"good"
    assert (tree / "models/l").readlink() == Path("a")
    assert store.verify(image).problems == []


def test_verify_reads_every_byte(store: ImageStore) -> None:
    image = model_image(b"weights").store_as(store, NAME)
    assert store.verify(image).problems == ["it is not unpacked"]
    tree = store.rootfs(image)
    found = store.verify(image)
    assert (found.files, found.size, found.problems) == (1, 7, [])
    spoil(tree / "models/1/model.bin", b"W")  # same size, same time: only its digest differs
    assert store.rootfs(image) == tree
    assert store.verify(image).problems == ["models/1/model.bin has changed"]
    store.discard_tree(image)
    assert (store.rootfs(image) / "models/1/model.bin").read_bytes() == b"weights"


def test_a_damaged_blob_leaves_nothing_behind(store: ImageStore) -> None:
    image = model_image().store_as(store, NAME)
    spoil(store.blobs.path(image.manifest.layers[0].digest))
    with pytest.raises(DamagedContent):
        store.rootfs(image)
    assert leftovers(store) == []
    assert list((store.root / "rootfs").glob("*")) == []
    assert store.discard_damaged(image) == 1
    with pytest.raises(ImageNotFound, match="fetch the image again"):
        store.rootfs(image)


def test_a_crash_while_unpacking_leaves_no_tree(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    image = model_image(b"w").store_as(store, NAME)

    def power_cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(rootfs_module, "replace", power_cut)
        with suppress(KeyboardInterrupt):
            store.rootfs(image)
    assert (store.rootfs(image) / "models/1/model.bin").read_bytes() == b"w"


def test_what_cannot_be_unpacked_is_refused_before(store: ImageStore) -> None:
    image = model_image()
    image.manifest = image.manifest.replace(b"layer.v1.tar+gzip", b"layer.v1.tar+gzip+encrypted")
    strange = Image([tar(file("x"))])
    strange.manifest = strange.manifest.replace(b"oci.image.layer.v1.tar+gzip", b"cncf.model.weight.v1.tar")
    for made, words in ((image, "encrypted"), (strange, "not a tar archive")):
        made.digest = store.blobs.put(made.manifest)
        with pytest.raises(UnsupportedImage, match=words):
            store.rootfs(made.store_as(store, NAME))


def test_threads_share_one_unpacking(store: ImageStore) -> None:
    image = model_image(b"w" * 1_000_000).store_as(store, NAME)
    with ThreadPoolExecutor(4) as pool:
        trees = set(pool.map(lambda _: store.rootfs(image), range(8)))
    assert len(trees) == 1
    assert leftovers(store) == []


# Garbage and pins


def test_collect_deletes_what_no_name_reaches(store: ImageStore) -> None:
    kept = model_image(b"kept").store_as(store, "localhost/kept:1")
    gone = model_image(b"gone").store_as(store, "localhost/gone:1")
    trees = [store.rootfs(kept), store.rootfs(gone)]
    store.remove(parse("localhost/gone:1"))
    collected = store.collect()
    assert (collected.blobs, collected.trees) == (3, 1)
    assert [tree.exists() for tree in trees] == [True, False]
    assert leftovers(store) == []
    assert store.find("localhost/kept:1") == kept
    assert store.rootfs(kept) == trees[0]
    assert store.collect().blobs == 0


def test_a_pinned_tree_outlives_its_name(store: ImageStore) -> None:
    image = model_image(b"running").store_as(store, NAME)
    tree = store.rootfs(image, holder="pod-1")
    store.rootfs(image, holder="pod-2")
    store.remove(parse(NAME))
    store.collect()
    assert (tree / "models/1/model.bin").read_bytes() == b"running"
    assert store.holders() == {"pod-1", "pod-2"}
    store.unpin("pod-1")
    store.collect()
    assert tree.exists()
    store.unpin("pod-2")
    store.collect()
    assert not tree.exists()


def test_a_pinned_tree_that_was_replaced_stays_where_it_is_mounted(store: ImageStore) -> None:
    image = model_image(b"running").store_as(store, NAME)
    tree = store.rootfs(image, holder="pod-1")
    mounted = os.open(tree / "models/1", os.O_PATH)
    try:
        (tree / "models").chmod(0o755)
        (tree / "models/extra").touch()
        store.rootfs(image)
        store.collect()
        with os.fdopen(os.open("model.bin", os.O_RDONLY, dir_fd=mounted), "rb") as opened:
            assert opened.read() == b"running"
    finally:
        os.close(mounted)
    store.unpin("pod-1")
    store.collect()
    assert leftovers(store) == []


def test_collect_spares_what_is_being_added(store: ImageStore) -> None:
    with store.adding():
        digest = store.blobs.put(b"not named yet")
        with pytest.raises(StoreError, match="another skerry process"):
            store.collect()
    assert digest in store.blobs.digests()
    assert store.collect().blobs == 1


def test_collect_keeps_everything_when_it_cannot_know(store: ImageStore) -> None:
    image = model_image().store_as(store, NAME)
    spoil(store.blobs.path(image.descriptor.digest))
    with pytest.raises(StoreError, match=f"skerry model rm {NAME}"):
        store.collect()
    assert store.blobs.has(image.manifest.layers[0])


def test_cut_downloads_are_kept_for_a_week(store: ImageStore) -> None:
    model_image().store_as(store, NAME)
    fresh, old, crashed = (store.blobs.incoming / name for name in ("a.partial", "b.partial", "c.new"))
    for path in (fresh, old, crashed):
        path.touch()
    os.utime(old, (0, 0))
    scratch = store.blobs.incoming / "build-x"
    scratch.mkdir()
    (scratch / "file").touch()
    store.collect()
    assert leftovers(store) == ["a.partial"]


def test_a_lock_that_is_held_is_waited_for_with_an_end(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        held(lock, shared=True, patience=1),
        held(lock, shared=True, patience=0),
        pytest.raises(StoreError, match="cannot lock"),
        held(lock, patience=0.05),
    ):
        pytest.fail("two had it")
    with held(lock, patience=0):
        pass
