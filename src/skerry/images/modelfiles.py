"""Which files of a directory are a model, and where a model server looks for them in the image.

Model servers mount the image's `/models`. OpenVINO Model Server, Triton and TensorFlow Serving want numbered versions
below it; KServe's framework servers, vLLM and OVMS' generative part want the files right there. So:

    a directory models/ and nothing else                                 as it is
    numbered directories (1/, 2/ …)                                      as they are, below /models/
    OpenVINO IR, ONNX, SavedModel, frozen graph, Paddle, TFLite          /models/1/
    language models (weights with a tokenizer), scikit-learn, XGBoost …  /models/
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from skerry.images.errors import BuildError

MODELS: Final = "models"
_FIRST_VERSION: Final = f"{MODELS}/1"

_VERSIONED_SUFFIXES: Final = {
    ".onnx": "ONNX",
    ".pb": "TensorFlow",
    ".tflite": "TensorFlow Lite",
    ".pdmodel": "PaddlePaddle",
}
_FLAT_SUFFIXES: Final = {
    ".safetensors": "safetensors",
    ".gguf": "GGUF",
    ".joblib": "scikit-learn",
    ".pkl": "scikit-learn",
    ".pickle": "scikit-learn",
    ".skops": "scikit-learn",
    ".bst": "XGBoost",
    ".ubj": "XGBoost",
    ".pmml": "PMML",
    ".mar": "TorchServe",
    ".pt": "PyTorch",
    ".pth": "PyTorch",
    ".keras": "Keras",
    ".h5": "Keras",
}
_FLAT_NAMES: Final = {
    "MLmodel": "MLflow",
    "config.pbtxt": "Triton",
    "graph.pbtxt": "OVMS generative",
    "model.py": "Python",
    "model.json": "XGBoost",
    "model.txt": "LightGBM",
}
_TOKENIZERS: Final = frozenset({"tokenizer.json", "tokenizer.model", "openvino_tokenizer.xml"})
_RECOGNISED: Final = (
    "numbered versions (1/…), OpenVINO IR (.xml with .bin), .onnx, saved_model.pb, .pb, .tflite, .pdmodel, "
    ".safetensors, .gguf, .joblib, .pkl, .skops, model.py, .bst, .ubj, .pmml, .mar, .pt, .keras, MLmodel, config.pbtxt"
)


class Placement(Struct, frozen=True):
    """What a directory holds and where it goes in the image."""

    format: str
    into: str


class _Listing(Struct, frozen=True):
    files: Mapping[str, Path]
    top: set[str]
    """Names that are not in a sub-directory."""


def files_of(directory: Path) -> dict[str, Path]:
    """List the files below a directory by their relative path; hidden ones are left out.

    Links are followed, since downloaded models are often links into a cache and an image has to be complete by itself.

    Raises `BuildError` for an empty or missing directory, broken links and anything that is not a file.
    """
    if not directory.exists():
        raise BuildError(f"cannot package {directory}: no such directory; give the directory that holds the model")
    if not directory.is_dir():
        raise BuildError(f"cannot package {directory}: it is a file; give the directory that holds it")
    files = dict(_walk(directory, "", frozenset()))
    if not files:
        raise BuildError(f"cannot package {directory}: it is empty; put the model's files into it")
    return files


def _walk(directory: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[tuple[str, Path]]:
    identity = (directory.stat().st_dev, directory.stat().st_ino)
    if identity in above:
        raise BuildError(f"cannot package {directory}: it is a link to a directory above itself; remove the link")
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError as error:
        raise BuildError(f"cannot package {directory}: {error.strerror or error}") from error
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(path, f"{prefix}{entry.name}/", above | {identity})
        elif entry.is_file():
            yield f"{prefix}{entry.name}", path
        elif entry.is_symlink():
            raise BuildError(f"cannot package {path}: it is a link to something that is missing; remove or repair it")
        else:
            raise BuildError(f"cannot package {path}: it is neither a file nor a directory; remove it")


def recognise(directory: Path, files: Mapping[str, Path]) -> Placement:
    """Find out what kind of model the files are.

    Raises `BuildError` when they are none that is known, saying what would be.
    """
    listing = _Listing(files, {name for name in files if "/" not in name})
    for look in _LOOKS:
        if placement := look(listing):
            return placement
    raise BuildError(
        f"cannot package {directory}: no model in it is recognised; known are {_RECOGNISED}; "
        "for anything else say where the files belong: --into /models"
    )


def _laid_out(listing: _Listing) -> Placement | None:
    ready = all(name.startswith(f"{MODELS}/") for name in listing.files)
    return Placement("image contents", "") if ready else None


def _versions(listing: _Listing) -> Placement | None:
    versions = {name.partition("/")[0] for name in listing.files if "/" in name}
    return Placement("versions", MODELS) if any(version.isdecimal() and int(version) for version in versions) else None


def _language_model(listing: _Listing) -> Placement | None:
    return Placement("language model", MODELS) if listing.top & _TOKENIZERS else None


def _flat_by_name(listing: _Listing) -> Placement | None:
    return next((Placement(found, MODELS) for name, found in _FLAT_NAMES.items() if name in listing.top), None)


def _openvino(listing: _Listing) -> Placement | None:
    descriptions = sorted(name for name in listing.top if name.endswith(".xml"))
    if not descriptions:
        return None
    for name in descriptions:
        weights = f"{name.removesuffix('.xml')}.bin"
        if weights not in listing.top:
            raise BuildError(
                f"cannot package {listing.files[name]}: an OpenVINO IR needs its weights; put {weights} beside it"
            )
    return Placement("OpenVINO IR", _FIRST_VERSION)


def _saved_model(listing: _Listing) -> Placement | None:
    return Placement("TensorFlow SavedModel", _FIRST_VERSION) if "saved_model.pb" in listing.top else None


def _by_suffix(suffixes: Mapping[str, str], into: str) -> Callable[[_Listing], Placement | None]:
    def look(listing: _Listing) -> Placement | None:
        found = sorted({suffixes[suffix] for name in listing.top if (suffix := Path(name).suffix) in suffixes})
        return Placement(found[0], into) if found else None

    return look


_LOOKS: Final = (
    _laid_out,
    _versions,
    _language_model,
    _openvino,
    _saved_model,
    _by_suffix(_VERSIONED_SUFFIXES, _FIRST_VERSION),
    _flat_by_name,
    _by_suffix(_FLAT_SUFFIXES, MODELS),
)
