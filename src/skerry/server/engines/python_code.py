"""Models that are somebody's Python code (`skerry.server.model`), as an engine.

A version's `model.py` is imported as a package under a name of its own, so that two versions can live beside each
other and `from . import tokens` finds the version's own file. Nothing is written into the directory, compiled files
neither: a change there means a new model. The code is never called to find out how fast it is, and it never runs on
the server's event loop, however fast it was so far.
"""

import asyncio
import importlib.util
import inspect
import itertools
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from skerry.server import log
from skerry.server.bfloat16 import BF16
from skerry.server.engines import Shape, Slot, Values
from skerry.server.engines.modelfile import load_error
from skerry.server.errors import InferenceFailed, LoadError, ServingError, TimedOut
from skerry.server.model import Model, TensorType
from skerry.server.options import ModelOptions
from skerry.server.tensors import BYTES, DTYPES, Dim, TensorSpec, array_of, numbers_of

_numbers: Final = itertools.count(1)


class PythonCode:
    """The engine; it has no state."""

    def load(self, path: Path, options: ModelOptions) -> "PythonModel":
        """Import `model.py` and let its model load; raises `LoadError`."""
        module = _imported(path)
        try:
            code = _model_class(module)()
            loading = code.load(path.parent)
            if inspect.isawaitable(loading):
                _await(loading, None)
            loaded = PythonModel(code, options.nireq)
        except LoadError as why:
            _forget(module.__name__)
            raise load_error(path, why) from None
        except BaseException as why:
            _forget(module.__name__)
            raise load_error(path, _told(why, path)) from why
        weakref.finalize(loaded, _forget, module.__name__)
        return loaded


class PythonModel:
    """A loaded model."""

    platform = "python"
    streams = 1
    user_code = True

    def __init__(self, code: Model, nireq: int) -> None:
        self.inputs = _specs("inputs", code.inputs)
        self.outputs = _specs("outputs", code.outputs)
        self.slots = nireq or code.concurrency
        if self.slots < 1:
            raise LoadError(f"concurrency is {code.concurrency}, and it must be at least 1")
        self._code = code

    def slot(self) -> Slot:
        return _CodeSlot(self._code, self.inputs, self.outputs)


