"""Layers applied to a directory: right for good images, harmless for evil ones."""

import io
import stat
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.images.handmade import Member, device, directory, fifo, file, hardlink, symlink, tar

from skerry.images.errors import DamagedContent, ImageError, StoreError
from skerry.images.extraction import Extraction, relative_link
from skerry.images.layers import LayerStream
from skerry.images.manifest import Descriptor, digest_of


class Box:
    """A directory to unpack into, with something precious beside it."""

    def __init__(self, path: Path) -> None:
        self.outside = path / "outside"
        self.outside.mkdir(parents=True)
        (self.outside / "secret").write_text("precious")
        self.root = path / "root"
        self.root.mkdir()
        self.extraction = Extraction(self.root)

    def apply(self, *members: Member) -> None:
        self.apply_bytes(tar(*members))

    def apply_bytes(self, data: bytes) -> None:
        layer = LayerStream(io.BytesIO(data), Descriptor("layer", digest_of(data), len(data)), digest_of(data))
        self.extraction.apply(layer)

    def read(self, name: str) -> str:
        return (self.root / name).read_text()

    def names(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}

    def outside_is_untouched(self) -> bool:
        names = {path.name for path in self.outside.parent.iterdir()}
        found = (self.outside / "secret").stat()
        return (
            names == {"outside", "root"}
            and [path.name for path in self.outside.iterdir()] == ["secret"]
            and (self.outside / "secret").read_text() == "precious"
            and found.st_nlink == 1
        )


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def test_a_model_is_unpacked_with_plain_modes(box: Box) -> None:
    box.apply(directory("models"), file("models/1/model.bin", b"weights", 0o6777), file("run", b"#!", 0o644))
    weights = (box.root / "models/1/model.bin").stat()
    assert box.read("models/1/model.bin") == "weights"
    assert stat.S_IMODE(weights.st_mode) == 0o555  # no set-user-ID, nobody writes
    assert stat.S_IMODE((box.root / "run").stat().st_mode) == 0o444
    assert weights.st_mtime == 1_000_000
    assert box.extraction.digests[weights.st_ino] == digest_of(b"weights")


def test_upper_layers_replace_lower_ones(box: Box) -> None:
    box.apply(file("a", b"old"), file("dir/x"), directory("gone"), file("gone/y"))
    box.apply(file("a", b"new"), file("dir", b"now a file"), directory("gone"))
    assert box.read("a") == "new"
    assert box.read("dir") == "now a file"
    assert (box.root / "gone/y").exists()


def test_whiteouts_hide_what_lower_layers_brought_only(box: Box) -> None:
    box.apply(file("models/1/old"), file("models/2/keep"), file("top"))
    box.apply(file("models/.wh.1"), file(".wh.top"), file("models/3/new"), file("models/3/.wh.new"), file(".wh.never"))
    assert box.names() == {"models", "models/2", "models/2/keep", "models/3", "models/3/new"}


def test_opaque_directories_in_any_order(box: Box) -> None:
    box.apply(file("models/1/old"), file("models/1/deep/old"), file("other/x"))
    box.apply(file("models/1/new"), file("models/1/deep/new"), file("models/1/.wh..wh..opq"), file(".wh..wh.plnk"))
    assert box.names() == {
        "models",
        "models/1",
        "models/1/new",
        "models/1/deep",
        "models/1/deep/new",
        "other",
        "other/x",
    }


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "models/.wh..."])
def test_a_whiteout_cannot_remove_upwards(box: Box, name: str) -> None:
    box.apply(file("models/1/keep"))
    with pytest.raises(DamagedContent):
        box.apply(file(name))
    assert box.outside_is_untouched()


def test_leading_slashes_mean_the_image_root(box: Box) -> None:
    box.apply(file("/etc/passwd", b"root"), file("./a"), file("b//c"), directory("./"))
    assert box.read("etc/passwd") == "root"
    assert {"a", "b/c"} <= box.names()


@pytest.mark.parametrize("name", ["../outside/x", "a/../../outside/x", "models/..", "/../x", ".."])
def test_names_that_climb_are_refused(box: Box, name: str) -> None:
    with pytest.raises(DamagedContent, match="tries to leave"):
        box.apply(file(name))
    assert box.outside_is_untouched()


