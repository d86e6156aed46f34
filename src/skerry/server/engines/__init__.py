"""What an engine is to the rest of the server.

An engine loads one version of a model. A loaded model tells its inputs and outputs and hands out slots; a slot is
room for one inference at a time and is never used by two threads at once. Arrays that go in and come out are flat;
the shapes travel beside them. Outputs belong to the caller: a slot may be used again at once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from skerry.server.options import ModelOptions
from skerry.server.tensors import Array, Tensor, TensorSpec

Values: TypeAlias = Array | list[bytes]
Shape: TypeAlias = tuple[int, ...]


class Slot(Protocol):
    """Room for one inference at a time."""

    def infer(self, inputs: Sequence[tuple[Values, Shape]]) -> list[tuple[Values, Shape]]:
        """Run the model; inputs and outputs are in the order of its specs."""


@runtime_checkable
class Repeating(Protocol):
    """A slot that runs several requests of one shape faster than one by one."""

    def infer_each(self, rows: Sequence[tuple[Array, Shape]], count: int) -> list[tuple[Array, Shape]] | None:
        """Run each by itself. Values of all are behind each other, shapes are of one; None if those of outputs vary."""


class LoadedModel(Protocol):
    """One version of a model, ready to run."""

    @property
    def platform(self) -> str: ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """By name, as clients see them."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]: ...

    @property
    def slots(self) -> int:
        """How many inferences at once are worth it."""

    @property
    def streams(self) -> int:
        """How many the engine itself runs at once, for the metrics."""

    def slot(self) -> Slot: ...


@runtime_checkable
class Tabular(Protocol):
    """A model of rows and columns, which takes a table in more forms than the one that its spec says."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns in order; empty where the model does not know them."""

    def adapt(self, inputs: list[Tensor]) -> list[Tensor]:
        """Turn what a client sent into the tensor of the spec; it is checked afterwards."""


@runtime_checkable
class UserCode(Protocol):
    """A model that is somebody's code: it is only called for requests, and never on the event loop."""

    @property
    def user_code(self) -> bool: ...


@runtime_checkable
class SelfDescribed(Protocol):
    """A model whose author wrote into it what it is: labels of classes, how pictures are prepared."""

    @property
    def rt_info(self) -> dict[str, Any]:
        """As OVMS shows it in the metadata; empty where there is nothing."""


class Engine(Protocol):
    """Loads models; raises `LoadError` that names the file and the reason."""

    def load(self, version: Path, options: ModelOptions) -> LoadedModel: ...
