"""Which models are served, in which versions and states.

    START → LOADING → AVAILABLE → UNLOADING → END          (OVMS's states; a failed load stays in LOADING)

A request without a version goes to the highest version that is AVAILABLE. The server is ready when every model that
it was asked for has one: unlike OVMS, where ready means "I have tried". Only the event loop's thread changes this
object; loading happens elsewhere and publishes its result here.
"""

import enum
from typing import Final

from skerry.server import log
from skerry.server.engines import LoadedModel
from skerry.server.errors import NotReady, UnknownModel
from skerry.server.execution import Execution
from skerry.server.model_metrics import VersionMetrics

_MOST_DIGITS: Final = 18


class State(enum.Enum):
    """The life of a version."""

    START = "START"
    LOADING = "LOADING"
    AVAILABLE = "AVAILABLE"
    UNLOADING = "UNLOADING"
    END = "END"


class ServedVersion:
    """A version that can answer: everything that a request needs of it."""

    def __init__(
        self, name: str, number: int, model: LoadedModel, execution: Execution, metrics: VersionMetrics
    ) -> None:
        self.name = name
        self.number = number
        self.version = str(number)
        self.model = model
        self.execution = execution
        self.metrics = metrics
        # What every request looks at, in the shape in which it looks at it.
        self.expected = [(spec, spec.datatype, spec.fixed_shape) for spec in model.inputs]
        self.every_output = range(len(model.outputs))
        kinds = {spec.datatype for spec in model.inputs}
        self.common_datatype = kinds.pop() if len(kinds) == 1 else ""


class _Model:
    """The versions of one name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.states: dict[int, State] = {}
        self.reasons: dict[int, str] = {}
        self.available: dict[int, ServedVersion] = {}
        self.default: ServedVersion | None = None
        self.settled = False

    def change(self, number: int, state: State, reason: str = "") -> None:
        self.states[number] = state
        self.reasons[number] = reason
        log.info("STATUS CHANGE", model=self.name, version=number, state=state.value, reason=reason or "OK")


class Registry:
    """All models by name."""

    def __init__(self) -> None:
        self._models: dict[str, _Model] = {}

    def declare(self, name: str) -> None:
        """Say that a model will be served; until it is, it is not ready rather than unknown."""
        self._models.setdefault(name, _Model(name))

    def loading(self, name: str, number: int) -> None:
        self._models[name].change(number, State.LOADING)

    def failed(self, name: str, number: int, reason: str) -> None:
        self._models[name].change(number, State.LOADING, reason)

    def publish(self, version: ServedVersion) -> None:
        """From now on the version answers."""
        model = self._models[version.name]
        model.available[version.number] = version
        model.default = model.available[max(model.available)]
        model.change(version.number, State.AVAILABLE)

    def settled(self, name: str) -> None:
        """Every version that was to be tried has been."""
        self._models[name].settled = True

    def ready(self) -> bool:
        """Whether every declared model can answer, in all versions that its policy asks for and that can be loaded."""
        return all(model.default is not None and model.settled for model in self._models.values())

    def versions(self, name: str) -> list[str]:
        """The versions that can answer, lowest first."""
        return [str(number) for number in sorted(self._model(name).available)]

    def find(self, name: str, version: str = "") -> ServedVersion:
        """Return what answers for this name and version; raises `UnknownModel` or `NotReady`."""
        model = self._model(name)
        if not version:
            if model.default is None:
                raise NotReady(f"Model with requested name is not ready: {name}")
            return model.default
        if not (version.isascii() and version.isdigit() and len(version) <= _MOST_DIGITS):
            raise UnknownModel(f"invalid model version format in request: {version[:40]!r} is no positive number")
        number = int(version)
        if number in model.available:
            return model.available[number]
        if number in model.states:
            raise NotReady(f"Model with requested version is not loaded yet: {name} version {version}")
        raise UnknownModel(f"Model with requested version is not found: {name} version {version}")

    def _model(self, name: str) -> _Model:
        try:
            return self._models[name]
        except KeyError:
            raise UnknownModel(f"Model with requested name is not found: {name}") from None