class _CodeSlot:
    def __init__(self, code: Model, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
        self._code = code
        self._inputs = inputs
        self._outputs = outputs

    def infer(self, inputs: Sequence[tuple[Values, Shape]]) -> list[tuple[Values, Shape]]:
        value: Any = {
            spec.name: _array(values, shape, spec.datatype)
            for spec, (values, shape) in zip(self._inputs, inputs, strict=True)
        }
        deadline = time.monotonic() + self._code.timeout_seconds
        for hook in (self._code.preprocess, self._code.predict, self._code.postprocess):
            value = _called(hook, value, deadline)
        return _results(value, self._outputs)


def _called(hook: Any, value: Any, deadline: float) -> Any:
    """Run one hook, plain or asynchronous; whatever it raises becomes an answer to this request alone."""
    try:
        result = hook(value)
        return _await(result, deadline) if inspect.isawaitable(result) else result
    except ServingError:
        raise
    except BaseException as why:
        if isinstance(why, TimeoutError) and time.monotonic() >= deadline:
            raise TimedOut(f"{hook.__name__} of the model took too long and was cancelled") from None
        log.exception("the model's code failed", model=type(hook.__self__).__name__, hook=hook.__name__)
        raise InferenceFailed(f"{hook.__name__} of the model failed - {type(why).__name__}: {why}") from why


def _array(values: Values, shape: Shape, datatype: str) -> Any:
    if isinstance(values, list):
        array = np.empty(len(values), object)
        array[:] = values
        array = array.reshape(shape)
    else:
        array = numbers_of(values, datatype).reshape(shape)
    array.flags.writeable = False  # some are views on the request: better never than sometimes
    return array


def _results(value: Any, specs: Sequence[TensorSpec]) -> list[tuple[Values, Shape]]:
    """What the code returned, as the outputs that it declared."""
    names = [spec.name for spec in specs]
    if not isinstance(value, dict):
        if len(specs) != 1:
            raise InferenceFailed(f"the model returned {type(value).__name__}: want a dict with {', '.join(names)}")
        value = {names[0]: value}
    if value.keys() != set(names):
        returned = ", ".join(map(str, value)) or "nothing"
        raise InferenceFailed(f"the model returned {returned}, and declares {', '.join(names)}")
    return [_result(value[spec.name], spec) for spec in specs]


def _result(value: Any, spec: TensorSpec) -> tuple[Values, Shape]:
    try:
        array = np.asarray(value)
        if array.dtype.kind == "O" and spec.datatype != BYTES:
            raise ValueError("it is no array of numbers")  # noqa: TRY301
    except ValueError as why:
        raise InferenceFailed(f"output {spec.name} of the model is not as declared: {why}") from None
    if len(array.shape) != len(spec.dims) or not all(
        dim.accepts(size) for dim, size in zip(spec.dims, array.shape, strict=True)
    ):
        raise InferenceFailed(f"output {spec.name} of the model has shape {array.shape}, declared is {spec.expected}")
    if spec.datatype == BYTES:
        return [_bytes(one, spec) for one in array.reshape(-1).tolist()], array.shape
    dtype = DTYPES["FP32" if spec.datatype == BF16 else spec.datatype]
    if array.size and not np.can_cast(array.dtype, dtype, "same_kind"):
        raise InferenceFailed(f"output {spec.name} of the model is {array.dtype}, declared is {spec.datatype}")
    # A copy: the code may use its array again while the answer is being written.
    return array_of(array, spec.datatype).reshape(-1), array.shape


def _bytes(value: Any, spec: TensorSpec) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise InferenceFailed(f"output {spec.name} of the model has a {type(value).__name__}, declared is BYTES")


def _specs(kind: str, declared: Sequence[TensorType]) -> tuple[TensorSpec, ...]:
    if not declared:
        raise LoadError(f'it declares no {kind}; write {kind} = [TensorType("name", "FP32", [-1, 4])]')
    for one in declared:
        if not isinstance(one, TensorType):
            raise LoadError(f"{kind} has a {type(one).__name__}: want TensorType")
        if one.datatype != BYTES and one.datatype not in DTYPES:
            raise LoadError(f"{kind}: {one.name} has datatype {one.datatype}, known are {', '.join(DTYPES)}, {BYTES}")
        sizes: Sequence[Any] = one.shape
        if not all(isinstance(size, int) and size >= -1 for size in sizes):
            raise LoadError(f"{kind}: {one.name} has shape {list(one.shape)}: want sizes, or -1 for any")
    if len({one.name for one in declared}) != len(declared):
        raise LoadError(f"{kind} has a name twice")
    return tuple(
        TensorSpec(
            name=one.name,
            datatype=one.datatype,
            dims=tuple(Dim(0, None) if size == -1 else Dim(size, size) for size in one.shape),
            layout=one.layout,
        )
        for one in declared
    )


def _imported(path: Path) -> ModuleType:
    name = f"skerry_model_{next(_numbers)}"
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=[str(path.parent)])
    assert spec is not None, "it ends in .py"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as why:
        _forget(name)
        raise load_error(path, _told(why, path)) from why
    return module


def _model_class(module: ModuleType) -> type[Model]:
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Model) and value.__module__ == module.__name__
    ]
    # A base of another one here is not the model.
    found = [one for one in found if not any(one is not other and issubclass(other, one) for other in found)]
    if len(found) != 1:
        names = ", ".join(one.__name__ for one in found) or "none"
        raise LoadError(f"want one subclass of skerry.server.model.Model, found {names}")
    return found[0]


def _told(why: BaseException, path: Path) -> str:
    """What was raised, and where in the model's own file."""
    lines = [frame.lineno for frame in traceback.extract_tb(why.__traceback__) if frame.filename == str(path)]
    place = f"line {lines[-1]}: " if lines else ""
    return f"{place}{type(why).__name__}: {why}"


def _forget(name: str) -> None:
    for module in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
        sys.modules.pop(module, None)


# Asynchronous hooks.


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """The event loop of all Python models; it lives as long as the process."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="model-code", daemon=True).start()
    return loop


def _await(awaitable: Any, deadline: float | None) -> Any:
    """Wait in this thread for what runs on the loop of Python models; raises `TimeoutError` at the deadline."""

    async def finish() -> Any:
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        async with asyncio.timeout(left):
            return await awaitable

    return asyncio.run_coroutine_threadsafe(finish(), _loop()).result()
