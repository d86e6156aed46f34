"""A model written in Python: a file `model.py` with one subclass of `Model`, in the directory of a version.

    from skerry.server.model import Model, TensorType

    class Sentiment(Model):
        inputs = [TensorType("text", "BYTES", [-1])]
        outputs = [TensorType("score", "FP32", [-1])]

        def load(self, directory):                  # once, before the first request
            self.words = set((directory / "good.txt").read_text().split())

        def predict(self, tensors):                 # for each request
            texts = [text.decode().split() for text in tensors["text"]]
            return [sum(word in self.words for word in text) / max(len(text), 1) for text in texts]

A request goes through `preprocess`, `predict` and `postprocess`. The first gets the request's tensors by name, as
read-only NumPy arrays (`BYTES` are arrays of `bytes` objects), already checked against `inputs`. The last one returns
the answer's tensors by name, or the tensor itself where only one is declared; anything that NumPy makes an array of
will do, and it is checked against `outputs`. What goes from one to the next is the model's own business.

Each of the four may be an `async def`. Plain ones run in a thread of a pool, asynchronous ones on an event loop beside
the server's, which all Python models share. No more than `concurrency` requests are in a model at once, so with the
default of one it need not know of threads. Neither kind can hold up the server's own loop.

An `InvalidRequest` is the client's fault and becomes a 400, everything else that is raised is a 500 with its type and
text, and a traceback in the log. The server goes on either way. After `timeout_seconds` an asynchronous hook is
cancelled; a plain one cannot be interrupted, its client gets a 504 after the server's `--request_timeout_seconds`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy.typing as npt

from skerry.server.errors import InvalidRequest

__all__ = ["InvalidRequest", "Model", "TensorType", "Tensors"]

Tensors: TypeAlias = dict[str, npt.NDArray[Any]]


class TensorType(msgspec.Struct, frozen=True):
    """What an input or output is. A size of -1 is any; with layout `NHWC` an input takes pictures too."""

    name: str
    datatype: str
    shape: Sequence[int]
    layout: str = ""


class Model:
    """The base class. Only `predict`, `inputs` and `outputs` must be there; `load` may set the latter two."""

    inputs: Sequence[TensorType] = ()
    outputs: Sequence[TensorType] = ()
    concurrency: int = 1
    """How many requests it can work on at once; `--nireq` overrides it."""
    timeout_seconds: float = 60.0
    """How long a request's asynchronous hooks may take together."""

    def load(self, directory: Path) -> Any:
        """Make ready to predict; `directory` is where `model.py` is. An exception keeps the version out of service."""

    def preprocess(self, tensors: Tensors) -> Any:
        """From a request's tensors to what `predict` takes."""
        return tensors

    def predict(self, inputs: Any) -> Any:
        """The model itself."""
        raise NotImplementedError(f"{type(self).__name__} has no predict")

    def postprocess(self, outputs: Any) -> Any:
        """From what `predict` returned to the answer's tensors."""
        return outputs
