"""One pass over a layer: nothing that differs from the promised digests gets through."""

import builtins
import gzip
import io
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.images.errors import DamagedContent, UnsupportedImage
from skerry.images.layers import LayerStream, compression
from skerry.images.manifest import Descriptor, digest_of

PLAIN = bytes(range(256)) * 300


def stream(blob: bytes, plain: bytes = PLAIN, *, expected: bytes | None = None) -> LayerStream:
    promised = blob if expected is None else expected
    descriptor = Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", digest_of(promised), len(promised))
    return LayerStream(io.BytesIO(blob), descriptor, digest_of(plain))


def read_all(layer: LayerStream) -> bytes:
    content = b""
    while piece := layer.read(1000):
        content += piece
    layer.finish()
    return content


@pytest.mark.parametrize(
    "blob",
    [
        PLAIN,
        gzip.compress(PLAIN),
        gzip.compress(PLAIN[:1000]) + gzip.compress(PLAIN[1000:]),
        gzip.compress(PLAIN) + b"\0" * 100,
    ],
    ids=["plain", "gzip", "two members", "padded"],
)
def test_content_comes_out_whole(blob: bytes) -> None:
    assert read_all(stream(blob)) == PLAIN


def test_an_empty_layer() -> None:
    assert read_all(stream(b"", b"")) == b""


@given(st.binary(max_size=3000), st.integers(min_value=1, max_value=4000))
def test_gzip_of_anything_comes_out_whole(plain: bytes, size: int) -> None:
    layer = stream(gzip.compress(plain), plain)
    content = b""
    while piece := layer.read(size):
        assert len(piece) <= size
        content += piece
    layer.finish()
    assert content == plain


@given(st.data())
def test_one_damaged_byte_is_noticed_wherever_it_is(data: st.DataObject) -> None:
    good = gzip.compress(PLAIN, mtime=0)
    at = data.draw(st.integers(min_value=0, max_value=len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(min_value=1, max_value=255))
    with pytest.raises((DamagedContent, UnsupportedImage)):
        read_all(stream(bytes(bad), expected=good))


def test_damage_in_the_trailer_after_the_last_content_byte_is_noticed() -> None:
    good = gzip.compress(PLAIN)
    bad = good[:-8] + bytes(4) + good[-4:]
    layer = stream(bad, expected=good)
    with pytest.raises(DamagedContent):
        read_all(layer)


@pytest.mark.parametrize("left", [0, 1, 10, 11, 100, -9, -8, -1])
def test_a_cut_is_noticed(left: int) -> None:
    good = gzip.compress(PLAIN)
    with pytest.raises(DamagedContent):
        read_all(stream(good[:left], expected=good))


def test_more_than_promised_is_noticed() -> None:
    with pytest.raises(DamagedContent, match="instead of"):
        read_all(stream(PLAIN + b"x", expected=PLAIN))


def test_a_right_blob_with_other_content_than_the_image_says_is_refused() -> None:
    with pytest.raises(DamagedContent, match="the image says"):
        read_all(stream(gzip.compress(b"other")))


def test_a_bomb_does_not_fill_the_memory() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    blob = b"".join(packer.compress(zeros) for _ in range(64)) + packer.flush()
    layer = stream(blob)
    tracemalloc.start()
    try:
        while layer.read():
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(blob) < 100_000
    assert peak < 8 << 20


def test_zstd_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_zstandard(name: str, *rest: object, **more: object) -> object:
        if name == "zstandard":
            raise ImportError(name)
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without_zstandard)
    with pytest.raises(UnsupportedImage, match=r"pip install 'skerry\[zstd\]'"):
        read_all(stream(b"\x28\xb5\x2f\xfd rest"))


def test_zstd() -> None:
    zstandard = pytest.importorskip("zstandard")
    good = zstandard.ZstdCompressor().compress(PLAIN[:500]) + zstandard.ZstdCompressor().compress(PLAIN[500:])
    skippable = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"meta"
    for blob in (good, skippable + good, good + skippable):
        assert read_all(stream(blob)) == PLAIN
    for bad in (good[:-3], good[:20] + b"\xff" + good[21:]):
        with pytest.raises(DamagedContent):
            read_all(stream(bad, expected=good))


def test_compression_is_told_by_the_first_bytes() -> None:
    assert compression(gzip.compress(b"x")) == "gzip"
    assert compression(b"\x28\xb5\x2f\xfd") == "zstd"
    assert compression(b"models/") == "none"
    assert compression(b"") == "none"