@pytest.mark.parametrize("target", ["../outside", "/../../outside", "../../../../../../../../tmp", "a/../../outside"])
def test_a_link_out_is_followed_inside(box: Box, target: str) -> None:
    box.apply(symlink("link", target), file("link/x", b"caught"))
    assert box.outside_is_untouched()
    inside = [path for path in box.root.rglob("x") if path.is_file() and not path.is_symlink()]
    assert [path.read_text() for path in inside] == ["caught"]


def test_an_absolute_link_out_is_followed_inside(box: Box) -> None:
    box.apply(symlink("link", str(box.outside)), file("link/secret", b"changed"))
    assert box.outside_is_untouched()
    assert (box.root / str(box.outside).lstrip("/") / "secret").read_text() == "changed"


def test_links_mean_outside_what_they_mean_in_the_image(box: Box) -> None:
    box.apply(
        file("bin/busybox", b"program"),
        symlink("bin/sh", "/bin/busybox"),
        symlink("usr/bin", "/bin"),
        symlink("models/1/model.bin", "../../blobs/weights"),
        file("blobs/weights", b"w"),
    )
    assert (box.root / "bin/sh").readlink() == Path("busybox")
    assert box.read("usr/bin/sh") == "program"
    assert box.read("models/1/model.bin") == "w"


def test_merged_usr_layers_are_followed(box: Box) -> None:
    box.apply(directory("usr/bin"), symlink("bin", "usr/bin"))
    box.apply(file("bin/tool", b"tool"))
    assert box.read("usr/bin/tool") == "tool"
    assert (box.root / "bin").is_symlink()


def test_a_chain_of_links_cannot_climb(box: Box) -> None:
    box.apply(directory("a/b"), symlink("s", "a/b"), symlink("up", "s/../../.."), file("up/outside/secret", b"changed"))
    assert box.outside_is_untouched()
    assert (box.root / "up").resolve().is_relative_to(box.root)


def test_a_circle_of_links_ends(box: Box) -> None:
    with pytest.raises(DamagedContent, match="circle of links"):
        box.apply(symlink("a", "b"), symlink("b", "a"), file("a/x"))


def test_files_are_not_written_through_links(box: Box) -> None:
    box.apply(file("real", b"real"), symlink("name", "real"))
    box.apply(file("name", b"replaced"))
    assert box.read("real") == "real"
    assert box.read("name") == "replaced"


def test_hard_links_within_the_image(box: Box) -> None:
    box.apply(file("a", b"content"), hardlink("dir/b", "/a"), hardlink("a", "a"))
    assert box.read("dir/b") == "content"
    assert (box.root / "a").stat().st_nlink == 2


@pytest.mark.parametrize("target", ["../outside/secret", "missing", "dir", "link", "", "link-out/secret"])
def test_hard_links_to_anything_but_a_file_here_are_refused(box: Box, target: str) -> None:
    with pytest.raises(DamagedContent):
        box.apply(
            directory("dir"),
            file("a"),
            symlink("link", "a"),
            symlink("link-out", str(box.outside)),
            hardlink("h", target),
        )
    assert box.outside_is_untouched()


def test_a_hard_link_to_an_absolute_path_stays_inside(box: Box) -> None:
    with pytest.raises(DamagedContent, match="no file here"):
        box.apply(hardlink("h", str(box.outside / "secret")))
    assert box.outside_is_untouched()


def test_devices_and_fifos_are_left_out(box: Box) -> None:
    box.apply(device("dev/null"), fifo("pipe"), file("a"))
    assert box.names() == {"a"}
    assert box.extraction.skipped == 2


def test_a_file_is_no_directory(box: Box) -> None:
    with pytest.raises(DamagedContent, match="is a file, not a directory"):
        box.apply(file("a"), file("a/b"))


def test_the_last_of_two_entries_wins(box: Box) -> None:
    box.apply(file("a", b"1"), file("a", b"2"), directory("d"), file("d", b"3"))
    assert box.read("a") == "2"
    assert box.read("d") == "3"


def test_a_tar_in_the_image_stays_a_tar(box: Box) -> None:
    inner = tar(file("x"))
    box.apply(file("model.mar", inner))
    assert (box.root / "model.mar").read_bytes() == inner


def test_long_and_foreign_names(box: Box) -> None:
    name = "models/" + "größe-" * 30 + ".bin"
    box.apply(file(name, b"x"))
    assert name in box.names()


def test_names_that_are_not_utf_8_are_refused(box: Box) -> None:
    with pytest.raises(DamagedContent):
        box.apply_bytes(tar(file("models/xyz")).replace(b"models/xyz", b"models/\xff\xfe\xfd"))


