"""Which engine loads a model: the files decide.

    model.py                              Python code (engines/python_code.py)
    .xml .onnx .pdmodel .pb .tflite       OpenVINO
    .joblib .pkl .pickle .skops           scikit-learn
    .ubj .bst .json .txt                  XGBoost or LightGBM, whichever the file begins like

An engine and the libraries below it are imported when there is a model for it, so a server of trees has no OpenVINO in
its memory. As in KServe's servers, a directory holds one model file of the last two rows.
"""

from functools import cache
from pathlib import Path
from typing import Final

from skerry.server.engines import Engine, LoadedModel
from skerry.server.engines.openvino_files import SUFFIXES
from skerry.server.errors import LoadError
from skerry.server.options import ModelOptions

CODE: Final = "model.py"
_OPENVINO: Final = frozenset(SUFFIXES)
_SCIKIT_LEARN: Final = frozenset({".joblib", ".pkl", ".pickle", ".skops"})
_TREES: Final = frozenset({".ubj", ".bst", ".json", ".txt"})
_OPENVINO_OPTIONS: Final = (
    *("layout", "shape", "batch_size", "mean", "scale", "color_format", "precision"),
    *("plugin_config", "cpu_extension"),
)
_HEAD_BYTES: Final = 1 << 16


class Engines:
    """All engines as one."""

    def load(self, version: Path, options: ModelOptions) -> LoadedModel:
        """Load with the engine that the files ask for; raises `LoadError`."""
        if version.name == CODE or (version / CODE).is_file():
            _check(options, "Python code")
            return _python().load(version if version.name == CODE else version / CODE, options)
        file = version if version.is_file() else own_file(version)
        if file is None or file.suffix not in _SCIKIT_LEARN | _TREES:
            return _openvino().load(version, options)  # which also says what is wrong with a file that is nobody's
        _check(options, file.name)
        if file.suffix in _SCIKIT_LEARN:
            return _scikit_learn().load(file, options)
        return _trees(file).load(file, options)


def _check(options: ModelOptions, what: str) -> None:
    """Refuse what only OpenVINO can do: leaving it undone would be something else than was asked for."""
    given = [name for name in _OPENVINO_OPTIONS if getattr(options, name)]
    if options.target_device not in {"", "AUTO", "CPU"}:
        given.append("target_device")
    if given:
        raise LoadError(f"cannot load {options.path}: --{given[0]} is for OpenVINO's models, and this one is {what}")


def holds_model(directory: Path) -> bool:
    """Whether a directory is a version by itself, as KServe's servers for these formats have it."""
    return (directory / CODE).is_file() or own_file(directory) is not None


def own_file(directory: Path) -> Path | None:
    """The model file that is not OpenVINO's; None where there is none. Raises `LoadError` if there are several."""
    try:
        files = sorted(file for file in directory.iterdir() if file.is_file())
    except OSError:
        return None  # OpenVINO's engine says why
    if any(file.suffix in _OPENVINO for file in files):
        return None
    found = [file for file in files if file.suffix in _SCIKIT_LEARN or (file.suffix in _TREES and _is_tree(file))]
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise LoadError(f"cannot load {directory}: it holds several models ({names}); keep one")
    return found[0] if found else None


def _is_tree(file: Path) -> bool:
    from skerry.server.engines import lightgbm, xgboost

    head = _head(file)
    return file.suffix in {".ubj", ".bst"} or xgboost.is_model(head) or lightgbm.is_model(head)


def _head(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            return stream.read(_HEAD_BYTES)
    except OSError:
        return b""


def _trees(file: Path) -> Engine:
    from skerry.server.engines import lightgbm, xgboost

    return lightgbm.LightGBM() if lightgbm.is_model(_head(file)) else xgboost.XGBoost()


def _scikit_learn() -> Engine:
    from skerry.server.engines.scikit_learn import ScikitLearn

    return ScikitLearn()


def _python() -> Engine:
    from skerry.server.engines.python_code import PythonCode

    return PythonCode()


@cache
def _openvino() -> Engine:
    from skerry.server.engines.openvino import OpenVino

    return OpenVino()
