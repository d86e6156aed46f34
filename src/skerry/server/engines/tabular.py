"""Models of rows and columns, and the forms in which KServe's clients send a table.

KServe's scikit-learn, XGBoost and LightGBM servers look at the values of a request, not at its names: the one tensor
may have any name and any type of number, or there is a tensor for each column. Here a request in one of these forms is
turned into the one tensor that the model declares, `input-0`, before it is checked.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from skerry.server.engines import Shape, Slot, Values
from skerry.server.errors import InvalidRequest
from skerry.server.tensors import BYTES, DTYPES, Array, Dim, Tensor, TensorSpec, numbers_of

INPUT: Final = "input-0"
OUTPUT: Final = "output-0"
ANY: Final = Dim(0, None)


def table(datatype: str, width: int | None) -> TensorSpec:
    """The input of a model that takes so many columns; None where it does not say."""
    columns = ANY if width is None else Dim(width, width)
    return TensorSpec(name=INPUT, datatype=datatype, dims=(ANY, columns))


def answers(datatype: str, tail: Sequence[int]) -> TensorSpec:
    """The output of such a model: something for each row."""
    return TensorSpec(name=OUTPUT, datatype=datatype, dims=(ANY, *(Dim(size, size) for size in tail)))


class TableModel:
    """A loaded model with one input and one output, around a function from rows to answers."""

    streams = 1

    def __init__(
        self,
        platform: str,
        predict: Callable[[Array], Array],
        specs: tuple[TensorSpec, TensorSpec],
        columns: Sequence[str] = (),
        slots: int = 1,
    ) -> None:
        self.platform = platform
        self.inputs = specs[:1]
        self.outputs = specs[1:]
        self.columns = tuple(columns)
        self.slots = slots
        self._predict = predict

    def slot(self) -> Slot:
        return _TableSlot(self._predict, self.inputs[0].datatype, self.outputs[0].datatype)

    def adapt(self, inputs: list[Tensor]) -> list[Tensor]:
        """Turn what a client sent into the one tensor that the model declares."""
        [spec] = self.inputs
        if len(inputs) == 1 and len(inputs[0].shape) == len(spec.dims):
            return [_cast(inputs[0], spec)]
        if not self.columns:
            if len(inputs) == 1:  # the caller says what is wrong with its shape
                return [_cast(inputs[0], spec)]
            raise InvalidRequest(f"the model takes one tensor {spec.expected}; given: {_names(inputs)}")
        return [self._assembled(inputs, spec)]

    def _assembled(self, inputs: list[Tensor], spec: TensorSpec) -> Tensor:
        """One tensor of tensors that are a column each, in whatever order."""
        named = {tensor.name: tensor for tensor in inputs}
        if named.keys() != set(self.columns) or len(inputs) != len(self.columns):
            raise InvalidRequest(
                f"the model takes one tensor {spec.expected}, or one for each of its columns"
                f" {', '.join(self.columns)[:500]}; given: {_names(inputs)}"
            )
        rows = inputs[0].shape[0] if inputs[0].shape else 0
        joined = np.empty((rows, len(self.columns)), DTYPES[spec.datatype])
        for index, name in enumerate(self.columns):
            tensor = named[name]
            if tensor.shape not in {(rows,), (rows, 1)} or isinstance(tensor.values, list):
                raise InvalidRequest(
                    f"column {name} has shape {tensor.shape} and datatype {tensor.datatype}: want {rows} numbers"
                )
            joined[:, index] = numbers_of(tensor.values, tensor.datatype)
        return Tensor(INPUT, spec.datatype, joined.shape, joined.reshape(-1))


def _cast(tensor: Tensor, spec: TensorSpec) -> Tensor:
    values = tensor.values
    if tensor.datatype == spec.datatype or isinstance(values, list) or spec.datatype == BYTES:
        return Tensor(INPUT, tensor.datatype, tensor.shape, values)
    with np.errstate(over="ignore"):
        values = numbers_of(values, tensor.datatype).astype(DTYPES[spec.datatype])
    return Tensor(INPUT, spec.datatype, tensor.shape, values)


def _names(inputs: list[Tensor]) -> str:
    return ", ".join(tensor.name for tensor in inputs)[:500]


def rows_of_table(value: Any, columns: Sequence[str]) -> Any:
    """Rows of what is written as an object by column, or as a list of such; anything else is returned as it is.

    The values of an object are a row's, or lists of them: `{"a": 1, "b": 2}`, `{"a": [1, 3], "b": [2, 4]}`. What is
    missing in a row, `null`, is a NaN.
    """
    rows = _rows_of_objects(value, columns)
    if not isinstance(rows, list):
        return rows
    return [
        [math.nan if one is None else one for one in row] if isinstance(row, list) and None in row else row
        for row in rows
    ]


def _rows_of_objects(value: Any, columns: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return _rows_of_object(value, columns)
    if isinstance(value, list) and value and all(isinstance(one, dict | list) for one in value):
        objects = [one for part in value for one in (part if isinstance(part, list) else [part])]
        if all(isinstance(one, dict) for one in objects):
            return [row for one in objects for row in _rows_of_object(one, columns)]
    return value


def _rows_of_object(value: dict[str, Any], columns: Sequence[str]) -> list[list[Any]]:
    if value.keys() != set(columns):
        known = ", ".join(columns)[:500] or "nameless: send lists"
        raise InvalidRequest(f"the model's columns are {known}; given: {', '.join(value)[:500]}")
    parts = [value[name] for name in columns]
    if not any(isinstance(part, list) for part in parts):
        return [parts]
    lengths = {len(part) if isinstance(part, list) else -1 for part in parts}
    if len(lengths) != 1 or -1 in lengths:
        raise InvalidRequest("the columns of a table have different lengths")
    return [list(row) for row in zip(*parts, strict=True)]


class _TableSlot:
    def __init__(self, predict: Callable[[Array], Array], given: str, wanted: str) -> None:
        self._predict = predict
        self._given = given
        self._dtype: np.dtype[Any] | None = None if wanted == BYTES else DTYPES[wanted]

    def infer(self, inputs: Sequence[tuple[Values, Shape]]) -> list[tuple[Values, Shape]]:
        [(values, shape)] = inputs
        rows = np.array(values, object) if isinstance(values, list) else values
        result = self._predict(rows.reshape(shape))
        flat = result.reshape(-1)
        if self._dtype is None:
            return [([str(value).encode() for value in flat], result.shape)]
        return [(flat.astype(self._dtype, copy=False), result.shape)]