def test_sizes_beyond_8_gib_are_understood(box: Box) -> None:
    info, _ = file("models/1/huge.bin", b"")
    info.size = 1 << 45  # only an extended header can say so; no disk here holds it, which shows that it was read
    with pytest.raises(StoreError, match="it has 35.2 TB"):
        box.apply_bytes(info.tobuf(tarfile.PAX_FORMAT) + bytes(4096))


def test_more_than_the_disk_holds_is_refused_before_it_is_written(box: Box) -> None:
    info, _ = file("bomb", b"")
    info.size = 1 << 60
    with pytest.raises(StoreError, match="free the disk"):
        box.apply_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


def test_sparse_files(box: Box) -> None:
    # GNU's old format: one piece of data at 1 MiB in a file of 2 MiB.
    info, _ = file("sparse", b"")
    info.type = tarfile.GNUTYPE_SPARSE
    info.size = 512
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:398], header[398:410] = b"%011o\0" % (1 << 20), b"%011o\0" % 512
    header[483:495] = b"%011o\0" % (2 << 20)
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    box.apply_bytes(bytes(header) + b"x" * 512 + bytes(1024))
    content = (box.root / "sparse").read_bytes()
    assert len(content) == 2 << 20
    assert content[1 << 20 : (1 << 20) + 512] == b"x" * 512
    assert content.count(0) == (2 << 20) - 512


def test_an_endless_header_does_not_fill_the_memory(box: Box) -> None:
    info, _ = file("././@LongLink", b"")
    info.type = tarfile.GNUTYPE_LONGNAME
    info.size = 64 << 20
    with pytest.raises(DamagedContent, match="header"):
        box.apply_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(64 << 20))


def test_a_broken_header_in_the_middle_is_not_the_end(box: Box) -> None:
    data = bytearray(tar(file("a", b"1"), file("b", b"2"), file("c", b"3")))
    data[1024 + 148] ^= 0x55  # the checksum of the second header
    with pytest.raises(DamagedContent):
        box.apply_bytes(bytes(data))


@pytest.mark.parametrize("cut", [100, 600, 1024 + 100, 1024 + 700])
def test_a_cut_archive_is_refused(box: Box, cut: int) -> None:
    with pytest.raises(DamagedContent):
        box.apply_bytes(tar(file("a", b"x" * 500), file("b", b"y" * 2000))[:cut])


@given(data=st.binary(min_size=1, max_size=3000), at=st.integers(min_value=0, max_value=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
def test_rubbish_is_refused_or_harmless(tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int) -> None:
    box = Box(tmp_path_factory.mktemp("rubbish"))
    good = bytearray(tar(file("a", b"x" * 600), symlink("l", "a"), file("b")))
    good[at * 64 : at * 64 + len(data)] = data
    with suppress(ImageError):
        box.apply_bytes(bytes(good))
    assert box.outside_is_untouched()


_PARTS = st.sampled_from(["a", "b", "c", "..", ".", "", "outside", "secret", ".wh.a", ".wh..wh..opq"])
_NAMES = st.lists(_PARTS, min_size=1, max_size=4).map("/".join)
_MEMBERS = st.one_of(
    st.builds(file, _NAMES),
    st.builds(directory, _NAMES),
    st.builds(symlink, _NAMES, _NAMES),
    st.builds(hardlink, _NAMES, _NAMES),
)


@given(layers=st.lists(st.lists(_MEMBERS, max_size=8), max_size=3))
@settings(deadline=None, max_examples=200)
def test_no_combination_of_members_leaves_the_directory(
    tmp_path_factory: pytest.TempPathFactory, layers: list[list[Member]]
) -> None:
    box = Box(tmp_path_factory.mktemp("evil"))
    for members in layers:
        try:
            box.apply(*members)
        except ImageError:
            continue
    assert box.outside_is_untouched()
    for path in box.root.rglob("*"):
        if path.is_symlink():
            try:
                assert path.resolve().is_relative_to(box.root)
            except RuntimeError:  # a circle of links, on Python before 3.13
                continue


@given(
    st.lists(st.sampled_from("abc"), max_size=4),
    st.lists(st.sampled_from(["a", "b", "..", "."]), max_size=8),
    st.booleans(),
)
def test_rewritten_links_never_climb_above_the_root(above: list[str], target: list[str], absolute: bool) -> None:
    parts = relative_link(above, ("/" if absolute else "") + "/".join(target)).split("/")
    climbs = parts.count("..")
    assert climbs <= len(above)
    assert ".." not in parts[climbs:]
