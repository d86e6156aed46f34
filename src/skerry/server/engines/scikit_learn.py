"""scikit-learn's models: `model.joblib`, `model.pkl`, `model.pickle`, and skops' `model.skops`.

joblib and pickle files are programs: loading one runs whatever its author wrote into it, with the rights of the server.
Serve files that you trust as you trust code; skops files hold data only, and types that skops does not know are
refused. A file belongs to the version of scikit-learn that wrote it. Another version loads it or not; when it loads, a
warning names both, because predictions may differ.

scikit-learn is imported when there is such a model. What the model takes and gives is found out by asking it: the
number of columns is its `n_features_in_`, and one row of zeros (or a text, where it takes texts) shows the type of its
answers. With `PREDICT_PROBA=true` in the environment, KServe's switch, a classifier answers with probabilities.
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from skerry.server import log
from skerry.server.cpu import usable_processors
from skerry.server.engines.modelfile import load_error
from skerry.server.engines.tabular import ANY, INPUT, TableModel, answers, table
from skerry.server.errors import InferenceFailed, InvalidRequest, LoadError
from skerry.server.options import ModelOptions
from skerry.server.tensors import BYTES, DATATYPES, Array, TensorSpec

_EXTRA: Final = "install it where the server runs: pip install 'skerry[sklearn]'"


class ScikitLearn:
    """The engine; it has no state."""

    def load(self, path: Path, options: ModelOptions) -> TableModel:
        """Load a model file; raises `LoadError`."""
        # Its threads follow the quota; without this they are as many as the host has cores.
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_processors()))
        model = _skops(path) if path.suffix == ".skops" else _unpickled(path)
        if not hasattr(model, "predict"):
            raise load_error(path, f"it holds {type(model).__name__}, which has no predict")
        try:
            return _described(model, options.nireq or 1)
        except Exception as why:  # noqa: BLE001 - what a model raises is its author's choice
            raise load_error(path, f"it cannot predict ({type(why).__name__}: {why})") from None


def _unpickled(path: Path) -> Any:
    try:
        import joblib
        from sklearn.exceptions import InconsistentVersionWarning
    except ImportError as why:
        raise load_error(path, f"scikit-learn is missing ({why}); {_EXTRA}") from None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model = joblib.load(path)
        except ModuleNotFoundError as why:
            raise load_error(path, f"it needs {why.name}, which is not installed where the server runs") from None
        except Exception as why:  # noqa: BLE001 - unpickling is running somebody's program
            reason = f"{type(why).__name__}: {why}; it is damaged, or of another scikit-learn than {_version()}"
            raise load_error(path, reason) from None
    for warning in caught:
        if isinstance(warning.message, InconsistentVersionWarning):
            wrote = warning.message.original_sklearn_version
            log.warning("the model is of another scikit-learn", file=path, wrote=wrote, here=_version())
            break
    return model


def _skops(path: Path) -> Any:
    try:
        from skops import io
    except ImportError as why:
        raise load_error(path, f"skops or scikit-learn is missing ({why}); {_EXTRA} skops") from None
    try:
        unknown = io.get_untrusted_types(file=path)
        model = None if unknown else io.load(path)
    except Exception as why:  # noqa: BLE001 - its errors have no common class
        raise load_error(path, f"{type(why).__name__}: {why}") from None
    if unknown:
        raise load_error(path, f"it holds types that are not trusted: {', '.join(unknown)[:500]}")
    return model


def _version() -> str:
    from importlib.metadata import version

    return version("scikit-learn")


def _described(model: Any, slots: int) -> TableModel:
    """Ask the model what it takes and gives."""
    # A model fitted with a DataFrame would say for every request that an array has no names.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    call: Callable[[Array], Any] = model.predict
    if os.environ.get("PREDICT_PROBA", "").lower() == "true" and hasattr(model, "predict_proba"):
        call = model.predict_proba

    def predict(rows: Array) -> Array:
        try:
            return np.asarray(call(rows))
        except ValueError as why:  # what scikit-learn says of values that it does not take
            raise InvalidRequest(f"scikit-learn: {why}") from why
        except Exception as why:
            raise InferenceFailed(f"scikit-learn: {type(why).__name__}: {why}") from why

    taken, sample = _taken(model, predict)
    given = predict(sample)
    if given.ndim < 1 or len(given) != len(sample):
        raise LoadError(f"it answers one row with shape {given.shape}")
    datatype = BYTES if given.dtype.kind in "OUS" else DATATYPES.get(given.dtype.newbyteorder("<"))
    if datatype is None:
        raise LoadError(f"it answers with {given.dtype}, which the protocol has no name for")
    names = [str(name) for name in getattr(model, "feature_names_in_", ())]
    return TableModel("sklearn", predict, (taken, answers(datatype, given.shape[1:])), names, slots)


def _taken(model: Any, predict: Callable[[Array], Array]) -> tuple[TensorSpec, Array]:
    """The model's input, and one row for it. A model that does not count its columns may be one for texts."""
    width = getattr(model, "n_features_in_", None)
    if width is not None:
        return table("FP64", int(width)), np.zeros((1, int(width)))
    text = np.array(["text"], object)
    predict(text)
    return TensorSpec(name=INPUT, datatype=BYTES, dims=(ANY,)), text
